-- The provider found the account at fault while this delivery was sent.
-- KEYS: health, suspects, cleared, the account's main health, claim. ARGV: token, delivery id.
-- Reply: -1 the delivery itself is at fault, else how long the account is paused, ms.
local c = read_claim(KEYS[5])
local now, pause = now_ms(), CREDENTIALS_PAUSE_MS
local h = read_health(KEYS[1])
-- No longer the caller's: it says nothing, and only learns of the pause.
if c and (c.s == 'e' or c.k ~= ARGV[1]) then
  return math.max(PROBE_WAIT_MS, h.pc and rest_of(h, now, pause) or 0)
end
if redis.call('SISMEMBER', KEYS[3], ARGV[2]) == 1 then return -1 end
redis.call('DEL', KEYS[3])
redis.call('SADD', KEYS[2], ARGV[2])
redis.call('HSET', KEYS[1], 'pc', 'credentials', 'pu', now + pause)
redis.call('HDEL', KEYS[1], 'fl', 'bo')
if h.pt == ARGV[1] then redis.call('HDEL', KEYS[1], 'pt', 'pe') end
return pause
