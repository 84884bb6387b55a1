/* judges.c - see judges.h. */
#include "judges.h"

#include "judge_reward.h"

sail_code sail__judges_install(sail_ctx *ctx, sail_err *err)
{
    SAIL_TRY(sail__judge_reward_install(ctx, err));
    return sail__judge_llm_install(ctx, err);
}
