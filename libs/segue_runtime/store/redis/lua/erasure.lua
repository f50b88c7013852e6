-- The end of an owner without jobs and uploads.

local USAGE_DAYS = 402

function operations.discarded_uploads(owner)
  local found = {}
  for _, name in ipairs(redis.call('ZRANGE', key('uploads', 'discarded'), 0, -1)) do
    if redis.call('HGET', key('upload', name), 'owner') == owner then
      found[#found + 1] = name
    end
  end
  return { 'ok', found }
end

function operations.erase(owner)
  local left = redis.call('ZRANGE', key('owner', owner), 0, 0)[1]
    or redis.call('ZRANGE', key('uploads', 'of', owner), 0, 0)[1]
    or operations.discarded_uploads(owner)[2][1]
  if left then
    return { 'NOT_ERASED', owner, left }
  end
  redis.call('DEL', key('owner', owner), key('requests', owner), key('running', owner), key('uploads', 'of', owner))
  for _, index in ipairs({ key('owners', 'weight'), key('owners', 'running'), key('owners', 'number'),
    key('owners', 'asked_ms'), key('stored'), key('uploads', 'bytes'), key('line', 'turns') }) do
    redis.call('HDEL', index, owner)
  end
  for _, priority in ipairs(PRIORITIES) do
    redis.call('HDEL', key('turns', priority), owner)
  end
  local num_days, today = 0, math.floor(now / 86400)
  for day = today - USAGE_DAYS, today + 1 do
    num_days = num_days + redis.call('DEL', key('usage', text(day), owner))
    redis.call('ZREM', key('usage', 'owners', text(day)), owner)
  end
  return { 'ok', text(num_days) }
end

local function fields_of(flat)
  local fields = {}
  for index = 1, #flat, 2 do
    fields[flat[index]] = flat[index + 1]
  end
  return fields
end

local function groups_of(stream)
  local found = {}
  for _, each in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local group = fields_of(each)
    found[#found + 1] = { name = group['name'], last = group['last-delivered-id'],
      pending = redis.call('XPENDING', stream, group['name'], '-', '+', 2 * MAX_ANNOUNCED) }
  end
  return found
end

-- A deleted entry of a stream stays in its memory and files: the stream of announcements is made anew, with its groups.
function operations.erase_announcements(owner)
  local stream, kept, is_kept = key('announced'), {}, {}
  local entries = redis.call('XRANGE', stream, '-', '+', 'COUNT', 2 * MAX_ANNOUNCED)
  for _, entry in ipairs(entries) do
    if fields_of(entry[2])['owner'] ~= owner then
      kept[#kept + 1] = entry
      is_kept[entry[1]] = true
    end
  end
  if #kept == #entries then
    return { 'ok' }
  end
  local groups = groups_of(stream)
  local last = fields_of(redis.call('XINFO', 'STREAM', stream))['last-generated-id']
  redis.call('DEL', stream)
  for _, entry in ipairs(kept) do
    redis.call('XADD', stream, entry[1], unpack(entry[2]))
  end
  if not is_kept[last] then
    redis.call('XADD', stream, last, 'event', 'none')
    redis.call('XDEL', stream, last)
  end
  for _, group in ipairs(groups) do
    redis.call('XGROUP', 'CREATE', stream, group.name, group.last)
    for _, each in ipairs(group.pending) do
      if is_kept[each[1]] then
        redis.call('XCLAIM', stream, group.name, each[2], 0, each[1], 'IDLE', each[3], 'RETRYCOUNT', each[4], 'FORCE',
          'JUSTID')
      end
    end
  end
  return { 'ok' }
end
