-- Whether the store can be used: it says who it is (which needs INFO) and takes a write (which a
-- replica, a full disk or a full memory refuses). KEYS: a key of no meaning.
-- Reply: {'ok', now µs, run id} or {'info', the error}.
local info = redis.pcall('INFO', 'server')
if type(info) == 'table' then return { 'info', tostring(info.err) } end
redis.call('SET', KEYS[1], '1', 'PX', 1000)
local t = redis.call('TIME')
return { 'ok', tonumber(t[1]) * 1000000 + tonumber(t[2]), string.match(info, 'run_id:(%x+)') or '' }
