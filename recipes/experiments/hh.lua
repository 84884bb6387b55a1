-- Experiment (c): DPO, DDP, DPP and DPR on Anthropic's hh-rlhf, harmlessness.
-- Transcripts of hh-rlhf. The rule counts apologies, refusals and
-- offers of help against insults and assent; on the file's own pairs it agrees with the people in 62 of 100 that it decides.
--
--   sail run recipes/experiments/hh.lua model.path=SmolLM2-135M-Instruct.gguf data.train=hh-harmless-test.jsonl.gz
return require "_methods" {
  name = "hh", title = "DPO, DDP, DPP, DPR: harmlessness",
  data = { reader = "hh-rlhf", max_prompt = 128, max_response = 64 },
  reward_data = { max_prompt = 192, max_response = 96 }, reward_batch = 4,
  rule = { kind = "rule", rule = "weights", file = "harmless.txt" },
}
