-- The renderer pool and the line of sections. Who gets a slot is decided outside, from a snapshot: its commit counts
-- only if nothing has changed since (`line:version`).

local MAX_RENDERERS = 4096
local MAX_FORGOTTEN = 100
local LONGEST_OFFER_S = 60
local LONGEST_REST_S = 60
local KEPT_S = 600

local function changed()
  return redis.call('INCR', key('line', 'version'))
end

local function has_waiting()
  return redis.call('EXISTS', key('line', 'waiting')) == 1 and '1' or '0'
end

local function forget_old(retention_s)
  local models = redis.call('ZRANGEBYSCORE', key('models', 'seen'), '-inf', '(' .. text(now - tonumber(retention_s)),
    'LIMIT', 0, MAX_FORGOTTEN)
  for _, model in ipairs(models) do
    redis.call('ZREM', key('models', 'seen'), model)
    redis.call('ZREM', key('models', 'first'), model)
    redis.call('HDEL', key('models', 'profiles'), model)
    redis.call('DEL', key('speeds', model))
  end
  local absent = redis.call('ZRANGEBYSCORE', key('renderers', 'seen'), '-inf', '(' .. text(steady_now - KEPT_S), 'LIMIT',
    0, MAX_FORGOTTEN)
  for _, renderer in ipairs(absent) do
    redis.call('DEL', key('renderer', renderer))
    redis.call('ZREM', key('renderers', 'seen'), renderer)
  end
end

-- renderer, offer (JSON), stream, status, how long it is valid, retention, (model, profile)…
function operations.offer(renderer, offered, stream, status, for_s, retention_s, ...)
  local models = { ... }
  local seen_until = text(steady_now + math.min(tonumber(for_s), LONGEST_OFFER_S))
  redis.call('HSET', key('renderer', renderer), 'offer', offered, 'stream', stream, 'status', status)
  redis.call('ZADD', key('renderers', 'seen'), seen_until, renderer)
  for index = 1, #models, 2 do
    if not redis.call('ZSCORE', key('models', 'first'), models[index]) then
      redis.call('ZADD', key('models', 'first'), redis.call('INCR', key('models', 'ids')), models[index])
    end
    redis.call('ZADD', key('models', 'seen'), text(now), models[index])
    redis.call('HSET', key('models', 'profiles'), models[index], models[index + 1])
  end
  forget_old(retention_s)
  changed()
  return { 'ok', has_waiting() }
end

local function withdraw(renderer)
  if redis.call('ZSCORE', key('renderers', 'seen'), renderer) then
    redis.call('ZADD', key('renderers', 'seen'), text(steady_now - 1), renderer)
    changed()
  end
end

function operations.withdraw(renderer, stream)
  if stream == '' or redis.call('HGET', key('renderer', renderer), 'stream') == stream then
    withdraw(renderer)
  end
  return { 'ok' }
end

-- nonce, job, epoch, section, model (JSON), time until it is due, audio, excluded (JSON)
function operations.enter(nonce, name, epoch, section_id, model, due_in_s, audio_s, excluded)
  local known = redis.call('GET', key('entered', nonce))
  if known then
    return { 'ok', known, has_waiting() }
  end
  local refused = fence(name, epoch)
  if refused then
    return refused
  end
  local ticket = text(redis.call('INCR', key('line', 'ids')))
  redis.call('SET', key('entered', nonce), ticket, 'EX', 30)
  redis.call('HSET', key('section', ticket), 'job', name, 'epoch', epoch, 'section_id', section_id, 'model', model,
    'owner', job_fields(name, 'owner')[1], 'due', text(steady_now + tonumber(due_in_s)), 'audio_s', audio_s,
    'excluded', excluded)
  redis.call('ZADD', key('line'), ticket, ticket)
  redis.call('ZADD', key('line', 'waiting'), ticket, ticket)
  redis.call('SADD', key('line', 'of', name), ticket)
  changed()
  return { 'ok', ticket, has_waiting() }
end

function operations.lease_of(ticket)
  local section = redis.call('HMGET', key('section', ticket), 'job', 'lease', 'renderer', 'was_warm')
  if not section[1] then
    return { 'LEFT', ticket }
  end
  if not section[2] then
    return { 'ok' }
  end
  return { 'ok', section[2], section[3], section[4], redis.call('HGET', key('renderer', section[3]), 'offer') }
end

local MAX_LOSSES = 3
local NUM_SPEEDS = 64
local DONE, FULL, ABSENT, LOST = '1', '2', '3', '4'

local function count_loss(renderer)
  local num_losses = redis.call('HINCRBY', key('renderer', renderer), 'num_losses', 1)
  if num_losses >= MAX_LOSSES then
    local rest_s = math.min(LONGEST_REST_S, 2 ^ math.min(10, num_losses - MAX_LOSSES + 1))
    redis.call('HSET', key('renderer', renderer), 'rests_until', text(steady_now + rest_s))
  end
end

function operations.leave(ticket, how, speed)
  local section = redis.call('HMGET', key('section', ticket), 'job', 'renderer', 'model')
  if not section[1] then
    return { 'ok', has_waiting() }
  end
  forget_section(ticket, job_fields(section[1], 'lease_until')[1])
  local renderer = section[2]
  if not renderer or redis.call('EXISTS', key('renderer', renderer)) == 0 then
    return { 'ok', has_waiting() }
  end
  if how == DONE then
    redis.call('HSET', key('renderer', renderer), 'num_losses', 0)
    if tonumber(speed) > 0 then
      redis.call('LPUSH', key('speeds', section[3]), cjson.encode({ renderer, speed }))
      redis.call('LTRIM', key('speeds', section[3]), 0, NUM_SPEEDS - 1)
    end
  elseif how == FULL then
    redis.call('HSET', key('renderer', renderer), 'rests_until', text(steady_now + 1))
  elseif how == ABSENT then
    withdraw(renderer)
  elseif how == LOST then
    withdraw(renderer)
    count_loss(renderer)
  end
  return { 'ok', has_waiting() }
end

-- The renderers that are present, with their leases still to be counted.
local function present()
  local found = {}
  local names = redis.call('ZRANGEBYSCORE', key('renderers', 'seen'), text(steady_now),
    text(steady_now + LONGEST_OFFER_S), 'LIMIT', 0, MAX_RENDERERS)
  for _, renderer in ipairs(names) do
    local fields = redis.call('HMGET', key('renderer', renderer), 'offer', 'stream', 'status', 'rests_until')
    local rests_until = number_of(fields[4])
    local is_resting = steady_now < rests_until and rests_until <= steady_now + LONGEST_REST_S
    found[#found + 1] = { renderer, fields[1], fields[2], fields[3], is_resting and '1' or '0' }
  end
  return found
end

-- A section counts while its claim holds the job: a killed conductor's sections end with its job's lease.
local function live_sections()
  local found, claims = {}, {}
  for _, ticket in ipairs(redis.call('ZRANGE', key('line'), 0, MAX_SECTIONS - 1)) do
    local section = redis.call('HMGET', key('section', ticket), 'job', 'epoch', 'owner', 'model', 'due', 'audio_s',
      'excluded', 'renderer', 'lease', 'section_id')
    if not section[1] then
      redis.call('ZREM', key('line'), ticket)
      redis.call('ZREM', key('line', 'waiting'), ticket)
    else
      local claim = claims[section[1]]
      if not claim then
        claim = job_fields(section[1], 'epoch', 'claimed_by', 'lease_until', 'lease_s')
        claims[section[1]] = claim
      end
      if not claim[2] or claim[1] ~= section[2] then
        forget_section(ticket, claim[3])
      elseif is_held(claim[3], claim[4]) then
        found[#found + 1] = { ticket, weight_of(section[3]), unpack(section, 3) }
      end
    end
  end
  return found
end

local function speeds()
  local found = {}
  for _, model in ipairs(redis.call('ZRANGE', key('models', 'first'), 0, -1)) do
    found[#found + 1] = { model, redis.call('HGET', key('models', 'profiles'), model),
      redis.call('LRANGE', key('speeds', model), 0, -1) }
  end
  return found
end

-- The pool at one moment.
function operations.snapshot()
  local sections = live_sections()
  return { 'ok', redis.call('GET', key('line', 'version')) or '0', present(), sections,
    redis.call('HGETALL', key('line', 'turns')), speeds(), redis.call('GET', key('line', 'turn')) or '0' }
end

-- The version of the snapshot, then (ticket, owner, renderer, lease, was warm, the owner's tag)…
function operations.commit(version, ...)
  if (redis.call('GET', key('line', 'version')) or '0') ~= version then
    return { 'ok', '0' }
  end
  local given = { ... }
  for index = 1, #given, 6 do
    local ticket, owner = given[index], given[index + 1]
    redis.call('HSET', key('section', ticket), 'renderer', given[index + 2], 'lease', given[index + 3], 'was_warm',
      given[index + 4], 'leased_at', text(steady_now))
    redis.call('ZREM', key('line', 'waiting'), ticket)
    redis.call('HSET', key('line', 'turns'), owner, given[index + 5])
    redis.call('INCR', key('line', 'turn'))
    ring_bell('line', ticket)
  end
  changed()
  ring_bell('turn')
  return { 'ok', '1' }
end

local NUM_COSTS = 64

function operations.add_cost(stage, cost)
  redis.call('SADD', key('stages'), stage)
  redis.call('LPUSH', key('costs', stage), cost)
  redis.call('LTRIM', key('costs', stage), 0, NUM_COSTS - 1)
  return { 'ok' }
end

function operations.costs()
  local found = {}
  for _, stage in ipairs(redis.call('SMEMBERS', key('stages'))) do
    found[#found + 1] = { stage, redis.call('LRANGE', key('costs', stage), 0, -1) }
  end
  return { 'ok', found }
end

-- Put a section into the indexes of its state.
function operations.reindex_section(ticket)
  local section = redis.call('HMGET', key('section', ticket), 'job', 'lease')
  if section[1] then
    redis.call('ZADD', key('line'), ticket, ticket)
    redis.call('SADD', key('line', 'of', section[1]), ticket)
    redis.call(section[2] and 'ZREM' or 'ZADD', key('line', 'waiting'), unpack(section[2] and { ticket } or { ticket, ticket }))
  end
  return { 'ok' }
end
