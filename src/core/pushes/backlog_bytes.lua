-- Bytes that a stream takes, about. A script, because the command does not begin with its key.
-- KEYS[1]: the stream. ARGV: none.
-- Returns the bytes, 0 where there is no such stream.
return redis.call('MEMORY', 'USAGE', KEYS[1]) or 0
