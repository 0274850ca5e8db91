-- Records the partition counts at the first start ever; later ones read what was recorded.
-- KEYS[1]: hash of chat and user. ARGV[1]: chat partitions. ARGV[2]: user partitions.
-- Returns {chat, user} as recorded.
redis.call('HSETNX', KEYS[1], 'chat', ARGV[1])
redis.call('HSETNX', KEYS[1], 'user', ARGV[2])
return redis.call('HMGET', KEYS[1], 'chat', 'user')
