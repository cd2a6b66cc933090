-- Decides a request, charging all of its buckets or none, but for those whose charges are always made, releases leases,
-- and lets keys end later.
--
-- A moment is a pair of whole seconds and nanoseconds. Lua's numbers are doubles, exact up to 2^53 = 9.0e15. Seconds
-- stay below 2e10: past the year 2500 plus twice 2^62 ns, the longest time to fill a bucket. Nanoseconds stay below 2e9
-- before the carry. Leases expire at whole microseconds: 1.8e15 now, and 2^53 in the year 2255. `redis.call` writes a
-- number with 17 digits, so that whole numbers below 1e17 stay what they are.

local SECOND = 1000000000

-- The most hits that a window counts.
local MAX_COUNT = 4294967295

-- A moment or a span from decimal nanoseconds.
local function split(text)
  return tonumber(string.sub(text, 1, -10)) or 0, tonumber(string.sub(text, -9)) or 0
end

local function add(s, n, more_s, more_n)
  s, n = s + more_s, n + more_n
  if n >= SECOND then return s + 1, n - SECOND end
  return s, n
end

-- The result may be negative: then seconds are, and nanoseconds are not.
local function minus(s, n, less_s, less_n)
  s, n = s - less_s, n - less_n
  if n < 0 then return s - 1, n + SECOND end
  return s, n
end

local function is_after(s, n, other_s, other_n)
  return s > other_s or (s == other_s and n > other_n)
end

local function join(s, n)
  return string.format('%.0f%09.0f', s, n)
end

-- The moment at which a bucket is full whose tokens had the interval `old` until `changed`, and have the interval `new`
-- since: what was used and not refilled by then is as many tokens. It is at most 2^62 ns.
local function carry_over(s, n, changed_s, changed_n, old, new)
  local owed_s, owed_n = minus(s, n, changed_s, changed_n)
  if owed_s < 0 then return changed_s, changed_n end
  local owed = owed_s * SECOND + owed_n
  local tokens = math.floor(owed / old)
  owed = tokens * new + math.floor((owed - tokens * old) * new / old)
  -- Above 2^53 ns, 104 days, doubles skip numbers: rounded down, so that no token is owed that was not used.
  if owed > 2 ^ 53 then owed = math.min(owed * (1 - 2 ^ -51), 2 ^ 62) end
  return add(changed_s, changed_n, math.floor(owed / SECOND), owed % SECOND)
end

-- The state of a token bucket is three decimal numbers of nanoseconds with spaces between: when it is full, since the
-- Unix epoch; how far off that was when the state was written; and the interval between two tokens of the limit under
-- which it was written.
--
-- The second only gets shorter. If it is longer now, the clock was set back, or a server with another clock took over,
-- and the moment is brought forward, so that no wait is longer than when the bucket was charged. Without it, that is the
-- time to fill. If the third is not `interval`, the limit has changed: at the moment `changed`, or since that is not
-- known, now. Without it, the limit has not changed. A missing or malformed state is that of a full bucket.
-- Returns the moment, the same as text, and whether it is another than the state has.
local function read(state, now_s, now_n, fill_s, fill_n, interval, changed)
  local full, owed, old = string.match(state or '', '^(%d+) ?(%d*) ?(%d*)$')
  if not full then return 0, 0, false, false end
  local s, n = split(full)
  local is_another = false
  if owed ~= '' then fill_s, fill_n = split(owed) end
  if fill_s then
    local most_s, most_n = add(now_s, now_n, fill_s, fill_n)
    if is_after(s, n, most_s, most_n) then s, n, is_another = most_s, most_n, true end
  end
  if old ~= '' and old ~= interval and tonumber(old) > 0 then
    local at_s, at_n = now_s, now_n
    if changed ~= '' then
      at_s, at_n = split(string.match(changed, '^%d+'))
      local written_s, written_n = minus(s, n, fill_s, fill_n)
      if is_after(written_s, written_n, at_s, at_n) then at_s, at_n = written_s, written_n end
      if is_after(at_s, at_n, now_s, now_n) then at_s, at_n = now_s, now_n end
    end
    s, n = carry_over(s, n, at_s, at_n, tonumber(old), tonumber(interval))
    is_another = true
  end
  return s, n, is_another and join(s, n) or full, is_another
end

-- The key ends when the state lapses. If the limit ends before that, and a slower one may follow, it ends when what is
-- owed by then is repaid at the slower rate: `changed` tells both behind the moment of the last change.
local function write(key, s, n, now_s, now_n, interval, changed)
  if not is_after(s, n, now_s, now_n) then
    redis.call('DEL', key)
    return
  end
  local owed_s, owed_n = minus(s, n, now_s, now_n)
  local state = string.format('%s %s %s', join(s, n), join(owed_s, owed_n), interval)
  local ends, slower = string.match(changed, ' (%d+) (%d+)$')
  if ends then
    local at_s, at_n = split(ends)
    if is_after(s, n, at_s, at_n) then
      s, n = carry_over(s, n, at_s, at_n, tonumber(interval), tonumber(slower))
    end
  end
  local ms = s * 1000 + math.ceil(n / 1000000)
  redis.call('SET', key, state, 'PXAT', ms)
end

-- The kinds of buckets whose state is one value. Each has
--   decide(key, value, operation, four numbers, now, interval, changed): returns the state for the reply, whether the
--          bucket is over its limit, and the next state as two numbers, if it changes
--   write(key, state, now, interval, changed)
--          and, of a window, returns the state as it was written, since another charge of the call may follow
-- The kinds that are written whether or not the request is admitted have is_always_written. Of the kinds that are spared,
-- only the buckets over their limits are written as soon as any bucket is.
local tokens = { write = write }

function tokens.decide(key, state, op, a_s, a_n, b_s, b_n, now_s, now_n, interval, changed)
  -- An undo has no time to fill; its second argument is another moment.
  local fill_s, fill_n = b_s, b_n
  if op == 'u' then fill_s = nil end
  local s, n, text, is_another = read(state, now_s, now_n, fill_s, fill_n, interval, changed)
  -- Written whether or not the call is admitted: else every call would move it again.
  if is_another then write(key, s, n, now_s, now_n, interval, changed) end
  if op == 'n' then return text, true end
  if op == 'c' or op == 'l' then
    if is_after(now_s, now_n, s, n) then s, n = now_s, now_n end
    s, n = add(s, n, a_s, a_n)
    local most_s, most_n = add(now_s, now_n, b_s, b_n)
    if is_after(s, n, most_s, most_n) then return text, true end
    if op == 'l' then return text, false end
    return text, false, s, n
  end
  if op == 'u' and is_after(now_s, now_n, b_s, b_n) then
    -- The part that has refilled since is not refunded again.
    local past_s, past_n = minus(now_s, now_n, b_s, b_n)
    a_s, a_n = minus(a_s, a_n, past_s, past_n)
    if a_s < 0 then a_s, a_n = 0, 0 end
  end
  return text, false, minus(s, n, a_s, a_n)
end

-- A token bucket whose charges are always made. It is over its limit if not one whole token is there. The number in
-- the name of a charge is the longest time until the bucket is full: it owes no more.
local owing = { write = write, is_always_written = true }

function owing.decide(key, state, op, a_s, a_n, b_s, b_n, now_s, now_n, interval, changed)
  local s, n, text, is_another = read(state, now_s, now_n, b_s, b_n, interval, changed)
  if is_another then write(key, s, n, now_s, now_n, interval, changed) end
  if op == 'r' then return text, false, minus(s, n, a_s, a_n) end
  if is_after(now_s, now_n, s, n) then s, n = now_s, now_n end
  local token_s, token_n = add(s, n, split(interval))
  local is_over = is_after(token_s, token_n, add(now_s, now_n, b_s, b_n))
  local last_s, last_n = add(now_s, now_n, split(string.sub(op, 2)))
  if is_after(s, n, last_s, last_n) then last_s, last_n = s, n end
  s, n = add(s, n, a_s, a_n)
  if is_after(s, n, last_s, last_n) then s, n = last_s, last_n end
  return text, is_over, s, n
end

-- A window. Its state is the letter w, the second at which the window ends, and the count, with spaces between. A count of
-- another window than that of now is none. The first two of the four numbers are the hits, the third is the length of the
-- window in seconds, and instead of the interval between tokens there is the limit, or what the operation has in its place.
local window = {}

function window.decide(key, state, op, hits_s, hits_n, length, _, now_s, _, limit)
  local ends, count = now_s - now_s % length + length, 0
  local of, counted = string.match(state or '', '^w(%d+) (%d+)$')
  if of and tonumber(of) == ends then count = tonumber(counted) end
  local text = string.format('w%.0f %.0f', ends, count)
  local hits = hits_s * SECOND + hits_n
  -- What was counted in a window that is over went with it.
  if op == 't' and tonumber(limit) ~= ends then return text, false end
  if op == 'b' or op == 'd' or op == 't' then return text, false, ends, math.max(count - hits, 0) end
  local after = count + hits
  local is_over = after > tonumber(limit)
  if op == 'p' or (op == 'o' and is_over) then return text, is_over end
  return text, is_over, ends, math.min(after, MAX_COUNT)
end

-- The key ends with the window.
function window.write(key, ends, count)
  local state = string.format('w%.0f %.0f', ends, count)
  redis.call('SET', key, state, 'PXAT', ends * 1000)
  return state
end

-- A window that counts every hit, and one that is spared.
local counting = { decide = window.decide, write = window.write, is_always_written = true }
local sparing = { decide = window.decide, write = window.write, is_spared = true }

-- The kind of a bucket, by operation. An operation with a number in its name is a charge that is always made.
local KINDS = {
  c = tokens, l = tokens, n = tokens, g = tokens, u = tokens, r = owing,
  w = counting, b = counting, s = sparing, o = window, d = window, p = window, t = window,
}

-- The given time, or else the server's.
local function time(s, n)
  s, n = tonumber(s), tonumber(n)
  if s then return s, n end
  local now = redis.call('TIME')
  return tonumber(now[1]), tonumber(now[2]) * 1000
end

local function micros(s, n)
  return s * 1000000 + math.floor(n / 1000)
end

local function score(key, rank)
  return tonumber(redis.call('ZRANGE', key, rank, rank, 'WITHSCORES')[2])
end

-- KEYS: the buckets whose state is one value, the concurrency buckets, and the lease if slots may be taken.
-- ARGV: the time as seconds and nanoseconds, or '' twice; how many buckets of either sort; the lease; the other
-- partitions in which it may hold slots; then eight for each bucket: the operation; the group, 0 if the bucket is
-- enforced, q for the quotas, which deny the request if none of them admits, else one for its shadow row; four numbers, which are two moments, or two counts and a span; and of a bucket
-- whose state is one value, the interval between two tokens and when its limit changed, or '' if that is now; behind
-- that, if its limit ends and a slower one may follow, when it ends and the interval of the slower one.
-- Operations on token buckets:
--   c  charge: the cost, and the time to fill      l  peek: as c, without charging
--   n  deny: the hits exceed the size              g  give back: how much, and the time to fill
--   u  undo a charge: the cost, and the moment to which it was added
-- on token buckets whose charges are always made:
--   a with the longest time until the bucket is full, in decimal nanoseconds: charge: the cost, and the time to fill
--   r  give back: how much, and the time to fill
-- on windows:
--   w  count the hits                              p  look: count nothing
--   o  count them if the request is admitted       s  count them unless only others are over their limits
--   b  give hits back                              d  give them back if the request is admitted
--   t  take hits back: instead of the limit, the second at which the window ends that counted them
-- and on concurrency buckets:
--   c  take slots: how many, the size, the ttl     l  peek: as c, without taking
--   q  report the state only
-- Returns the time, whether the request is denied, and the state of each bucket before the charge: when a token bucket
-- is full, the state of a window that has not ended, or how many slots are held, when the last of them expires, and when enough of them have expired for the
-- call.
local function decide(KEYS, ARGV)
  local now_s, now_n = time(ARGV[1], ARGV[2])
  local values, slots = tonumber(ARGV[3]), tonumber(ARGV[4])
  local reply = { now_s, now_n, 0 }
  local over, next_s, next_n, kinds = {}, {}, {}, {}
  local overs, is_any_over, quotas, spent = {}, false, 0, 0
  local states = {}
  if values > 0 and values <= 1000 then
    states = redis.call('MGET', unpack(KEYS, 1, values))
  else
    for i = 1, values do states[i] = redis.call('GET', KEYS[i]) end
  end
  local at = 7
  for i = 1, values do
    local op, group = ARGV[at], ARGV[at + 1]
    local a_s, a_n = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
    local b_s, b_n = tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5])
    local interval, changed = ARGV[at + 6], ARGV[at + 7]
    at = at + 8
    local kind, is_over = KINDS[op] or owing, false
    reply[3 + i], is_over, next_s[i], next_n[i] =
      kind.decide(KEYS[i], states[i], op, a_s, a_n, b_s, b_n, now_s, now_n, interval, changed)
    kinds[i], overs[i] = kind, is_over
    is_any_over = is_any_over or is_over
    if group == 'q' then
      quotas = quotas + 1
      if is_over then spent = spent + 1 end
    elseif is_over then
      over[group] = true
    end
  end
  local now_us = micros(now_s, now_n)
  local lasts = {}
  for i = 1, slots do
    local key = KEYS[values + i]
    local op, group = ARGV[at], ARGV[at + 1]
    local needed, size = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
    at = at + 8
    redis.call('ZREMRANGEBYSCORE', key, '-inf', now_us)
    local held, last, freed = redis.call('ZCARD', key), 0, 0
    if held > 0 then last = score(key, -1) end
    if op ~= 'q' and held + needed > size then
      over[group] = true
      if needed <= size then freed = score(key, held + needed - size - 1) end
    end
    lasts[i] = last
    local place = 3 + values + 3 * (i - 1)
    reply[place + 1], reply[place + 2], reply[place + 3] = held, last, freed
  end
  if quotas > 0 and spent == quotas then over['0'] = true end
  local written = {}
  for i = 1, values do
    local kind, key, interval, changed = kinds[i], KEYS[i], ARGV[8 * i + 5], ARGV[8 * i + 6]
    local is_written = kind.is_always_written or not (over['0'] or over[ARGV[8 * i]])
    if kind.is_spared then is_written = overs[i] or not is_any_over end
    if next_s[i] and is_written then
      local s, n, _ = next_s[i], next_n[i]
      if written[key] then
        -- It was judged by the count before the call, which an earlier charge has changed.
        local at = 8 * i - 1
        local hits_s, hits_n, length = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
        _, _, s, n = kind.decide(key, written[key], ARGV[at], hits_s, hits_n, length, 0, now_s, now_n, interval)
      end
      written[key] = kind.write(key, s, n, now_s, now_n, interval, changed)
    end
  end
  if over['0'] then
    reply[3] = 1
    return reply
  end
  local held, ends = {}, 0
  for i = 1, slots do
    at = 8 * (values + i) - 2
    if ARGV[at + 1] == 'c' and not over[ARGV[at + 2]] then
      local key, count = KEYS[values + i], tonumber(ARGV[at + 3])
      local expires = now_us + tonumber(ARGV[at + 5]) * 1000000 + tonumber(ARGV[at + 6]) / 1000
      for member = 1, count do
        redis.call('ZADD', key, string.format('%.0f', expires), ARGV[5] .. ':' .. member)
      end
      local last = math.ceil(math.max(expires, lasts[i]) / 1000)
      redis.call('PEXPIREAT', key, last)
      held[#held + 1] = count .. ' ' .. key
      ends = math.max(ends, math.ceil(expires / 1000))
    end
  end
  if ends > 0 then
    local value = ARGV[6] .. '\n' .. table.concat(held, '\n')
    redis.call('SET', KEYS[values + slots + 1], value, 'PXAT', ends)
  end
  return reply
end

-- KEYS: the lease. ARGV: the time as in decide; the lease.
-- Returns whether it still held a slot in this partition, and the other partitions in which it may hold some.
local function release(KEYS, ARGV)
  local value = redis.call('GET', KEYS[1])
  if not value then return { 0, '' } end
  redis.call('DEL', KEYS[1])
  local now_us, was_held = micros(time(ARGV[1], ARGV[2])), 0
  for count, key in string.gmatch(value, '\n(%d+) ([^\n]+)') do
    for member = 1, tonumber(count) do
      local name = ARGV[3] .. ':' .. member
      local expires = redis.call('ZSCORE', key, name)
      if expires and tonumber(expires) > now_us then was_held = 1 end
      redis.call('ZREM', key, name)
    end
  end
  return { was_held, string.match(value, '^[^\n]*') }
end

-- KEYS: a token bucket. ARGV: the interval of the limit under which its state was seen to be written, and the longest one
-- that the bucket may have since.
-- Lets the key end when all that the state told when it was written would be repaid at that rate, unless it ends later or
-- the state is another one by now. The limit has changed after that, so that less is owed, whenever it was.
-- Returns whether the key ends later than it did.
local function lengthen(KEYS, ARGV)
  -- Before the time, so that a key that ends later is never taken for one that does not.
  local left = redis.call('PTTL', KEYS[1])
  if left < 0 then return 0 end
  local state = redis.call('GET', KEYS[1]) or ''
  local full, owed, interval = string.match(state, '^(%d+) (%d+) (%d+)$')
  if not full or interval ~= ARGV[1] then return 0 end
  local s, n = split(full)
  local written_s, written_n = minus(s, n, split(owed))
  s, n = carry_over(s, n, written_s, written_n, tonumber(interval), tonumber(ARGV[2]))
  local ends = s * 1000 + math.ceil(n / 1000000)
  local now = redis.call('TIME')
  if ends - tonumber(now[1]) * 1000 - tonumber(now[2]) / 1000 <= left then return 0 end
  redis.call('PEXPIREAT', KEYS[1], ends)
  return 1
end
