-- A preference model in ten lines: Bradley-Terry in which some raters do not look and toss a coin.
local sail = require "sail"
local r = sail.recipe "../sail-dpp.yaml"
local careless = 0.1

r.title = "DPP under a preference model with careless raters"

r.method.preference = sail.preference {
  name = "careless",
  outcomes = 2,
  logprob = function(s, outcome)
    local margin = outcome == 1 and s[1] - s[2] or s[2] - s[1]
    return (margin:log_sigmoid() + math.log(1 - careless)):logaddexp(math.log(careless / 2))
  end,
}

return r
