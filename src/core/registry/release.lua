-- Gives a lease up, keeping its epoch, if it is still the one that the node was given.
-- KEYS[1]: the lease. ARGV[1]: the node. ARGV[2]: the epoch.
-- Returns 1 if it was given up, else 0.
local lease = redis.call('HMGET', KEYS[1], 'owner', 'epoch')
if lease[1] ~= ARGV[1] or lease[2] ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'owner', '', 'until', 0)
return 1
