if redis.call('HGET', key('store'), 'id') ~= ARGV[2] then
  return { 'EMPTIED' }
end
return operations[ARGV[1]](unpack(ARGV, 5))
