-- Applies everything an owner decided in one step, or nothing if it is not the owner any more.
-- Steps that can be refused for lack of memory come first, so that such a refusal leaves nothing.
-- KEYS[1]: the lease. Further KEYS, in the order of the steps that name them:
--   P, D: the map. Q, X: the slice, the list of slices. A: the stream. N: the stream, its counter.
--   S: the stream. I: the intents.
-- ARGV[1]: the epoch. ARGV[2]: the commit's turn, 0 for none. ARGV[3]: the turn of the last commit that
--   was confirmed under this epoch; without it, data was lost. Then the steps, one after the other:
--   P count field value …                    sets `count` / 2 fields of a map
--   Q slice expire_at count field value …    the same in a slice that expires (unix s; 0: never)
--   A maxlen body                            appends; maxlen 0: untrimmed, else trimmed about there
--   N body                                   appends with the next ordinal
--   D count field …                          deletes fields of a map
--   X slice                                  forgets a slice
--   S group count id …                       acknowledges and deletes entries
--   I name intent                            keeps what is to be done in other slots (prepare.lua)
-- Returns 1, or 0 when the lease has another epoch or not that turn.
local lease = redis.call('HMGET', KEYS[1], 'epoch', 'turn')
if lease[1] ~= ARGV[1] then return 0 end
if tonumber(lease[2] or 0) < tonumber(ARGV[3]) then return 0 end
if ARGV[2] ~= '0' then
  -- Applied before: this is a repetition, or a copy that was late.
  if tonumber(ARGV[2]) <= tonumber(lease[2] or 0) then return 1 end
  redis.call('HSET', KEYS[1], 'turn', ARGV[2])
end

-- Lua unpacks a few thousand values at once at most; 4 000 is even, so pairs stay together.
local CHUNK = 4000
local function chunked(first, count, apply)
  for from = first, first + count - 1, CHUNK do
    apply(from, math.min(from + CHUNK, first + count) - 1)
  end
end

local k, a = 2, 4
local step = {}

local function put(key, first, count)
  chunked(first, count, function(from, to)
    redis.call('HSET', key, unpack(ARGV, from, to))
  end)
end

function step.P()
  local count = tonumber(ARGV[a + 1])
  put(KEYS[k], a + 2, count)
  k, a = k + 1, a + 2 + count
end

function step.Q()
  local slice, expire_at, count = ARGV[a + 1], ARGV[a + 2], tonumber(ARGV[a + 3])
  put(KEYS[k], a + 4, count)
  -- Once per slice, not once per commit: each write is one more record in the append-only file.
  -- A slice that was forgotten already and is written again has no expiry yet: -1.
  local listed = redis.call('HGET', KEYS[k + 1], slice) == expire_at
  if not listed then redis.call('HSET', KEYS[k + 1], slice, expire_at) end
  if expire_at ~= '0' and (not listed or redis.call('TTL', KEYS[k]) == -1) then
    redis.call('EXPIREAT', KEYS[k], expire_at)
  end
  k, a = k + 2, a + 4 + count
end

function step.A()
  if ARGV[a + 1] == '0' then
    redis.call('XADD', KEYS[k], '*', 'b', ARGV[a + 2])
  else
    redis.call('XADD', KEYS[k], 'MAXLEN', '~', ARGV[a + 1], '*', 'b', ARGV[a + 2])
  end
  k, a = k + 1, a + 3
end

function step.N()
  local ordinal = redis.call('INCR', KEYS[k + 1])
  redis.call('XADD', KEYS[k], '*', 'b', ARGV[a + 1], 'n', ordinal)
  k, a = k + 2, a + 2
end

function step.D()
  local count = tonumber(ARGV[a + 1])
  chunked(a + 2, count, function(from, to)
    redis.call('HDEL', KEYS[k], unpack(ARGV, from, to))
  end)
  k, a = k + 1, a + 2 + count
end

function step.X()
  redis.call('UNLINK', KEYS[k])
  redis.call('HDEL', KEYS[k + 1], ARGV[a + 1])
  k, a = k + 2, a + 2
end

function step.S()
  local count = tonumber(ARGV[a + 2])
  chunked(a + 3, count, function(from, to)
    -- The group may be gone after a FLUSHALL; the entries are then gone as well.
    redis.pcall('XACK', KEYS[k], ARGV[a + 1], unpack(ARGV, from, to))
    redis.call('XDEL', KEYS[k], unpack(ARGV, from, to))
  end)
  k, a = k + 1, a + 3 + count
end

function step.I()
  redis.call('HSET', KEYS[k], ARGV[a + 1], ARGV[a + 2])
  k, a = k + 1, a + 3
end

while ARGV[a] do step[ARGV[a]]() end
return 1
