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

-- An owner without a turn stands before all others, by its oldest job.
local NEW_OWNER = -4503599627370496

local function update_ring(kind, owner)
  local oldest = redis.call('ZRANGE', key('queue', kind, owner), 0, 0, 'WITHSCORES')
  if #oldest == 0 then
    redis.call('ZREM', key('ring', kind), owner)
    return
  end
  local turn = redis.call('HGET', key('turns'), owner)
  redis.call('ZADD', key('ring', kind), turn or (NEW_OWNER + tonumber(oldest[2])), owner)
end

local function leave_queue(name, kind, owner)
  redis.call('ZREM', key('ending', kind), name)
  redis.call('ZREM', key('waiting', kind), name)
  if redis.call('ZREM', key('queue', kind, owner), name) == 1 then
    update_ring(kind, owner)
  end
end

local function join_queue(name, kind, owner, id, is_ending)
  if is_ending then
    redis.call('ZADD', key('ending', kind), id, name)
    return
  end
  redis.call('ZADD', key('waiting', kind), id, name)
  redis.call('ZADD', key('queue', kind, owner), id, name)
  update_ring(kind, owner)
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
