-- Appends messages to push_task that were not appended under their names before, as one entry.
-- KEYS[1]: push_task. KEYS[2…]: the names. ARGV[1]: for how long they are known, s.
-- ARGV[2…]: for each name what it stands for, headers parted by commas, messages after line feeds.
-- Returns what each name stands for.
local names = {}
for i = 2, #KEYS do names[i - 1] = redis.call('GET', KEYS[i]) end
local headers, lines, new = {}, {}, {}
for i = 1, #KEYS - 1 do
  if not names[i] then
    local a = 3 * i - 1
    names[i] = ARGV[a]
    headers[#headers + 1], lines[#lines + 1], new[#new + 1] = ARGV[a + 1], ARGV[a + 2], i
  end
end
if #new > 0 then
  local body = '[[],[' .. table.concat(headers, ',') .. ']]' .. table.concat(lines)
  redis.call('XADD', KEYS[1], '*', 'b', body)
  for _, i in ipairs(new) do redis.call('SET', KEYS[i + 1], names[i], 'EX', ARGV[1]) end
end
return names
