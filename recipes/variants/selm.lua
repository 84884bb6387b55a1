-- SELM, self-exploring language models (arXiv 2405.19332, algorithm 1 and its loss): DPO with a reward that is optimistic away from the reference.
-- Here the pair is a response of the policy and one of the reference, as in the paper's analysis; its experiments rank a fresh response
-- among the data's.
--   loss = mean over pairs of -log sigmoid(beta (rho_w - rho_l)) + alpha beta rho(y'),   y ~ pi, y' ~ ref, rho = log pi/ref
local sail = require "sail"
local r = sail.recipe "../sail-dpr.yaml"
local alpha = 0.001 -- optimism

r.title = "SELM"
r.method.routes = { dpr = { weight = 1, coef = 0 } }
r.rollout.rival = "reference" -- writes y'
r.guard = { max_weight = 1 }

r.method.objective = function(b)
  local win, lose, decided = b.sides()
  local dpo = -decided * (win.score - lose.score):log_sigmoid()
  local optimism = alpha * (b.by_rival * b.scores):sum_responses() -- scores are beta rho
  local per_pair = dpo + optimism
  return per_pair:mean(), { per_pair = per_pair, dpo = dpo, optimism = optimism }
end

return r
