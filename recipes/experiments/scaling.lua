-- Experiment (f): what a step costs, from 1M to 1B parameters, and by arithmetic beyond.
-- DPP with LoRA (rank 16, all linear layers) in bf16 on new models of 1M to
-- 1B parameters: measured on this machine; then, by arithmetic, steps of models up to 405B on other machines.
-- A new model writes nonsense, and as long as it may: 64 tokens. Memory is the process's peak, so sizes go up.
--
--   sail world runs/world --eval 400 && sail run recipes/experiments/scaling.lua
local small = require "_small"

-- name, layers, width, heads, ff
local sizes = {
  { "1M", 5, 128, 4, 344 }, { "10M", 8, 320, 5, 864 }, { "100M", 14, 768, 12, 2048 }, { "300M", 15, 1280, 20, 3456 }, { "1B", 20, 2048, 32, 5504 },
}
local pairs_a_step, steps = 4, 4
local function parameters(s) return s[2] * (4 * s[3] * s[3] + 3 * s[3] * s[5]) end -- the vocabulary is small

local stages = {}
for _, s in ipairs(sizes) do
  stages[#stages + 1] = {
    stage = "align", name = s[1],
    model = { init = { layers = s[2], width = s[3], heads = s[4], ff = s[5], positions = 128 },
              tokenizer = "../../runs/world/tokenizer.json", adapter = { kind = "lora", rank = 16, alpha = 32, targets = "all-linear" } },
    data = { train = small.data.train, held_out = 0.05, max_prompt = 24, max_response = 24 },
    rollout = { max_new = 64, batch = 32 },
    method = { objective = "sail", routes = { dpp = { weight = 1, coef = 0.2 } } },
    train = { steps = steps, batch = pairs_a_step, lr = 1e-5 }, eval = { before = false, pairs = 0 }, guard = { max_weight = 1 },
  }
end

-- The mean of all steps but the first, in which kernels are chosen and memory is touched for the first time.
local function later(run, stage, name)
  local _, v = run:series(stage, name)
  local sum = 0
  for i = 2, #v do sum = sum + v[i] end
  return #v > 1 and sum / (#v - 1) or 0
end

local function measured(run)
  local rows = {}
  for i, s in ipairs(sizes) do
    local step, rollout = later(run, s[1], "time/step"), later(run, s[1], "time/rollout")
    local n = parameters(s)
    rows[i] = { s[1], n, step, rollout, rollout / step, later(run, s[1], "time/rollout_tokens_per_second"), later(run, s[1], "time/tflops") * 1000,
                run:metric(s[1], "memory/peak_mib") }
  end
  return {
    title = "Measured: a step of DPP with LoRA", columns = { "model", "parameters", "seconds a step", "of which rollout", "share of rollout",
      "tokens written a second", "Gflop/s beside rollout", "peak memory, MiB" }, rows = rows,
    plot = { x = "parameters", y = { "seconds a step", "of which rollout" }, log = "xy" },
    note = pairs_a_step .. " pairs a step, all of them written by the policy: prompts of about 8 tokens, 2 responses of 64. Mean of " .. steps - 1
      .. " steps after the first.",
  }
end

-- Arithmetic. A LoRA step's flops a token: 2N forward, 2N backward through the frozen weights, 2N for the reference. Writing reads all weights
-- once for each token of the longest response, whatever the batch, as long as that is more than the 2N flops of each sequence.
local machines = { -- name, Tflop/s of dense 16-bit, GB/s, GB; vendors' figures
  { "Arc A770", 137, 560, 16 }, { "RX 7900 XTX", 123, 960, 24 }, { "MI210", 181, 1638, 64 }, { "MI300X", 1307, 5300, 192 }, { "8 x MI300X", 8 * 1307, 8 * 5300, 8 * 192 },
}
local models = { { "1B", 1e9 }, { "8B", 8e9 }, { "70B", 70e9 }, { "405B", 405e9 } }
local efficiency, bandwidth = 0.4, 0.7

local function projected(run)
  local batch, prompt, response, share = 32, 512, 256, 0.3
  local rows = {}
  for _, m in ipairs(models) do
    for _, machine in ipairs(machines) do
      local flops = 6 * m[2] * batch * (prompt + 2 * response)
      local writers = 2 * batch * share
      local write = response * math.max(2 * m[2] / (machine[3] * 1e9 * bandwidth), 2 * m[2] * writers / (machine[2] * 1e12 * efficiency))
      local learn = flops / (machine[2] * 1e12 * efficiency)
      local need = 2 * m[2] * 1.15 / 1e9
      local quantised = need * 0.31
      rows[#rows + 1] = { m[1], machine[1], learn + write, write / (learn + write), need,
                          need <= machine[4] and "bf16" or quantised <= machine[4] and "4 bits only" or "no" }
    end
  end
  return {
    title = "By arithmetic: a step of 32 pairs elsewhere", columns = { "model", "machine", "seconds a step", "share of rollout", "memory in bf16, GB", "fits" },
    rows = rows,
    note = string.format("NOT measured. Prompts of %d tokens, 2 responses of %d, 3 of 10 prompts written by the policy (DPP), LoRA; %.0f %% of the "
      .. "vendor's flops, %.0f %% of its bandwidth, no communication. Memory: weights and 15 %% for activations, adapter and cache.",
      prompt, response, 100 * efficiency, 100 * bandwidth),
  }
end

stages[#stages + 1] = { stage = "tables", tables = { make = { measured, projected } } }
stages[#stages + 1] = { stage = "report" }
return { name = "scaling", title = "What a step costs", seed = 1, model = { dtype = "bf16" }, stages = stages }
