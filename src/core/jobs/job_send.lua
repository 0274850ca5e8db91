-- Sends the first chunk of a list: onto push_task and off the list in one step, or not at all.
-- KEYS: the partition's counts, the list of chunks, push_task.
-- ARGV[1]: how many were sent before, as the caller believes. ARGV[2]: users of the chunk.
-- ARGV[3]: the entry's body.
-- Returns 1, or 0 when the job stands elsewhere, is held, was stopped, or is gone.
local part = redis.call('HMGET', KEYS[1], 'sent', 'stop', 'hold', 'accepted')
if part[2] or part[3] or not part[4] or redis.call('LLEN', KEYS[2]) == 0 then return 0 end
if (part[1] or '0') ~= ARGV[1] then return 0 end
-- First what a full Redis may refuse, so that such a refusal leaves nothing.
redis.call('XADD', KEYS[3], '*', 'b', ARGV[3])
redis.call('LPOP', KEYS[2])
redis.call('HINCRBY', KEYS[1], 'sent', ARGV[2])
return 1
