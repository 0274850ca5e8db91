-- Appends what a commit of an owner in another slot has for this one, once.
-- KEYS[1]: hash of owner → epoch:turn of its last commit that appended here. Then for each body its
--   stream, and its counter where ordinals count.
-- ARGV[1]: the owner. ARGV[2]: its epoch. ARGV[3]: the commit's turn. Then:
--   A maxlen body   appends; maxlen 0: untrimmed, else trimmed about there
--   N body          appends with the next ordinal
-- Returns 1 when it appended, 0 when that was done before.
local epoch, turn = tonumber(ARGV[2]), tonumber(ARGV[3])
local last = redis.call('HGET', KEYS[1], ARGV[1])
if last then
  local last_epoch, last_turn = string.match(last, '^(%d+):(%d+)$')
  last_epoch, last_turn = tonumber(last_epoch), tonumber(last_turn)
  if epoch < last_epoch or (epoch == last_epoch and turn <= last_turn) then return 0 end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ':' .. ARGV[3])
local k, a = 2, 4
while ARGV[a] do
  if ARGV[a] == 'N' then
    local ordinal = redis.call('INCR', KEYS[k + 1])
    redis.call('XADD', KEYS[k], '*', 'b', ARGV[a + 1], 'n', ordinal)
    k, a = k + 2, a + 2
  else
    if ARGV[a + 1] == '0' then
      redis.call('XADD', KEYS[k], '*', 'b', ARGV[a + 2])
    else
      redis.call('XADD', KEYS[k], 'MAXLEN', '~', ARGV[a + 1], '*', 'b', ARGV[a + 2])
    end
    k, a = k + 1, a + 3
  end
end
return 1
