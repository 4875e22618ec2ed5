-- A person's view of an account's pauses, and the provider's wish for one. KEYS: health, suspects, cleared, the account's main health.
-- ARGV: pause|resume|ask|throttle, length of the throttling ms. Reply: {} or {wait ms, cause}.
if ARGV[1] == 'pause' then
  redis.call('HSET', KEYS[4], 'op', '1')
elseif ARGV[1] == 'resume' then
  redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
  redis.call('HDEL', KEYS[4], 'op')
end
local now = now_ms()
local h = read_health(KEYS[1])
if ARGV[1] == 'throttle' then
  h.tu = now + math.max(tonumber(ARGV[2]), rest_of_throttling(h, now))
  redis.call('HSET', KEYS[1], 'tu', h.tu)
end
if paused_by_person(KEYS[4]) then return { OPERATOR_WAIT_MS, 'operator' } end
if h.pc then return { rest_of(h, now, LONGEST_PAUSE_MS), h.pc } end
local throttled = rest_of_throttling(h, now)
if throttled > 0 then return { throttled, 'throttled' } end
return {}
