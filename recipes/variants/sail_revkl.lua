-- SAIL with a penalty on the reverse KL divergence, KL(policy || reference) (after arXiv 2606.31524).
-- On responses that the policy wrote, E[rho * grad log pi] is the gradient of that divergence, rho the log-ratio to the
-- reference; the mean over a pair's other response is its baseline. On other pairs the penalty says nothing.
local sail = require "sail"
local r = sail.recipe "../sail-dpp.yaml"
local kappa = 0.02 -- strength of the penalty, in nats of loss for a nat of divergence

r.title = "SAIL with a reverse-KL penalty"

r.method.objective = function(b)
  local F = b.preference:logprob(b.scores, b.outcome)
  local A = (F - b.baseline(F)):detach()
  local logp = b.chosen.logp + b.rejected.logp
  local J = F + b.coef_written * A * logp + b.coef_labelled * 0.5 * F * F

  local gap = (b.chosen.rho - b.rejected.rho):detach() -- each response against the other
  local penalty = b.written * 0.5 * gap * (b.chosen.logp - b.rejected.logp)
  local kl = b.written * 0.5 * (b.chosen.rho + b.rejected.rho):detach()
  return (kappa * penalty - J):mean(), { kl_written = kl }
end

return r
