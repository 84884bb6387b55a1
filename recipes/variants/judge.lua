-- A judge in Lua: the more polite response wins, the shorter one among equals.
local sail = require "sail"
local r = sail.recipe "../sail-dpr.yaml"

r.title = "DPR with a judge in Lua"

local function count(text, words)
  local n, lower = 0, text:lower()
  for _, word in ipairs(words) do
    n = n + select(2, lower:gsub("%f[%a]" .. word .. "%f[%A]", ""))
  end
  return n
end

r.method.judge = sail.judge {
  name = "polite",
  label = function(item)
    local score = {}
    for i, text in ipairs(item.responses) do
      score[i] = count(text, { "please", "thank", "thanks", "sorry", "glad" }) - count(text, { "stupid", "idiot", "hate" })
        - 0.001 * item.tokens[i]
    end
    return score
  end,
}

return r
