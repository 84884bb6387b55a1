/* template.c - a plugin of each kind, to begin from. tools/new-plugin KIND NAME takes the part of the kind, puts the name
 * in, and writes a Makefile and a test beside it; in the tree, copy the part to plugins/KIND/NAME.c and add NAME to the list
 * in plugins/KIND/meson.build. Each part is a whole plugin that works; the suite builds and checks all of them.
 *
 * What holds for every kind: the file exports one symbol, which SAIL_PLUGIN writes; the name there, the file's and that in
 * recipes are the same. Options are a plain struct with a table of its members: defaults, ranges, `sail check` and the
 * documentation come from the table. Functions get that struct as `self`, and must not abort, exit, print, or keep
 * anything in static variables. Errors go through sail_fail or sail_tape_fail: what is wrong, and what would be right. */
#ifdef TEMPLATE_OBJECTIVE
/* template.c - DPO with a target: the winner is to lead by a margin, and nothing is gained beyond it for long.
 * Source : where the formula comes from.
 * Needs  : pairs of two; reference log-probabilities.
 * Loss   : -log sigmoid(beta (rho_w - rho_l) - target), nats, mean over pairs; ties and abstentions count as 0. */
#include <sail/objective.h>
#include <sail/plugin.h>

struct template {
    double target;
};

static const sail_opt opts[] = {
    SAIL_OPT_F64(struct template, target, .def = 0.5, .min = 0, .max = 100, .flags = SAIL_OPT_SCHEDULABLE, .unit = "nats",
                 .help = "lead that the winner is to have"),
    {0},
};

/* Values on the tape have a domain (sail/tape.h): rho is one number a pair. Operators give derivatives by themselves; what is
 * read with sail_value_of gives none. The first error is kept by the tape, so formulas need no tests in between. */
static sail_code loss(const void *self, sail_tape *t, const sail_pairs *b, sail_loss *out)
{
    const struct template *o = self;
    sail_side winner, loser;
    sail_var decided; /* 1 where somebody won */
    sail_labelled_sides(t, b, &winner, &loser, &decided);
    sail_var lead = sail_mul(t, sail_sub(t, winner.rho, loser.rho), sail_number(t, b->beta));
    sail_var per = sail_neg(t, sail_log_sigmoid(t, sail_sub(t, lead, sail_number(t, o->target))));
    out->per_pair = sail_mul(t, per, decided);
    out->loss = sail_mean(t, out->per_pair); /* divides by the pairs of the whole step, of which b may be a part */
    sail_loss_metric(out, "lead", lead);     /* shown as sail/lead */
    return sail_tape_status(t);
}

static const sail_objective ops = {.size = sizeof ops, .loss = loss};
/* The last argument says what the host has to provide: SAIL_CAP_ENTROPY, SAIL_CAP_STEP … (sail/plugin.h). */
SAIL_PLUGIN(SAIL_KIND_OBJECTIVE, template, "DPO with a target for the margin", "", struct template, opts, &ops,
            SAIL_CAP_PAIRS | SAIL_CAP_REFERENCE)
#endif /* TEMPLATE_OBJECTIVE */
#ifdef TEMPLATE_PREFERENCE
/* template.c - Bradley-Terry with a temperature: people who are less sure than the scores say.
 * Source  : where the formula comes from.
 * Formula : P(1 over 2) = sigmoid((s1 - s2) / temperature); no ties. */
#include <sail/plugin.h>
#include <sail/preference.h>

struct template {
    double temperature;
};

static const sail_opt opts[] = {
    SAIL_OPT_F64(struct template, temperature, .def = 1, .min = 1e-3, .max = 1e3, .flags = SAIL_OPT_SCHEDULABLE,
                 .help = "what scores are divided by"),
    {0},
};

/* Two responses have two outcomes: 0, slot 0 wins; 1, slot 1 wins (2 would be a tie). 0: the model is not for k. */
static int outcomes(const void *self, int k)
{
    return k == 2 ? 2 : 0;
}

/* log q(outcome), nats. Finite for every finite score: log_sigmoid is, the logarithm of sigmoid is not. Probabilities of
 * all outcomes sum to 1. Drawing, entropies and derivatives follow from this one formula. */
static sail_var logprob(const void *self, sail_tape *t, int k, const sail_var *score, int outcome)
{
    const struct template *o = self;
    sail_var lead = sail_sub(t, score[outcome], score[1 - outcome]);
    return sail_log_sigmoid(t, sail_mul(t, lead, sail_number(t, 1 / o->temperature)));
}

static const sail_preference ops = {.size = sizeof ops, .outcomes = outcomes, .logprob = logprob};
SAIL_PLUGIN(SAIL_KIND_PREFERENCE, template, "sigmoid of the difference of scores over a temperature", "", struct template, opts,
            &ops, SAIL_CAP_PAIRS)
#endif /* TEMPLATE_PREFERENCE */
#ifdef TEMPLATE_STRATEGY
/* template.c - offline at first, then a growing share of prompts that the policy answers and labels itself. */
#include <sail/plugin.h>
#include <sail/strategy.h>

struct template {
    double share, coef;
    int64_t steps;
};

static const sail_opt opts[] = {
    SAIL_OPT_F64(struct template, share, .def = 0.3, .min = 0, .max = 1, .help = "of prompts on dpp, in the end"),
    SAIL_OPT_F64(struct template, coef, .def = 0.2, .min = 0, .max = 10, .help = "coefficient of the extra terms on dpp"),
    SAIL_OPT_INT(struct template, steps, .def = 100, .min = 1, .max = 1e9, .unit = "steps", .help = "until the share is whole"),
    {0},
};

/* The routes of this step: name, probability (together 1), who writes the responses, who labels them, coefficient. A
 * function of the step and the options alone: a run that is resumed asks again. What else a strategy may say (how many
 * responses to write, which prompts and responses are learned from) is in sail/strategy.h; plugins/strategy has examples. */
static int routes(const void *self, int64_t step, sail_route *out)
{
    const struct template *o = self;
    double part = step < o->steps ? (double)step / (double)o->steps : 1, share = o->share * part;
    out[0] = (sail_route){"offline", 1 - share, SAIL_BY_DATA, SAIL_BY_DATA, 0};
    out[1] = (sail_route){"dpp", share, SAIL_BY_POLICY, SAIL_BY_POLICY, o->coef};
    return 2;
}

static const sail_strategy ops = {.size = sizeof ops, .routes = routes};
SAIL_PLUGIN(SAIL_KIND_STRATEGY, template, "offline, then a growing share of dpp", "", struct template, opts, &ops, SAIL_CAP_ONLINE)
#endif /* TEMPLATE_STRATEGY */
#ifdef TEMPLATE_JUDGE
/* template.c - a judge that prefers the response in which a text occurs least often. */
#include <sail/judge.h>
#include <sail/plugin.h>
#include <string.h>

struct template {
    const char *text;
};

static const sail_opt opts[] = {
    SAIL_OPT_STR(struct template, text, .def_str = "sorry", .help = "what responses should not say"),
    {0},
};

static double count(const char *response, const char *text)
{
    double n = 0;
    for (const char *at = response; *text && (at = strstr(at, text)); at += strlen(text))
        n++;
    return n;
}

/* Fill out[n]: an outcome for each item, and a score for each response. Two equal responses are a tie; more than two are
 * ranked, equal ones in the order of their slots. SAIL_ABSTAIN says that there is no verdict. An error ends the run. */
static sail_code label(const void *self, void *state, const sail_judge_item *items, int64_t n, sail_verdict *out, sail_err *err)
{
    const struct template *o = self;
    for (int64_t i = 0; i < n; i++) {
        int k = items[i].k, order[SAIL_MAX_RESPONSES];
        for (int j = 0; j < k; j++) {
            int at = j;
            out[i].score[j] = -count(items[i].response[j], o->text);
            for (; at > 0 && out[i].score[order[at - 1]] < out[i].score[j]; at--)
                order[at] = order[at - 1];
            order[at] = j;
        }
        bool tie = k == 2 && out[i].score[0] == out[i].score[1];
        out[i].outcome = tie ? SAIL_TIE : sail_outcome_of_ranking(order, k, k);
        out[i].seconds = 0;
    }
    return SAIL_OK;
}

/* .open and .close, before and after all use, are for judges that keep something (a connection): see sail/judge.h. */
static const sail_judge ops = {.size = sizeof ops, .label = label};
SAIL_PLUGIN(SAIL_KIND_JUDGE, template, "prefers what says a text least often", "", struct template, opts, &ops, SAIL_CAP_PAIRS)
#endif /* TEMPLATE_JUDGE */
#ifdef TEMPLATE_DATASET
/* template.c - a reader of preference pairs: a question, the better and the worse answer. */
#include <sail/dataset.h>
#include <sail/plugin.h>

struct template {
    const char *question, *better, *worse;
};

static const sail_opt opts[] = {
    SAIL_OPT_STR(struct template, question, .def_str = "question", .help = "field that holds the prompt"),
    SAIL_OPT_STR(struct template, better, .def_str = "better", .help = "field that holds the chosen response"),
    SAIL_OPT_STR(struct template, worse, .def_str = "worse", .help = "field that holds the rejected response"),
    {0},
};

/* One record, already parsed, into one row. The host opens and unpacks files, and puts file and line before messages.
 * sail_row_value takes a string or a list of messages. May be called from several threads at once. */
static sail_code row(const void *self, const sail_json *record, sail_row *out, sail_err *err)
{
    const struct template *o = self;
    if (sail_json_kind_of(sail_json_get(record, o->worse)) == SAIL_JSON_ABSENT) {
        sail_row_drop(out, "only one answer"); /* the same text each time: rows are counted by it */
        return SAIL_OK;
    }
    SAIL_TRY(sail_row_value(out, SAIL_PART_PROMPT, sail_json_get(record, o->question), o->question, err));
    SAIL_TRY(sail_row_value(out, SAIL_PART_CHOSEN, sail_json_get(record, o->better), o->better, err));
    return sail_row_value(out, SAIL_PART_REJECTED, sail_json_get(record, o->worse), o->worse, err);
}

static const sail_dataset ops = {.size = sizeof ops, .row = row};
SAIL_PLUGIN(SAIL_KIND_DATASET, template, "pairs: a question, the better and the worse answer", "", struct template, opts, &ops, 0)
#endif /* TEMPLATE_DATASET */
#ifdef TEMPLATE_OPTIMIZER
/* template.c - Adam, its two means given by how many steps they remember. */
#include <sail/optimizer.h>
#include <sail/plugin.h>

struct template {
    double memory, long_memory, weight_decay;
};

static const sail_opt opts[] = {
    SAIL_OPT_F64(struct template, memory, .def = 10, .min = 1, .max = 1e6, .unit = "steps", .help = "of the mean of gradients"),
    SAIL_OPT_F64(struct template, long_memory, .def = 1000, .min = 1, .max = 1e6, .unit = "steps", .help = "of the mean of squares"),
    SAIL_OPT_F64(struct template, weight_decay, .def = 0, .min = 0, .max = 10, .help = "times the learning rate, off the weights"),
    {0},
};

/* Which op does the update, with which numbers, and which of its operands are moments: see sail/optimizer.h for the
 * formulas and ops.def for the operands. A function of the options alone. */
static void plan(const void *self, sail_optimizer_plan *out)
{
    const struct template *o = self;
    out->op = SAIL_OP_ADAMW;
    out->attr.beta1 = (float)(1 - 1 / o->memory);
    out->attr.beta2 = (float)(1 - 1 / o->long_memory);
    out->attr.adam_eps = 1e-8f;
    out->attr.weight_decay = (float)o->weight_decay;
    out->states = 2;
    out->state_input[0] = 3;
    out->state_input[1] = 4;
    out->state_name[0] = "exp_avg"; /* in checkpoints */
    out->state_name[1] = "exp_avg_sq";
    out->shadow_input = 5;
}

static const sail_optimizer ops = {.size = sizeof ops, .plan = plan};
SAIL_PLUGIN(SAIL_KIND_OPTIMIZER, template, "Adam by the memory of its means", "", struct template, opts, &ops, 0)
#endif /* TEMPLATE_OPTIMIZER */
