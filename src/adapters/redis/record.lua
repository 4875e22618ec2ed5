-- A claim is one string, whatever its state: one command reads it and one writes it, and the ended ones, of
-- which there are as many as deliveries in a week, take a fraction of a hash's memory. It is values packed
-- one behind the other, not a packed table: then the usual delivery costs no table at all.
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
  local s, k, p, e, t, v6, v7, v8, v9, v10, v11, v12 = cmsgpack.unpack(packed)
  if s == 'e' then return { s = s, k = k, p = p, e = e, t = t, b = v6, i = v7, o = v8 } end
  return { s = s, k = k, p = p, e = e, t = t, n = v6, r = v7, f = v8, u = v9, a = v10, l = v11, d = v12 }
end

local function packed_end(k, p, e, t, b, i, o)
  return cmsgpack.pack('e', k, p, e, t, b, i, o)
end

local function packed_claim(c)
  if c.s == 'e' then return packed_end(c.k, c.p, c.e, c.t, c.b, c.i, c.o) end
  return cmsgpack.pack(
    c.s, c.k, c.p, c.e, c.t, c.n, c.r, c.f or false, c.u or false, c.a or false, c.l or false, c.d or false
  )
end

-- The first claim on a delivery of which nothing is known, by its head and the rest, which is the same for
-- all claims of one moment.
local function fresh_rest(now)
  return cmsgpack.pack('', '', '', 1, 0, now, false, now, now + LEASE_MS, LEASE_MS)
end

local function packed_fresh(token, rest)
  return cmsgpack.pack('s', token) .. rest
end

-- Writes a packed claim that is to be kept for so long, ms.
local function write_claim(key, packed, ttl)
  redis.call('SET', key, packed, 'PX', ttl)
end

-- Changes a claim that is kept no longer for it.
local function change_claim(key, c)
  redis.call('SET', key, packed_claim(c), 'KEEPTTL')
end

-- What a message remembers of earlier attempts: nothing, or requests, retries, first attempt and earliest
-- unresolved one, apart by spaces, '-' where there is none.
local function read_remembered(text)
  if text == '' then return { n = 0, r = 0 } end
  local n, r, f, u = string.match(text, '^(%d+) (%d+) (%S+) (%S+)$')
  return { n = tonumber(n), r = tonumber(r), f = tonumber(f), u = tonumber(u) }
end
