-- Renews a partition's lease for its holder or, when asked to, takes it if it is free.
-- The epoch grows with each change of holder and stays when the lease is given up. It never falls
-- behind this server's clock (unix ms), so that epochs go on growing where Redis has forgotten some.
-- KEYS[1]: the lease, a hash of owner, epoch, until (unix ms by this server's clock), and the turn of
--   its owner's last commit, which begins anew with each epoch; server, the run id of the process
--   that granted it; verified, the run id under which an owner found that nothing is missing;
--   was_epoch and was_turn, the last commit before this epoch.
-- ARGV[1]: the node. ARGV[2]: how long the lease lasts, ms. ARGV[3]: 1 to take it if it is free.
-- ARGV[4], ARGV[5]: an epoch that the node knows to have existed, and the turn of the last commit
--   that was confirmed to it under that epoch; 0 for none. A lease behind that has lost data: its
--   holder is given a new epoch. ARGV[6]: 1 if the node has held the partition ever since.
-- Returns {state, epoch, server, verified (1 or 0), epoch and turn of the last commit, lost (1 or 0)}:
--   state 1 held by the node, 0 held by another, 2 free and not taken.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lease = redis.call('HMGET', KEYS[1],
  'owner', 'epoch', 'until', 'turn', 'server', 'verified', 'was_epoch', 'was_turn')
local function number(i) return tonumber(lease[i] or 0) or 0 end
local owner, epoch, expires, turn = lease[1] or '', number(2), number(3), number(4)
local server, was_epoch, was_turn = lease[5] or '', number(7), number(8)
local known_epoch, known_turn = tonumber(ARGV[4]), tonumber(ARGV[5])
if turn > 0 then was_epoch, was_turn = epoch, turn end
-- %d, because Lua writes numbers of this size with an exponent.
local function text(value) return string.format('%d', value) end

local function run_id() return string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') or '' end

local function reply(state, lost)
  local verified = server ~= '' and lease[6] == server
  return {state, epoch, server, verified and 1 or 0, was_epoch, was_turn, lost and 1 or 0}
end

local holds = owner == ARGV[1]
local lost = known_epoch > epoch or (known_epoch == epoch and turn < known_turn)
-- Only an owner with a commit of its own can tell; any other begins anew if Redis did.
local witness = ARGV[6] == '1' and known_epoch == epoch and known_turn > 0
local unsure = holds and not witness and run_id() ~= server

-- Its own lease may have run out without anybody taking it: nothing has happened in between.
if holds and not lost and not unsure then
  redis.call('HSET', KEYS[1], 'until', text(now + ARGV[2]))
  return reply(1, false)
end
if not holds and owner ~= '' and expires > now then return reply(0, lost) end
-- What it held until now it is given again before anybody else asks.
local again = lost and ARGV[6] == '1'
if not holds and not again and ARGV[3] ~= '1' then return reply(2, false) end
epoch = math.max(epoch + 1, now, lost and known_epoch + 1 or 0)
server = run_id()
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'epoch', text(epoch), 'until', text(now + ARGV[2]),
  'turn', 0, 'server', server, 'was_epoch', text(was_epoch), 'was_turn', text(was_turn))
return reply(1, lost)
