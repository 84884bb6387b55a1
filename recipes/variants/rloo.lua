-- RLOO, REINFORCE with a leave-one-out baseline (arXiv 2402.14740, eq. 6 and 7): K responses, each weighed by what it is worth beyond the others.
-- The divergence is part of the reward.
--   R_k  = r_k - beta rho_k,   rho = log pi/ref
--   loss = -mean over responses of sg(R_k - mean of the other R) log pi(y_k|x)
local sail = require "sail"
local r = sail.recipe "../sail-dpr.yaml"

r.title = "RLOO"
r.method.routes = { dpr = { weight = 1, coef = 0 } }
r.method.preference = "plackett_luce" -- judges rank; the loss reads their scores
r.method.beta = 0.05
r.rollout.responses, r.rollout.temperature = 4, 1
r.guard = { max_weight = 1 }

r.method.objective = function(b)
  local K = #b.logp // b.n
  local R = (b.judge_scores - b.beta * b.rho):detach()
  local beyond = (R - R:mean_responses():spread "response") * (K / (K - 1)) -- R_k less the mean of the others
  local each = -b.by_policy * beyond * b.logp
  return each:mean(), { per_pair = each:mean_responses(), reward = R:mean_responses() }
end

return r
