-- XPO, exploratory preference optimisation (arXiv 2405.21046, eq. 6): online DPO against the reference, with a taste for what it would not write.
-- The pair is a response of the policy and one of the reference; the likelihood of the latter is lowered besides.
--   loss = mean over pairs of -log sigmoid(beta (rho_w - rho_l)) + alpha log pi(y'|x),   y ~ pi, y' ~ ref, rho = log pi/ref
local sail = require "sail"
local r = sail.recipe "../sail-dpr.yaml"
local alpha = 1e-3 -- strength of the exploration

r.title = "XPO"
r.method.routes = { dpr = { weight = 1, coef = 0 } }
r.rollout.rival = "reference" -- writes y'
r.guard = { max_weight = 1 }

r.method.objective = function(b)
  local win, lose, decided = b.sides()
  local dpo = -decided * (win.score - lose.score):log_sigmoid()
  local optimism = alpha * (b.by_rival * b.logp):sum_responses()
  local per_pair = dpo + optimism
  return per_pair:mean(), { per_pair = per_pair, dpo = dpo, optimism = optimism }
end

return r
