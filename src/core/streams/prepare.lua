-- The first lines of a commit on a Redis Cluster; commit.lua follows. A commit that appends in other
-- slots ends with step I, which keeps what is to be done there. It must not begin while an earlier
-- one of its owner is unfinished, or the appends of two commits could change places.
-- KEYS[#KEYS]: the intents. ARGV[#ARGV - 1]: this commit's name among them.
-- Returns -1 when another one is to be finished first.
if redis.call('HLEN', KEYS[#KEYS]) > redis.call('HEXISTS', KEYS[#KEYS], ARGV[#ARGV - 1]) then
  return -1
end
