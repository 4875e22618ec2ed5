-- A person's view of an account's pauses. KEYS: health, suspects, cleared, the account's main health.
-- ARGV: pause|resume|ask, longest pause ms. Reply: {} or {wait ms, cause}.
if ARGV[1] == 'pause' then
  redis.call('HSET', KEYS[4], 'op', '1')
elseif ARGV[1] == 'resume' then
  redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
  redis.call('HDEL', KEYS[4], 'op')
end
local h = read_health(KEYS[1])
if paused_by_person(KEYS[4]) then return { OPERATOR_WAIT_MS, 'operator' } end
if h.pc then return { rest_of(h, now_ms(), tonumber(ARGV[2])), h.pc } end
return {}
