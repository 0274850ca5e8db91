-- Removes users from a group.
-- KEYS[1]  group:{p}:<gid>     hash: owner, version, created
-- KEYS[2]  members:{p}:<gid>   set of user ids
-- ARGV     the users; those who are no members are ignored
-- Result   {owner, version, created, member count}, or -1 when there is no such group
if redis.call("EXISTS", KEYS[1]) == 0 then
  return -1
end
-- Lua's stack holds about 8 000 values, so members go in slices.
local removed = 0
for first = 1, #ARGV, 1000 do
  removed = removed + redis.call("SREM", KEYS[2], unpack(ARGV, first, math.min(first + 999, #ARGV)))
end
if removed > 0 then
  redis.call("HINCRBY", KEYS[1], "version", 1)
end
local group = redis.call("HMGET", KEYS[1], "owner", "version", "created")
return { group[1], group[2], group[3], redis.call("SCARD", KEYS[2]) }
