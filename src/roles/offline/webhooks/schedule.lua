-- Puts events where they wait for their time. One that waits already is left as it is, unless it is
-- to be tried again.
-- KEYS[1]: the sorted set of times. KEYS[2]: the hash of events.
-- ARGV[1]: '1' to replace. Then for each event: its id, when it is due (unix ms), the event.
-- Returns how many were put.
local put = 0
for i = 2, #ARGV, 3 do
  local id, due, event = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if ARGV[1] == '1' or redis.call('HEXISTS', KEYS[2], id) == 0 then
    redis.call('HSET', KEYS[2], id, event)
    redis.call('ZADD', KEYS[1], due, id)
    put = put + 1
  end
end
return put
