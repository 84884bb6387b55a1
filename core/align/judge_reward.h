/* judge_reward.h - the judge `reward`: a model with a score head prefers what it scores higher.
 *
 * Floor: align. It is built in, since it runs models, but is a judge like any plugin. */
#ifndef SAIL_JUDGE_REWARD_H
#define SAIL_JUDGE_REWARD_H

#include "../sail/log.h"

/* Make the judge known to a context. */
sail_code sail__judge_reward_install(sail_ctx *ctx, sail_err *err);

#endif
