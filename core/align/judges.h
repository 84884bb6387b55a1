/* judges.h - the judges that are built in, since they need more than plugins may include.
 *
 * Floor: align. Each is added to the registry of a context; judge_reward.h has another. */
#ifndef SAIL_JUDGES_H
#define SAIL_JUDGES_H

#include "../backend/registry.h"

sail_code sail__judge_llm_install(sail_ctx *ctx, sail_err *err);
sail_code sail__judge_person_install(sail_ctx *ctx, sail_err *err);
sail_code sail__judge_policy_install(sail_ctx *ctx, sail_err *err);
sail_code sail__judge_replay_install(sail_ctx *ctx, sail_err *err);

/* All of them. */
sail_code sail__judges_install(sail_ctx *ctx, sail_err *err);

#endif
