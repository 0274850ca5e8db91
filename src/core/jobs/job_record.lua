-- Notes what became of messages of a job in one partition, and counts what is news.
-- KEYS: the partition's counts; the marks, four bits per message: 1 delivered, 2 acked, 4 stored,
--   8 expired. Of the last three the first in the order acked, expired, stored is what counts.
-- ARGV: pairs of a message's number and the bits that are true of it now.
-- Returns 1, or 0 when the job is gone.
local ttl = redis.call('TTL', KEYS[1])
if ttl == -2 then return 0 end
local delta = {}
local function count(name, by)
  if name then delta[name] = (delta[name] or 0) + by end
end
local function state(bits)
  if bit.band(bits, 2) ~= 0 then return 'acked' end
  if bit.band(bits, 8) ~= 0 then return 'expired' end
  if bit.band(bits, 4) ~= 0 then return 'stored' end
end

-- Lua unpacks a few thousand values at once at most: four for each message.
local CHUNK = 1000
for from = 1, #ARGV, CHUNK do
  local to = math.min(from + CHUNK - 1, #ARGV)
  local read = {}
  for i = from, to, 2 do
    read[#read + 1] = 'GET'
    read[#read + 1] = 'u4'
    read[#read + 1] = '#' .. ARGV[i]
  end
  local old = redis.call('BITFIELD', KEYS[2], unpack(read))
  local write = {}
  -- A message that is named twice in one call was read before either: the later sees the earlier.
  local latest = {}
  for i = from, to, 2 do
    local before = latest[ARGV[i]] or old[(i - from) / 2 + 1]
    local after = bit.bor(before, tonumber(ARGV[i + 1]))
    if after ~= before then
      latest[ARGV[i]] = after
      if bit.band(after, 1) > bit.band(before, 1) then count('delivered', 1) end
      count(state(before), -1)
      count(state(after), 1)
      write[#write + 1] = 'SET'
      write[#write + 1] = 'u4'
      write[#write + 1] = '#' .. ARGV[i]
      write[#write + 1] = after
    end
  end
  if #write > 0 then redis.call('BITFIELD', KEYS[2], unpack(write)) end
end
for name, by in pairs(delta) do
  if by ~= 0 then redis.call('HINCRBY', KEYS[1], name, by) end
end
if ttl > 0 and redis.call('TTL', KEYS[2]) == -1 then redis.call('EXPIRE', KEYS[2], ttl) end
return 1
