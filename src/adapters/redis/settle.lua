-- Ends or releases a claim, if it is still the caller's, and applies what the attempt said of the
-- provider's health. KEYS: claim, health, suspects, cleared.
-- ARGV: end|release, token, ttl ms, signal, failures, pause ms, longest circuit pause ms,
--       credentials pause ms, then
--       end:     outcome, '1' when it blocks, instance
--       release: requests, retries, first attempt ms or '', unresolved ms or ''
-- Reply: 0 written (now or by an earlier run of this very call), 1 fenced: nothing was written.
local key, what, token = KEYS[1], ARGV[1], ARGV[2]

local ended = read_ended(key)
if ended then return what == 'end' and ended.k == token and 0 or 1 end
local state = redis.call('HMGET', key, 's', 'k', 'p', 'e', 't')
if what == 'release' and state[1] == 'i' and state[2] == token then return 0 end
local ours = state[2] == token and (state[1] == 's' or state[1] == 'h')
-- A claim that is gone altogether was lost by the store: nobody else holds it, and writing down
-- what is known keeps the delivery from being sent a second time.
if state[1] and not ours then return 1 end

if what == 'end' then
  write_ended(key, {
    k = token, b = ARGV[10], i = ARGV[11], p = state[3] or '', o = ARGV[9], e = state[4] or '',
    t = state[5] or '',
  }, ARGV[3])
else
  redis.call('HDEL', key, 'l', 'd', 'a', 'f', 'u')
  redis.call('HSET', key, 's', 'i', 'k', token, 'n', ARGV[9], 'r', ARGV[10])
  if ARGV[11] ~= '' then redis.call('HSET', key, 'f', ARGV[11]) end
  if ARGV[12] ~= '' then redis.call('HSET', key, 'u', ARGV[12]) end
  redis.call('PEXPIRE', key, ARGV[3])
end

local keys = { health = KEYS[2], suspects = KEYS[3], cleared = KEYS[4] }
apply_signal(keys, ARGV[4], token, now_ms(), {
  failures = tonumber(ARGV[5]), pause = tonumber(ARGV[6]), pause_max = tonumber(ARGV[7]),
  credentials_pause = tonumber(ARGV[8]),
})
return 0
