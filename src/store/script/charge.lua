-- Charges the token buckets of a plain request, all or none: each is enforced, is not charged in debt, and has a limit
-- that no slower one follows. It does what `decide` does, in less time. It only finishes what is usual: if a bucket is
-- over its limit, or its state is malformed, of another limit or of a clock that was set back since, it writes nothing
-- and returns nothing. Then `decide` is called with the arguments that `spelled_out` returns.
--
-- Moments are pairs of seconds and nanoseconds, as in `decide`. Spans are nanoseconds in one number: a time to fill is at
-- most 2^52, so that all sums that pass the comparison with it are exact.

-- KEYS: the buckets. ARGV: what is asked of each, packed one behind another: the cost and the time to fill, as doubles,
-- and a space with the interval between two tokens; behind all of them, for each, when its limit changed, or ''. Texts end
-- with a zero. Then, unless it is the server's, the time as seconds and microseconds.
-- Returns the time as seconds and microseconds, and the state of each bucket before the charge, or 0, each on a line.
local function charge(KEYS, ARGV)
  local call, read, sub, format = redis.call, struct.unpack, string.sub, string.format
  local packed, at = ARGV[1], 1
  local reply = ARGV[2] and { ARGV[2], ARGV[3] } or call('TIME')
  local now_s, now_n = tonumber(reply[1]), tonumber(reply[2]) * 1000
  -- Two places from the start: to grow a table takes longer.
  local states, ends = call('MGET', unpack(KEYS)), { 0, 0 }
  for i = 1, #KEYS do
    local cost, fill, interval
    cost, fill, interval, at = read('<dds', packed, at)
    local state, owed = states[i], 0
    if state then
      -- Ten digits of seconds, from 2001 to 2286, and nine of nanoseconds.
      if #state < 22 then return end
      local s, n, space = read('c10c9c1', state)
      s, n = tonumber(s), tonumber(n)
      local most = tonumber(sub(state, 21, -1 - #interval))
      if not (s and n and most) or space ~= ' ' or sub(state, -#interval) ~= interval then return end
      owed = (s - now_s) * 1000000000 + n - now_n
      if owed > most then return end
      if owed < 0 then owed = 0 end
    end
    reply[2 + i] = state or '0'
    owed = owed + cost
    if owed > fill then return end
    local n = now_n + owed
    local rest = n % 1000000000
    local s = now_s + (n - rest) / 1000000000
    -- In integers that fit in 32 bits: '%.0f' takes longer.
    local low, owed_rest, past = s % 100000, owed % 1000000000, (rest + 999999) % 1000000
    states[i] = format('%d%05d%09d %d%09d%s',
      (s - low) / 100000, low, rest, (owed - owed_rest) / 1000000000, owed_rest, interval)
    -- The first whole millisecond that is not before it.
    ends[i] = s * 1000 + (rest + 999999 - past) / 1000000
  end
  for i = 1, #KEYS do
    call('SET', KEYS[i], states[i], 'PXAT', ends[i])
  end
  return table.concat(reply, '\n')
end

-- The arguments of `decide` that ask the same as these of `charge`.
local function spelled_out(KEYS, ARGV)
  local at, args = 1, { ARGV[2] or '', '', #KEYS, 0, '', '' }
  if ARGV[2] then args[2] = ARGV[3] * 1000 end
  local function push(span)
    local rest = span % 1000000000
    args[#args + 1], args[#args + 2] = (span - rest) / 1000000000, rest
  end
  for i = 1, #KEYS do
    local cost, fill, interval
    cost, fill, interval, at = struct.unpack('<dds', ARGV[1], at)
    args[8 * i - 1], args[8 * i] = 'c', '0'
    push(cost)
    push(fill)
    args[8 * i + 5], args[8 * i + 6] = string.sub(interval, 2), ''
  end
  for i = 1, #KEYS do
    args[8 * i + 6], at = struct.unpack('<s', ARGV[1], at)
  end
  return args
end
