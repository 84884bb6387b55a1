/* sft.c - supervised fine-tuning: the likelihood of the chosen responses.
 * Source : as TRL's `sft` loss; groups may have one response.
 * Loss   : - sum of log p(token) over the tokens of every slot 0 / their number in the whole step, nats a token. */
#include <sail/objective.h>
#include <sail/plugin.h>

static sail_code loss(const void *self, sail_tape *t, const sail_pairs *b, sail_loss *out)
{
    if (b->step_chosen_tokens <= 0)
        sail_tape_fail(t, SAIL_E_SHAPE, "sft: the step has no tokens to learn");
    sail_var chosen = sail_slot_of(t, sail_sum_tokens(t, b->token_logp), 0);
    sail_var scale = sail_number(t, -1 / (double)b->step_chosen_tokens);
    out->loss = sail_mul(t, sail_sum(t, chosen), scale);
    return sail_tape_status(t);
}

static const sail_objective ops = {.size = sizeof ops, .loss = loss};
SAIL_PLUGIN_NO_OPTIONS(SAIL_KIND_OBJECTIVE, sft, "likelihood of the chosen responses", "", &ops, SAIL_CAP_PAIRS)
