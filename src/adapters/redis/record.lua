-- A claim is one packed string, whatever its state: one command reads it and one writes it, and the
-- ended ones, of which there are as many as deliveries in a week, take a fraction of a hash's memory.
--   s state: 's' sending, 'h' held to end it, 'i' idle, 'e' ended
--   k token of the last holder
--   p replay ids seen, e ends of earlier publishings, t duplicates that were told
-- While it has not ended:
--   n requests, r retries, f first attempt, u earliest unresolved attempt, a start of its attempt,
--   l end and d length of its lease; moments in ms, false where there is none
-- Once it has:
--   b '1' when it blocks other instances, i the instance that ended it, o outcome
--
-- An end that blocks nobody is overwritten when another publishing of the delivery is claimed. Its
-- own message may still come again (its ack was lost), and must find the end that it was told: the
-- last few are kept, packed, newest first, as {instance, outcome}. In the same form those of which the
-- end of another made duplicates, with that end: a replay may override it before their messages come
-- again, and they must not end a second time.
local MOST_EARLIER = 8

local function read_earlier(packed)
  if packed == '' then return {} end
  return cmsgpack.unpack(packed)
end

local function earlier_end(earlier, instance)
  for _, known in ipairs(earlier) do
    if known[1] == instance then return known[2] end
  end
  return nil
end

local function with_end(earlier, instance, outcome)
  local kept = { { instance, outcome } }
  for _, known in ipairs(earlier) do
    if #kept < MOST_EARLIER and known[1] ~= instance then kept[#kept + 1] = known end
  end
  return cmsgpack.pack(kept)
end

-- The claim, or nil where there is none.
local function read_claim(key)
  local packed = redis.call('GET', key)
  if not packed then return nil end
  local v = cmsgpack.unpack(packed)
  local c = { s = v[1], k = v[2], p = v[3], e = v[4], t = v[5] }
  if c.s == 'e' then
    c.b, c.i, c.o = v[6], v[7], v[8]
  else
    c.n, c.r, c.f, c.u, c.a, c.l, c.d = v[6], v[7], v[8], v[9], v[10], v[11], v[12]
  end
  return c
end

local function packed_claim(c)
  if c.s == 'e' then return cmsgpack.pack({ 'e', c.k, c.p, c.e, c.t, c.b, c.i, c.o }) end
  return cmsgpack.pack({
    c.s, c.k, c.p, c.e, c.t, c.n, c.r, c.f or false, c.u or false, c.a or false, c.l or false, c.d or false,
  })
end

-- Writes a claim that is to be kept for so long, ms.
local function write_claim(key, c, ttl)
  redis.call('SET', key, packed_claim(c), 'PX', ttl)
end

-- Changes a claim that is kept no longer for it.
local function change_claim(key, c)
  redis.call('SET', key, packed_claim(c), 'KEEPTTL')
end
