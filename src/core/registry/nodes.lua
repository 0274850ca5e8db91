-- Lists the nodes that are alive, by the clock of the server that has the list.
-- KEYS[1]: hash of node id → when it was last heard (unix ms by this server's clock), ':', record.
-- ARGV[1]: after how many silent ms a node is dead.
-- Returns the records of the live nodes, in no order.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local live = {}
for _, value in ipairs(redis.call('HVALS', KEYS[1])) do
  local heard, record = string.match(value, '^(%d+):(.*)$')
  if heard and now - heard < tonumber(ARGV[1]) then live[#live + 1] = record end
end
return live
