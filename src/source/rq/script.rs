//! What Redis does for us in one step each, in Lua: the books of RQ, which its own workers keep command by command.
//!
//! Source: `rq/worker`, `rq/job.py`, `rq/registry.py`, `rq/executions.py` and `rq/results.py`, and what Redis sees of real workers
//! (MONITOR). The books are not the same in all releases. Which release an application has shows in the hash of its jobs:
//!
//! | field | since RQ | then |
//! |---|---|---|
//! | `group_id` | 2.0 | a job in hand is in the registry `wip` as `job:execution`, and each execution has books of its own |
//! | `success_callback_name` | 1.9 | what became of a job is also in a stream, `results` |
//!
//! Which of them a job has is seen once, when it is looked at, and handed to the scripts after that as its *form*: 1 for executions, 2
//! for results, and 4 if its key has an end. A call of a script costs as much as the command that it calls, so there are few.

/// Before all others. KEYS are those of [`super::broker::Broker`], ARGV[1] is what all keys begin with.
pub(super) const PRELUDE: &str = r#"
local queue, wip, finished, failed, worker, executions = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local prefix, call, try = ARGV[1], redis.call, redis.pcall

local function job(id)
  return prefix .. ':job:' .. id
end

-- Whether the error of a command says that something is no hash, and so no job. Any other is for whoever called the script.
local function is_no_job(answer)
  return string.find(answer.err, 'WRONGTYPE', 1, true) ~= nil
end

-- Some fields of a job, in their order; what is not there is false or nil.
local function fields(id, ...)
  local found = try('HMGET', job(id), ...)
  if not found.err then return found end
  if not is_no_job(found) then error(found.err) end
  return {}
end

-- Seconds that something is kept: 0 is not at all, and below 0 for ever.
local function seconds(text, default)
  local given = type(text) == 'string' and string.match(text, '^-?%d+$') and tonumber(text)
  return math.min(given or tonumber(default), 3153600000)
end

-- Ends an execution of a job. Whether it was in hand by it: `is_ours` is whether the job says so too.
local function put_down(id, execution, is_ours)
  local member = id .. ':' .. execution
  local removed = call('ZREM', wip, member)
  if removed == 1 then
    call('DEL', prefix .. ':execution:' .. member)
    try('ZREM', prefix .. ':executions:' .. id, execution)
    try('SREM', executions, member)
  elseif is_ours then
    removed = call('ZREM', wip, id)
  end
  return removed == 1
end

local function keep(key, ttl)
  if ttl > 0 then call('EXPIRE', key, ttl) else call('PERSIST', key) end
end
"#;

/// Looks at up to ARGV[4] jobs from place ARGV[2] of the queue on, behind the job ARGV[3], as long as their data are no more
/// than ARGV[6] bytes in all, all that is read counted. It gives whether workers are suspended, the place, how many had no job
/// any more (they are removed, as RQ does), and of each its id, its form, the length of its data, and these, or ARGV[7] bytes of
/// them if they are longer than ARGV[5].
///
/// The place is looked for anew where others have taken jobs before it, or put some there; if it is not near, all is looked at
/// again.
pub(super) const LOOK: &str = r#"
local is_suspended = call('EXISTS', prefix .. ':suspended')
local start, gone, seen = tonumber(ARGV[2]), 0, {}
if is_suspended == 1 then return {is_suspended, start, gone, seen} end
if start > 0 and call('LINDEX', queue, start - 1) ~= ARGV[3] then
  local from = math.max(start - 1000, 0)
  local ids = call('LRANGE', queue, from, start + 999)
  start = 0
  for at = #ids, 1, -1 do
    if ids[at] == ARGV[3] then
      start = from + at
      break
    end
  end
end
local left = tonumber(ARGV[6])
for _, id in ipairs(call('LRANGE', queue, start, start + tonumber(ARGV[4]) - 1)) do
  local found = fields(id, 'data', 'group_id', 'success_callback_name', 'ttl', 'ended_at')
  local data = found[1]
  if not data then
    call('LREM', queue, 1, id)
    gone = gone + 1
  else
    local length = #data
    if length > tonumber(ARGV[5]) then data = string.sub(data, 1, tonumber(ARGV[7])) end
    left = left - length
    if left < 0 and #seen > 0 then break end
    local form = (found[2] and 1 or 0) + (found[3] and 2 or 0)
    -- Nothing else gives a job an end: `ttl` in the queue, and to have ended before.
    if (found[4] or '') ~= '' or (found[5] or '') ~= '' then form = form + 4 end
    seen[#seen + 1] = id
    seen[#seen + 1] = tostring(form)
    seen[#seen + 1] = tostring(length)
    seen[#seen + 1] = data
  end
end
return {is_suspended, start, gone, seen}
"#;

/// Takes jobs off the queue that are there still, looking from the end that place ARGV[7] is nearer to: of each an id, an
/// execution and its form. The worker's name is ARGV[2], the time ARGV[3] and ARGV[4], and their executions are good for ARGV[5] seconds,
/// until ARGV[6]. A 1 for each that was taken, a 2 for one that was removed since it has no job any more.
pub(super) const TAKE: &str = r#"
local name, iso, now, ttl, till = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local longer, later = tostring(ttl + 60), string.format('%d', till + 60)
local place, many = tonumber(ARGV[7]), (#ARGV - 7) / 3
local taken, in_hand, members, keys = {}, {}, {}, {}
if call('EXISTS', prefix .. ':suspended') == 1 then return taken end
-- What the queue begins with is taken off at once.
local first = place == 0 and call('LRANGE', queue, 0, many - 1) or {}
local are_first = #first == many
for at = 1, many do
  local id = ARGV[5 + 3 * at]
  keys[at] = job(id)
  are_first = are_first and first[at] == id
end
local are_there = call('EXISTS', unpack(keys)) == many
-- A Redis that has no memory left says so here, before anything is taken.
call('HSET', worker, 'last_heartbeat', iso)
local side = place > call('LLEN', queue) - place and -1 or 1
for at = 1, many do
  local id, execution, form, key = ARGV[5 + 3 * at], ARGV[6 + 3 * at], tonumber(ARGV[7 + 3 * at]), keys[at]
  local is_off = are_first or call('LREM', queue, side, id) == 1
  local begun = is_off and (are_there or call('EXISTS', key) == 1) and try('HMSET', key,
    'status', 'started', 'started_at', iso, 'last_heartbeat', iso, 'worker_name', name)
  if begun and begun.err and not is_no_job(begun) then
    -- It stays in the queue, and so do those behind it.
    if not are_first then call(side == 1 and 'LPUSH' or 'RPUSH', queue, id) end
    if at == 1 then error(begun.err) end
    many = at - 1
    break
  end
  if begun and not begun.err then
    if form >= 4 then call('PERSIST', key) end
    in_hand[#in_hand + 1] = till
    if form % 2 == 1 then
      local member, registry = id .. ':' .. execution, prefix .. ':executions:' .. id
      local record = prefix .. ':execution:' .. member
      in_hand[#in_hand + 1] = member
      members[#members + 1] = member
      try('HMSET', record, 'id', execution, 'job_id', id, 'created_at', now, 'last_heartbeat', now,
        'worker_name', name)
      call('EXPIRE', record, ttl)
      try('ZADD', registry, later, execution)
      call('EXPIRE', registry, longer)
    else
      in_hand[#in_hand + 1] = id
    end
    taken[at] = 1
  else
    taken[at] = is_off and 2 or 0
  end
end
if are_first then call('LTRIM', queue, many, -1) end
if #members > 0 then call('SADD', executions, unpack(members)) end
if #in_hand > 0 then
  call('ZADD', wip, unpack(in_hand))
  call('EXPIRE', executions, longer)
  call('HSET', worker, 'state', 'busy')
end
return taken
"#;

/// Settles jobs: of each an id, an execution and since when, its form, and why it failed, deflated, and that in base64; both
/// empty: it is finished. The worker's name is ARGV[2], the time ARGV[3] and ARGV[4]; finished jobs are kept for ARGV[5] seconds, failed ones
/// for ARGV[6], where they do not say so themselves. Then the worker's state is ARGV[7], and it has worked ARGV[8] seconds more. If ARGV[9] is
/// 1, failed jobs are where RQ before 1.0 has them.
pub(super) const SETTLE: &str = r#"
local name, iso, now = ARGV[2], ARGV[3], ARGV[4]
local second, successes, failures = math.floor(tonumber(now)), 0, 0
local ended, members, records, kept, related, ttls = {}, {}, {}, {}, {}, {}
local failed_queue = ARGV[9] == '1' and prefix .. ':queue:failed'
for at = 10, #ARGV, 6 do
  local id, execution, since, form, reason = ARGV[at], ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3]), ARGV[at + 4]
  local is_failed = #reason > 0
  local key = job(id)
  local found = fields(id, 'worker_name', 'status', is_failed and 'failure_ttl' or 'result_ttl')
  local is_ours = found[1] == name
  local member = id .. ':' .. execution
  ended[#ended + 1] = member
  if is_ours or not found[2] then ended[#ended + 1] = id end
  members[#members + 1] = member
  records[#records + 1] = prefix .. ':execution:' .. member
  try('ZREM', prefix .. ':executions:' .. id, execution)
  -- One that RQ has called abandoned and failed is finished after all.
  if is_ours and (found[2] == 'started' or (found[2] == 'failed' and not is_failed)) then
    if is_failed then failures = failures + 1 else successes = successes + 1 end
    if found[2] == 'failed' then
      call('ZREM', failed, id)
      if failed_queue then call('LREM', failed_queue, 0, id) end
    end
    local ttl = seconds(found[3], is_failed and ARGV[6] or ARGV[5])
    local dependents, dependencies = key .. ':dependents', prefix .. ':job::' .. id .. ':dependencies'
    local results = prefix .. ':results:' .. id
    if ttl == 0 then
      call('DEL', key, dependents, dependencies, results, prefix .. ':executions:' .. id)
    else
      call('HMSET', key, 'status', is_failed and 'failed' or 'finished', 'ended_at', iso, 'last_heartbeat', iso)
      if is_failed then call('HSET', key, 'exc_info', reason) end
      if form % 4 >= 2 then
        -- A Redis before 5 has no streams.
        if is_failed then
          try('XADD', results, 'MAXLEN', '~', '10', '*', 'type', '2', 'worker_name', name, 'exc_string', ARGV[at + 5],
            unpack(form % 2 == 1 and {'execution_id', execution, 'execution_started_at', since, 'execution_ended_at', now} or {}))
        elseif form % 2 == 1 then
          try('XADD', results, 'MAXLEN', '~', '10', '*', 'type', '1', 'worker_name', name, 'execution_id', execution,
            'execution_started_at', since, 'execution_ended_at', now)
        else
          try('XADD', results, 'MAXLEN', '~', '10', '*', 'type', '1', 'worker_name', name)
        end
        keep(results, ttl)
      end
      keep(key, ttl)
      related[#related + 1] = dependents
      related[#related + 1] = dependencies
      ttls[#ttls + 1] = ttl
      ttls[#ttls + 1] = ttl
      if is_failed and failed_queue then
        call('SADD', prefix .. ':queues', failed_queue)
        call('RPUSH', failed_queue, id)
      elseif is_failed then
        call('ZADD', failed, ttl > 0 and second + ttl or -1, id)
      else
        kept[#kept + 1] = ttl > 0 and second + ttl or '+inf'
        kept[#kept + 1] = id
      end
    end
  end
end
if #ended > 0 then
  call('ZREM', wip, unpack(ended))
  call('SREM', executions, unpack(members))
  call('DEL', unpack(records))
end
-- Hardly any job has these.
if #related > 0 and call('EXISTS', unpack(related)) > 0 then
  for at, key in ipairs(related) do keep(key, ttls[at]) end
end
if #kept > 0 then call('ZADD', finished, unpack(kept)) end
if successes > 0 then call('HINCRBY', worker, 'successful_job_count', successes) end
if failures > 0 then call('HINCRBY', worker, 'failed_job_count', failures) end
if successes + failures > 0 then call('HINCRBYFLOAT', worker, 'total_working_time', ARGV[8]) end
call('HSET', worker, 'state', ARGV[7])
return successes + failures
"#;

/// Puts jobs back that are in hand still, at the end that ARGV[2] says: an id, an execution, and the name of the worker that had
/// it. How many.
pub(super) const GIVE_BACK: &str = r#"
local given = 0
for at = 3, #ARGV, 3 do
  local id, execution = ARGV[at], ARGV[at + 1]
  local found = fields(id, 'worker_name', 'status', 'ttl')
  local is_theirs = (found[1] or '') == ARGV[at + 2]
  if put_down(id, execution, is_theirs) and is_theirs and found[2] == 'started' then
    local key, ttl = job(id), seconds(found[3], -1)
    call('HSET', key, 'status', 'queued')
    call('HDEL', key, 'started_at', 'worker_name')
    if ttl > 0 then call('EXPIRE', key, ttl) end
    call(ARGV[2], queue, id)
    given = given + 1
  end
end
return given
"#;

/// Says that jobs are being worked on still, at the time ARGV[2] and ARGV[3], for ARGV[4] seconds, until ARGV[5]: pairs of an id
/// and an execution.
pub(super) const REFRESH: &str = r#"
local iso, now, ttl, till = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
for at = 6, #ARGV, 2 do
  local id, execution = ARGV[at], ARGV[at + 1]
  local member, registry = id .. ':' .. execution, prefix .. ':executions:' .. id
  local record = prefix .. ':execution:' .. member
  call('ZADD', wip, 'XX', till, member, till, id)
  if call('EXISTS', job(id)) == 1 then try('HSET', job(id), 'last_heartbeat', iso) end
  if call('EXISTS', record) == 1 then
    try('HSET', record, 'last_heartbeat', now)
    call('EXPIRE', record, ttl)
    try('ZADD', registry, 'XX', till + 60, execution)
    call('EXPIRE', registry, ttl + 60)
  end
end
call('EXPIRE', executions, ttl + 60)
"#;

/// Up to ARGV[4] jobs in hand from the ARGV[3]th on, whose time is over by ARGV[2] ('+inf': all): id, execution, the worker's
/// name, and the first ARGV[6] bytes of the data if their time is over now, at ARGV[5], and the worker's name does not begin with
/// ARGV[7].
pub(super) const IN_HAND: &str = r#"
local members = call('ZRANGEBYSCORE', wip, '-inf', ARGV[2], 'WITHSCORES', 'LIMIT', ARGV[3], ARGV[4])
local seen = {}
for at = 1, #members, 2 do
  local id, execution = members[at], ''
  if call('EXISTS', job(id)) == 0 then
    local cut = string.match(id, '^.*():')
    if cut then id, execution = string.sub(id, 1, cut - 1), string.sub(id, cut + 1) end
  end
  local found = fields(id, 'worker_name', 'status')
  local is_over = tonumber(members[at + 1]) < tonumber(ARGV[5])
  if is_over and found[2] ~= 'started' then
    -- As RQ does: it was deleted, or settled by somebody who ended there.
    call('ZREM', wip, members[at])
  else
    seen[#seen + 1] = id
    seen[#seen + 1] = execution
    local name, data = found[1] or '', nil
    if is_over and string.sub(name, 1, #ARGV[7]) ~= ARGV[7] then data = fields(id, 'data')[1] end
    seen[#seen + 1] = name
    seen[#seen + 1] = string.sub(data or '', 1, tonumber(ARGV[6]))
  end
end
return seen
"#;

/// The first ARGV[2] jobs that RQ's workers have taken and not begun: id and the first ARGV[3] bytes of the data.
pub(super) const BETWEEN: &str = r#"
local seen = {}
for _, id in ipairs(call('LRANGE', queue .. ':intermediate', 0, tonumber(ARGV[2]) - 1)) do
  local is_begun = call('EXISTS', prefix .. ':executions:' .. id) == 1 or call('ZSCORE', wip, id)
  local data = not is_begun and fields(id, 'data')[1]
  if data then
    seen[#seen + 1] = id
    seen[#seen + 1] = string.sub(data, 1, tonumber(ARGV[3]))
  end
end
return seen
"#;

/// Puts jobs back that RQ's workers have taken and not begun for ARGV[3] seconds, at the time ARGV[2]. RQ notes in the same place
/// since when it sees them there; it would call them failed.
pub(super) const RESCUE: &str = r#"
local given = 0
for at = 4, #ARGV do
  local id = ARGV[at]
  local first_seen = queue .. ':intermediate:first_seen:' .. id
  if not call('SET', first_seen, ARGV[2], 'NX', 'EX', 86400) then
    local since = tonumber(call('GET', first_seen) or '')
    if since and tonumber(ARGV[2]) - since > tonumber(ARGV[3])
      and call('LREM', queue .. ':intermediate', 1, id) == 1 then
      call('DEL', first_seen)
      call('HSET', job(id), 'status', 'queued')
      call('LPUSH', queue, id)
      given = given + 1
    end
  end
end
return given
"#;

/// What RQ's workers do now and then, and nobody where there are none: registries forget jobs whose time is over at ARGV[2], and
/// workers of this queue that are gone, which are in the sets ARGV[3] and ARGV[4].
pub(super) const TIDY: &str = r#"
call('ZREMRANGEBYSCORE', finished, 0, ARGV[2])
call('ZREMRANGEBYSCORE', failed, 0, ARGV[2])
for _, key in ipairs(call('SMEMBERS', ARGV[4])) do
  if call('EXISTS', key) == 0 then
    call('SREM', ARGV[3], key)
    call('SREM', ARGV[4], key)
  end
end
"#;
