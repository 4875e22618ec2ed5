-- Ends or releases claims of one account, each if it is still its caller's, and applies what its attempt
-- said of the provider's health. KEYS: health, suspects, cleared, the account's main health, then the
-- claims. ARGV, seven for each claim: end|release, token, signal, then
--       end:     outcome, '1' when it blocks, instance, ''
--       release: requests, retries, first attempt ms or '', unresolved ms or ''
-- Reply, one for each claim: 0 written (now or by an earlier run of this very call), 1 fenced: nothing was
-- written.
local keys = { health = KEYS[1], suspects = KEYS[2], cleared = KEYS[3] }
local well = is_well(KEYS[1])

local function settle(key, what, token, w, x, y, z)
  local c = read_claim(key)
  if c then
    if c.s == 'e' then return what == 'end' and c.k == token and 0 or 1, false end
    if what == 'release' and c.s == 'i' and c.k == token then return 0, false end
    if c.k ~= token or c.s == 'i' then return 1, false end
  else
    -- A claim that is gone altogether was lost by the store: nobody else holds it, and writing down
    -- what is known keeps the delivery from being sent a second time.
    c = { p = '', e = '', t = '' }
  end

  if what == 'end' then
    write_claim(key, { s = 'e', k = token, p = c.p, e = c.e, t = c.t, o = w, b = x, i = y }, ENDED_TTL_MS)
  else
    write_claim(key, {
      s = 'i', k = token, p = c.p, e = c.e, t = c.t,
      n = tonumber(w), r = tonumber(x), f = tonumber(y), u = tonumber(z),
    }, LIVE_TTL_MS)
  end
  return 0, true
end

local fenced = {}
for n = 1, #KEYS - 4 do
  local a = 7 * (n - 1)
  local token, signal = ARGV[a + 2], ARGV[a + 3]
  local written
  fenced[n], written =
    settle(KEYS[4 + n], ARGV[a + 1], token, ARGV[a + 4], ARGV[a + 5], ARGV[a + 6], ARGV[a + 7])
  -- Of an account that is well only a fault says anything new.
  if written and (signal == 'faulty' or not well) then
    apply_signal(keys, signal, token)
    well = false
  end
end
return fenced
