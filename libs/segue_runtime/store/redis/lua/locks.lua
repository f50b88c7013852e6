-- Locks with an end, which their holder renews.

function operations.lock(name, token, lease_ms)
  if redis.call('SET', key('lock', name), token, 'NX', 'PX', lease_ms) then
    return { 'ok', '1' }
  end
  return operations.renew_lock(name, token, lease_ms)
end

function operations.renew_lock(name, token, lease_ms)
  if redis.call('GET', key('lock', name)) ~= token then
    return { 'ok', '0' }
  end
  redis.call('PEXPIRE', key('lock', name), lease_ms)
  return { 'ok', '1' }
end

function operations.unlock(name, token)
  if redis.call('GET', key('lock', name)) == token then
    redis.call('DEL', key('lock', name))
  end
  return { 'ok' }
end
