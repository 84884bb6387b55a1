/* modifiers.c - see modifiers.h. */
#include "modifiers.h"

#include <math.h>
#include <string.h>

const char *const sail__divergences[] = {"reverse_kl", "forward_kl", "js_divergence", "alpha_divergence", NULL};

/* ---- the implicit reward of other divergences ---- */

enum { LARGEST_EXPONENT = 80 }; /* of alpha_divergence; beyond it there is no derivative */

/* alpha = 1 is reverse KL: its limit, where the formula itself is 0 / 0. */
static int kind_of(const sail__modifiers *m)
{
    return m->divergence == SAIL__ALPHA_DIVERGENCE && fabs(m->f_alpha - 1) < 1e-6 ? SAIL__REVERSE_KL : m->divergence;
}

sail_var sail__divergence_var(const sail__modifiers *m, sail_tape *t, sail_var rho)
{
    sail_var power, steep;
    switch (kind_of(m)) {
    case SAIL__FORWARD_KL: /* 1 - ref/pi */
        return sail_sub(t, sail_number(t, 1), sail_exp(t, sail_neg(t, rho)));
    case SAIL__JS_DIVERGENCE: /* log(2 r / (1 + r)) */
        return sail_add(t, sail_log_sigmoid(t, rho), sail_number(t, log(2)));
    case SAIL__ALPHA_DIVERGENCE: /* (r^(a-1) - 1) / (a-1) */
        steep = sail_number(t, m->f_alpha - 1);
        power = sail_clamp(t, sail_mul(t, steep, rho), -INFINITY, LARGEST_EXPONENT);
        return sail_div(t, sail_expm1(t, power), steep);
    default:
        return rho;
    }
}

double sail__divergence_of(const sail__modifiers *m, double rho)
{
    const double steep = m->f_alpha - 1;
    switch (kind_of(m)) {
    case SAIL__FORWARD_KL:
        return 1 - exp(-rho);
    case SAIL__JS_DIVERGENCE: /* without overflow on either side */
        return log(2) - (rho > 0 ? log1p(exp(-rho)) : log1p(exp(rho)) - rho);
    case SAIL__ALPHA_DIVERGENCE:
        return expm1(fmin(steep * rho, LARGEST_EXPONENT)) / steep;
    default:
        return rho;
    }
}

/* ---- several objectives as one ---- */

typedef struct member {
    const sail_objective *ops;
    const void *self;
    double weight;
    const char *name, *metric; /* loss/NAME */
} member;

typedef struct combined {
    size_t n;
    int prepares; /* the member whose prepare is used; -1: none has one */
    bool weighting;
    member m[];
} combined;

/* exp of the sum over the pair's responses of mean(log p - log sum p^2), held still (WPO, eq. 6, as in TRL). */
static sail_var pair_weights(sail_tape *t, const sail_pairs *b)
{
    sail_var each = sail_mean_tokens(t, sail_sub(t, b->token_logp, b->token_lss));
    return sail_detach(t, sail_exp(t, sail_sum_responses(t, each)));
}

static sail_code loss(const void *self, sail_tape *t, const sail_pairs *b, sail_loss *out)
{
    const combined *c = self;
    sail_var weights = c->weighting ? pair_weights(t, b) : (sail_var){-1}, none = {-1}, per = none;
    bool pairwise = true;
    for (size_t i = 0; i < c->n; i++) {
        const member *m = &c->m[i];
        sail_loss l = {.size = sizeof l, .loss = none, .per_pair = none};
        sail_code code = m->ops->loss(m->self, t, b, &l);
        if (code != SAIL_OK || sail_tape_status(t) != SAIL_OK)
            return sail_tape_fail(t, code, "%s: %s", m->name, sail_code_text(code)), sail_tape_status(t);
        if (c->weighting) {
            l.per_pair = sail_mul(t, l.per_pair, weights);
            l.loss = sail_mean(t, l.per_pair);
        }
        pairwise = pairwise && l.per_pair.id > 0;
        const sail_var w = sail_number(t, m->weight);
        const sail_var share = m->weight != 1 ? sail_mul(t, w, l.loss) : l.loss;
        out->loss = i ? sail_add(t, out->loss, share) : share;
        if (pairwise) {
            const sail_var own = m->weight != 1 ? sail_mul(t, w, l.per_pair) : l.per_pair;
            per = i ? sail_add(t, per, own) : own;
        }
        for (int k = 0; k < l.n_metrics; k++)
            sail_loss_metric(out, l.metrics[k].name, l.metrics[k].value);
        if (c->n > 1)
            sail_loss_metric(out, m->metric, l.loss);
    }
    out->per_pair = pairwise ? per : none;
    if (c->weighting)
        sail_loss_metric(out, "pair_weight", weights);
    return sail_tape_status(t);
}

static sail_code prepare(const void *self, sail_tape *t, const sail_pairs *b, double *state, double *baseline)
{
    const combined *c = self;
    const member *m = &c->m[c->prepares];
    return m->ops->prepare(m->self, t, b, state, baseline);
}

static void prepare_needs(const void *self, const sail_pairs *b, uint8_t *mask)
{
    const combined *c = self;
    const member *m = &c->m[c->prepares];
    if (m->ops->prepare_needs)
        m->ops->prepare_needs(m->self, b, mask);
}

/* ---- making one ---- */

enum { TAKES = SAIL_CAP_TAKES_DIVERGENCE | SAIL_CAP_TAKES_LENGTH | SAIL_CAP_TAKES_WEIGHTS };

/* What is asked for and means nothing with this objective. */
static bool check_modifiers(const sail_loaded *p, const sail__modifiers *m, const sail_node *node, sail_problems *problems)
{
    const char *name = p->plugin.name;
    const uint32_t caps = p->plugin.caps;
    bool good = true;
    if (m->divergence != SAIL__REVERSE_KL && !(caps & SAIL_CAP_TAKES_DIVERGENCE)) {
        sail__problem(problems, node, "method.f_divergence_type",
                      "%s has no meaning with objective %s, whose formula is for reverse_kl; sigmoid (dpo), cdpo, hinge, ipo, sigmoid_norm, "
                      "robust, exo_pair, discopop and sail take it", sail__divergences[m->divergence], name);
        good = false;
    }
    if (m->length && !(caps & SAIL_CAP_TAKES_LENGTH)) {
        sail__problem(problems, node, "method.ld_alpha",
                      "has no meaning with objective %s; the objectives on pairs with a reference take it (sigmoid, ipo, apo_zero, sail, …)", name);
        good = false;
    }
    if (m->weighting && !(caps & SAIL_CAP_TAKES_WEIGHTS)) {
        sail__problem(problems, node, "method.use_weighting",
                      "has no meaning with objective %s, whose loss is not a mean of one loss a pair; sigmoid (dpo), ipo, apo_zero, sft and their "
                      "like take it", name);
        good = false;
    }
    return good;
}

bool sail__combine(sail_arena *a, const sail__objective_part *parts, size_t n, const sail__modifiers *m, const char *path,
                   const sail_node *node, sail_slot *out, sail_problems *problems)
{
    combined *c = sail__arena_alloc(a, sizeof *c + n * sizeof *c->m);
    sail_loaded *l = sail__arena_alloc(a, sizeof *l);
    sail_objective *ops = sail__arena_alloc(a, SAIL_OPS_ROOM); /* as tables of loaded plugins are kept */
    sail_buf name = {0};
    bool good = c && l && ops;
    if (!good) {
        sail_err err = {0};
        sail__problem_of(problems, node, path, (sail_fail(&err, SAIL_E_NOMEM, "out of memory"), &err));
        return false;
    }
    *c = (combined){.n = n, .prepares = -1, .weighting = m->weighting};
    uint32_t caps = 0, takes = TAKES;
    for (size_t i = 0; i < n; i++) {
        const sail_loaded *p = parts[i].slot->loaded;
        good = check_modifiers(p, m, node, problems) && good;
        c->m[i] = (member){p->ops, parts[i].slot->options, parts[i].weight, p->plugin.name,
                           sail__arena_printf(a, "loss/%s", p->plugin.name)};
        good = good && c->m[i].metric;
        if (c->m[i].ops->prepare && c->prepares >= 0) {
            sail__problem(problems, node, path, "%s and %s both keep a baseline; only one of several objectives can", c->m[c->prepares].name,
                          p->plugin.name);
            good = false;
        }
        if (c->m[i].ops->prepare)
            c->prepares = (int)i;
        const sail_plugin *first = &parts[0].slot->loaded->plugin; /* functions in Lua read what they find */
        if (!first->self && !p->plugin.self && ((p->plugin.caps ^ first->caps) & SAIL_CAP_SCORES)) {
            sail__problem(problems, node, path,
                          "%s and %s do not go together: one works on a language model's log-probabilities, one on the "
                          "scores of a reward model",
                          c->m[0].name, p->plugin.name);
            good = false;
        }
        caps |= p->plugin.caps & ~(uint32_t)TAKES;
        takes &= p->plugin.caps;
        sail__buf_printf(&name, "%s%s", i ? " + " : "", p->plugin.name);
    }
    *ops = (sail_objective){.size = sizeof *ops, .loss = loss, .prepare = c->prepares >= 0 ? prepare : NULL,
                            .prepare_needs = c->prepares >= 0 ? prepare_needs : NULL};
    *l = (sail_loaded){.plugin = {.size = sizeof l->plugin, .abi_major = SAIL_ABI_MAJOR, .abi_minor = SAIL_ABI_MINOR,
                                  .kind = SAIL_KIND_OBJECTIVE, .caps = caps | takes | (m->weighting ? SAIL_CAP_LSS : 0),
                                  .name = sail__arena_strdup(a, name.data ? name.data : ""), .doc = "objectives of a recipe, weighted",
                                  .source = "", .ops = ops, .self = c},
                       .path = "(recipe)", .ops = ops};
    sail__buf_free(&name);
    *out = (sail_slot){.loaded = l, .options = c, .node = node};
    return good && l->plugin.name;
}
