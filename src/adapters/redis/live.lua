-- The prologue of permits.lua in service: the store's own clock and identity.
local t = redis.call('TIME')
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
return permits(tonumber(t[1]) * 1000000 + tonumber(t[2]), run, ARGV)
