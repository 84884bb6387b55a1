-- Experiment (c): DPO, DDP, DPP and DPR on small instructions, politeness.
-- Small instructions whose preferred answers are the politer ones
-- (instruction-data-with-preference.json: instruction, input, chosen, rejected). The rule counts polite and impolite words; on the
-- file's own pairs it agrees with the labels in 93 of 100 that it decides.
--
--   sail run recipes/experiments/instructions.lua model.path=SmolLM2-135M-Instruct.gguf data.train=FILE
local function says(role, text) return { { role = role, content = text } } end

return require "_methods" {
  name = "instructions", title = "DPO, DDP, DPP, DPR: politeness",
  data = {
    max_prompt = 128, max_response = 64,
    reader = function(record) -- messages, so that the model sees its own template
      local input = record.input ~= "" and "\n\n" .. record.input or ""
      return { prompt = says("user", record.instruction .. input), chosen = says("assistant", record.chosen),
               rejected = says("assistant", record.rejected) }
    end,
  },
  rule = { kind = "rule", rule = "weights", file = "polite.txt" },
}
