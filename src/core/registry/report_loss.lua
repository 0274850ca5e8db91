-- Records that Redis lost data, for every node to see at its next heartbeat.
-- KEYS[1]: when that was noticed last, unix ms. ARGV[1]: for how many ms one report stands for all.
-- Returns when it was noticed.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local before = tonumber(redis.call('GET', KEYS[1]) or 0)
if now - before < tonumber(ARGV[1]) then return before end
redis.call('SET', KEYS[1], string.format('%d', now))
return now
