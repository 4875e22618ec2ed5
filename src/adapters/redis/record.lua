-- An ended claim is one packed string and not a hash: a hash with a value of more than 64 bytes
-- takes several times the memory, and there are as many ended claims as deliveries in a week.
--   k token that ended it, b '1' when it blocks other instances, i the instance that ended it,
--   p replay ids seen, o outcome
local function read_ended(key)
  if redis.call('TYPE', key).ok ~= 'string' then return nil end
  local v = cmsgpack.unpack(redis.call('GET', key))
  return { k = v[1], b = v[2], i = v[3], p = v[4], o = v[5] }
end

local function write_ended(key, e, ttl)
  redis.call('SET', key, cmsgpack.pack({ e.k, e.b, e.i, e.p, e.o }), 'PX', ttl)
end
