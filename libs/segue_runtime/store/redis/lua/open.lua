-- Open the store, or create it: id, key, version and release of a new one. Answers what is stored.
local id, token_key, version, release = ARGV[2], ARGV[5], ARGV[6], ARGV[7]
if redis.call('EXISTS', key('store')) == 0 then
  if ARGV[8] == '0' then
    return { 'NO_STORE' }
  end
  redis.call('HSET', key('store'), 'id', id, 'token_key', token_key, 'version', version, 'release', release)
end
return { 'ok', unpack(redis.call('HMGET', key('store'), 'id', 'token_key', 'version', 'release')) }
