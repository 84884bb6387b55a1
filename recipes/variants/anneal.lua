-- SAIL's DPP route, faded in over 50 steps, with a penalty on the difference in length.
local sail = require "sail"
local r = sail.recipe "../sail-dpp.yaml"

r.title = "DPP, annealed, with a length penalty"
r.method.routes.dpp.weight = sail.ramp { from = 0, to = 0.3, steps = 50 } -- any number may be a schedule

r.method.objective = function(b) -- b: a batch of pairs, on the tape
  local F = b.preference:logprob(b.scores, b.outcome)
  local A = (F - b.baseline(F)):detach() -- coefficients are 0 off their route
  return -(F + b.coef_written * A * (b.chosen.logp + b.rejected.logp) + b.coef_labelled * 0.5 * F * F):mean()
    + 0.001 * (b.chosen.length - b.rejected.length):abs():mean()
end

r.on.step = function(s)
  if s.metrics["objective/kl"] > 20 then s:backoff(0.5) end
end

return r
