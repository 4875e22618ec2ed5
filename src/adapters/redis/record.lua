-- An ended claim is one packed string and not a hash: a hash with a value of more than 64 bytes
-- takes several times the memory, and there are as many ended claims as deliveries in a week.
--   k token that ended it, b '1' when it blocks other instances, i the instance that ended it,
--   p replay ids seen, o outcome, e ends of earlier publishings, t duplicates that were told
--
-- An end that blocks nobody is overwritten when another publishing of the delivery is claimed. Its
-- own message may still come again (its ack was lost), and must find the end that it was told: the
-- last few are kept, packed, newest first, as {instance, outcome}. In the same form those of which the
-- end of another made duplicates, with that end: a replay may override it before their messages come
-- again, and they must not end a second time.
local MOST_EARLIER = 8

local function read_earlier(packed)
  if not packed or packed == '' then return {} end
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

local function read_ended(key)
  if redis.call('TYPE', key).ok ~= 'string' then return nil end
  local v = cmsgpack.unpack(redis.call('GET', key))
  return { k = v[1], b = v[2], i = v[3], p = v[4], o = v[5], e = v[6] or '', t = v[7] or '' }
end

local function write_ended(key, e, ttl)
  redis.call('SET', key, cmsgpack.pack({ e.k, e.b, e.i, e.p, e.o, e.e, e.t }), 'PX', ttl)
end

-- Remembers a duplicate of an ended claim, which is kept no longer for it.
local function write_duplicate(key, ended, instance)
  local rest = redis.call('PTTL', key)
  if rest <= 0 then return end
  ended.t = with_end(read_earlier(ended.t), instance, ended.o)
  write_ended(key, ended, rest)
end
