-- Experiment (a): the gradient terms one by one.
-- From one start, a policy learns by T1, T2 or T3 alone and by their sums, on each of
-- the sources of pairs, for all prompts and with weight 1. Judged by the truth of the small world.
--   minimised: -[ w2 F + w1 sg(F - b) sum_k log pi(y_k) + w3 F^2/2 ], F = log q(label), b the leave-one-out mean
--
--   sail world runs/world --eval 400 && sail run recipes/experiments/terms.lua
local small = require "_small"
local seeds = 3

local function terms(w1, w2, w3)
  return function(b)
    local F = b.preference:logprob(b.scores, b.outcome)
    local A = (F - b.baseline(F)):detach()
    return -(w2 * F + w1 * A * (b.chosen.logp + b.rejected.logp) + w3 * 0.5 * F * F):mean()
  end
end

local offline = {}
local ddp = { ddp = { weight = 1, coef = 1 } }
local dpp = { dpp = { weight = 1, coef = 1 } }
local dpr = { dpr = { weight = 1, coef = 1 } }
local variants = { -- name, what it is, routes, w1, w2, w3
  { "data-T2", "data write and label: T2 (DPO)", offline, 0, 1, 0 },
  { "ddp-T2", "data write, policy labels: T2", ddp, 0, 1, 0 },
  { "ddp-T3", "data write, policy labels: T3", ddp, 0, 0, 1 },
  { "dpp-T1", "policy writes and labels: T1", dpp, 1, 0, 0 },
  { "dpp-T2", "policy writes and labels: T2", dpp, 0, 1, 0 },
  { "dpp-T3", "policy writes and labels: T3", dpp, 0, 0, 1 },
  { "dpp-T1T3", "policy writes and labels: T1 + T3", dpp, 1, 0, 1 },
  { "dpp-all", "policy writes and labels: T1 + T2 + T3", dpp, 1, 1, 1 },
  { "dpr-T1", "policy writes, judge labels: T1", dpr, 1, 0, 0 },
  { "dpr-T2", "policy writes, judge labels: T2", dpr, 0, 1, 0 },
  { "dpr-all", "policy writes, judge labels: T1 + T2", dpr, 1, 1, 0 },
}

local stages, models = { small.begin() }, { sft = "@sft" }
for _, v in ipairs(variants) do
  models[v[1]] = {}
  for seed = 1, seeds do
    stages[#stages + 1] = small.align(v[1], seed, { method = { objective = terms(v[4], v[5], v[6]), routes = v[3], beta = 0.5, judge = small.truth } })
    models[v[1]][seed] = "@" .. v[1] .. "-" .. seed
  end
end
stages[#stages + 1] = small.compare(models, { "sft", "data-T2" })
stages[#stages + 1] = {
  stage = "tables",
  tables = { make = function(run)
    local rows = {}
    for i, v in ipairs(variants) do
      local win, interval = small.win(run, v[1], "sft")
      local against = small.win(run, v[1], "data-T2")
      rows[i] = {
        v[2], small.mean(run, v[1], seeds, "eval_rewards/accuracies"), win, interval, against or 0.5,
        small.mean(run, v[1], seeds, "eval_objective/kl"), small.mean(run, v[1], seeds, "eval_completions/mean_length"),
      }
      for k = 1, 7 do if rows[i][k] == nil then rows[i][k] = "" end end
    end
    return {
      title = "The terms one by one",
      note = seeds .. " seeds each, 400 steps of 16 pairs, beta 0.5; accuracy on held-out pairs of the data, win rates by the truth. T2 on labels of the "
        .. "policy's own is zero in expectation, T3 makes the policy surer of what it prefers: neither carries news about the preference. T1 alone "
        .. "never leaves the start: there every F is log 1/2, the baseline takes all of it off, and a policy equal to its reference (accuracy 0, since "
        .. "all margins are 0) stays so. T1 needs T2, or T3, to have something to multiply. A judge's labels carry news, through T2.",
      columns = { "term", "accuracy", "wins over the start", "95 % interval", "wins over DPO", "KL", "tokens" }, rows = rows,
      shade = { "accuracy", "wins over the start", "wins over DPO" },
    }
  end },
}
stages[#stages + 1] = { stage = "report" }
return small.recipe("terms", "The gradient terms in isolation", stages)
