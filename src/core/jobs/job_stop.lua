-- Holds, lets go on, or stops a job in one partition, whether or not it has recipients there yet.
-- KEYS: the partition's counts, the list of chunks, the set of those who are in it.
-- ARGV[1]: 'hold', 'go', or as what those who were not sent to are counted: 'cancelled', 'expired'.
-- ARGV[2]: how long the counts live where they begin here, s.
-- Returns how many were given up.
local waiting = 0
if ARGV[1] == 'go' then
  redis.call('HDEL', KEYS[1], 'hold')
elseif ARGV[1] == 'hold' then
  redis.call('HSET', KEYS[1], 'hold', 1)
elseif redis.call('HSETNX', KEYS[1], 'stop', ARGV[1]) == 1 then
  local counts = redis.call('HMGET', KEYS[1], 'accepted', 'sent')
  waiting = (counts[1] or 0) - (counts[2] or 0)
  redis.call('HINCRBY', KEYS[1], 'unsent_' .. ARGV[1], waiting)
  redis.call('UNLINK', KEYS[2], KEYS[3])
end
if redis.call('TTL', KEYS[1]) == -1 then redis.call('EXPIRE', KEYS[1], ARGV[2]) end
return waiting
