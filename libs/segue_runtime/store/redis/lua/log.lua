-- The log of a job: a stream with the ids `<sequence>-0`.

local function finish(name, retention_s, audio_s, stored_bytes)
  local job = job_fields(name, 'kind', 'owner', 'upload', 'state', 'lease_until', 'second_upload')
  local expires = text(now + tonumber(retention_s))
  redis.call('HSET', key('job', name), 'finished', text(now), 'expires', expires, 'stored_bytes',
    stored_bytes)
  redis.call('HDEL', key('job', name), 'claimed_by', 'lease_until', 'checkpoint')
  redis.call('ZREM', key('leases', job[1]), name)
  redis.call('ZADD', key('expiring'), expires, name)
  for _, upload in pairs({ job[3] or nil, job[6] or nil }) do
    redis.call('SREM', key('upload', 'jobs', upload), name)
  end
  end_running(name, job[2])
  count_asked(job[2], -number_of(redis.call('HGET', key('job', name), 'audio_ms')))
  forget_sections(name, job[5])
  count_usage(job[2], 'audio_s', tonumber(audio_s))
  count_usage(job[2], 'stored_bytes', tonumber(stored_bytes))
  count_stored(job[2], stored_bytes)
  announce('finished', name, job[1], job[2], job[4])
end

local HEARD_BYTES = 4096

-- Tell waiting readers of new rows, with the rows if they are few bytes: the name, the last sequence, the stamp of the
-- row before, theirs, the time, and of each row the kind, the number of its bytes, and these.
local function tell(name, last, after_stamp, stamp, rows)
  local num_bytes = 0
  for index = 2, #rows, 2 do
    num_bytes = num_bytes + #rows[index]
  end
  if num_bytes > HEARD_BYTES then
    ring_bell('log', name, last)
    return
  end
  local packed = {}
  for index = 1, #rows, 2 do
    packed[#packed + 1] = rows[index] .. '\0' .. #rows[index + 1] .. '\0' .. rows[index + 1]
  end
  ring_bell('log', name, last, after_stamp, stamp, text(now), table.concat(packed))
end

-- name, epoch, the row that it follows and its stamp, the new rows' stamp, +retention if the job ends, +resource,
-- +state, +checkpoint, what the job has delivered if it ends: seconds of audio and stored bytes, (kind, payload)…
function operations.append(name, epoch, after, after_stamp, stamp, retention_s, resource, state, checkpoint, audio_s,
    stored_bytes, ...)
  local rows = { ... }
  local job = job_fields(name, 'id', 'last_sequence', 'last_stamp', 'finished', 'claimed_by', 'epoch')
  if not job[1] then
    return { 'NOT_FOUND', name }
  end
  local last = tonumber(after) + #rows / 2
  if #rows > 0 and job[3] == stamp and tonumber(job[2]) == last then
    return { 'ok', text(last), text(now) } -- a repetition, whose answer was lost
  end
  if job[4] then
    return { 'LOG_ENDED', name, job[2] }
  end
  if not job[5] or job[6] ~= epoch then -- as `fence`, without reading the job twice
    return { 'FENCED', name, epoch }
  end
  if job[2] ~= after or job[3] ~= after_stamp then
    return { 'DIVERGED', name, job[2], after }
  end
  for index = 1, #rows, 2 do
    redis.call('XADD', key('log', name), tonumber(after) + (index + 1) / 2 .. '-0', 'k', rows[index],
      'p', rows[index + 1], 's', stamp, 't', text(now))
  end
  local changed = {}
  local function change(...)
    for _, each in ipairs({ ... }) do
      changed[#changed + 1] = each
    end
  end
  if #rows > 0 then
    change('last_sequence', text(last), 'last_stamp', stamp)
  end
  if option(resource) then
    change('resource', option(resource))
  end
  if option(state) then
    change('state', option(state))
  end
  if option(checkpoint) then
    change('checkpoint', option(checkpoint), 'claims', 0, 'alone', 0, 'lone_losses', 0)
  end
  if #changed > 0 then -- one command: each is written to the file of Redis
    redis.call('HSET', key('job', name), unpack(changed))
  end
  if option(retention_s) then
    finish(name, option(retention_s), audio_s, stored_bytes)
  end
  if #rows > 0 then
    tell(name, text(last), after_stamp, stamp, rows)
  end
  return { 'ok', text(last), text(now) }
end

function operations.read(name, after, limit, stamp)
  local last = job_fields(name, 'last_sequence')[1]
  if not last then
    return { 'NOT_FOUND', name }
  end
  if stamp ~= '0' then
    local known = redis.call('XRANGE', key('log', name), after .. '-0', after .. '-0')
    local fields = known[1] and known[1][2] or {}
    if fields[5] ~= 's' or fields[6] ~= stamp then
      return { 'TAIL_LOST', name, after }
    end
  end
  if tonumber(after) > tonumber(last) then
    return { 'CURSOR_AHEAD', name, last, after }
  end
  return { 'ok', redis.call('XRANGE', key('log', name), '(' .. after .. '-0', '+', 'COUNT', limit) }
end

local PROGRESS_S = 3600

function operations.set_progress(name, epoch, payload)
  local refused = fence(name, epoch)
  if refused then
    return refused
  end
  redis.call('SET', key('progress', name), payload, 'EX', PROGRESS_S)
  return { 'ok', text(redis.call('HINCRBY', key('job', name), 'progress', 1)) }
end

function operations.progress(name)
  local payload = redis.call('GET', key('progress', name))
  return { 'ok', job_fields(name, 'progress')[1] or '0', payload or '' }
end

-- Whether the server accepts a write.
function operations.check()
  redis.call('HSET', key('store'), 'checked', text(now))
  return { 'ok' }
end
