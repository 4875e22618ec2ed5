-- Ends or releases claims of one account, each if it is still its caller's, and applies what its attempt
-- said of the provider's health. KEYS: health, suspects, cleared, the account's main health, then the
-- claims. ARGV, six for each claim: end|release, token, signal, then
--       end:     outcome, '1' when it blocks, instance
--       release: what its message remembers from now on (see read_remembered), '', ''
-- Reply, one for each claim: 0 written (now or by an earlier run of this very call), 1 fenced: nothing was
-- written.
local keys = { health = KEYS[1], suspects = KEYS[2], cleared = KEYS[3] }
local well = is_well(KEYS[1])

local function settle(key, what, token, x, y, z)
  -- A claim that is gone altogether was lost by the store: nobody else holds it, and writing down what is
  -- known keeps the delivery from being sent a second time.
  local p, e, t = '', '', ''
  local packed = redis.call('GET', key)
  if packed then
    local s, k
    s, k, p, e, t = cmsgpack.unpack(packed)
    if s == 'e' then return what == 'end' and k == token and 0 or 1, false end
    if what == 'release' and s == 'i' and k == token then return 0, false end
    if k ~= token or s == 'i' then return 1, false end
  end

  if what == 'end' then
    write_claim(key, packed_end(token, p, e, t, y, z, x), ENDED_TTL_MS)
  else
    local c = read_remembered(x)
    c.s, c.k, c.p, c.e, c.t = 'i', token, p, e, t
    write_claim(key, packed_claim(c), LIVE_TTL_MS)
  end
  return 0, true
end

local fenced = {}
for n = 1, #KEYS - 4 do
  local a = 6 * (n - 1)
  local token, signal = ARGV[a + 2], ARGV[a + 3]
  local written
  fenced[n], written = settle(KEYS[4 + n], ARGV[a + 1], token, ARGV[a + 4], ARGV[a + 5], ARGV[a + 6])
  -- Of an account that is well only a fault says anything new.
  if written and (signal == 'faulty' or not well) then
    apply_signal(keys, signal, token)
    well = false
  end
end
return fenced
