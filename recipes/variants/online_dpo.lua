-- Online DPO (arXiv 2402.04792): DPO on pairs that the policy writes and a judge labels; nothing goes through the sampling (c = 0).
--   loss = mean over pairs of -log sigmoid(beta (rho_w - rho_l)),   rho = log pi(y|x) - log ref(y|x)
local sail = require "sail"
local r = sail.recipe "../sail-dpr.yaml"

r.title = "Online DPO"
r.method.routes = { dpr = { weight = 1, coef = 0 } }
r.guard = { max_weight = 1 } -- the bound is for SAIL's extra terms

r.method.objective = function(b)
  local win, lose, decided = b.sides()
  local per_pair = -decided * (win.score - lose.score):log_sigmoid()
  return per_pair:mean(), { per_pair = per_pair }
end

return r
