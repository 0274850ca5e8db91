-- Renews a partition's lease for its holder or, when asked to, takes it if it is free.
-- The epoch grows with each change of holder and stays when the lease is given up.
-- KEYS[1]: the lease, a hash of owner, epoch, until (unix ms by this server's clock), and the turn of
--   its owner's last commit, which begins anew with each epoch.
-- ARGV[1]: the node. ARGV[2]: how long the lease lasts, ms. ARGV[3]: 1 to take it if it is free.
-- Returns {state, epoch}: state 1 held by the node, 0 held by another, 2 free and not taken.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lease = redis.call('HMGET', KEYS[1], 'owner', 'epoch', 'until')
local owner, epoch, expires = lease[1] or '', tonumber(lease[2] or 0), tonumber(lease[3] or 0)
-- %d, because Lua writes numbers of this size with an exponent.
local ends = string.format('%d', now + ARGV[2])

-- Its own lease may have run out without anybody taking it: nothing has happened in between.
if owner == ARGV[1] then
  redis.call('HSET', KEYS[1], 'until', ends)
  return {1, epoch}
end
if owner ~= '' and expires > now then return {0, epoch} end
if ARGV[3] ~= '1' then return {2, epoch} end
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'epoch', epoch + 1, 'until', ends, 'turn', 0)
return {1, epoch + 1}
