-- Closes the list of a job in one partition: nobody is taken into it any more.
-- KEYS: the partition's counts, the set of those who are in. ARGV[1]: how long the counts live where
--   they begin here, s.
-- Returns 1.
redis.call('HSET', KEYS[1], 'sealed', 1)
if redis.call('TTL', KEYS[1]) == -1 then redis.call('EXPIRE', KEYS[1], ARGV[1]) end
redis.call('UNLINK', KEYS[2])
return 1
