/* mismatch.c - see mismatch.h. */
#include "mismatch.h"

#include <string.h>

static bool same_prompt(const sail__group *a, const sail__group *b)
{
    return a->n_prompt == b->n_prompt && (a->n_prompt == 0 || memcmp(a->prompt, b->prompt, (size_t)a->n_prompt * sizeof *a->prompt) == 0);
}

void sail__mismatch(sail__step *s)
{
    for (int64_t i = 0; i < s->n; i++) {
        sail__group *g = &s->groups[i];
        g->mismatched = s->n > 1 ? &s->groups[(i + 1) % s->n].r[0] : NULL;
        for (int64_t j = 1; j < s->n; j++)
            if (!same_prompt(g, &s->groups[(i + j) % s->n])) {
                g->mismatched = &s->groups[(i + j) % s->n].r[0];
                break;
            }
    }
}
