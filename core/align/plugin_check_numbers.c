/* plugin_check_numbers.c - checks of objectives, preference models, optimisers and backends. */
#include <math.h>
#include <string.h>

#include "../sail/optimizer.h"
#include "../sail/strategy.h"
#include "check.h"
#include "plugin_check.h"

/* ---- objectives and preference models: check.h does the work ---- */

sail_code sail__check_objective(sail__checking *c)
{
    static const sail_route routes[] = {{"offline", 0.25, SAIL_BY_DATA, SAIL_BY_DATA, 0},
                                        {"ddp", 0.25, SAIL_BY_DATA, SAIL_BY_POLICY, 0.2},
                                        {"dpp", 0.25, SAIL_BY_POLICY, SAIL_BY_POLICY, 0.3},
                                        {"dpr", 0.25, SAIL_BY_POLICY, SAIL_BY_JUDGE, 0.4}};
    static const double betas[] = {0.1, 1};
    const sail__objective o = {c->ops, c->self, c->plugin->name};
    const sail_loaded *p;
    if (sail__plugin_get(c->ctx, SAIL_KIND_PREFERENCE, "bradley_terry", &p, c->err) != SAIL_OK)
        return sail_fail_in(c->err, "objectives are tried with the preference model bradley_terry");
    const sail_preference_model m = {p->ops, p->plugin.self, p->plugin.name};
    double largest = 0;
    long long compared = 0;
    for (uint64_t i = 0; i < 6; i++) {
        sail__check r;
        sail_err err = {0};
        double beta = betas[i % 2], margin = i >= 4 ? 50 : 0;
        const sail__checked_method method = {.preference = m, .routes = routes, .n_routes = 4, .beta = beta, .max_margin = margin};
        if (sail__objective_check(&o, c->plugin->caps, &method, 100 + i, &r, &err) != SAIL_OK) {
            sail__checked(c, "derivatives", false, "the loss fails (beta %g): %s", beta, err.message);
            return SAIL_OK;
        }
        if (!r.ok) {
            sail__checked(c, "derivatives", false, "%s (beta %g)", r.message, beta);
            return SAIL_OK;
        }
        largest = fmax(largest, r.largest);
        compared += (long long)r.compared;
    }
    sail__checked(c, "derivatives", true, "%lld against central differences, largest relative difference %.2g", compared, largest);
    return SAIL_OK;
}

/* log q and its derivative with respect to the first number, which is `margin` above the others. */
static sail_code log_q(sail_tape *t, const sail_preference_model *m, int k, int outcome, double margin, double *value, double *slope)
{
    sail_var slot[SAIL_MAX_RESPONSES * SAIL_MAX_WIDTH];
    sail_tape_reset(t, NULL);
    for (int i = 0; i < k * sail_preference_width(m); i++)
        slot[i] = sail_tape_leaf(t, SAIL_SCALAR, 1, &(double){i ? 0 : margin});
    sail_var q = m->ops->logprob(m->self, t, k, slot, outcome);
    sail_code code = sail_tape_status(t) == SAIL_OK ? sail_tape_backward(t, q) : sail_tape_status(t);
    if (code == SAIL_OK) {
        *value = *sail_value_of(t, q);
        *slope = *sail_gradient_of(t, slot[0]);
    }
    return code;
}

/* An outcome that can happen at equal scores stays possible, and keeps a derivative, however far apart they are. */
static bool check_tails(sail__checking *c, sail_tape *t, const sail_preference_model *m, int k, int outcomes)
{
    static const double margins[] = {0, 1, 30, 300, 700, 750, 1e3, 1e4};
    for (int o = 0; o < outcomes; o++)
        for (size_t i = 0; i < 2 * sizeof margins / sizeof *margins; i++) {
            double v, slope, margin = i % 2 ? -margins[i / 2] : margins[i / 2];
            if (log_q(t, m, k, o, margin, &v, &slope) != SAIL_OK)
                return sail__checked(c, "tails", false, "outcome %d of %d responses: %s", o, k, sail_tape_message(t));
            if (i == 0 && v == -INFINITY)
                break; /* it has probability 0 under these options */
            if (!isfinite(v) || !isfinite(slope) || v > 1e-12)
                return sail__checked(c, "tails", false, "outcome %d of %d responses: log q is %g with derivative %g where the first "
                                     "score is %g above the others; a form that stays finite is wanted (log_sigmoid, logaddexp)",
                                     o, k, v, slope, margin);
        }
    return sail__checked(c, "tails", true, "%d responses: finite to margins of %g", k, margins[sizeof margins / sizeof *margins - 1]);
}

sail_code sail__check_preference(sail__checking *c)
{
    const sail_preference *ops = c->ops;
    const sail_preference_model m = {ops, c->self, c->plugin->name};
    bool any = false;
    for (int k = 2; k <= 4; k++) {
        sail__check r;
        sail_err err = {0};
        int outcomes = ops->outcomes(c->self, k);
        if (outcomes <= 0)
            continue;
        any = true;
        if (outcomes < 2) {
            sail__checked(c, "outcomes", false, "%d outcomes for %d responses; 0 (not for so many) or at least 2", outcomes, k);
            return SAIL_OK;
        }
        if (sail__preference_check(&m, k, 7, &r, &err) != SAIL_OK) {
            sail__checked(c, "log q", false, "%d responses: %s", k, err.message);
            return SAIL_OK;
        }
        if (!sail__checked(c, "log q", r.ok, r.ok ? "%d responses, %d outcomes: sums to 1, %lld derivatives, largest relative "
                           "difference %.2g" : "%d responses, %d outcomes, %lld derivatives (%.2g): %s", k, outcomes,
                           (long long)r.compared, r.largest, r.message))
            return SAIL_OK;
        sail_tape *t = sail_tape_new(NULL);
        if (!t)
            return sail_fail(c->err, SAIL_E_NOMEM, "no memory for a tape");
        bool good = check_tails(c, t, &m, k, outcomes);
        sail_tape_free(t);
        if (!good)
            return SAIL_OK;
    }
    sail__checked(c, "outcomes", any, any ? "for 2, 3 or 4 responses" : "the model applies neither to 2, nor 3, nor 4 responses");
    return SAIL_OK;
}

/* ---- optimisers ---- */

/* The operands that are moments, the last of them and where the bf16 copy goes (ops.def). */
static bool operands(sail_op op, int *required, int *last_state, int *shadow)
{
    *required = op == SAIL_OP_ADAMW ? 2 : op == SAIL_OP_RMSPROP ? 1 : 0;
    *last_state = op == SAIL_OP_ADAMW ? 4 : op == SAIL_OP_RMSPROP ? 5 : 3;
    *shadow = *last_state + 1;
    return op == SAIL_OP_ADAMW || op == SAIL_OP_RMSPROP || op == SAIL_OP_SGD;
}

static bool check_states(sail__checking *c, const sail_optimizer_plan *p, int required, int last)
{
    if (p->states < required || p->states > SAIL_MAX_OPTIMIZER_STATES)
        return sail__checked(c, "plan", false, "%d states; the op needs %d to %d", p->states, required, last - 2);
    for (int i = 0; i < p->states; i++) {
        if (p->state_input[i] < 3 || p->state_input[i] > last)
            return sail__checked(c, "plan", false, "state %d is operand %d; the op's moments are 3 to %d", i, p->state_input[i], last);
        if (!p->state_name[i] || !*p->state_name[i])
            return sail__checked(c, "plan", false, "state %d has no name for checkpoints", i);
        for (int j = 0; j < i; j++)
            if (p->state_input[i] == p->state_input[j] || strcmp(p->state_name[i], p->state_name[j]) == 0)
                return sail__checked(c, "plan", false, "states %d and %d are the same operand, or have one name", j, i);
    }
    for (int operand = 3; operand < 3 + required; operand++) {
        bool there = false;
        for (int i = 0; i < p->states; i++)
            there |= p->state_input[i] == operand;
        if (!there)
            return sail__checked(c, "plan", false, "no state is operand %d, which the op needs", operand);
    }
    return true;
}

sail_code sail__check_optimizer(sail__checking *c)
{
    const sail_optimizer *ops = c->ops;
    sail_optimizer_plan p, again;
    int required, last, shadow;
    memset(&p, 0, sizeof p);
    memset(&again, 0, sizeof again);
    ops->plan(c->self, &p);
    ops->plan(c->self, &again);
    if (!operands(p.op, &required, &last, &shadow)) {
        sail__checked(c, "plan", false, "op %d is no optimiser's; ADAMW, RMSPROP or SGD", (int)p.op);
        return SAIL_OK;
    }
    if (!check_states(c, &p, required, last))
        return SAIL_OK;
    const double numbers[] = {p.attr.beta1, p.attr.beta2, p.attr.adam_eps, p.attr.weight_decay, p.attr.momentum, p.attr.dampening};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (!(numbers[i] >= 0 && numbers[i] < 1e6)) {
            sail__checked(c, "plan", false, "an attribute is %g", numbers[i]);
            return SAIL_OK;
        }
    if (p.shadow_input != shadow)
        sail__checked(c, "plan", false, "the bf16 copy is operand %d; of this op it is %d", p.shadow_input, shadow);
    else if (!(p.attr.beta1 < 1 && p.attr.beta2 < 1))
        sail__checked(c, "plan", false, "betas %g and %g; below 1 is wanted", p.attr.beta1, p.attr.beta2);
    else if (p.op != again.op || p.states != again.states || p.attr.beta1 != again.attr.beta1 || p.attr.beta2 != again.attr.beta2)
        sail__checked(c, "plan", false, "another plan when asked again; it must be a function of the options");
    else
        sail__checked(c, "plan", true, "op %d with %d states a parameter", (int)p.op, p.states);
    return SAIL_OK;
}

/* ---- backends ---- */

static bool round_trip(const sail_backend *ops, sail_device *d, sail_err *err)
{
    static const char text[] = "what is written can be read";
    char back[sizeof text] = {0};
    sail_buffer *a = NULL, *b = NULL;
    bool good = ops->alloc(d, 4096, &a, err) == SAIL_OK && ops->alloc(d, 4096, &b, err) == SAIL_OK &&
                ops->upload(d, a, 64, text, sizeof text, err) == SAIL_OK &&
                ops->copy(d, b, 128, a, 64, sizeof text, err) == SAIL_OK && ops->sync(d, err) == SAIL_OK &&
                ops->download(d, b, 128, back, sizeof text, err) == SAIL_OK;
    if (good && memcmp(back, text, sizeof text) != 0) {
        (void)sail_fail(err, SAIL_E_DEVICE, "other bytes come back than were written");
        good = false;
    }
    if (a)
        ops->free(d, a);
    if (b)
        ops->free(d, b);
    return good;
}

sail_code sail__check_backend(sail__checking *c)
{
    const sail_backend *ops = c->ops;
    sail_device_info info[16];
    sail_err err = {0};
    int n = 0;
    if (ops->devices(c->ctx, c->self, info, 16, &n, &err) != SAIL_OK) {
        sail__checked(c, "devices", false, "%s", err.message);
        return SAIL_OK;
    }
    sail__checked(c, "devices", true, "%d", n);
    for (int i = 0; i < n && i < 16; i++) {
        sail_device *d = NULL;
        bool good = ops->open(c->ctx, c->self, i, &d, &err) == SAIL_OK;
        if (good)
            good = round_trip(ops, d, &err);
        sail__checked(c, "memory", good, good ? "%s: written, copied, read" : "%s: %s", info[i].name, err.message);
        if (d)
            ops->close(d);
    }
    return SAIL_OK;
}
