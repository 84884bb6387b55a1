-- Nash-MD (arXiv 2312.00886, eq. 8 and algorithm 1): the policy plays against the geometric mixture of itself and the reference.
-- It learns to be preferred, at a price for leaving the reference; the divergence is that of whole responses, since a product token by
-- token would be biased.
--   loss = mean of (beta sg(rho(y)) - (P(y over y') - 1/2)) log pi(y|x),   y ~ pi, y' ~ pi^(1-w) ref^w, rho = log pi/ref
-- P is the preference model's probability on the judge's scores.
local sail = require "sail"
local r = sail.recipe "../sail-dpr.yaml"

r.title = "Nash-MD"
r.method.routes = { dpr = { weight = 1, coef = 0 } }
r.rollout.rival, r.rollout.mixture = "mixture", 0.125 -- y', and w
r.guard = { max_weight = 1 }

r.method.objective = function(b)
  local first, own = b.preference:logprob(b.judge_scores, 1):exp(), b.by_policy
  local P = own:slot(1) * first + own:slot(2) * (1 - first) -- that the policy's response is the better one
  local logp, rho = (own * b.logp):sum_responses(), (own * b.rho):sum_responses()
  local per_pair = (b.beta * rho:detach() - (P - 0.5)) * logp
  return per_pair:mean(), { per_pair = per_pair, preferred = P, kl = rho }
end

return r
