-- GRPO, group relative policy optimisation (arXiv 2402.03300, eq. 3 and 4): K responses, each worth its judge's score beside the group's.
-- The ratio to the policy that wrote them is clipped, the divergence estimated without bias (k3).
--   A_k  = (r_k - mean r) / std r
--   loss = -mean over responses and their tokens of min(q A, clip(q, 1 - eps, 1 + eps) A) - beta (e^d - d - 1)
--   q = pi(t)/pi_old(t),   d = log ref(t) - log pi(t)
local sail = require "sail"
local r = sail.recipe "../sail-dpr.yaml"
local eps = 0.2

r.title = "GRPO"
r.method.routes = { dpr = { weight = 1, coef = 0 } }
r.method.preference = "plackett_luce" -- judges rank; the loss reads their scores
r.method.beta = 0.04
r.rollout.responses, r.rollout.temperature = 4, 1
r.guard = { max_weight = 1 }

r.method.objective = function(b)
  local K, s = #b.logp // b.n, b.judge_scores
  local apart = s - s:mean_responses():spread "response"
  local std = ((apart * apart):sum_responses() / (K - 1)):sqrt()
  local A = (apart / (std + 1e-4):spread "response"):spread "token"
  local q = (b.tokens.logp - b.tokens.old):exp()
  local gain = (q * A):min(q:clamp(1 - eps, 1 + eps) * A)
  local d = b.tokens.ref - b.tokens.logp
  local kl = d:exp() - d - 1
  local each = b.by_policy * (b.beta * kl - gain):mean_tokens()
  return each:mean(), { per_pair = each:mean_responses(), spread = std, kl = kl:mean_tokens() }
end

return r
