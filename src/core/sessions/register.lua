-- Registers a batch of sessions of one user partition and publishes them as one stream entry.
-- KEYS[1]: hash of user → JSON array of [device, access, gateway, conn, epoch, since].
-- KEYS[2]: the epoch counter. KEYS[3]: the bars, as bar.lua writes them. KEYS[4]: the user_state
--   stream.
-- ARGV[1]: most devices of a user. ARGV[2]: the access node that registers.
-- ARGV[3 …]: user, device, gateway, conn, since, issued_at (unix s) of each session.
-- Returns for each session its epoch (0: refused) and the JSON of the one it replaced, or ''. A late
-- registration is refused in favour of a later one, which is then the second value. One that a bar
-- refuses has the reason there: 'kicked' or 'token_revoked'.
-- Epochs follow this server's clock (unix ms) and grow by one within a millisecond, so that they go
-- on growing where Redis has forgotten the counter.
local devices_max, access = tonumber(ARGV[1]), ARGV[2]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local last = tonumber(redis.call('GET', KEYS[2]) or 0)
local result, events = {}, {}

local function barred(user, device, since, issued_at)
  local stored = redis.call('HGET', KEYS[3], user)
  if not stored then return nil end
  local bar = cjson.decode(stored)
  if issued_at < bar.tokens then return 'token_revoked' end
  if since <= math.max(bar.kicks[''] or 0, bar.kicks[device] or 0) then return 'kicked' end
end

for a = 3, #ARGV, 6 do
  local user, device, gateway = ARGV[a], ARGV[a + 1], ARGV[a + 2]
  local conn, since = tonumber(ARGV[a + 3]), tonumber(ARGV[a + 4])
  local stored = redis.call('HGET', KEYS[1], user)
  local sessions = stored and cjson.decode(stored) or {}
  local at = #sessions + 1
  for i, session in ipairs(sessions) do
    if session[1] == device then at = i end
  end
  local old = sessions[at]
  local refused = barred(user, device, since, tonumber(ARGV[a + 5]))
  if refused then
    result[#result + 1] = 0
    result[#result + 1] = refused
  elseif not old and #sessions >= devices_max then
    result[#result + 1] = 0
    result[#result + 1] = ''
  elseif old and since < old[6] then
    result[#result + 1] = 0
    result[#result + 1] = cjson.encode(old)
  else
    local epoch = math.max(last + 1, now)
    last = epoch
    sessions[at] = {device, access, gateway, conn, epoch, since}
    redis.call('HSET', KEYS[1], user, cjson.encode(sessions))
    events[#events + 1] = {'online', user, device, access, gateway, conn, epoch, since}
    -- The same connection through another access node replaces nobody.
    local replaced = old and not (old[3] == gateway and old[4] == conn)
    result[#result + 1] = epoch
    result[#result + 1] = replaced and cjson.encode(old) or ''
  end
end
if #events > 0 then
  redis.call('SET', KEYS[2], string.format('%d', last))
  redis.call('XADD', KEYS[4], '*', 'b', cjson.encode(events))
end
return result
