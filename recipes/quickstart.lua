-- The quickstart: a tiny model learns a small world (`sail world DIR`) from demonstrations, then from preferences, in four
-- ways from the same start and with several seeds each. Win rates are judged by the truth behind the labels, which training
-- sees through labels only (DPR asks it as a judge).
--
-- Every method has the same steps, batch, beta and learning rate; they and the coefficients were chosen on another world and
-- other seeds (beta 0.1, 0.5, 1; rates from 2e-4 to 2e-3; 100, 200, 400 steps), by the win rate over the start. DPO's own best
-- is among them. The policy's own labels enter through their expectation (`labels: expected`), which carries less noise.
--
--   sail world runs/world && sail run recipes/quickstart.lua
local r = {
  title = "Quickstart: a small world",
  name = "quickstart",
  seed = 1,
  model = { dtype = "f32" },
}

local world = "../runs/world/"
local truth = { kind = "rule", rule = "weights", file = world .. "truth.txt" }
local seeds = 5

local function align(name, seed, objective, routes)
  return {
    stage = "align", name = name .. "-" .. seed, seed = seed,
    model = { path = "@sft" },
    data = { train = world .. "pairs.jsonl", eval = world .. "eval.jsonl", max_prompt = 24, max_response = 24 },
    method = { objective = objective, beta = 0.5, routes = routes, judge = truth },
    rollout = { max_new = 24, batch = 32 },
    train = { steps = 400, batch = 16, lr = 7e-4, schedule = { kind = "linear", warmup = 0.1 }, log_every = 100 },
    eval = { before = false, pairs = 96, generate = 0 },
  }
end

local stages = {
  {
    stage = "sft", name = "sft",
    model = { init = { layers = 2, width = 64, heads = 4, positions = 64 }, tokenizer = world .. "tokenizer.json" },
    data = { train = world .. "sft.jsonl", held_out = 0.05, max_prompt = 24, max_response = 24 },
    train = { steps = 300, batch = 32, lr = 3e-3, schedule = { kind = "cosine", warmup = 0.05 }, log_every = 50 },
    eval = { pairs = 64 },
  },
}
local methods = {
  { "dpo", "dpo" },
  { "ddp", { kind = "sail", labels = "expected" }, { ddp = { weight = 0.3, coef = 0.2 } } },
  { "dpp", { kind = "sail", labels = "expected" }, { dpp = { weight = 0.3, coef = 0.02 } } },
  { "dpr", "sail", { dpr = { weight = 0.3, coef = 0.1 } } },
}
local models = { sft = "@sft" }
for _, m in ipairs(methods) do
  models[m[1]] = {}
  for seed = 1, seeds do
    stages[#stages + 1] = align(m[1], seed, m[2], m[3])
    models[m[1]][seed] = "@" .. m[1] .. "-" .. seed
  end
end
stages[#stages + 1] = {
  stage = "eval", name = "compare",
  data = { eval = world .. "eval.jsonl", max_prompt = 24, max_response = 24 },
  eval = { models = models, against = { "sft", "dpo" }, generate = 96, judge = truth, bootstrap = 1000 },
}
stages[#stages + 1] = { stage = "report", name = "report" }
r.stages = stages

return r
