-- Adds a user to those who block the other side of a conversation.
-- KEYS[1]  blocks:{p}   hash: conversation id -> JSON array of user ids
-- ARGV[1]  conversation id
-- ARGV[2]  the user who blocks
-- Result   1 when that changed something, else 0
local text = redis.call("HGET", KEYS[1], ARGV[1])
local blockers = text and cjson.decode(text) or {}
for _, blocker in ipairs(blockers) do
  if blocker == ARGV[2] then
    return 0
  end
end
blockers[#blockers + 1] = ARGV[2]
redis.call("HSET", KEYS[1], ARGV[1], cjson.encode(blockers))
return 1
