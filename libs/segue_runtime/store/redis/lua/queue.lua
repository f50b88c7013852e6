-- The queue of waiting jobs, and the leases of running ones.

-- While the store does not answer, callers cannot attach and leases are not renewed: callers get their time again.
local function attach_again(name)
  local job = job_fields(name, 'attached_until', 'attached_s')
  if job[1] then
    redis.call('HSET', key('job', name), 'attached_until',
      text(math.max(tonumber(job[1]), steady_now + number_of(job[2]))))
  end
end

local function hold(name, holder, lease_s)
  local job = job_fields(name, 'kind', 'owner', 'claimed_by', 'alone', 'lease_until', 'cancel_reason', 'id')
  local job_key = key('job', name)
  local lease_until = text(steady_now + tonumber(lease_s))
  redis.call('HINCRBY', job_key, 'epoch', 1)
  redis.call('HINCRBY', job_key, 'claims', 1)
  redis.call('HSET', job_key, 'claimed_by', holder, 'lease_until', lease_until, 'lease_s', lease_s, 'alone', 0)
  redis.call('HSETNX', job_key, 'started', text(now))
  if job[4] == '1' then
    redis.call('HINCRBY', job_key, 'lone_losses', 1)
  end
  if job[3] then
    attach_again(name)
  end
  leave_queue(name, job[1], job[2])
  redis.call('ZADD', key('leases', job[1]), lease_until, name)
  if not job[6] then
    begin_running(name, job[2], job[7])
  end
  forget_sections(name, job[5])
  return { 'ok', name, job[3] and '1' or '0', redis.call('HGETALL', job_key) }
end

-- A lease whose end lies too far ahead is over too: the time has gone back.
local function lost_lease(kinds)
  local best, best_end
  for _, kind in ipairs(kinds) do
    local leases = key('leases', kind)
    local first = redis.call('ZRANGE', leases, 0, 0, 'WITHSCORES')
    if #first > 0 and tonumber(first[2]) < steady_now and (not best or tonumber(first[2]) < best_end) then
      best, best_end = first[1], tonumber(first[2])
    end
    local last = redis.call('ZREVRANGE', leases, 0, 0, 'WITHSCORES')
    if not best and #last > 0 and not is_held(last[2], job_fields(last[1], 'lease_s')[1]) then
      best, best_end = last[1], tonumber(last[2])
    end
  end
  return best
end

local function cancelled(kinds)
  local best, best_id
  for _, kind in ipairs(kinds) do
    local first = redis.call('ZRANGE', key('ending', kind), 0, 0, 'WITHSCORES')
    if #first > 0 and (not best or tonumber(first[2]) < best_id) then
      best, best_id = first[1], tonumber(first[2])
    end
  end
  return best
end

-- The smallest tag of the owners in a priority, of all kinds.
local function smallest_tag(priority)
  local smallest
  for _, kind in ipairs(redis.call('SMEMBERS', key('kinds'))) do
    local first = redis.call('ZRANGE', key('ring', kind, priority), 0, 0, 'WITHSCORES')
    if #first > 0 and (not smallest or tonumber(first[2]) < smallest) then
      smallest = tonumber(first[2])
    end
  end
  return smallest
end

-- The owner with the smallest tag in the highest priority that has one: its oldest job of some kinds, and its turn.
local function in_turn(kinds)
  for _, priority in ipairs(PRIORITIES) do
    local best, best_kind, best_member, best_tag
    for _, kind in ipairs(kinds) do
      local first = redis.call('ZRANGE', key('ring', kind, priority), 0, 0, 'WITHSCORES')
      local oldest = #first > 0 and redis.call('ZRANGE', key('queue', kind, priority, owner_of(first[1])), 0, 0,
        'WITHSCORES') or {}
      if #first > 0 and #oldest == 0 then
        redis.call('ZREM', key('ring', kind, priority), first[1])
      elseif #first > 0 then
        local tag, id = tonumber(first[2]), tonumber(oldest[2])
        local is_first = not best or tag < best_tag or (tag == best_tag and (first[1] < best_member
          or (first[1] == best_member and id < best.id)))
        if is_first then
          best, best_kind, best_member, best_tag = { name = oldest[1], id = id }, kind, first[1], tag
        end
      end
    end
    if best then
      return best.name, { priority = priority, owner = owner_of(best_member), kind = best_kind, tag = best_tag,
        present = smallest_tag(priority) }
    end
  end
  return nil
end

local function take_turn(turn)
  redis.call('HSET', key('turns', turn.priority), turn.owner, text(turn.tag))
  if turn.present > number_of(redis.call('HGET', key('present'), turn.priority)) then
    redis.call('HSET', key('present'), turn.priority, text(turn.present))
  end
  for _, kind in ipairs(redis.call('SMEMBERS', key('kinds'))) do
    update_ring(kind, turn.priority, turn.owner)
  end
end

local function forget_job(name, kinds)
  for _, kind in ipairs(kinds) do
    redis.call('ZREM', key('leases', kind), name)
    redis.call('ZREM', key('ending', kind), name)
    redis.call('ZREM', key('waiting', kind), name)
  end
end

-- nonce, holder, lease, kinds…: a claim whose answer was lost is answered again.
function operations.claim(nonce, holder, lease_s)
  local known = redis.call('GET', key('claimed', nonce))
  if known then
    local epoch, name = string.match(known, '^(%d+) (.*)$')
    local job = job_fields(name, 'epoch', 'claimed_by')
    if job[1] == epoch and job[2] == holder then
      return { 'ok', name, '0', redis.call('HGETALL', key('job', name)) }
    end
    return { 'ok' }
  end
  local kinds = kinds_of(8)
  for _ = 1, MAX_TRIES do
    local name, turn = lost_lease(kinds), nil
    if not name then
      name = cancelled(kinds)
    end
    if not name then
      name, turn = in_turn(kinds)
    end
    if not name then
      return { 'ok' }
    end
    local job = job_fields(name, 'id', 'finished', 'owner', 'kind', 'cancel_reason')
    if job[1] and not job[2] then
      local claimed = hold(name, holder, lease_s)
      redis.call('SET', key('claimed', nonce), job_fields(name, 'epoch')[1] .. ' ' .. name, 'EX', 30)
      if turn then
        take_turn(turn)
      end
      return claimed
    end
    forget_job(name, kinds) -- an index had what the hash does not say
    if turn then
      redis.call('ZREM', key('queue', turn.kind, turn.priority, turn.owner), name)
      update_ring(turn.kind, turn.priority, turn.owner)
    end
  end
  return { 'ok' }
end

function operations.claim_one(name, holder, lease_s)
  local job = job_fields(name, 'id', 'finished', 'claimed_by', 'lease_until', 'lease_s')
  if not job[1] or job[2] or (job[3] and is_held(job[4], job[5])) then
    return { 'ok' }
  end
  return hold(name, holder, lease_s)
end

-- The time that conductors have worked on a job. One that was stopped for longer than its lease has not worked longer.
local function worked_s(name)
  local job = job_fields(name, 'lease_s', 'lease_until', 'worked_s')
  local lease_s = number_of(job[1])
  local since_renewal_s = steady_now - (number_of(job[2]) - lease_s)
  return text(number_of(job[3]) + math.min(lease_s, math.max(0, since_renewal_s)))
end

function operations.renew(name, epoch, lease_s)
  local refused = fence(name, epoch)
  if refused then
    return refused
  end
  if number_of(job_fields(name, 'lease_until')[1]) < steady_now then
    attach_again(name)
  end
  local job = job_fields(name, 'attached_until', 'attached_s', 'cancel_reason', 'kind')
  local attached_until = job[1] and tonumber(job[1])
  if attached_until then
    attached_until = math.min(attached_until, steady_now + number_of(job[2]))
    redis.call('HSET', key('job', name), 'attached_until', text(attached_until))
  end
  local lease_until = text(steady_now + tonumber(lease_s))
  redis.call('HSET', key('job', name), 'worked_s', worked_s(name), 'lease_until', lease_until, 'lease_s', lease_s)
  redis.call('ZADD', key('leases', job[4]), lease_until, name)
  local is_abandoned = attached_until and attached_until < steady_now
  return { 'ok', is_abandoned and '1' or '0', job[3] }
end

function operations.release(name, epoch)
  local refused = fence(name, epoch)
  if refused then
    return refused
  end
  local job = job_fields(name, 'kind', 'owner', 'id', 'cancel_reason', 'claims', 'lease_until')
  redis.call('HSET', key('job', name), 'worked_s', worked_s(name), 'alone', 0, 'claims',
    math.max(0, tonumber(job[5]) - 1))
  redis.call('HDEL', key('job', name), 'claimed_by', 'lease_until')
  redis.call('ZREM', key('leases', job[1]), name)
  join_queue(name, job[1], job[2], job[3], job[4])
  end_running(name, job[2])
  forget_sections(name, job[6])
  ring_bell('queue', job[1])
  return { 'ok' }
end

function operations.set_alone(name, epoch)
  local refused = fence(name, epoch)
  if refused then
    return refused
  end
  redis.call('HSET', key('job', name), 'alone', 1)
  return { 'ok' }
end

function operations.request_cancel(name, reason)
  local job = job_fields(name, 'id', 'finished', 'claimed_by', 'kind', 'owner', 'cancel_reason')
  if not job[1] then
    return { 'NOT_FOUND', name }
  end
  if not job[2] and not job[6] then
    redis.call('HSET', key('job', name), 'cancel_reason', reason)
    if not job[3] then
      leave_queue(name, job[4], job[5])
      join_queue(name, job[4], job[5], job[1], true)
    else
      end_running(name, job[5])
    end
  end
  ring_bell('cancel', name)
  ring_bell('queue', job[4])
  return { 'ok', name, redis.call('HGETALL', key('job', name)) }
end

function operations.attach(name, for_s)
  local job = job_fields(name, 'id', 'finished', 'attached_s', 'attached_until')
  if not job[1] then
    return { 'NOT_FOUND', name }
  end
  if not job[2] then
    local longest_s = math.max(tonumber(for_s), number_of(job[3]))
    local until_s = math.max(steady_now + tonumber(for_s), math.min(number_of(job[4]), steady_now + longest_s))
    redis.call('HSET', key('job', name), 'attached_until', text(until_s), 'attached_s', text(longest_s))
  end
  return { 'ok' }
end

-- For each kind and priority the owners with waiting jobs: how many, their tags and weights, and what they may start.
local function standings(kinds)
  local found = {}
  for _, kind in ipairs(kinds) do
    for _, priority in ipairs(PRIORITIES) do
      for _, index in ipairs({ 'ring', 'parked' }) do
        for _, member in ipairs(redis.call('ZRANGE', key(index, kind, priority), 0, -1)) do
          local owner = owner_of(member)
          found[#found + 1] = { priority, owner, redis.call('ZCARD', key('queue', kind, priority, owner)),
            text(tag_of(priority, owner)), weight_of(owner), string.sub(member, 1, 12), may_start(owner) or '' }
        end
      end
    end
  end
  return found
end

-- Answers for each name its owner and priority, how many jobs of its owner and priority are before it (or cancelled ones), and
-- whether it is cancelled itself; then the number of cancelled ones, and the standings.
function operations.positions(...)
  local kinds = redis.call('SMEMBERS', key('kinds'))
  local found, num_ending = {}, 0
  for _, name in ipairs({ ... }) do
    local job = job_fields(name, 'id', 'owner', 'cancel_reason', 'claimed_by', 'finished', 'priority')
    if job[1] and not job[4] and not job[5] then
      local before, priority = 0, job[6] or NORMAL
      for _, kind in ipairs(kinds) do
        local index = job[3] and key('ending', kind) or key('queue', kind, priority, job[2])
        before = before + redis.call('ZCOUNT', index, '-inf', '(' .. job[1])
      end
      found[#found + 1] = { name, job[2], priority, job[3] and '1' or '0', before }
    end
  end
  for _, kind in ipairs(kinds) do
    num_ending = num_ending + redis.call('ZCARD', key('ending', kind))
  end
  return { 'ok', found, num_ending, standings(kinds) }
end

function operations.depths()
  local found = {}
  for _, kind in ipairs(redis.call('SMEMBERS', key('kinds'))) do
    local waiting = redis.call('ZCARD', key('waiting', kind)) + redis.call('ZCARD', key('ending', kind))
    found[#found + 1] = { kind, waiting, redis.call('ZCARD', key('leases', kind)) }
  end
  return { 'ok', found }
end

local function work_of(name, is_held_now)
  local job = job_fields(name, 'id', 'owner', 'spec', 'resource', 'started', 'upload', 'priority')
  local source = job[6] and redis.call('HMGET', key('upload', job[6]), 'offset', 'media_type') or { false, false }
  local last = redis.call('XREVRANGE', key('log', name), '+', '-', 'COUNT', 1)
  return { name, is_held_now, job[1], job[2], job[3], job[4], redis.call('GET', key('progress', name)),
    last[1] and last[1][2] or {}, job[5], source[1], source[2], job[7] or NORMAL }
end

-- The jobs of a kind that are held, and those that wait, at most `limit` of each.
function operations.workload(kind, limit)
  local found = {}
  for _, name in ipairs(redis.call('ZRANGE', key('leases', kind), 0, limit - 1)) do
    found[#found + 1] = work_of(name, '1')
  end
  for _, name in ipairs(redis.call('ZRANGE', key('waiting', kind), 0, limit - 1)) do
    found[#found + 1] = work_of(name, '0')
  end
  return { 'ok', found, standings(redis.call('SMEMBERS', key('kinds'))) }
end

-- What waiters wait for, at one moment: the number of names and the names, the number of tickets and the tickets.
function operations.poll(num_names, ...)
  local rest, named, tickets, queues = { ... }, {}, {}, {}
  for index = 1, tonumber(num_names) do
    local job = job_fields(rest[index], 'last_sequence', 'cancel_reason', 'finished')
    named[index] = { job[1] or '-1', (not job[1] or job[2] or job[3]) and '1' or '0' }
  end
  for index = tonumber(num_names) + 1, #rest do
    local section = redis.call('HMGET', key('section', rest[index]), 'job', 'lease')
    tickets[#tickets + 1] = (not section[1] or section[2]) and '1' or '0'
  end
  for _, kind in ipairs(redis.call('SMEMBERS', key('kinds'))) do
    local is_claimable = redis.call('EXISTS', key('ending', kind), key('ring', kind, '1'), key('ring', kind, '2'),
      key('ring', kind, '3')) > 0
    if is_claimable or lost_lease({ kind }) then
      queues[#queues + 1] = kind
    end
  end
  return { 'ok', named, tickets, queues, redis.call('GET', key('line', 'turn')) or '0' }
end
