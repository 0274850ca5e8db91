-- Bars a user's connections: the registrations of sessions check it.
-- KEYS[1]: hash of user → JSON of {tokens: unix s, kicks: {device or '': unix ms}}.
-- ARGV[1]: the user. ARGV[2]: tokens issued before this (unix s) are refused; 0: no change.
-- ARGV[3]: 1 to refuse connections made up to now. ARGV[4]: of which device, '' for all.
-- ARGV[5]: for how many seconds kicks are remembered.
-- Returns the moment of the kick, unix ms.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local stored = redis.call('HGET', KEYS[1], ARGV[1])
local bar = stored and cjson.decode(stored) or {tokens = 0, kicks = {}}
bar.tokens = math.max(bar.tokens, tonumber(ARGV[2]))
local kicks, oldest = {}, now - ARGV[5] * 1000
for device, at in pairs(bar.kicks) do
  if at > oldest then kicks[device] = at end
end
if ARGV[3] == '1' then kicks[ARGV[4]] = now end
bar.kicks = kicks
redis.call('HSET', KEYS[1], ARGV[1], cjson.encode(bar))
return now
