/* sft.c - supervised fine-tuning: the likelihood of the chosen responses.
 * Source : as TRL's `sft` loss; groups may have one response.
 * Loss   : - sum of log p(token) over the tokens of every slot 0 / their number in the whole step, nats a token; every pair's is that
 *          of all. */
#include <sail/objective.h>
#include <sail/plugin.h>

static sail_code loss(const void *self, sail_tape *t, const sail_pairs *b, sail_loss *out)
{
    sail_var length = sail_slot_of(t, b->length, 0);
    out->loss = sail_chosen_nll(t, b);
    out->per_pair = sail_add(t, out->loss, sail_sub(t, length, length));
    return sail_tape_status(t);
}

static const sail_objective ops = {.size = sizeof ops, .loss = loss};
SAIL_PLUGIN_NO_OPTIONS(SAIL_KIND_OBJECTIVE, sft, "likelihood of the chosen responses", "", &ops,
                       SAIL_CAP_PAIRS | SAIL_CAP_TAKES_DIVERGENCE | SAIL_CAP_TAKES_LENGTH | SAIL_CAP_TAKES_WEIGHTS)
