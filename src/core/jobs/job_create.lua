-- Makes a job, unless there is one.
-- KEYS: the job. ARGV[1]: how long it lives, s. ARGV[2…]: its fields and their values.
-- Returns 1, or 0 when there is a job with that id.
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
redis.call('EXPIRE', KEYS[1], ARGV[1])
return 1
