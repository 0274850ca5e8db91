-- Announces a node and lists those that are alive; forgets those that are not.
-- KEYS[1]: hash of node id → when it was last heard (unix ms by this server's clock), ':', record.
-- ARGV[1]: the node's id. ARGV[2]: its record. ARGV[3]: after how many silent ms a node is dead.
-- Returns {1 if the node was listed before, else 0; the run id of this server; the records of the
-- live nodes, in no order}.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local added = redis.call('HSET', KEYS[1], ARGV[1], string.format('%d', now) .. ':' .. ARGV[2])
local all = redis.call('HGETALL', KEYS[1])
local live = {}
for i = 1, #all, 2 do
  local heard, record = string.match(all[i + 1], '^(%d+):(.*)$')
  if heard and now - heard < tonumber(ARGV[3]) then
    live[#live + 1] = record
  else
    redis.call('HDEL', KEYS[1], all[i])
  end
end
local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
return {1 - added, run_id or '', live}
