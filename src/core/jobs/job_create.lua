-- Makes a job, unless there is one, and gives it to whoever makes it.
-- KEYS: the job. ARGV[1]: how long it lives, s. ARGV[2]: who holds it, or empty. ARGV[3]: for how
--   long, ms.
-- ARGV[4…]: its fields and their values.
-- Returns 1, or 0 when there is a job with that id.
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 4))
if ARGV[2] ~= '' then
  local time = redis.call('TIME')
  -- %d, because Lua writes numbers of this size with an exponent.
  local ends = string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[3])
  redis.call('HSET', KEYS[1], 'owner', ARGV[2], 'until', ends, 'epoch', 1)
end
redis.call('EXPIRE', KEYS[1], ARGV[1])
return 1
