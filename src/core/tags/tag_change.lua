-- Gives users a tag, or takes it from them.
-- KEYS: users who have it, how many users have each tag, then for each user the tags of that user.
-- ARGV[1]: 'add' or 'remove'. ARGV[2]: the tag. ARGV[3]: tags per user at most. ARGV[4…]: the users.
-- Returns how many changed; -1, and nothing changes, when one would have too many tags.
local changed = 0
if ARGV[1] == 'add' then
  for i = 3, #KEYS do
    local full = redis.call('SCARD', KEYS[i]) >= tonumber(ARGV[3])
    if full and redis.call('SISMEMBER', KEYS[i], ARGV[2]) == 0 then return -1 end
  end
end
for i = 3, #KEYS do
  local command = ARGV[1] == 'add' and 'SADD' or 'SREM'
  changed = changed + redis.call(command, KEYS[1], ARGV[i + 1])
  redis.call(command, KEYS[i], ARGV[2])
end
local count = redis.call('SCARD', KEYS[1])
if count > 0 then
  redis.call('HSET', KEYS[2], ARGV[2], count)
else
  redis.call('HDEL', KEYS[2], ARGV[2])
end
return changed
