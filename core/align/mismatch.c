/* mismatch.c - see mismatch.h. */
#include "mismatch.h"

#include <string.h>

static bool same_prompt(const sail__group *a, const sail__group *b)
{
    return a->n_prompt == b->n_prompt && (a->n_prompt == 0 || memcmp(a->prompt, b->prompt, (size_t)a->n_prompt * sizeof *a->prompt) == 0);
}

sail_code sail__mismatch(sail__step *s, sail_err *err)
{
    for (int64_t i = 0; i < s->n; i++) {
        sail__group *g = &s->groups[i];
        g->mismatched = NULL;
        for (int64_t j = 1; j < s->n && !g->mismatched; j++)
            if (!same_prompt(g, &s->groups[(i + j) % s->n]))
                g->mismatched = &s->groups[(i + j) % s->n].r[0];
        if (!g->mismatched)
            return sail_fail(err, SAIL_E_ARG,
                             "step %lld: the divergence is estimated on responses to other prompts, and all %lld of the step are the same; "
                             "set train.batch to at least 2 and take more prompts", (long long)s->step, (long long)s->n);
    }
    return SAIL_OK;
}
