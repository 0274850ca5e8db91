-- How much of a stream waits, and since when, without moving any body.
-- KEYS[1]: the stream. ARGV[1]: its consumer group, empty where nobody settles it.
-- Returns {entries, id of the oldest entry or '', entries read and not settled, id of the oldest of
-- these or '', their readers}.
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
local length = redis.call('XLEN', KEYS[1])
-- An error where there is no such group: then nothing was read.
local pending = redis.pcall('XPENDING', KEYS[1], ARGV[1])
if pending.err then pending = {0} end
local readers = {}
for _, reader in ipairs(pending[4] or {}) do readers[#readers + 1] = reader[1] end
return {length, first and first[1] or '', pending[1], pending[2] or '', readers}
