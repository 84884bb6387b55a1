-- Experiment (d): how exactly the reward that a policy implies is the reward, and where it stops to be.
-- SAIL's single level rests on r(x,y) = beta log(pi(y|x) / pi0(y|x)) + a constant
-- per prompt, which holds for the policy that maximises E[R] - beta KL(pi | pi0). How exactly does r give R back, and where does
-- it stop? Everything is enumerated in double precision: one prompt, 27 responses of three tokens out of three, rewards drawn
-- from a normal distribution, 20 problems a row; errors are the largest over responses, once the best constant is taken off,
-- in units of the rewards' standard deviation. Needs no model and no data.
--
--   sail run recipes/experiments/equivalence.lua
local N, PROBLEMS = 27, 20

-- A generator of our own (recipes have none): the minimal standard one, and normals by Box and Muller.
local function random(seed)
  local s = 1 + seed % 2147483646
  local function uniform()
    s = s * 48271 % 2147483647
    return s / 2147483647
  end
  return uniform, function() return math.sqrt(-2 * math.log(uniform())) * math.cos(2 * math.pi * uniform()) end
end

local function softmax(z)
  local top, sum, p = -math.huge, 0, {}
  for i = 1, #z do top = math.max(top, z[i]) end
  for i = 1, #z do p[i] = math.exp(z[i] - top); sum = sum + p[i] end
  for i = 1, #z do p[i] = p[i] / sum end
  return p
end

-- pi0 with logits of this spread, and rewards.
local function problem(seed, spread)
  local _, normal = random(7919 * seed + 17)
  local z, R = {}, {}
  for i = 1, N do z[i], R[i] = (spread or 1) * normal(), normal() end
  return softmax(z), R
end

-- Largest and root mean square deviation of r from R over the responses that `of` admits, the mean difference taken off.
local function deviation(r, R, of)
  local mean, n, worst, square = 0, 0, 0, 0
  for i = 1, N do
    if not of or of(i) then mean, n = mean + r[i] - R[i], n + 1 end
  end
  for i = 1, N do
    if not of or of(i) then
      local d = r[i] - R[i] - mean / n
      worst, square = d ~= d and d or math.max(worst, math.abs(d)), square + d * d
    end
  end
  return worst, math.sqrt(square / n)
end

local function implied(pi, pi0, beta)
  local r = {}
  for i = 1, N do r[i] = beta * math.log(pi[i] / pi0[i]) end
  return r
end

local function over(count, f) -- the means of what f gives for problems 1 … count
  local sum = {}
  for seed = 1, count do
    for k, v in ipairs { f(seed) } do sum[k] = (sum[k] or 0) + v / count end
  end
  return table.unpack(sum)
end

-- Rounds to 24 binary digits, those of float32, as log-probabilities are kept (Veltkamp's splitting).
local function f32(x)
  local c = (2 ^ 29 + 1) * x
  return c - (c - x)
end

local function optimum(run)
  local rows = {}
  for _, beta in ipairs { 10, 1, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001 } do
    local double, single = over(PROBLEMS, function(seed)
      local pi0, R = problem(seed)
      local z, log32 = {}, {}
      for i = 1, N do z[i] = math.log(pi0[i]) + R[i] / beta end
      local pi = softmax(z)
      for i = 1, N do log32[i] = beta * (f32(math.log(pi[i])) - f32(math.log(pi0[i]))) end
      return deviation(implied(pi, pi0, beta), R), (deviation(log32, R))
    end)
    rows[#rows + 1] = { beta, double, single }
  end
  return {
    title = "1. At the optimum, r is R to rounding, until probabilities underflow",
    note = "pi* proportional to pi0 exp(R/beta). nan: a response's probability is 0 in double precision, and its log-ratio minus infinity: beta is "
      .. "then too small for what R spans, whatever the learning rate.",
    columns = { "beta", "largest error, double", "largest error, log-probabilities in float32" }, rows = rows,
    plot = { x = "beta", y = { "largest error, double", "largest error, log-probabilities in float32" }, log = "xy" },
  }
end

-- Gradient ascent on E[R] - beta KL in the logits; at(step, pi) is told at powers of two.
local function climb(pi0, R, beta, rate, steps, at)
  local z = {}
  for i = 1, N do z[i] = math.log(pi0[i]) end
  local mark = 1
  for step = 1, steps do
    local pi, mean, A = softmax(z), 0, {}
    for i = 1, N do
      A[i] = R[i] - beta * math.log(pi[i] / pi0[i])
      mean = mean + pi[i] * A[i]
    end
    for i = 1, N do z[i] = z[i] + rate * pi[i] * (A[i] - mean) end
    if step == mark then
      at(step, softmax(z))
      mark = 2 * mark
    end
  end
end

local function on_the_way(run)
  local betas, steps = { 1, 0.3, 0.1 }, 2048
  local columns, rows, sums = { "step" }, {}, {}
  for k, beta in ipairs(betas) do
    columns[k + 1] = "beta " .. beta
    for seed = 1, 4 do
      local pi0, R = problem(seed)
      climb(pi0, R, beta, 2, steps, function(step, pi)
        local _, rms = deviation(implied(pi, pi0, beta), R)
        sums[step] = sums[step] or {}
        sums[step][k] = (sums[step][k] or 0) + rms / 4
      end)
    end
  end
  for e = 0, 11 do
    rows[#rows + 1] = { 2 ^ e // 1 | 0, table.unpack(sums[2 ^ e // 1 | 0]) }
  end
  return {
    title = "2. Before the optimum, r is not R yet: what is rare comes last",
    note = "Root mean square error while E[R] - beta KL is climbed by its exact gradient, 4 problems. Responses move in proportion to "
      .. "their probability, so bad and rare ones keep an r of about 0 for long: a policy on its way is a biased reward model.",
    columns = columns, rows = rows, plot = { x = "step", y = { columns[2], columns[3], columns[4] }, log = "xy" },
  }
end

-- Population DPO: Bradley-Terry labels of R on pairs that mu draws; ascent in r itself (a tabular policy can have any r).
local function from_preferences(run)
  local rows = {}
  for _, covered in ipairs { 27, 20, 13, 5 } do
    local inside, outside = over(6, function(seed)
      local pi0, R = problem(seed)
      local r = {}
      for i = 1, N do r[i] = 0 end
      for _ = 1, 250 do
        local g = {}
        for i = 1, N do g[i] = 0 end
        for i = 1, covered do
          for j = i + 1, covered do
            local d = 1 / (1 + math.exp(R[j] - R[i])) - 1 / (1 + math.exp(r[j] - r[i]))
            g[i], g[j] = g[i] + d, g[j] - d
          end
        end
        for i = 1, N do r[i] = r[i] + 4 / covered * g[i] end
      end
      local _, seen = deviation(r, R, function(i) return i <= covered end)
      local _, unseen = deviation(r, R, function(i) return i > covered end)
      return seen, covered < N and unseen or 0
    end)
    rows[#rows + 1] = { covered .. " of 27", inside, covered < N and outside or nil }
    if covered == N then rows[#rows][3] = "none is left" end
  end
  return {
    title = "3. From preferences, r is R where the pairs are, and nothing elsewhere",
    note = "Offline DPO in the limit of infinitely many Bradley-Terry labels on pairs of the covered responses, 6 problems, root mean square "
      .. "error. On what no pair holds r stays at pi0's, and all of R's spread is the error. This is the shift that DPP and DPR are for.",
    columns = { "responses that pairs cover", "error on them", "error on the others" }, rows = rows,
  }
end

-- pi0 gives some responses no probability, or little.
local function no_support(run)
  local rows = {}
  local beta = 0.3
  for _, least in ipairs { 1e-2, 1e-4, 1e-8, 1e-300, 0 } do
    local on, off, mass = over(PROBLEMS, function(seed)
      local pi0, R = problem(seed)
      local sum, z = 0, {}
      for i = 1, N do
        if i <= 5 then pi0[i] = least end
        sum = sum + pi0[i]
      end
      for i = 1, N do
        pi0[i] = pi0[i] / sum
        z[i] = math.log(pi0[i]) + R[i] / beta
      end
      local pi = softmax(z)
      local r = implied(pi, pi0, beta)
      local lost = 0
      for i = 1, 5 do lost = lost + pi[i] end
      local seen = deviation(r, R, function(i) return i > 5 end)
      local unseen = deviation(r, R, function(i) return i <= 5 end)
      return seen, unseen, lost
    end)
    rows[#rows + 1] = { string.format("%g", least), on, off, mass }
  end
  return {
    title = "4. Responses of probability 0 have no implied reward",
    note = "beta 0.3; five of the 27 responses have this probability each under pi0. While it is above 0, however small, r is R; at 0 it is "
      .. "log(0/0), and no policy at a finite KL ever writes them. The last column is what the optimum gives all five.",
    columns = { "pi0 of five responses", "largest error on the others", "largest error on them", "pi* of all five" }, rows = rows,
  }
end

-- Other divergences: the optimum of E[R] - beta E_pi0[f(pi/pi0)] has R = beta f'(u) + lambda, u = pi/pi0.
local divergences = {
  { "reverse KL (DPO)", function(u) return math.log(u) + 1 end, function(g) return math.exp(g - 1) end, math.huge },
  { "forward KL", function(u) return -1 / u end, function(g) return -1 / g end, 0 },
  { "Jensen-Shannon", function(u) return math.log(2 * u / (1 + u)) end, function(g) local e = math.exp(g); return e / (2 - e) end, math.log(2) },
  { "alpha 0.5", function(u) return (1 - u ^ -0.5) / 0.5 end, function(g) return (1 - 0.5 * g) ^ -2 end, 2 },
}

local function other_divergences(run)
  local beta, rows = 0.3, {}
  for _, d in ipairs(divergences) do
    local name, f, inverse, bound = table.unpack(d)
    local right, wrong, order = over(PROBLEMS, function(seed)
      local pi0, R = problem(seed)
      local top = -math.huge
      for i = 1, N do top = math.max(top, R[i]) end
      -- the constant lambda at which the probabilities sum to 1; f' stays below its bound
      local low, high = bound == math.huge and top - 800 * beta or top - bound * beta, top + 1e4 * beta
      local pi = {}
      for _ = 1, 200 do
        local lambda, sum = (low + high) / 2, 0
        for i = 1, N do
          pi[i] = pi0[i] * inverse((R[i] - lambda) / beta)
          sum = sum + pi[i]
        end
        if sum > 1 then low = lambda else high = lambda end
      end
      local own, log = {}, implied(pi, pi0, beta)
      for i = 1, N do own[i] = beta * f(pi[i] / pi0[i]) end
      local pairs_right, pairs = 0, 0
      for i = 1, N do
        for j = i + 1, N do
          pairs = pairs + 1
          if (log[i] > log[j]) == (R[i] > R[j]) then pairs_right = pairs_right + 1 end
        end
      end
      local _, rms = deviation(log, R)
      return (deviation(own, R)), rms, pairs_right / pairs
    end)
    rows[#rows + 1] = { name, right, wrong, order }
  end
  return {
    title = "5. Under another divergence the log-ratio is no longer the reward, but its order stays",
    note = "beta 0.3. The optimum of E[R] - beta D_f. Read by its own f' (what f_divergence_type does) it gives R back; read as beta log(pi/pi0) "
      .. "it does not. f' rises, so pairs are ordered rightly either way: accuracy cannot tell the readings apart, margins can.",
    columns = { "divergence", "largest error, read by f'", "root mean square error, read as a log-ratio", "pairs ordered rightly by the log-ratio" },
    rows = rows,
  }
end

-- A policy with k features: log pi = log pi0 + sum_j w_j phi_j(y) + const. Its best fit to R/beta, by pi0-weighted least squares
-- (Gram-Schmidt on random features), is as near as it comes to the optimum for small R/beta; what is outside the span is lost.
local function capacity(run)
  local rows = {}
  local ranks = { 1, 2, 4, 8, 13, 20, 25, 26 }
  local sums = {}
  for seed = 1, PROBLEMS do
    local _, R = problem(seed)
    local _, normal = random(104729 * seed + 3)
    local left, basis, mean = {}, {}, 0
    for i = 1, N do mean = mean + R[i] / N end
    for i = 1, N do left[i] = R[i] - mean end
    local rank = 0
    for at, k in ipairs(ranks) do
      while rank < k do
        local phi, m = {}, 0
        for i = 1, N do phi[i] = normal(); m = m + phi[i] / N end
        for i = 1, N do phi[i] = phi[i] - m end
        for _ = 1, 2 do -- twice: once loses half of the digits
          for _, b in ipairs(basis) do
            local dot = 0
            for i = 1, N do dot = dot + b[i] * phi[i] end
            for i = 1, N do phi[i] = phi[i] - dot * b[i] end
          end
        end
        local norm, dot = 0, 0
        for i = 1, N do norm = norm + phi[i] * phi[i] end
        for i = 1, N do phi[i] = phi[i] / math.sqrt(norm); dot = dot + phi[i] * left[i] end
        for i = 1, N do left[i] = left[i] - dot * phi[i] end
        basis[#basis + 1], rank = phi, rank + 1
      end
      local square = 0
      for i = 1, N do square = square + left[i] * left[i] end
      sums[at] = (sums[at] or 0) + math.sqrt(square / N) / PROBLEMS
    end
  end
  for at, k in ipairs(ranks) do rows[at] = { k, sums[at], math.sqrt(math.max(0, 1 - k / (N - 1))) } end
  return {
    title = "6. A policy that cannot be the optimum keeps what it can express",
    note = "A log-linear policy with k random features beside pi0: the part of R outside their span cannot be implied, the root mean square error "
      .. "falls as sqrt(1 - k/26). At 26 features, all that a table of 27 has, it is 0. A LoRA adapter of too small a rank is such a policy.",
    columns = { "features", "root mean square error", "sqrt(1 - k/26)" }, rows = rows,
    plot = { x = "features", y = { "root mean square error", "sqrt(1 - k/26)" } },
  }
end

return {
  name = "equivalence", title = "How far the implicit reward is the reward", seed = 1,
  stages = {
    { stage = "tables", tables = { make = { optimum, on_the_way, from_preferences, no_support, other_divergences, capacity } } },
    { stage = "report" },
  },
}
