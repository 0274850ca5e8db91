-- Removes a user from those who block the other side of a conversation.
-- KEYS[1]  blocks:{p}   hash: conversation id -> JSON array of user ids
-- ARGV[1]  conversation id
-- ARGV[2]  the user who blocks no more
-- Result   1 when that changed something, else 0
local text = redis.call("HGET", KEYS[1], ARGV[1])
if not text then
  return 0
end
local kept = {}
local changed = 0
for _, blocker in ipairs(cjson.decode(text)) do
  if blocker == ARGV[2] then
    changed = 1
  else
    kept[#kept + 1] = blocker
  end
end
-- An empty Lua table would be written as {}, which is no array; and nobody is what absence means.
if #kept == 0 then
  redis.call("HDEL", KEYS[1], ARGV[1])
else
  redis.call("HSET", KEYS[1], ARGV[1], cjson.encode(kept))
end
return changed
