-- Asks for a claim. KEYS: claim, health, suspects, the account's main health.
-- ARGV: purpose (send|end), token, lease ms, instance, replay id or '', remembered requests,
--       retries, first attempt ms or '', unresolved ms or '', ttl ms, delivery id,
--       credentials pause ms, longest pause ms
-- Reply: {'a', now, probe, requests, retries, first or '', unresolved or ''}  acquired
--        {'h', rest ms}                                                held
--        {'e', outcome, 1 when by the same instance}                   ended
--        {'p', wait ms, cause}                                         the account is paused
--
-- A claim that has not ended is a hash: s state (s sending, h held to end it, i idle), k token of
-- the last holder, l end and d length of its lease, a start of its attempt, n requests, r retries,
-- f first attempt, u earliest unresolved attempt, p replay ids seen, e ends of earlier publishings,
-- t duplicates that were told.
-- record.lua has the others.
local key = KEYS[1]
local purpose, token, lease, instance, replay = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local remembered = {
  n = tonumber(ARGV[6]), r = tonumber(ARGV[7]), f = tonumber(ARGV[8]), u = tonumber(ARGV[9]),
}
local ttl, id, credentials_pause, longest = tonumber(ARGV[10]), ARGV[11], tonumber(ARGV[12]), tonumber(ARGV[13])
local now = now_ms()

local function earliest(a, b)
  if a and b then return math.min(a, b) end
  return a or b
end

-- A replay overrides an ended claim once, however often its message comes, even when another
-- replay of the same delivery came in between: so the last few are kept.
local function replay_seen(list)
  return string.find(list, '\n' .. replay .. '\n', 1, true) ~= nil
end

local function replay_added(list)
  local kept = { '\n' .. replay .. '\n' }
  for seen in string.gmatch(list, '[^\n]+') do
    if #kept < 16 then kept[#kept + 1] = seen .. '\n' end
  end
  return table.concat(kept)
end

local ended = read_ended(key)
local c
if ended then
  c = { n = 0, r = 0, p = ended.p, e = ended.e, t = ended.t }
else
  local v = redis.call('HMGET', key, 's', 'k', 'l', 'd', 'a', 'n', 'r', 'f', 'u', 'p', 'e', 't')
  c = {
    s = v[1], k = v[2], l = tonumber(v[3]), d = tonumber(v[4]), a = tonumber(v[5]),
    n = tonumber(v[6]) or 0, r = tonumber(v[7]) or 0, f = tonumber(v[8]), u = tonumber(v[9]),
    p = v[10] or '', e = v[11] or '', t = v[12] or '',
  }
end
local earlier = read_earlier(c.e)
if replay == '' or replay_seen(c.p) then
  if ended and ended.i == instance then return { 'e', ended.o, 1 } end
  local known = earlier_end(earlier, instance)
  if known then return { 'e', known, 1 } end
  local told = earlier_end(read_earlier(c.t), instance)
  if told then return { 'e', told, 0 } end
  if ended and ended.b == '1' then
    write_duplicate(key, ended, instance)
    return { 'e', ended.o, 0 }
  end
end
if c.s == 's' or c.s == 'h' then
  if c.l - now > c.d then
    -- The clock stepped back: the lease is counted from now, not for the length of the step.
    c.l = now + c.d
    redis.call('HSET', key, 'l', c.l)
  end
  if c.k == token then
    -- The answer to this very wish was lost, and nothing is sent before one is read: as if it had
    -- never been made.
    if c.s == 's' then
      c.n = c.n - 1
      if c.f == c.a then
        c.f = nil
        redis.call('HDEL', key, 'f')
      end
    end
    redis.call('HDEL', key, 'a', 'l', 'd', 'k')
    redis.call('HSET', key, 's', 'i', 'n', c.n)
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
if purpose == 'send' then
  local h = read_health(KEYS[2])
  if paused_by_person(KEYS[4]) then return { 'p', OPERATOR_WAIT_MS, 'operator' } end
  local throttled = rest_of_throttling(h, now)
  if throttled > 0 then return { 'p', throttled, 'throttled' } end
  if h.pc then
    local rest = rest_of(h, now, longest)
    if rest > 0 then return { 'p', rest, h.pc } end
    if h.pt and h.pt ~= token and now < h.pe then return { 'p', PROBE_WAIT_MS, h.pc } end
    -- The suspect itself probes only if no other delivery did for one more pause.
    if h.pc == 'credentials' and now < h.pu + credentials_pause
      and redis.call('SISMEMBER', KEYS[3], id) == 1 then
      return { 'p', PROBE_WAIT_MS, h.pc }
    end
    probe = true
  end
end

local before = {
  n = math.max(c.n, remembered.n), r = math.max(c.r, remembered.r),
  f = earliest(c.f, remembered.f), u = earliest(c.u, remembered.u),
}
if ended then redis.call('DEL', key) end
local fields = { 'k', token, 'l', now + lease, 'd', lease, 'r', before.r }
local function set(name, value)
  fields[#fields + 1] = name
  fields[#fields + 1] = value
end
if purpose == 'send' then
  set('s', 's')
  set('a', now)
  set('n', before.n + 1)
  set('f', earliest(before.f, now))
else
  set('s', 'h')
  set('n', before.n)
  if before.f then set('f', before.f) end
  redis.call('HDEL', key, 'a')
end
if before.u then set('u', before.u) end
if replay ~= '' and not replay_seen(c.p) then set('p', replay_added(c.p))
elseif ended and c.p ~= '' then set('p', c.p) end
if ended then set('e', with_end(earlier, ended.i, ended.o)) end
if ended and c.t ~= '' then set('t', c.t) end
redis.call('HSET', key, unpack(fields))
redis.call('PEXPIRE', key, ttl)
if probe then redis.call('HSET', KEYS[2], 'pt', token, 'pe', now + lease) end
return { 'a', now, probe and 1 or 0, before.n, before.r, before.f or '', before.u or '' }
