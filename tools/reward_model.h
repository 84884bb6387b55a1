/* reward_model.h - `sail score` and `sail eval` on a model with a score head.
 *
 * Floor: tools. */
#ifndef SAIL_TOOLS_REWARD_MODEL_H
#define SAIL_TOOLS_REWARD_MODEL_H

#include "align/scoring.h"
#include "cli.h"

/* Does --model, with --adapter, have a score head? By its config alone; whatever is wrong with the files is told by who opens them. */
bool sail__cli_is_reward_model(sail__cli *c);
sail_code sail__cli_open_scorer(sail__cli *c, const char *tokenizer, const char *template_name, const char *system, sail__scorer **out, sail_err *err);

/* sail score: {"score": …} of each row, or the row again with score_chosen and score_rejected where it is a pair. */
typedef struct sail__cli_scoring {
    const char *input, *output, *tokenizer, *template_name;
    int64_t max_tokens;
} sail__cli_scoring;
sail_code sail__cli_score_rewards(sail__cli *c, const sail__cli_scoring *o, sail_err *err);

/* sail eval: accuracy, calibration, RewardBench's subsets. */
typedef struct sail__cli_reward_eval {
    const char *data, *reader, *preference, *output, *template_name, *system;
    double held_out;
    int64_t pairs;
    int pairing; /* sail__data_pairing */
} sail__cli_reward_eval;
sail_code sail__cli_eval_rewards(sail__cli *c, const sail__cli_reward_eval *o, sail_err *err);

#endif
