-- A strategy in Lua: of four responses to a prompt the best is paired with the one that the policy takes to be nearest to it. Learning is
-- then about what is hard to tell apart, and still begins with the best.
--
--   sail run recipes/variants/best_of_four.lua model.path=DIR_OR_GGUF data.train=FILE
local sail = require "sail"
local r = sail.recipe "../sail-dpr.yaml"

r.title = "DPR, the best of four against its nearest rival"
r.method.strategy = sail.strategy {
  plan = function(step) return { responses = 4, judged = true } end,
  responses = function(c)
    local value, best, rival = function(i) return c.place[i] and -c.place[i] or c.reward[i] end, 1, nil
    for i = 2, c.k do if value(i) > value(best) then best = i end end
    for i = 1, c.k do
      if i ~= best and (not rival or c.entropy(best, i) > c.entropy(best, rival)) then rival = i end
    end
    return { best, rival }
  end,
}

return r
