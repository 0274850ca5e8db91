-- Changes fields of a job that is in one of some states.
-- KEYS: the job. ARGV[1]: the states, between spaces, such as ' running paused '.
-- ARGV[2…]: fields and their values.
-- Returns {1 or 0, all its fields and values}, or nil when it is gone.
local state = redis.call('HGET', KEYS[1], 'state')
if not state then return nil end
local changed = 0
if string.find(ARGV[1], ' ' .. state .. ' ', 1, true) then
  changed = 1
  if #ARGV > 1 then redis.call('HSET', KEYS[1], unpack(ARGV, 2)) end
end
return {changed, redis.call('HGETALL', KEYS[1])}
