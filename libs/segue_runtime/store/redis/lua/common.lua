-- Shared by all operations: time, errors, and the indexes of jobs.
--
-- ARGV: the operation, the id of the store, the time (empty: that of the server, which counts), and the operation's own
-- arguments. An operation answers {'ok', ...} or {REASON, ...}. Hashes are the truth; sorted sets are indexes, which
-- `segued store repair` can rebuild. Every loop is bounded by its arguments, by the number of kinds, or by a constant.

local PREFIX = 'segue:'
local MAX_TRIES = 64
local operations = {}
local now, steady_now
if ARGV[3] == '' then
  local time = redis.call('TIME')
  now = time[1] + time[2] / 1000000
  steady_now = now
else
  now, steady_now = tonumber(ARGV[3]), tonumber(ARGV[4])
end

local function key(...)
  return PREFIX .. table.concat({ ... }, ':')
end

-- Numbers lose digits when Lua makes texts of them.
local function text(number)
  return string.format('%.17g', number)
end

local function number_of(value)
  return tonumber(value or nil) or 0
end

local function is_set(value)
  return value and value ~= ''
end

-- Optional arguments are '-' or '+' with the value.
local function option(value)
  if string.sub(value, 1, 1) == '+' then
    return string.sub(value, 2)
  end
  return nil
end

local function ring_bell(...)
  redis.call('PUBLISH', PREFIX .. ARGV[2], table.concat({ ... }, '\0'))
end

local MAX_ANNOUNCED = 10000

-- Tell consumers outside, which read this stream in groups.
local function announce(what, name, kind, owner, state)
  redis.call('XADD', key('announced'), 'MAXLEN', '~', MAX_ANNOUNCED, '*', 'event', what, 'name', name, 'kind', kind,
    'owner', owner, 'state', state)
end

local function job_fields(name, ...)
  return redis.call('HMGET', key('job', name), ...)
end

local function kinds_of(first)
  if #ARGV < first then
    return redis.call('SMEMBERS', key('kinds'))
  end
  return { unpack(ARGV, first) }
end

-- The priorities of the queue, and the weighted turns of owners in each: segue_runtime.store.queue.turns explains them.
-- `ring` has the owners that may start a job, with their tags, and `parked` those at their running limit. The tags in a
-- ring are those of the moment they were written: as the present never passes the smallest tag, they stay true.
local PRIORITIES = { '3', '2', '1' }
local NORMAL = '2'
local STEP = 720720

local function weight_of(owner)
  return tonumber(redis.call('HGET', key('owners', 'weight'), owner) or '1')
end

local function tag_of(priority, owner)
  local present = number_of(redis.call('HGET', key('present'), priority))
  local served = redis.call('HGET', key('turns', priority), owner)
  if not served then
    return present
  end
  return math.max(present, tonumber(served) + math.floor(STEP / weight_of(owner)))
end

-- How many jobs an owner may start now, or nil for any number.
local function may_start(owner)
  local limit = redis.call('HGET', key('owners', 'running'), owner)
  return limit and math.max(0, tonumber(limit) - redis.call('ZCARD', key('running', owner))) or nil
end

-- Equal tags are in the order of members: the owner that was seen first comes first.
local function member_of(owner)
  return string.format('%012d', number_of(redis.call('HGET', key('owners', 'number'), owner))) .. owner
end

local function owner_of(member)
  return string.sub(member, 13)
end

local function update_ring(kind, priority, owner)
  local member = member_of(owner)
  redis.call('ZREM', key('ring', kind, priority), member)
  redis.call('ZREM', key('parked', kind, priority), member)
  if redis.call('EXISTS', key('queue', kind, priority, owner)) == 1 then
    local index = may_start(owner) == 0 and 'parked' or 'ring'
    redis.call('ZADD', key(index, kind, priority), text(tag_of(priority, owner)), member)
  end
end

local function update_rings(owner)
  for _, kind in ipairs(redis.call('SMEMBERS', key('kinds'))) do
    for _, priority in ipairs(PRIORITIES) do
      update_ring(kind, priority, owner)
    end
  end
end

local function leave_queue(name, kind, owner)
  local priority = redis.call('HGET', key('job', name), 'priority') or NORMAL
  redis.call('ZREM', key('ending', kind), name)
  redis.call('ZREM', key('waiting', kind), name)
  if redis.call('ZREM', key('queue', kind, priority, owner), name) == 1 then
    update_ring(kind, priority, owner)
  end
end

local function join_queue(name, kind, owner, id, is_ending)
  if is_ending then
    redis.call('ZADD', key('ending', kind), id, name)
    return
  end
  local priority = redis.call('HGET', key('job', name), 'priority') or NORMAL
  redis.call('ZADD', key('waiting', kind), id, name)
  redis.call('ZADD', key('queue', kind, priority, owner), id, name)
  update_ring(kind, priority, owner)
end

-- Count the audio that unfinished jobs of an owner will make.
local function count_asked(owner, audio_ms)
  if audio_ms ~= 0 and redis.call('HINCRBY', key('owners', 'asked_ms'), owner, text(audio_ms)) == 0 then
    redis.call('HDEL', key('owners', 'asked_ms'), owner)
  end
end

local function is_limited(owner)
  return redis.call('HEXISTS', key('owners', 'running'), owner) == 1
end

local function begin_running(name, owner, id)
  redis.call('ZADD', key('running', owner), id, name)
  if is_limited(owner) then
    update_rings(owner)
  end
end

-- A limited owner's next job may start now: tell the conductors that wait for one.
local function end_running(name, owner)
  if redis.call('ZREM', key('running', owner), name) == 1 and is_limited(owner) then
    update_rings(owner)
    for _, kind in ipairs(redis.call('SMEMBERS', key('kinds'))) do
      ring_bell('queue', kind)
    end
  end
end

-- Whether a lease is held: from its last renewal to its end. A second of tolerance covers rounding.
local function is_held(lease_until, lease_s)
  if not lease_until then
    return false
  end
  local ends = tonumber(lease_until)
  return steady_now >= ends - number_of(lease_s) - 1 and steady_now <= ends
end

-- What is counted for a day is kept so long after its last change.
local KEPT_S = 400 * 86400

-- Add an amount to today's usage of an owner.
local function count_usage(owner, item, amount)
  if amount <= 0 then
    return
  end
  local day = text(math.floor(now / 86400))
  redis.call('HINCRBYFLOAT', key('usage', day, owner), item, text(amount))
  redis.call('EXPIRE', key('usage', day, owner), KEPT_S)
  redis.call('ZADD', key('usage', 'owners', day), 0, owner)
  redis.call('EXPIRE', key('usage', 'owners', day), KEPT_S)
end

-- A section's lease has ended with the lease of its claim at the latest.
local function count_lease(owner, model, leased_at, lease_until)
  local until_s = steady_now
  if lease_until and (tonumber(lease_until) < until_s or tonumber(leased_at) > until_s) then
    until_s = tonumber(lease_until)
  end
  count_usage(owner, 'rendered_s:' .. cjson.decode(model)[1], until_s - tonumber(leased_at))
end

local MAX_SECTIONS = 4096

local function forget_section(ticket, lease_until)
  local section = redis.call('HMGET', key('section', ticket), 'job', 'owner', 'model', 'leased_at')
  redis.call('DEL', key('section', ticket))
  redis.call('ZREM', key('line'), ticket)
  redis.call('ZREM', key('line', 'waiting'), ticket)
  if section[1] then
    redis.call('SREM', key('line', 'of', section[1]), ticket)
  end
  if section[4] then
    count_lease(section[2], section[3], section[4], lease_until)
  end
  redis.call('INCR', key('line', 'version'))
  ring_bell('line', ticket)
end

-- The sections of a claim leave the line with it; its lease ends or ended at `lease_until`.
local function forget_sections(name, lease_until)
  local tickets = redis.call('SRANDMEMBER', key('line', 'of', name), MAX_SECTIONS)
  for _, ticket in ipairs(tickets) do
    forget_section(ticket, lease_until)
  end
end

-- Return the refusal of a write under an epoch that does not hold the job, or nil.
local function fence(name, epoch)
  local job = job_fields(name, 'id', 'finished', 'claimed_by', 'epoch')
  if not job[1] then
    return { 'NOT_FOUND', name }
  end
  if job[2] or not job[3] or job[4] ~= epoch then
    return { 'FENCED', name, epoch }
  end
  return nil
end

-- The size of an owner's ended jobs.
local function stored_bytes(owner)
  return number_of(redis.call('HGET', key('stored'), owner))
    + number_of(redis.call('HGET', key('uploads', 'bytes'), owner))
end

local function count_stored(owner, num_bytes)
  num_bytes = tonumber(num_bytes)
  if num_bytes ~= 0 and redis.call('HINCRBY', key('stored'), owner, text(num_bytes)) == 0 then
    redis.call('HDEL', key('stored'), owner)
  end
end

local function upload_is_usable(name)
  local upload = redis.call('HMGET', key('upload', name), 'finished', 'discarded')
  return upload[1] == '1' and upload[2] ~= '1'
end
