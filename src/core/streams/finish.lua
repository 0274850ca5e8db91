-- Ends a commit whose appends in other slots are all in: settles its entries and forgets the intent.
-- Repeating it changes nothing, whoever does it.
-- KEYS[1]: the intents. Then the stream of each step. ARGV[1]: the commit's name among the intents.
-- Then: group count id …
-- Returns 1.
local k, a = 2, 2
while ARGV[a] do
  local count = tonumber(ARGV[a + 1])
  -- Lua unpacks a few thousand values at once at most.
  for from = a + 2, a + 1 + count, 4000 do
    local to = math.min(from + 3999, a + 1 + count)
    -- The group may be gone after a FLUSHALL; the entries are then gone as well.
    redis.pcall('XACK', KEYS[k], ARGV[a], unpack(ARGV, from, to))
    redis.call('XDEL', KEYS[k], unpack(ARGV, from, to))
  end
  k, a = k + 1, a + 2 + count
end
redis.call('HDEL', KEYS[1], ARGV[1])
return 1
