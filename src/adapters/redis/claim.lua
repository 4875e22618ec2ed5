-- Asks for claims of one account. KEYS: health, suspects, cleared, the account's main health, then the
-- claims. ARGV, five for each claim: purpose (send|end), token, instance, replay id or '', what its message
--       remembers (see read_remembered)
-- Reply, one for each claim:
--        now                                                           acquired, and nothing was known of it
--        {'a', now, probe, requests, retries, first or '', unresolved or ''}  acquired
--        {'h', rest ms}                                                held
--        {'e', outcome, 1 when by the same instance}                   ended
--        {'p', wait ms, cause}                                         the account is paused
local now = now_ms()
-- No claim makes an account ill, so that one look does for all.
local well = is_well(KEYS[1], KEYS[4])
local rest_of_fresh = fresh_rest(now)

local function earliest(a, b)
  if a and b then return math.min(a, b) end
  return a or b
end

-- A replay overrides an ended claim once, however often its message comes, even when another
-- replay of the same delivery came in between: so the last few are kept.
local function replay_seen(list, replay)
  return string.find(list, '\n' .. replay .. '\n', 1, true) ~= nil
end

local function replay_added(list, replay)
  local kept = { '\n' .. replay .. '\n' }
  for seen in string.gmatch(list, '[^\n]+') do
    if #kept < 16 then kept[#kept + 1] = seen .. '\n' end
  end
  return table.concat(kept)
end

-- The end that this publishing of the delivery has already, and 1 when it is its own.
local function known_end(key, c, instance, replay)
  if replay ~= '' and not replay_seen(c.p, replay) then return nil end
  if c.s == 'e' and c.i == instance then return c.o, 1 end
  local known = earlier_end(read_earlier(c.e), instance)
  if known then return known, 1 end
  local told = earlier_end(read_earlier(c.t), instance)
  if told then return told, 0 end
  if c.s == 'e' and c.b == '1' then
    c.t = with_end(read_earlier(c.t), instance, c.o)
    change_claim(key, c)
    return c.o, 0
  end
  return nil
end

-- The delivery that a claim is for: no id has a brace.
local function id_of(key)
  return string.match(key, '^.*}:c:(.*)$')
end

-- The pause that a wish to send meets, as {wait ms, cause}; and whether it would be the probe.
local function pause_of_account(key, token)
  if well then return nil, false end
  if paused_by_person(KEYS[4]) then return { OPERATOR_WAIT_MS, 'operator' } end
  local h = read_health(KEYS[1])
  local throttled = rest_of_throttling(h, now)
  if throttled > 0 then return { throttled, 'throttled' } end
  if not h.pc then return nil, false end
  local rest = rest_of(h, now, LONGEST_PAUSE_MS)
  if rest > 0 then return { rest, h.pc } end
  if h.pt and h.pt ~= token and now < h.pe then return { PROBE_WAIT_MS, h.pc } end
  -- The suspect itself probes only if no other delivery did for one more pause.
  if h.pc == 'credentials' and now < h.pu + CREDENTIALS_PAUSE_MS
    and redis.call('SISMEMBER', KEYS[2], id_of(key)) == 1 then
    return { PROBE_WAIT_MS, h.pc }
  end
  return nil, true
end

local function answer(key, purpose, token, instance, replay, memory)
  local sends = purpose == 'send'
  local c = read_claim(key)
  if not c and sends and well and memory == '' and replay == '' then
    -- Nearly all deliveries: what follows comes to the same.
    write_claim(key, packed_fresh(token, rest_of_fresh), LIVE_TTL_MS)
    return now
  end
  if c then
    local outcome, same = known_end(key, c, instance, replay)
    if outcome then return { 'e', outcome, same } end
  end
  c = c or { p = '', e = '', t = '', n = 0, r = 0 }
  if c.s == 'e' then
    c.e = with_end(read_earlier(c.e), c.i, c.o)
    c.n, c.r = 0, 0
  elseif c.s == 's' or c.s == 'h' then
    if c.l - now > c.d then
      -- The clock stepped back: the lease is counted from now, not for the length of the step.
      c.l = now + c.d
      change_claim(key, c)
    end
    if c.k == token then
      -- The answer to this very wish was lost, and nothing is sent before one is read: as if it had
      -- never been made.
      if c.s == 's' then
        c.n = c.n - 1
        if c.f == c.a then c.f = false end
      end
      c.s, c.k, c.a, c.l, c.d = 'i', '', false, false, false
      change_claim(key, c)
    elseif now < c.l then
      return { 'h', c.l - now }
    elseif c.s == 's' then
      -- The holder died while sending: nobody knows what became of its request.
      c.u = earliest(c.u, c.a)
    end
  elseif c.s == 'i' and c.k == token then
    -- A wish that was repeated, granted and released meanwhile, and only now runs the first time.
    return { 'h', PROBE_WAIT_MS }
  end

  local probe = false
  if sends then
    local pause
    pause, probe = pause_of_account(key, token)
    if pause then return { 'p', pause[1], pause[2] } end
  end

  local remembered = read_remembered(memory)
  local before = {
    n = math.max(c.n, remembered.n), r = math.max(c.r, remembered.r),
    f = earliest(c.f, remembered.f), u = earliest(c.u, remembered.u),
  }
  local now_held = {
    s = sends and 's' or 'h', k = token, e = c.e, t = c.t,
    p = (replay ~= '' and not replay_seen(c.p, replay)) and replay_added(c.p, replay) or c.p,
    n = sends and before.n + 1 or before.n, r = before.r,
    f = sends and earliest(before.f, now) or before.f, u = before.u,
    a = sends and now, l = now + LEASE_MS, d = LEASE_MS,
  }
  write_claim(key, packed_claim(now_held), LIVE_TTL_MS)
  if probe then redis.call('HSET', KEYS[1], 'pt', token, 'pe', now + LEASE_MS) end
  return { 'a', now, probe and 1 or 0, before.n, before.r, before.f or '', before.u or '' }
end

local answers = {}
for n = 1, #KEYS - 4 do
  local a = 5 * (n - 1)
  answers[n] = answer(KEYS[4 + n], ARGV[a + 1], ARGV[a + 2], ARGV[a + 3], ARGV[a + 4], ARGV[a + 5])
end
return answers
