-- Usage: a hash for each day and owner, and the owners of each day in the order of their names.

-- nonce, (owner, requests, sent bytes)…: a report whose answer was lost is counted once.
function operations.add_traffic(nonce, ...)
  local traffic = { ... }
  if not redis.call('SET', key('reported', nonce), '1', 'NX', 'EX', 30) then
    return { 'ok' }
  end
  for index = 1, #traffic, 3 do
    count_usage(traffic[index], 'requests', tonumber(traffic[index + 1]))
    count_usage(traffic[index], 'sent_bytes', tonumber(traffic[index + 2]))
  end
  return { 'ok' }
end

local function owners_of(day, after, limit)
  return redis.call('ZRANGEBYLEX', key('usage', 'owners', day), after and '(' .. after or '-', '+', 'LIMIT', 0, limit)
end

-- +owner, the first and the last day, how many, +the day and +the owner to begin after.
function operations.usage(owner, first_day, last_day, limit, after_day, after_owner)
  owner, after_day, after_owner = option(owner), option(after_day), option(after_owner)
  local found = {}
  for day = math.max(tonumber(first_day), number_of(after_day)), tonumber(last_day) do
    local owners = { owner }
    local after = after_day and tonumber(after_day) == day and after_owner
    if not owner then
      owners = owners_of(text(day), after, limit - #found)
    elseif after then
      owners = {}
    end
    for _, each in ipairs(owners) do
      local items = redis.call('HGETALL', key('usage', text(day), each))
      if #items > 0 then
        found[#found + 1] = { text(day), each, items }
      end
    end
    if #found >= tonumber(limit) then
      break
    end
  end
  return { 'ok', found }
end

function operations.audio_seconds_today(owner)
  return { 'ok', redis.call('HGET', key('usage', text(math.floor(now / 86400)), owner), 'audio_s') or '0' }
end

function operations.stored_bytes(owner)
  return { 'ok', text(stored_bytes(owner)) }
end
