-- DPO whose implicit reward pays for length (after arXiv 2403.19159): a token costs alpha nats of score.
local sail = require "sail"
local r = sail.recipe "../dpo.yaml"
local alpha = 0.005

r.title = "DPO, regularised by length"

r.method.objective = function(b)
  local F = b.preference:logprob(b.scores - alpha * b.length, b.outcome)
  return -F:mean(), { per_pair = -F, length_gap = b.chosen.length - b.rejected.length }
end

return r
