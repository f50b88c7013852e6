-- Jobs: a hash each.

local MAX_LISTED = 500

local function find_request(name, owner, request_id, digest)
  local earlier = redis.call('HGET', key('requests', owner), request_id)
  if not earlier then
    return nil
  end
  if job_fields(earlier, 'digest')[1] ~= digest then
    return { 'REQUEST_ID_REUSED', earlier, request_id }
  end
  return { 'ok', earlier, redis.call('HGETALL', key('job', earlier)) }
end

local function num_waiting_of(owner)
  local number = 0
  for _, kind in ipairs(redis.call('SMEMBERS', key('kinds'))) do
    for _, priority in ipairs(PRIORITIES) do
      number = number + redis.call('ZCARD', key('queue', kind, priority, owner))
    end
  end
  return number
end

-- Write an owner's weight and +running limit.
local function set_share(owner, weight, running)
  local weights, limits = key('owners', 'weight'), key('owners', 'running')
  if redis.call('HEXISTS', key('owners', 'number'), owner) == 0 then
    redis.call('HSET', key('owners', 'number'), owner, redis.call('INCR', key('owners', 'ids')))
  end
  local before_weight, before_limit = redis.call('HGET', weights, owner), redis.call('HGET', limits, owner)
  if before_weight == weight and before_limit == (running or false) then
    return
  end
  redis.call('HSET', weights, owner, weight)
  if running then
    redis.call('HSET', limits, owner, running)
  else
    redis.call('HDEL', limits, owner)
  end
  if before_weight then
    update_rings(owner)
  end
end

-- Return the refusal of an owner that has reached one of its limits, or nil. The limits are JSON; null is none.
local function refuse_beyond(limits, owner, audio_ms)
  if limits.queued ~= cjson.null then
    local num_queued = num_waiting_of(owner)
    if num_queued >= limits.queued then
      return { 'TOO_MANY_QUEUED', owner, text(num_queued), text(limits.queued) }
    end
  end
  if limits.audio_s_a_day ~= cjson.null and audio_ms > 0 then
    local made_s = number_of(redis.call('HGET', key('usage', text(math.floor(now / 86400)), owner), 'audio_s'))
    local asked_ms = number_of(redis.call('HGET', key('owners', 'asked_ms'), owner))
    if made_s * 1000 + asked_ms + audio_ms > limits.audio_s_a_day * 1000 then
      return { 'TOO_MUCH_AUDIO', owner, text(made_s), text(asked_ms), text(audio_ms), text(limits.audio_s_a_day),
        text(now) }
    end
  end
  if limits.storage_bytes ~= cjson.null and stored_bytes(owner) >= limits.storage_bytes then
    return { 'STORAGE', owner, text(stored_bytes(owner)), text(limits.storage_bytes) }
  end
  return nil
end

-- name, kind, owner, digest, limit, stamp, +request_id, +upload, +second_upload, +attached_s, weight, +running, the owner's other
-- limits (JSON), how much audio it makes, number of events, (kind, payload)…, (field, value)…
function operations.create(name, kind, owner, digest, limit, stamp, request_id, upload, second_upload, attached_s,
  weight, running, limits, audio_ms, num_events, ...)
  local rest = { ... }
  request_id, attached_s = option(request_id), option(attached_s)
  local uploads = { upload = option(upload), second_upload = option(second_upload) }
  if redis.call('EXISTS', key('job', name)) == 1 then
    return { 'ok', name, redis.call('HGETALL', key('job', name)) } -- a repetition, whose answer was lost
  end
  local earlier = request_id and find_request(name, owner, request_id, digest)
  if earlier then
    return earlier
  end
  for _, each in pairs(uploads) do
    if not upload_is_usable(each) then
      return { 'NO_UPLOAD', each }
    end
  end
  redis.call('SADD', key('kinds'), kind)
  local refused = refuse_beyond(cjson.decode(limits), owner, tonumber(audio_ms))
  if refused then
    return refused
  end
  local num_waiting = 0
  for _, each in ipairs(redis.call('SMEMBERS', key('kinds'))) do
    num_waiting = num_waiting + redis.call('ZCARD', key('waiting', each))
  end
  if num_waiting >= tonumber(limit) then
    return { 'QUEUE_FULL', text(num_waiting), limit }
  end
  set_share(owner, weight, option(running))
  count_asked(owner, tonumber(audio_ms))
  local id = redis.call('INCR', key('ids'))
  local last = 2 * tonumber(num_events)
  redis.call('HSET', key('job', name), 'id', id, 'kind', kind, 'owner', owner, 'digest', digest, 'epoch', 0,
    'claims', 0, 'last_sequence', num_events, 'last_stamp', last > 0 and stamp or 0, 'created', text(now),
    'alone', 0, 'lone_losses', 0, 'worked_s', 0, 'audio_ms', audio_ms, unpack(rest, last + 1))
  for index = 1, last, 2 do
    redis.call('XADD', key('log', name), (index + 1) / 2 .. '-0', 'k', rest[index], 'p', rest[index + 1], 's', stamp,
      't', text(now))
  end
  if request_id then
    redis.call('HSET', key('requests', owner), request_id, name)
    redis.call('HSET', key('job', name), 'request_id', request_id)
  end
  for field, each in pairs(uploads) do
    redis.call('SADD', key('upload', 'jobs', each), name)
    redis.call('HSET', key('job', name), field, each)
  end
  if attached_s then
    redis.call('HSET', key('job', name), 'attached_s', attached_s, 'attached_until',
      text(steady_now + tonumber(attached_s)))
  end
  redis.call('ZADD', key('owner', owner), id, name)
  redis.call('ZADD', key('kind', kind), id, name)
  join_queue(name, kind, owner, id, false)
  ring_bell('queue', kind)
  announce('accepted', name, kind, owner, job_fields(name, 'state')[1])
  return { 'ok', name, redis.call('HGETALL', key('job', name)) }
end

function operations.get(name)
  return { 'ok', redis.call('HGETALL', key('job', name)) }
end

local function has_labels(labels, wanted)
  for label, value in pairs(wanted) do
    if labels[label] ~= value then
      return false
    end
  end
  return true
end

-- The newest MAX_LISTED of all jobs of some kinds below an id, each name with its id after it.
local function newest_of_kinds(kinds, before)
  local every = {}
  for kind in pairs(kinds) do
    local names = redis.call('ZREVRANGEBYSCORE', key('kind', kind), before, '-inf', 'WITHSCORES', 'LIMIT', 0, MAX_LISTED)
    for index = 1, #names, 2 do
      every[#every + 1] = { names[index], names[index + 1] }
    end
  end
  table.sort(every, function(one, other)
    return tonumber(one[2]) > tonumber(other[2])
  end)
  local flat = {}
  for index = 1, math.min(#every, MAX_LISTED) do
    flat[2 * index - 1], flat[2 * index] = every[index][1], every[index][2]
  end
  return flat
end

-- +owner, kinds, states, labels (JSON), how many, the id to begin before: at most MAX_LISTED jobs are looked at. Answers
-- the id to continue before, or 0, and the jobs.
function operations.list(owner, kinds, states, labels, limit, before)
  local wanted_kinds, wanted_states = cjson.decode(kinds), cjson.decode(states)
  local wanted = cjson.decode(labels)
  owner = option(owner)
  local names = owner and redis.call('ZREVRANGEBYSCORE', key('owner', owner), before, '-inf', 'WITHSCORES', 'LIMIT', 0,
    MAX_LISTED) or newest_of_kinds(wanted_kinds, before)
  local found = {}
  for index = 1, #names, 2 do
    if #found == tonumber(limit) then
      return { 'ok', names[index - 1], found }
    end
    local job = job_fields(names[index], 'kind', 'state', 'labels')
    if job[1] and wanted_kinds[job[1]] and (not next(wanted_states) or wanted_states[job[2]])
      and has_labels(cjson.decode(job[3]), wanted) then
      found[#found + 1] = { names[index], redis.call('HGETALL', key('job', names[index])) }
    end
  end
  return { 'ok', #names == 2 * MAX_LISTED and names[#names] or '0', found }
end

function operations.scan(kind, after, limit)
  local names = redis.call('ZRANGEBYSCORE', key('kind', kind), '(' .. after, '+inf', 'LIMIT', 0, limit)
  local found = {}
  for _, name in ipairs(names) do
    found[#found + 1] = { name, redis.call('HGETALL', key('job', name)) }
  end
  return { 'ok', found }
end

function operations.expired(limit)
  local found = {}
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', key('expiring'), '-inf', text(now), 'LIMIT', 0, limit)) do
    found[#found + 1] = { name, redis.call('HGETALL', key('job', name)) }
  end
  return { 'ok', found }
end

function operations.delete(name)
  local job = job_fields(name, 'finished', 'kind', 'owner', 'request_id', 'id', 'stored_bytes')
  if not job[5] then
    return { 'NOT_FOUND', name }
  end
  if not job[1] then
    return { 'NOT_FINISHED', name }
  end
  redis.call('DEL', key('job', name), key('log', name), key('progress', name))
  redis.call('ZREM', key('owner', job[3]), name)
  redis.call('ZREM', key('kind', job[2]), name)
  redis.call('ZREM', key('expiring'), name)
  if job[4] then
    redis.call('HDEL', key('requests', job[3]), job[4])
  end
  count_stored(job[3], -number_of(job[6]))
  redis.call('INCR', key('deleted'))
  ring_bell('log', name)
  return { 'ok' }
end

function operations.num_deleted()
  return { 'ok', redis.call('GET', key('deleted')) or '0' }
end

-- Before all jobs are indexed again, which counts their bytes.
function operations.forget_stored()
  redis.call('DEL', key('stored'), key('owners', 'asked_ms'))
  return { 'ok' }
end

-- Put a job into the indexes of its state, and out of all others.
function operations.reindex(name)
  local job = job_fields(name, 'id', 'kind', 'owner', 'finished', 'claimed_by', 'cancel_reason', 'lease_until',
    'request_id', 'upload', 'expires', 'stored_bytes', 'audio_ms', 'second_upload')
  local id, kind, owner = job[1], job[2], job[3]
  if not id then
    return { 'ok' }
  end
  redis.call('SADD', key('kinds'), kind)
  redis.call('ZADD', key('owner', owner), id, name)
  redis.call('ZADD', key('kind', kind), id, name)
  leave_queue(name, kind, owner)
  redis.call('ZREM', key('leases', kind), name)
  redis.call('ZREM', key('running', owner), name)
  redis.call('ZREM', key('expiring'), name)
  if job[8] then
    redis.call('HSET', key('requests', owner), job[8], name)
  end
  for _, upload in pairs({ job[9] or nil, job[13] or nil }) do
    redis.call(job[4] and 'SREM' or 'SADD', key('upload', 'jobs', upload), name)
  end
  count_stored(owner, number_of(job[11]))
  count_asked(owner, job[4] and 0 or number_of(job[12]))
  if job[4] then
    redis.call('ZADD', key('expiring'), job[10], name)
  elseif job[5] then
    redis.call('ZADD', key('leases', kind), job[7], name)
    if not job[6] then
      redis.call('ZADD', key('running', owner), id, name)
    end
  else
    join_queue(name, kind, owner, id, job[6])
  end
  if tonumber(id) > number_of(redis.call('GET', key('ids'))) then
    redis.call('SET', key('ids'), id)
  end
  return { 'ok' }
end

-- Put all owners into the rings of their jobs, and out of all others.
function operations.reindex_owners()
  local owners = redis.call('HKEYS', key('owners', 'number'))
  for _, owner in ipairs(owners) do
    update_rings(owner)
  end
  return { 'ok', #owners }
end

-- Remove a member of a sorted set whose hash is not there any more.
function operations.forget(index, member, hash)
  if redis.call('EXISTS', hash) == 1 then
    return { 'ok', '0' }
  end
  return { 'ok', text(redis.call('ZREM', index, member)) }
end
