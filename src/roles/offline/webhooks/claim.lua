-- Takes events that are due, for a while: who takes them and dies loses them to the next one.
-- KEYS[1]: the sorted set of times. KEYS[2]: the hash of events.
-- ARGV[1]: now (unix ms). ARGV[2]: until when they are taken (unix ms). ARGV[3]: how many at most.
-- Returns id, event, id, event …
local ids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[3])
local taken = {}
for _, id in ipairs(ids) do
  local event = redis.call('HGET', KEYS[2], id)
  if event then
    redis.call('ZADD', KEYS[1], ARGV[2], id)
    taken[#taken + 1] = id
    taken[#taken + 1] = event
  else
    redis.call('ZREM', KEYS[1], id)
  end
end
return taken
