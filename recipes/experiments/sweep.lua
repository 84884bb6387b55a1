-- Experiment (b): mixture times coefficient, how far the extra terms may go.
-- Mixture 0.1, 0.3, 0.5 times coefficient 0.1, 0.2, 0.4, 0.8 for DDP, DPP and DPR in the small
-- world, three seeds each: stability, accuracy on held-out pairs, win rate by the truth.
--
--   sail world runs/world --eval 400 && sail run recipes/experiments/sweep.lua
local small = require "_small"
local seeds = 3
local mixtures, coefs, designs = { 0.1, 0.3, 0.5 }, { 0.1, 0.2, 0.4, 0.8 }, { "ddp", "dpp", "dpr" }

local stages, models, names = { small.begin() }, { sft = "@sft", dpo = {} }, {}
local function add(name, routes)
  models[name] = {}
  for seed = 1, seeds do
    stages[#stages + 1] = small.align(name, seed, { method = { objective = "sail", routes = routes, beta = 0.5, judge = small.truth } })
    models[name][seed] = "@" .. name .. "-" .. seed
  end
end
add("dpo", {})
for _, design in ipairs(designs) do
  for _, mixture in ipairs(mixtures) do
    for _, coef in ipairs(coefs) do
      local name = string.format("%s-%.1f-%.1f", design, mixture, coef)
      names[#names + 1] = { name, design, mixture, coef }
      add(name, { [design] = { weight = mixture, coef = coef } })
    end
  end
end
stages[#stages + 1] = small.compare(models, { "sft", "dpo" })

-- One function for each design: a call may take a second.
local function of(design)
  return function(run)
    local rows = {}
    for _, n in ipairs(names) do
      if n[2] == design then
        local win, interval = small.win(run, n[1], "dpo")
        local _, skipped = small.over_steps(run, n[1], seeds, "sail/skipped")
        local _, gradient = small.over_steps(run, n[1], seeds, "grad_norm")
        rows[#rows + 1] = { n[3], n[4], win, interval, (small.win(run, n[1], "sft")), small.mean(run, n[1], seeds, "eval_rewards/accuracies"),
                            small.mean(run, n[1], seeds, "eval_objective/kl"), gradient or "", skipped or 0 }
      end
    end
    return {
      title = design:upper(),
      note = string.format("%d seeds, 400 steps of 16 pairs, beta 0.5. DPO itself: %.3f wins over the start, accuracy %.3f, KL %.2f.", seeds,
        small.win(run, "dpo", "sft"), small.mean(run, "dpo", seeds, "eval_rewards/accuracies"), small.mean(run, "dpo", seeds, "eval_objective/kl")),
      columns = { "mixture", "coefficient", "wins over DPO", "95 % interval", "wins over the start", "accuracy", "KL", "largest gradient", "steps skipped" },
      rows = rows, shade = { "wins over DPO", "wins over the start", "accuracy", "KL" },
    }
  end
end
local make = {}
for i, design in ipairs(designs) do make[i] = of(design) end
stages[#stages + 1] = { stage = "tables", tables = { make = make } }
stages[#stages + 1] = { stage = "report" }
return small.recipe("sweep", "Mixture times coefficient", stages)
