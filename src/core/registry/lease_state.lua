-- Says who holds a lease, by the clock of the server that has it.
-- KEYS[1]: the lease, as lease.lua describes it. ARGV: none.
-- Returns {owner, or '' when nobody holds it, epoch}.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lease = redis.call('HMGET', KEYS[1], 'owner', 'epoch', 'until')
local holds = tonumber(lease[3] or 0) > now
return {holds and lease[1] or '', tonumber(lease[2] or 0)}
