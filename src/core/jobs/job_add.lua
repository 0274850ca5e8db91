-- Takes users into the list of a job's recipients, each once, unless the job was stopped or its
-- list closed.
-- KEYS: the partition's counts, the set of those who are in already, the list of chunks.
-- ARGV[1]: how long they live, s. ARGV[2]: users per chunk at most. ARGV[3…]: the users.
-- Returns how many were new.
local part = redis.call('HMGET', KEYS[1], 'stop', 'sealed')
if part[1] or part[2] then return 0 end
local new = {}
for i = 3, #ARGV do
  if redis.call('SADD', KEYS[2], ARGV[i]) == 1 then new[#new + 1] = ARGV[i] end
end
local most = tonumber(ARGV[2])
for from = 1, #new, most do
  local to = math.min(from + most - 1, #new)
  redis.call('RPUSH', KEYS[3], table.concat(new, '\n', from, to))
end
redis.call('HINCRBY', KEYS[1], 'accepted', #new)
redis.call('HINCRBY', KEYS[1], 'duplicates', #ARGV - 2 - #new)
for i = 1, 3 do redis.call('EXPIRE', KEYS[i], ARGV[1]) end
return #new
