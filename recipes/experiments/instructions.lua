-- Experiment (c), instructions: DPO, DDP, DPP and DPR on small instructions whose preferred answers are the politer ones
-- (instruction-data-with-preference.json: instruction, input, chosen, rejected). The rule counts polite and impolite words; on the
-- file's own pairs it agrees with the labels in 93 of 100 that it decides.
--
--   sail run recipes/experiments/instructions.lua model.path=SmolLM2-135M-Instruct.gguf data.train=FILE
return require "methods" {
  name = "instructions", title = "DPO, DDP, DPP, DPR: politeness",
  data = { reader = "preference", fields = { prompt = { "instruction", "input" } }, max_prompt = 128, max_response = 64 },
  rule = { kind = "rule", rule = "weights", file = "polite.txt" },
}
