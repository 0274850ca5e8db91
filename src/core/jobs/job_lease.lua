-- Gives a job to a node for some time, or renews that.
-- KEYS: the job. ARGV[1]: the node. ARGV[2]: for how long, ms.
-- Returns the epoch, which grows with each change of holder; 0 when another holds it or it is gone.
local lease = redis.call('HMGET', KEYS[1], 'state', 'owner', 'until', 'epoch')
if not lease[1] then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local epoch = tonumber(lease[4] or 0)
if lease[2] ~= ARGV[1] then
  if lease[2] and tonumber(lease[3]) > now then return 0 end
  epoch = epoch + 1
end
-- %d, because Lua writes numbers of this size with an exponent.
local ends = string.format('%d', now + ARGV[2])
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'until', ends, 'epoch', epoch)
return epoch
