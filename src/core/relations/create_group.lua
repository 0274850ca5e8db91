-- Creates a group with its members, as a whole or not at all.
-- KEYS[1]  group:{p}:<gid>     hash: owner, version, created
-- KEYS[2]  members:{p}:<gid>   set of user ids
-- ARGV[1]  owner's user id
-- ARGV[2]  creation time, unix milliseconds
-- ARGV[3…] the members, the owner among them; the caller has checked that they are not too many
-- Result   {owner, version, created, member count}, or -2 when the group exists
if redis.call("EXISTS", KEYS[1]) == 1 then
  return -2
end
-- A group is deleted with its members, so KEYS[2] is absent here. The first write may need memory,
-- which makes a full Redis refuse the script as a whole.
redis.call("HSET", KEYS[1], "owner", ARGV[1], "version", "1", "created", ARGV[2])
-- Lua's stack holds about 8 000 values, so members go in slices.
for first = 3, #ARGV, 1000 do
  redis.call("SADD", KEYS[2], unpack(ARGV, first, math.min(first + 999, #ARGV)))
end
return { ARGV[1], "1", ARGV[2], redis.call("SCARD", KEYS[2]) }
