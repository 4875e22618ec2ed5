-- Permits of one pool. The bound that this keeps is proved in permits.rs. All times are whole
-- microseconds, which doubles hold exactly; they are written with %.0f because tostring rounds.
--
-- `now` and `run` are passed in so that tests can drive them; live.lua reads the real ones.
--
-- Fields of the pool's hash:
--   tat   the next free slot
--   run   the store's run id when it was written: another one means that writes may be missing
--   at    `now` of the last run: a smaller `now` means that the clock stepped back
--   eff   the interval with which slots were granted last
--   int   the longest interval in use by any worker, and used: when it was used last
--   pu    end of the provider's pause, and pat: when that was written
-- The sibling hash counts slots by second in a ring of 128, only for people to look at.
local RING = 128

local function text(x) return string.format('%.0f', x) end

local function read_pool(key, now)
  local v = redis.call('HMGET', key, 'tat', 'run', 'at', 'eff', 'int', 'used', 'pu', 'pat')
  local p = {
    tat = tonumber(v[1]), run = v[2], at = tonumber(v[3]), eff = tonumber(v[4]),
    int = tonumber(v[5]), used = tonumber(v[6]), pu = tonumber(v[7]) or 0, pat = tonumber(v[8]) or 0,
  }
  -- The clock stepped back: a pause keeps its length, not its end.
  if now < p.pat then
    p.pu = p.pu - (p.pat - now)
    p.pat = now
  end
  return p
end

-- The lower limit holds while workers disagree, and for one window after it was last used.
local function interval_in_force(p, own, now, memory)
  local used = p.used and math.min(p.used, now)
  if p.int and p.int > own and now - used <= memory then return p.int, p.int, used end
  return own, own, now
end

-- The first slot after what was known is lost: past every slot that may have been granted before.
local function cold(now, eff, burst, horizon)
  return now + math.max(horizon, burst * eff) + eff
end

-- After the interval grew, the slots since now - spread are charged at the new one, so that no
-- window that starts from now on holds more than the new limit; beyond one window after the last
-- old slot there is nothing left to charge.
local function recharged(p, now, eff, horizon, spread, memory)
  local from = now - spread
  if not p.eff or eff <= p.eff or p.tat <= from then return p.tat end
  local charged = from + math.ceil((p.tat - from) / p.eff * eff)
  return math.min(charged, math.max(p.tat, now + horizon + memory))
end

local function first_free(p, now, run, eff, burst, horizon, spread, memory, reset)
  local start = cold(now, eff, burst, horizon)
  if not p.tat or p.run ~= run or not p.at or now < p.at then return start end
  local tat = recharged(p, now, eff, horizon, spread, memory)
  if reset then return math.max(tat, start) end
  return tat
end

local function count_slots(key, now, slots)
  local by_second = {}
  for _, offset in ipairs(slots) do
    local second = math.floor((now + offset) / 1000000)
    by_second[second] = (by_second[second] or 0) + 1
  end
  for second, count in pairs(by_second) do
    local field = tostring(second % RING)
    local old = redis.call('HGET', key, field)
    local old_second, old_count = string.match(old or '', '(%d+) (%d+)')
    if tonumber(old_second) == second then count = count + tonumber(old_count) end
    redis.call('HSET', key, field, text(second) .. ' ' .. text(count))
  end
  if #slots > 0 then redis.call('EXPIRE', key, 120) end
end

local function rest_of_pause(p, now) return math.max(0, p.pu - now) end

-- A pool without a limit: only a pause holds it back.
local function take_unlimited(keys, now, run, want)
  local rest = rest_of_pause(read_pool(keys.pool, now), now)
  local reply = { now, run, rest, rest > 0 and rest or -1 }
  local slots = {}
  if rest == 0 then
    for i = 1, want do slots[i] = 0 end
  end
  count_slots(keys.counts, now, slots)
  for i = 1, #slots do reply[#reply + 1] = 0 end
  return reply
end

-- a: want, interval, burst, horizon, spread (slot width + jitter), memory (longest window +
-- spread), reset. Reply: {now, run, rest of the pause, wait before asking again or -1, slots as
-- offsets from now …}.
local function take(keys, now, run, a)
  if a.interval == 0 then return take_unlimited(keys, now, run, a.want) end
  local p = read_pool(keys.pool, now)
  local eff, int, used = interval_in_force(p, a.interval, now, a.memory)
  local tat = first_free(p, now, run, eff, a.burst, a.horizon, a.spread, a.memory, a.reset)
  local rest = rest_of_pause(p, now)
  local slots = {}
  if rest == 0 then
    -- A pause gathers no credit for a burst.
    tat = math.max(tat, p.pu)
    if now >= tat then
      local at_once = math.min(a.want, a.burst, math.floor((now - tat) / eff) + 1)
      for i = 1, at_once do slots[i] = 0 end
      tat = now + at_once * eff
    end
    while #slots < a.want and tat <= now + a.horizon do
      slots[#slots + 1] = tat - now
      tat = tat + eff
    end
  end
  redis.call('HSET', keys.pool, 'tat', text(tat), 'run', run, 'at', text(now), 'eff', text(eff),
    'int', text(int), 'used', text(used), 'pu', text(p.pu), 'pat', text(p.pat))
  count_slots(keys.counts, now, slots)
  local wait = -1
  if #slots < a.want then wait = math.max(rest, math.max(tat, p.pu) - a.horizon - now, 0) end
  local reply = { now, run, rest, wait }
  for _, offset in ipairs(slots) do reply[#reply + 1] = offset end
  return reply
end

local function pause_pool(keys, now, wait)
  local p = read_pool(keys.pool, now)
  local ends = math.max(p.pu, now + wait)
  redis.call('HSET', keys.pool, 'pu', text(ends), 'pat', text(now))
  return ends - now
end

-- {slots of the last 60 s, rest of the pause, time to the next free slot, interval granted last or 0}
local function usage(keys, now)
  local second, sum = math.floor(now / 1000000), 0
  for _, value in ipairs(redis.call('HVALS', keys.counts)) do
    local at, count = string.match(value, '(%d+) (%d+)')
    at = tonumber(at)
    if at > second - 60 and at <= second then sum = sum + tonumber(count) end
  end
  local p = read_pool(keys.pool, now)
  local rest = rest_of_pause(p, now)
  return { sum, rest, math.max(rest, (p.tat or now) - now), p.eff or 0 }
end

-- KEYS: pool, counts. args: take, want, interval, burst, horizon, spread, memory, '1' to reset;
-- or pause, wait; or usage.
local function permits(now, run, args)
  local keys = { pool = KEYS[1], counts = KEYS[2] }
  if args[1] == 'take' then
    return take(keys, now, run, {
      want = tonumber(args[2]), interval = tonumber(args[3]), burst = tonumber(args[4]),
      horizon = tonumber(args[5]), spread = tonumber(args[6]), memory = tonumber(args[7]),
      reset = args[8] == '1',
    })
  end
  if args[1] == 'pause' then return pause_pool(keys, now, tonumber(args[2])) end
  return usage(keys, now)
end
