-- Ends or releases a claim, if it is still the caller's, and applies what the attempt said of the
-- provider's health. KEYS: claim, health, suspects, cleared.
-- ARGV: end|release, token, signal, then
--       end:     outcome, '1' when it blocks, instance
--       release: requests, retries, first attempt ms or '', unresolved ms or ''
-- Reply: 0 written (now or by an earlier run of this very call), 1 fenced: nothing was written.
local key, what, token = KEYS[1], ARGV[1], ARGV[2]

local c = read_claim(key)
if c then
  if c.s == 'e' then return what == 'end' and c.k == token and 0 or 1 end
  if what == 'release' and c.s == 'i' and c.k == token then return 0 end
  if c.k ~= token or c.s == 'i' then return 1 end
else
  -- A claim that is gone altogether was lost by the store: nobody else holds it, and writing down
  -- what is known keeps the delivery from being sent a second time.
  c = { p = '', e = '', t = '' }
end

if what == 'end' then
  local ended = { s = 'e', k = token, p = c.p, e = c.e, t = c.t, o = ARGV[4], b = ARGV[5], i = ARGV[6] }
  write_claim(key, ended, ENDED_TTL_MS)
else
  write_claim(key, {
    s = 'i', k = token, p = c.p, e = c.e, t = c.t, n = tonumber(ARGV[4]), r = tonumber(ARGV[5]),
    f = tonumber(ARGV[6]), u = tonumber(ARGV[7]),
  }, LIVE_TTL_MS)
end
apply_signal({ health = KEYS[2], suspects = KEYS[3], cleared = KEYS[4] }, ARGV[3], token)
return 0
