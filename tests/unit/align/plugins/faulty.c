/* faulty.c - plugins with one fault each, which the checks must find: FAULT says which. */
#include <math.h>

#include <sail/dataset.h>
#include <sail/judge.h>
#include <sail/optimizer.h>
#include <sail/plugin.h>
#include <sail/strategy.h>

#define PLUGIN(kind, name) SAIL_PLUGIN_NO_OPTIONS(kind, name, "a plugin with a fault", "", &ops, SAIL_CAP_PAIRS)

#if FAULT == 1 /* reads a value off the tape: its derivative is lost */
static sail_code loss(const void *self, sail_tape *t, const sail_pairs *b, sail_loss *out)
{
    sail_var f = sail_preference_logprob(t, &b->preference, b->scores, b->outcome);
    sail_var copy = sail_tape_constant(t, SAIL_PAIR, b->n, sail_value_of(t, f));
    out->loss = sail_neg(t, sail_mean(t, sail_mul(t, f, copy)));
    return sail_tape_status(t);
}
static const sail_objective ops = {.size = sizeof ops, .loss = loss};
PLUGIN(SAIL_KIND_OBJECTIVE, lost)

#elif FAULT == 2 || FAULT == 3 /* 2: does not sum to 1; 3: log of a sigmoid that is 0 far out */
static int outcomes(const void *self, int k) { return k == 2 ? 2 : 0; }
static sail_var logprob(const void *self, sail_tape *t, int k, const sail_var *score, int outcome)
{
    sail_var m = sail_sub(t, score[outcome], score[1 - outcome]);
    return FAULT == 2 ? sail_sub(t, sail_log_sigmoid(t, m), sail_number(t, 1e-3)) : sail_ln(t, sail_sigmoid(t, m));
}
static const sail_preference ops = {.size = sizeof ops, .outcomes = outcomes, .logprob = logprob};
#if FAULT == 2
PLUGIN(SAIL_KIND_PREFERENCE, sum)
#else
PLUGIN(SAIL_KIND_PREFERENCE, tail)
#endif

#elif FAULT == 4 /* from step 1000 on, probabilities sum to 1.1 */
static int routes(const void *self, int64_t step, sail_route *out)
{
    out[0] = (sail_route){"offline", step < 1000 ? 0.9 : 1, SAIL_BY_DATA, SAIL_BY_DATA, 0};
    out[1] = (sail_route){"dpp", 0.1, SAIL_BY_POLICY, SAIL_BY_POLICY, 0.2};
    return 2;
}
static const sail_strategy ops = {.size = sizeof ops, .routes = routes};
PLUGIN(SAIL_KIND_STRATEGY, later)

#elif FAULT == 10 /* one response twice */
static sail_code responses(const void *self, const sail_moment *at, const sail_candidates *c, int *slot, int *n, sail_err *err)
{
    slot[0] = slot[1] = c->k > 5 ? 3 : 0;
    slot[0] = c->k > 5 ? 3 : 1;
    *n = 2;
    return SAIL_OK;
}
static const sail_strategy ops = {.size = sizeof ops, .responses = responses};
PLUGIN(SAIL_KIND_STRATEGY, twice)

#elif FAULT == 11 /* others when asked again */
static sail_code prompts(const void *self, const sail_moment *at, const sail_prompt *p, int64_t n, int64_t want, int64_t *chosen, sail_err *err)
{
    static int asked;
    for (int64_t i = 0; i < want; i++)
        chosen[i] = (i + asked) % n;
    asked++;
    return SAIL_OK;
}
static const sail_strategy ops = {.size = sizeof ops, .prompts = prompts};
PLUGIN(SAIL_KIND_STRATEGY, dice)

#elif FAULT == 12 /* does nothing */
static const sail_strategy ops = {.size = sizeof ops};
PLUGIN(SAIL_KIND_STRATEGY, mute)

#elif FAULT == 5 /* a tie among three */
static sail_code label(const void *self, void *state, const sail_judge_item *items, int64_t n, sail_verdict *out, sail_err *err)
{
    for (int64_t i = 0; i < n; i++)
        out[i].outcome = items[i].k == 2 ? SAIL_TIE : 6;
    return SAIL_OK;
}
static const sail_judge ops = {.size = sizeof ops, .label = label};
PLUGIN(SAIL_KIND_JUDGE, ties)

#elif FAULT == 6 /* an error that says nothing */
static sail_code row(const void *self, const sail_json *record, sail_row *row, sail_err *err)
{
    size_t n;
    const char *s = sail_json_string(sail_json_get(record, "prompt"), &n);
    return s ? sail_row_text(row, SAIL_PART_PROMPT, s, n, err) : SAIL_E_PARSE;
}
static const sail_dataset ops = {.size = sizeof ops, .row = row};
PLUGIN(SAIL_KIND_DATASET, silent)

#elif FAULT == 7 /* both moments are one operand */
static void plan(const void *self, sail_optimizer_plan *out)
{
    out->op = SAIL_OP_ADAMW;
    out->states = 2;
    out->state_input[0] = out->state_input[1] = 3;
    out->state_name[0] = "m";
    out->state_name[1] = "v";
    out->shadow_input = 5;
}
static const sail_optimizer ops = {.size = sizeof ops, .plan = plan};
PLUGIN(SAIL_KIND_OPTIMIZER, one)

#elif FAULT == 8 /* a default outside its range */
struct options {
    double rate;
};
static const sail_opt opts[] = {
    SAIL_OPT_F64(struct options, rate, .def = 2, .min = 0, .max = 1, .help = "too large"),
    {0},
};
static int routes(const void *self, int64_t step, sail_route *out)
{
    out[0] = (sail_route){"offline", 1, SAIL_BY_DATA, SAIL_BY_DATA, 0};
    return 1;
}
static const sail_strategy ops = {.size = sizeof ops, .routes = routes};
SAIL_PLUGIN(SAIL_KIND_STRATEGY, range, "a plugin with a fault", "", struct options, opts, &ops, 0)

#elif FAULT == 9 /* no function */
static const sail_judge ops = {.size = sizeof ops};
PLUGIN(SAIL_KIND_JUDGE, empty)
#endif
