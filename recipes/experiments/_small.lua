-- What the experiments in the small world share (`sail world runs/world --eval 400`): the model that all begin from, one run of a method, and the
-- comparison by the truth behind the labels. The settings are the quickstart's.
local world = "../../runs/world/"
local M = {}

M.truth = { kind = "rule", rule = "weights", file = world .. "truth.txt" }
M.data = { train = world .. "pairs.jsonl", eval = world .. "eval.jsonl", max_prompt = 24, max_response = 24 }

function M.begin()
  return {
    stage = "sft", name = "sft",
    model = { init = { layers = 2, width = 64, heads = 4, positions = 64 }, tokenizer = world .. "tokenizer.json" },
    data = { train = world .. "sft.jsonl", held_out = 0.05, max_prompt = 24, max_response = 24 },
    train = { steps = 300, batch = 32, lr = 3e-3, schedule = { kind = "cosine", warmup = 0.05 }, log_every = 100 },
    eval = { pairs = 64 },
  }
end

-- `more` is merged into the stage, section by section.
function M.align(name, seed, more)
  local s = {
    stage = "align", name = name .. "-" .. seed, seed = seed, model = { path = "@sft" }, data = M.data,
    method = { beta = 0.5, judge = M.truth }, rollout = { max_new = 24, batch = 32 },
    train = { steps = 400, batch = 16, lr = 7e-4, schedule = { kind = "linear", warmup = 0.1 }, log_every = 200 },
    eval = { before = false, pairs = 400, generate = 32 },
    guard = { max_weight = 1, max_coef = 10 },
  }
  for section, keys in pairs(more) do
    local t = {}
    for k, v in pairs(s[section] or {}) do t[k] = v end
    for k, v in pairs(keys) do t[k] = v end
    s[section] = t
  end
  return s
end

function M.compare(models, against)
  return {
    stage = "eval", name = "compare", data = { eval = M.data.eval, max_prompt = 24, max_response = 24 },
    eval = { models = models, against = against, generate = 96, judge = M.truth, bootstrap = 1000 },
  }
end

function M.recipe(name, title, stages)
  return { name = name, title = title, seed = 1, model = { dtype = "f32", threads = 1 }, stages = stages }
end

-- The mean over seeds of a metric's last value; nil where a seed has none.
function M.mean(run, name, seeds, metric)
  local sum = 0
  for seed = 1, seeds do
    local v = run:metric(name .. "-" .. seed, metric)
    if not v then return nil end
    sum = sum + v
  end
  return sum / seeds
end

-- The same over all steps: mean and largest.
function M.over_steps(run, name, seeds, metric)
  local sum, n, most = 0, 0, -math.huge
  for seed = 1, seeds do
    local _, values = run:series(name .. "-" .. seed, metric)
    for _, v in ipairs(values) do
      sum, n = sum + v, n + 1
      if v ~= v or v > most then most = v end
    end
  end
  if n == 0 then return nil end
  return sum / n, most
end

function M.win(run, name, against)
  local key = "win_rate/" .. name .. "_vs_" .. against
  local mean, low, high = run:metric("compare", key), run:metric("compare", key .. "/low"), run:metric("compare", key .. "/high")
  return mean, low and string.format("%.3f to %.3f", low, high)
end

return M
