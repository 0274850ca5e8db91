-- Removes sessions of one user partition that are still current, and publishes those as one entry.
-- KEYS[1]: hash of user → JSON array of [device, access, gateway, conn, epoch, since].
-- KEYS[2]: the user_state stream.
-- ARGV: user, device, gateway, conn, epoch of each session.
-- Returns how many were removed.
local events = {}
for a = 1, #ARGV, 5 do
  local user, device, gateway = ARGV[a], ARGV[a + 1], ARGV[a + 2]
  local conn, epoch = tonumber(ARGV[a + 3]), tonumber(ARGV[a + 4])
  local stored = redis.call('HGET', KEYS[1], user)
  local sessions = stored and cjson.decode(stored) or {}
  for i, s in ipairs(sessions) do
    if s[1] == device and s[3] == gateway and s[4] == conn and s[5] == epoch then
      table.remove(sessions, i)
      if #sessions == 0 then
        redis.call('HDEL', KEYS[1], user)
      else
        redis.call('HSET', KEYS[1], user, cjson.encode(sessions))
      end
      events[#events + 1] = {'offline', user, device, s[2], gateway, conn, epoch, s[6]}
      break
    end
  end
end
if #events > 0 then redis.call('XADD', KEYS[2], '*', 'b', cjson.encode(events)) end
return #events
