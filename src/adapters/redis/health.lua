-- An account's health, shared by all workers. Prepended to every script that reads or changes it.
-- Where an account has several limits, each has a health of its own: they may go by other
-- credentials and addresses.
--
-- Fields of the health hash (all absent while the account is well):
--   op  '1' while a person has paused the whole account: in the main health only; only resuming
--       the account removes it
--   pc  cause of the pause: 'circuit' or 'credentials'
--   pu  end of the pause, ms; from then on the account is half open: one claim at a time probes it
--   bo  length of the circuit's present pause, ms
--   fl  faults in a row, while not paused
--   pt  token of the claim that probes
--   pe  end of that claim's lease, ms: a probe that died with its worker blocks nobody longer
--   tu  until when the provider asked for a pause of an account without a limit, ms. Of one with a
--       limit only counted requests pause, and their permits carry it.
local DAY_MS = 86400000
-- How long a worker leaves an account that a person paused before it looks again, ms.
local OPERATOR_WAIT_MS = 10000
-- How long a claim waits while another one probes, ms.
local PROBE_WAIT_MS = 1000

local function read_health(key)
  local v = redis.call('HMGET', key, 'pc', 'pu', 'bo', 'fl', 'pt', 'pe', 'tu')
  return {
    pc = v[1], pu = tonumber(v[2]) or 0, bo = tonumber(v[3]),
    fl = tonumber(v[4]) or 0, pt = v[5], pe = tonumber(v[6]) or 0, tu = tonumber(v[7]) or 0,
  }
end

local function paused_by_person(main)
  return redis.call('HGET', main, 'op') == '1'
end

-- The rest of a pause, ms. No pause is set longer than `longest`, so a longer rest means that the
-- clock stepped back: the pause counts as over rather than lasting for the length of that step.
local function rest_until(ends, now, longest)
  local rest = ends - now
  if rest < 0 or rest > longest then return 0 end
  return rest
end

local function rest_of(h, now, longest) return rest_until(h.pu, now, longest) end

local function rest_of_throttling(h, now) return rest_until(h.tu, now, DAY_MS) end

local function heal(keys, cause)
  redis.call('HDEL', keys.health, 'pc', 'pu', 'bo', 'fl', 'pt', 'pe')
  if cause == 'credentials' and redis.call('EXISTS', keys.suspects) == 1 then
    redis.call('RENAME', keys.suspects, keys.cleared)
    redis.call('PEXPIRE', keys.cleared, DAY_MS)
  end
end

local function fault_of_probe(keys, h, now)
  redis.call('HDEL', keys.health, 'pt', 'pe')
  if h.pc == 'credentials' then
    redis.call('HSET', keys.health, 'pu', now + CREDENTIALS_PAUSE_MS)
    return
  end
  local length = math.min((h.bo or CIRCUIT_PAUSE_MS) * 2, CIRCUIT_PAUSE_MAX_MS)
  redis.call('HSET', keys.health, 'pu', now + length, 'bo', length)
end

local function fault(keys, now)
  if redis.call('HINCRBY', keys.health, 'fl', 1) < CIRCUIT_FAILURES then return end
  local length = math.min(CIRCUIT_PAUSE_MS, CIRCUIT_PAUSE_MAX_MS)
  redis.call('HDEL', keys.health, 'fl')
  redis.call('HSET', keys.health, 'pc', 'circuit', 'pu', now + length, 'bo', length)
end

-- Whether nothing is noted of an account: all these keys are absent while it is well.
local function is_well(...)
  return redis.call('EXISTS', ...) == 0
end

-- What an answer of the provider says of the account. While it is paused only the probe has a say:
-- other answers belong to requests that were under way when the pause began.
local function apply_signal(keys, word, token)
  local h, now = read_health(keys.health), now_ms()
  local probe = h.pc and h.pt == token
  if word == 'healthy' then
    if probe then heal(keys, h.pc)
    elseif not h.pc and h.fl > 0 then redis.call('HDEL', keys.health, 'fl') end
  elseif word == 'faulty' then
    if probe then fault_of_probe(keys, h, now)
    elseif not h.pc then fault(keys, now) end
  elseif probe then
    redis.call('HDEL', keys.health, 'pt', 'pe')
  end
end
