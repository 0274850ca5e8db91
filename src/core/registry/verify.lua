-- Records that the owner of a lease found nothing missing under the process that granted it.
-- KEYS[1]: the lease. ARGV[1]: the node. ARGV[2]: the epoch. ARGV[3]: the run id of that process.
-- Returns 1 if it was recorded, 0 when the lease is another one by now.
local lease = redis.call('HMGET', KEYS[1], 'owner', 'epoch', 'server')
if lease[1] ~= ARGV[1] or lease[2] ~= ARGV[2] or lease[3] ~= ARGV[3] then return 0 end
redis.call('HSET', KEYS[1], 'verified', ARGV[3])
return 1
