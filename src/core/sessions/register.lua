-- Registers a batch of sessions of one user partition and publishes them as one stream entry.
-- KEYS[1]: hash of user → JSON array of [device, access, gateway, conn, epoch, since].
-- KEYS[2]: the epoch counter. KEYS[3]: the user_state stream.
-- ARGV[1]: most devices of a user. ARGV[2]: the access node that registers.
-- ARGV[3 …]: user, device, gateway, conn, since of each session.
-- Returns for each session its epoch (0: refused) and the JSON of the one it replaced, or ''. A late
-- registration is refused in favour of a later one, which is then the second value.
local devices_max, access = tonumber(ARGV[1]), ARGV[2]
local result, events = {}, {}
for a = 3, #ARGV, 5 do
  local user, device, gateway = ARGV[a], ARGV[a + 1], ARGV[a + 2]
  local conn, since = tonumber(ARGV[a + 3]), tonumber(ARGV[a + 4])
  local stored = redis.call('HGET', KEYS[1], user)
  local sessions = stored and cjson.decode(stored) or {}
  local at = #sessions + 1
  for i, session in ipairs(sessions) do
    if session[1] == device then at = i end
  end
  local old = sessions[at]
  if not old and #sessions >= devices_max then
    result[#result + 1] = 0
    result[#result + 1] = ''
  elseif old and since < old[6] then
    result[#result + 1] = 0
    result[#result + 1] = cjson.encode(old)
  else
    local epoch = redis.call('INCR', KEYS[2])
    sessions[at] = {device, access, gateway, conn, epoch, since}
    redis.call('HSET', KEYS[1], user, cjson.encode(sessions))
    events[#events + 1] = {'online', user, device, access, gateway, conn, epoch, since}
    -- The same connection through another access node replaces nobody.
    local replaced = old and not (old[3] == gateway and old[4] == conn)
    result[#result + 1] = epoch
    result[#result + 1] = replaced and cjson.encode(old) or ''
  end
end
if #events > 0 then redis.call('XADD', KEYS[3], '*', 'b', cjson.encode(events)) end
return result
