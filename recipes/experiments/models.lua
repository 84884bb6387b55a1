-- Experiment (e): the wrong preference model, who fits whom.
-- Labels of the small world's pairs are drawn by each of six preference models from one truth;
-- DPO learns from them with each of the six. Who fits whom: accuracy against the true order on held-out pairs, three seeds.
--
--   sail world runs/world --eval 400 && sail run recipes/experiments/models.lua
local sail = require "sail"
local small = require "_small"
local seeds = 3

-- The truth: a sum of weights of words, in nats.
local weights = { plays = 0.6, sings = 0.8, hides = -0.6, shouts = -0.9, bites = -1.2, helps = 1.4, dances = 1, shares = 1.2, steals = -1.2,
  breaks = -0.9, stumbles = -0.3, gently = 0.7, loudly = -0.5, kindly = 0.9, badly = -0.8, calmly = 0.3, friend = 1.1, stars = 0.8, stick = -0.8 }
local function truth(text)
  local sum = 0
  for word in text:gmatch "%a+" do sum = sum + 2 * (weights[word] or 0) end
  return sum
end

-- A number in (0, 1) that depends on nothing but the texts: a label stays what it is at every visit.
local function chance(a, b)
  local h = 17
  local text = a < b and a .. b or b .. a
  for i = 1, #text do h = (h * 31 + text:byte(i)) % 2147483647 end
  for _ = 1, 4 do h = h * 48271 % 2147483647 end
  return h / 2147483647
end

local function sigmoid(x) return 1 / (1 + math.exp(-x)) end
local function normal_cdf(x) -- Abramowitz and Stegun 7.1.26: 1e-7, and these are labels
  local z = math.abs(x) / math.sqrt(2)
  local t = 1 / (1 + 0.3275911 * z)
  local erf = 1 - t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429)))) * math.exp(-z * z)
  return 0.5 * (1 + (x < 0 and -erf or erf))
end

-- As options of a recipe, and as probabilities of a win and of a loss at margin m; what is left is a tie.
local models = {
  { "bradley-terry", { kind = "bradley_terry" }, function(m) return sigmoid(m), sigmoid(-m) end },
  { "thurstone", { kind = "thurstone", scale = 1 }, function(m) local p = normal_cdf(m / math.sqrt(2)); return p, 1 - p end },
  { "plackett-luce T=3", { kind = "plackett_luce", temperature = 3 }, function(m) return sigmoid(m / 3), sigmoid(-m / 3) end },
  { "rao-kupper", { kind = "rao_kupper", nu = 3 }, function(m) return 1 / (1 + 3 * math.exp(-m)), 1 / (1 + 3 * math.exp(m)) end },
  { "davidson", { kind = "davidson", nu = 2 }, function(m)
    local win, loss = math.exp(m / 2), math.exp(-m / 2)
    return win / (win + loss + 2), loss / (win + loss + 2)
  end },
  { "noisy", { kind = "noisy_bradley_terry", epsilon = 0.25 }, function(m) return 0.75 * sigmoid(m) + 0.25 * sigmoid(-m), 0.75 * sigmoid(-m) + 0.25 * sigmoid(m) end },
}

local function judge(name, probabilities)
  return sail.judge { name = name, label = function(item)
    local a, b = item.responses[1], item.responses[2]
    if a == b then return "tie" end
    local first = a < b
    local win, loss = probabilities(truth(first and a or b) - truth(first and b or a))
    local u = chance(a, b)
    if u >= win + loss then return "tie" end
    return (u < win) == first and 1 or 2
  end }
end

-- The file's pairs in the true order; training sees the judge's labels of them instead.
local function reader(record)
  local better, worse = record.chosen, record.rejected
  local d = truth(better) - truth(worse)
  if math.abs(d) < 1e-9 then return nil, "no difference in truth" end
  if d < 0 then better, worse = worse, better end
  return { prompt = record.prompt, chosen = better, rejected = worse }
end

local stages, data = { small.begin() }, { reader = reader }
for _, true_model in ipairs(models) do
  for _, fitted in ipairs(models) do
    for seed = 1, seeds do
      stages[#stages + 1] = small.align(true_model[2].kind .. "-by-" .. fitted[2].kind, seed, {
        data = data, eval = { generate = 0 }, train = { steps = 300 },
        method = { objective = "sail", preference = fitted[2], routes = { told = { writer = "data", labeller = "judge", weight = 1, coef = 0 } },
                   judge = judge(true_model[2].kind, true_model[3]) },
      })
    end
  end
end

local function cross(title, note, value)
  return function(run)
    local columns, rows, shade = { "labels drawn by" }, {}, {}
    for i, m in ipairs(models) do columns[i + 1], shade[i] = m[1], m[1] end
    for i, true_model in ipairs(models) do
      rows[i] = { true_model[1] }
      for k, fitted in ipairs(models) do rows[i][k + 1] = value(run, true_model[2].kind .. "-by-" .. fitted[2].kind) or "" end
    end
    return { title = title, note = note, columns = columns, rows = rows, shade = shade }
  end
end
stages[#stages + 1] = { stage = "tables", tables = { make = {
  cross("Accuracy against the true order, by fitted model", seeds .. " seeds, 300 steps of 16 pairs, beta 0.5, about 350 held-out pairs (standard error about 0.015); "
    .. "ties reach only the models that have ties.", function(run, name) return small.mean(run, name, seeds, "eval_rewards/accuracies") end),
  cross("Implicit reward's margin in the true order, nats", "The same runs. A model that expects more noise than there is makes larger margins, and smaller ones otherwise.",
    function(run, name) return small.mean(run, name, seeds, "eval_rewards/margins") end),
  cross("Share of labels that were ties", "What the judge said in training.", function(run, name) return (small.over_steps(run, name, 1, "sail/ties")) end),
} } }
stages[#stages + 1] = { stage = "report" }
return small.recipe("models", "Who fits whom: preference models", stages)
