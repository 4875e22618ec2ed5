-- The workers' reports. KEYS: the hash of all reports; a field is a worker's name, its value the
-- store's clock in ms, a space, and what it saw as JSON.
-- ARGV: report, worker, JSON or '' to take it back, longest age ms. Reply: 0.
-- ARGV: read, '', '', longest age ms. Reply: {age ms, JSON, age ms, JSON …}.
local key, now, longest = KEYS[1], now_ms(), tonumber(ARGV[4])
local all, reply = redis.call('HGETALL', key), {}
for i = 1, #all, 2 do
  local at, told = string.match(all[i + 1], '^(%d+) (.*)$')
  local age = at and math.max(0, now - tonumber(at))
  if ARGV[1] == 'read' then
    if age and age <= longest then
      reply[#reply + 1] = age
      reply[#reply + 1] = told
    end
  elseif not age or age > longest then
    redis.call('HDEL', key, all[i])
  end
end
if ARGV[1] == 'read' then return reply end
if ARGV[3] == '' then
  redis.call('HDEL', key, ARGV[2])
else
  redis.call('HSET', key, ARGV[2], string.format('%.0f ', now) .. ARGV[3])
  redis.call('PEXPIRE', key, longest)
end
return 0
