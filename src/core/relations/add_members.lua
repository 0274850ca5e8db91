-- Adds users to a group: all of them, or none when they would be too many.
-- KEYS[1]  group:{p}:<gid>     hash: owner, version, created
-- KEYS[2]  members:{p}:<gid>   set of user ids
-- ARGV[1]  most members that a group may have
-- ARGV[2…] the users, each once
-- Result   {owner, version, created, member count}; -1 when there is no such group, -3 when full
if redis.call("EXISTS", KEYS[1]) == 0 then
  return -1
end
local before = redis.call("SCARD", KEYS[2])
local room = tonumber(ARGV[1]) - before
if #ARGV - 1 > room then
  -- Only here does it matter how many of them are members already.
  local new = 0
  for i = 2, #ARGV do
    new = new + 1 - redis.call("SISMEMBER", KEYS[2], ARGV[i])
  end
  if new > room then
    return -3
  end
end
-- Lua's stack holds about 8 000 values, so members go in slices.
local added = 0
for first = 2, #ARGV, 1000 do
  added = added + redis.call("SADD", KEYS[2], unpack(ARGV, first, math.min(first + 999, #ARGV)))
end
if added > 0 then
  redis.call("HINCRBY", KEYS[1], "version", 1)
end
local group = redis.call("HMGET", KEYS[1], "owner", "version", "created")
return { group[1], group[2], group[3], before + added }
