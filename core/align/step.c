/* step.c - groups of what the data have. */
#include "step.h"

_Static_assert((int)SAIL__MOST_RANKED == (int)SAIL_MAX_RESPONSES, "a ranking of the data is a group");

sail__group sail__group_of_prompt(const sail__rows *rows, int64_t row)
{
    const sail__encoded *e = &rows->encoded[row];
    return (sail__group){.prompt = e->prompt, .n_prompt = (int64_t)e->n_prompt, .row = row};
}

sail__group sail__group_of_row(const sail__rows *rows, int64_t row, int64_t first_id)
{
    const sail_row *from = rows->rows[row];
    sail__group g = sail__group_of_prompt(rows, row);
    g.k = (int)sail__encoded_responses(&rows->encoded[row]);
    g.desirable = sail__row_desirability(from);
    for (int k = 0; k < g.k; k++) {
        const sail__encoded_response r = sail__encoded_at(&rows->encoded[row], (size_t)k);
        g.r[k] = (sail__response){.ids = r.ids, .n = (int64_t)r.n, .score = k < 2 ? from->score[k] : from->behind[k - 2].score,
                                  .id = first_id + k};
    }
    return g;
}
