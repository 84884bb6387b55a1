/* judges.c - see judges.h. */
#include "judges.h"

#include "judge_reward.h"

sail_code sail__judges_install(sail_ctx *ctx, sail_err *err)
{
    static sail_code (*const all[])(sail_ctx *ctx, sail_err *err) = {sail__judge_llm_install, sail__judge_person_install, sail__judge_policy_install,
                                                                     sail__judge_replay_install, sail__judge_reward_install};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        SAIL_TRY(all[i](ctx, err));
    return SAIL_OK;
}
