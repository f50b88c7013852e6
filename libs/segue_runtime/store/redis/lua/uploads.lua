-- Uploads: a hash each, and their parts in a sorted set by offset.

local MAX_LISTED = 500

local function used_bytes(owner)
  return number_of(redis.call('HGET', key('uploads', 'bytes'), owner))
end

local function refuse_unless_open(name)
  local upload = redis.call('HMGET', key('upload', name), 'id', 'discarded', 'finished')
  if not upload[1] or upload[2] == '1' then
    return { 'NO_UPLOAD', name }
  end
  if upload[3] == '1' then
    return { 'UPLOAD_FINISHED', name }
  end
  return nil
end

local function refuse_bytes(owner, more, quota_bytes, storage_bytes)
  local used = used_bytes(owner)
  if used + more > tonumber(quota_bytes) then
    return { 'QUOTA', owner, 'bytes', text(used), quota_bytes }
  end
  local stored = stored_bytes(owner)
  if option(storage_bytes) and stored + more > tonumber(option(storage_bytes)) then
    return { 'STORAGE', owner, text(stored), option(storage_bytes) }
  end
  return nil
end

-- Limits in bytes and in uploads, and one of +all stored bytes of the owner; +size.
function operations.create_upload(name, owner, media_type, size, quota_bytes, max_uploads, storage_bytes)
  if redis.call('EXISTS', key('upload', name)) == 1 then
    return { 'ok', name, redis.call('HGETALL', key('upload', name)) }
  end
  local num_uploads = redis.call('ZCARD', key('uploads', 'of', owner))
  if num_uploads + 1 > tonumber(max_uploads) then
    return { 'QUOTA', owner, 'uploads', text(num_uploads), max_uploads }
  end
  local refused = refuse_bytes(owner, number_of(option(size)), quota_bytes, storage_bytes)
  if refused then
    return refused
  end
  local id = redis.call('INCR', key('uploads', 'ids'))
  redis.call('HSET', key('upload', name), 'id', id, 'owner', owner, 'media_type', media_type, 'offset', 0,
    'finished', 0, 'created', text(now), 'written', text(now), 'discarded', 0)
  if option(size) then
    redis.call('HSET', key('upload', name), 'size', option(size))
  end
  redis.call('ZADD', key('uploads', 'of', owner), id, name)
  redis.call('ZADD', key('uploads', 'all'), id, name)
  redis.call('ZADD', key('uploads', 'created'), text(now), name)
  redis.call('ZADD', key('uploads', 'written'), text(now), name)
  return { 'ok', name, redis.call('HGETALL', key('upload', name)) }
end

function operations.get_upload(name)
  if redis.call('HGET', key('upload', name), 'discarded') == '1' then
    return { 'ok', {} }
  end
  return { 'ok', redis.call('HGETALL', key('upload', name)) }
end

-- +owner, or those of all.
function operations.list_uploads(owner, before, limit)
  local found = {}
  local index = option(owner) and key('uploads', 'of', option(owner)) or key('uploads', 'all')
  for _, name in ipairs(redis.call('ZREVRANGEBYSCORE', index, before, '-inf', 'LIMIT', 0, limit)) do
    found[#found + 1] = { name, redis.call('HGETALL', key('upload', name)) }
  end
  return { 'ok', found }
end

function operations.advance_upload(name, offset, length, artifact, quota_bytes, max_parts, storage_bytes)
  local refused = refuse_unless_open(name)
  if refused then
    return refused
  end
  local upload = redis.call('HMGET', key('upload', name), 'owner', 'offset', 'size')
  local stop = tonumber(offset) + tonumber(length)
  if offset ~= upload[2] or (upload[3] and stop > tonumber(upload[3])) then
    return { 'OFFSET', name, upload[2], upload[3] or '' }
  end
  refused = refuse_bytes(upload[1], tonumber(length), quota_bytes, storage_bytes)
  if refused then
    return refused
  end
  local num_parts = redis.call('ZCARD', key('upload', 'parts', name))
  if num_parts >= tonumber(max_parts) then
    return { 'PARTS', name, text(num_parts), max_parts }
  end
  redis.call('ZADD', key('upload', 'parts', name), offset, table.concat({ offset, length, artifact }, ' '))
  redis.call('HSET', key('upload', name), 'offset', text(stop), 'written', text(now))
  redis.call('HINCRBY', key('uploads', 'bytes'), upload[1], length)
  count_usage(upload[1], 'stored_bytes', tonumber(length))
  redis.call('ZADD', key('uploads', 'written'), text(now), name)
  return { 'ok', name, redis.call('HGETALL', key('upload', name)) }
end

function operations.upload_parts(name)
  return { 'ok', redis.call('ZRANGE', key('upload', 'parts', name), 0, -1) }
end

function operations.finish_upload(name, digest)
  local refused = refuse_unless_open(name)
  if refused then
    return refused
  end
  local upload = redis.call('HMGET', key('upload', name), 'offset', 'size')
  if upload[2] and upload[1] ~= upload[2] then
    return { 'UNFINISHED', name, upload[1], upload[2] }
  end
  redis.call('DEL', key('upload', 'parts', name))
  redis.call('HSET', key('upload', name), 'finished', 1, 'digest', digest, 'size', upload[1])
  redis.call('ZREM', key('uploads', 'written'), name)
  return { 'ok', name, redis.call('HGETALL', key('upload', name)) }
end

function operations.discard_upload(name)
  local upload = redis.call('HMGET', key('upload', name), 'owner', 'offset', 'discarded', 'created')
  if not upload[1] then
    return { 'NO_UPLOAD', name }
  end
  local job = redis.call('SRANDMEMBER', key('upload', 'jobs', name))
  if job then
    return { 'UPLOAD_NEEDED', name, job }
  end
  if upload[3] ~= '1' then
    redis.call('HSET', key('upload', name), 'discarded', 1)
    redis.call('HINCRBY', key('uploads', 'bytes'), upload[1], text(0 - tonumber(upload[2])))
    redis.call('ZREM', key('uploads', 'of', upload[1]), name)
    redis.call('ZREM', key('uploads', 'all'), name)
    redis.call('ZREM', key('uploads', 'written'), name)
    redis.call('ZREM', key('uploads', 'created'), name)
    redis.call('ZADD', key('uploads', 'discarded'), upload[4], name)
  end
  return { 'ok' }
end

function operations.delete_upload(name)
  if redis.call('HGET', key('upload', name), 'discarded') == '1' then
    redis.call('DEL', key('upload', name), key('upload', 'parts', name))
    redis.call('ZREM', key('uploads', 'discarded'), name)
  end
  return { 'ok' }
end

-- Uploads that no unfinished job needs: discarded ones, those created and those written up to some times.
function operations.expired_uploads(limit, retention_s, silence_s)
  local found, seen = {}, {}
  local ranges = {
    { 'discarded', '+inf' },
    { 'created', text(now - tonumber(retention_s)) },
    { 'written', text(now - tonumber(silence_s)) },
  }
  for _, range in ipairs(ranges) do
    for _, name in ipairs(redis.call('ZRANGEBYSCORE', key('uploads', range[1]), '-inf', range[2], 'LIMIT', 0,
      MAX_LISTED)) do
      local is_needed = redis.call('EXISTS', key('upload', 'jobs', name)) == 1
      if #found < tonumber(limit) and not is_needed and not seen[name] then
        seen[name] = true
        found[#found + 1] = { name, redis.call('HGETALL', key('upload', name)) }
      end
    end
  end
  return { 'ok', found }
end

-- Before all uploads are indexed again, which counts their bytes.
function operations.forget_bytes()
  redis.call('DEL', key('uploads', 'bytes'))
  return { 'ok' }
end

-- Put an upload into the indexes of its state.
function operations.reindex_upload(name)
  local upload = redis.call('HMGET', key('upload', name), 'id', 'owner', 'discarded', 'finished', 'created', 'written')
  if not upload[1] then
    return { 'ok' }
  end
  local is_discarded, is_finished = upload[3] == '1', upload[4] == '1'
  if not is_discarded then
    redis.call('HINCRBY', key('uploads', 'bytes'), upload[2], redis.call('HGET', key('upload', name), 'offset'))
  end
  for _, index in ipairs({ key('uploads', 'of', upload[2]), key('uploads', 'all') }) do
    redis.call(is_discarded and 'ZREM' or 'ZADD', index, unpack(is_discarded and { name } or { upload[1], name }))
  end
  redis.call(is_discarded and 'ZREM' or 'ZADD', key('uploads', 'created'),
    unpack(is_discarded and { name } or { upload[5], name }))
  redis.call((is_discarded or is_finished) and 'ZREM' or 'ZADD', key('uploads', 'written'),
    unpack((is_discarded or is_finished) and { name } or { upload[6], name }))
  if is_discarded then
    redis.call('ZADD', key('uploads', 'discarded'), upload[5], name)
  end
  return { 'ok' }
end
