-- What experiments (c) share: DPO, DDP, DPP and DPR on a real model with real data, three seeds each, compared by a rule and
-- by a reward model that no training has seen.
--
-- The file's prompts are split by hash: a tenth for evaluation; of the others six tenths for the policies, two for the reward
-- model that labels DPR's pairs, two for the reward model that judges the evaluation. So what DPR pleases and what judges it
-- were fitted to different people's choices.
--
-- The sizes are what two cores of a processor allow in an hour: prompts of 128 tokens, responses of 64, 60 steps of 4 pairs.
local sail = require "sail"

return function(o)
  local methods = {
    { "dpo", {} },
    { "ddp", { ddp = { weight = 0.4, coef = 0.2 } } },
    { "dpp", { dpp = { weight = 0.3, coef = 0.2 } } },
    { "dpr", { dpr = { weight = 0.3, coef = 0.3 } } },
  }
  local seeds = o.seeds or 3
  local held_out = { held_out = 0.1 }
  local function with(t, more)
    local r = {}
    for k, v in pairs(t) do r[k] = v end
    for k, v in pairs(more) do r[k] = v end
    return r
  end

  local function reward(name, seed, share)
    return {
      stage = "reward", name = name, seed = seed,
      data = with(with(held_out, o.reward_data or {}), { share = share }),
      method = { preference = "bradley_terry" },
      train = { steps = 60, batch = o.reward_batch or 8, lr = 2e-4, schedule = { kind = "cosine", warmup = 0.1 }, log_every = 20 },
      eval = { before = false, pairs = 128 },
    }
  end
  local function align(name, seed, routes)
    return {
      stage = "align", name = name .. "-" .. seed, seed = seed,
      data = with(held_out, { share = { 0, 0.6 } }),
      rollout = { temperature = 0.9 },
      method = { objective = { kind = "sail", importance = "token" }, beta = 0.1, routes = routes,
                 judge = routes.dpr and { kind = "reward", path = "@labeller" } or nil },
      train = { steps = 60, batch = 4, lr = 1e-4, schedule = { kind = "cosine", warmup = 0.1 }, log_every = 20 },
      eval = { before = false, pairs = 96, generate = 0 },
    }
  end

  local stages = { reward("labeller", 11, { 0.6, 0.8 }), reward("assessor", 12, { 0.8, 1 }) }
  local models = { base = sail.null }
  for _, m in ipairs(methods) do
    models[m[1]] = {}
    for seed = 1, seeds do
      stages[#stages + 1] = align(m[1], seed, m[2])
      models[m[1]][seed] = "@" .. m[1] .. "-" .. seed
    end
  end
  for _, judge in ipairs { o.rule, { kind = "reward", path = "@assessor" } } do
    stages[#stages + 1] = {
      stage = "eval", name = "by-" .. judge.kind, data = held_out,
      eval = { models = models, against = { "base", "dpo" }, generate = 64, temperature = 0.7, judge = judge },
    }
  end
  stages[#stages + 1] = {
    stage = "tables", name = "set-up",
    tables = { make = function(run)
      local function of(stage) return run:metric(stage, "eval_rewards/accuracies") or sail.null end
      return {
        title = "Set-up", columns = { "what", "value" },
        rows = {
          { "tokens of a prompt, of a response, at most", o.data.max_prompt .. ", " .. o.data.max_response },
          { "steps, pairs a step", "60, 4" }, { "LoRA rank, learning rate", "16, 1e-4" }, { "seeds", seeds },
          { "accuracy on held-out pairs of the reward model that labels DPR's", of "labeller" },
          { "of the one that judges", of "assessor" },
        },
      }
    end },
  }
  stages[#stages + 1] = { stage = "report", name = "report" }
  return {
    title = o.title, name = o.name, seed = 1,
    model = { adapter = { kind = "lora", rank = 16, alpha = 32, targets = "all-linear" }, backend = "cpu", dtype = "bf16" },
    data = o.data, stages = stages,
  }
end
