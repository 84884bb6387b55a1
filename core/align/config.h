/* config.h - what a stage of a recipe says, typed: one option table for each section.
 *
 * Floor: align. The tables (config.c) are what YAML, Lua, key=value, `sail check`, `sail help recipe` and the trainer read.
 * Ownership: strings and nodes belong to the recipe's arena and outlive the stage. */
#ifndef SAIL_CONFIG_H
#define SAIL_CONFIG_H

#include "../backend/registry.h"
#include "../sail/judge.h"
#include "../sail/objective.h"
#include "../sail/strategy.h"
#include "modifiers.h"

/* model: which weights, where and in what precision they run, what of them is trained. */
typedef struct sail__model_section {
    const char *path;        /* Hugging Face directory or GGUF file */
    const char *adapter_path; /* PEFT directory to start from */
    const sail_node *adapter; /* {kind: lora, rank, alpha, …}; absent: full fine-tuning */
    const sail_node *backend; /* slot */
    const char *device; /* index, kind, or pattern of the name; unset: the best */
    int dtype; /* sail__compute_dtype */
    int weights; /* sail__weights_kind */
    int64_t threads; /* 0: all */
    bool recompute;
    int reference; /* sail__reference_kind */
    const char *template_name;
    const char *tokenizer; /* directory or tokenizer.json, where the model has none */
    const char *system;    /* system message; unset: the template's own */
    const sail_node *init; /* a new model from nothing: {layers, width, heads, …} */
} sail__model_section;
enum sail__compute_dtype { SAIL__F32, SAIL__BF16 };
enum sail__weights_kind { SAIL__WEIGHTS_CONVERTED, SAIL__WEIGHTS_AS_STORED };
enum sail__reference_kind { SAIL__REF_AUTO, SAIL__REF_ADAPTER_OFF, SAIL__REF_FROZEN_ADAPTER, SAIL__REF_CACHED, SAIL__REF_COPY };

typedef struct sail__adapter_section {
    int64_t rank;
    double alpha, dropout;
    const sail_node *targets; /* "all-linear" or a list of module names */
    bool rslora;
} sail__adapter_section;

/* model.init: a Llama from nothing. */
typedef struct sail__init_section {
    int64_t layers, width, heads, kv_heads, ff, positions;
    double deviation;
} sail__init_section;

typedef struct sail__data_section {
    const sail_node *train, *eval; /* path, or list of paths */
    const sail_node *reader;       /* slot of kind dataset */
    double held_out;               /* share of prompts kept for evaluation where `eval` is unset */
    const sail_node *share;        /* [from, to] of the other prompts; NULL: all */
    int64_t max_rows, max_prompt, max_response;
    int truncate, on_bad_row; /* data.h */
    bool shuffle;
    const sail_node *stop; /* strings that end a response */
    const sail_node *fields; /* names of fields in the file by the reader's names */
    int pairing;             /* sail__data_pairing */
} sail__data_section;

typedef struct sail__rollout_section {
    double temperature, top_p, min_p;
    int64_t top_k, max_new; /* max_new 0: data.max_response */
    int64_t batch;          /* sequences decoded together */
    int64_t responses;      /* a prompt */
    int rival;              /* sail__rival: who writes the last of them */
    double mixture;         /* share of the reference in SAIL__RIVAL_MIXTURE */
    int pairing;            /* sail__pairing: what is made of more than two responses */
} sail__rollout_section;
enum sail__pairing { SAIL__PAIR_RANKING, SAIL__PAIR_ALL, SAIL__PAIR_BEST_WORST };
enum sail__rival { SAIL__RIVAL_POLICY, SAIL__RIVAL_REFERENCE, SAIL__RIVAL_MIXTURE };
/* As objectives know it: SAIL_BY_REFERENCE, …; 0: the policy. */
static inline int sail__rival_writer(int rival)
{
    return rival == SAIL__RIVAL_REFERENCE ? SAIL_BY_REFERENCE : rival == SAIL__RIVAL_MIXTURE ? SAIL_BY_MIXTURE : 0;
}

typedef struct sail__method_section {
    const sail_node *objective, *preference, *strategy, *judge; /* slots */
    const sail_node *routes; /* {NAME: {weight, coef, writer, labeller}}; see sail__route_table */
    double beta;             /* schedulable */
    double max_margin;       /* bound on |margin| entering the extra terms, nats; 0: none */
    const sail_node *loss_weights; /* of several objectives */
    int f_divergence_type;         /* sail__divergence */
    double f_alpha_divergence_coef, ld_alpha;
    bool use_weighting;
} sail__method_section;

typedef struct sail__train_section {
    int64_t steps;
    double epochs;            /* instead of steps: passes over the prompts */
    int64_t batch;            /* pairs (rows in sft) a step */
    int64_t micro_batch;      /* at most so many pairs in one forward; 0: by max_tokens */
    int64_t max_tokens;       /* token budget of one forward */
    const sail_node *optimizer; /* slot */
    const sail_node *schedule;  /* of the learning rate */
    double lr;                  /* schedulable */
    double max_grad_norm;       /* 0: none */
    int decay;                  /* sail__decay: which parameters weight decay touches */
    int64_t log_every;
    int64_t diagnostics; /* steps between them; 0: none */
} sail__train_section;
enum sail__decay { SAIL__DECAY_WEIGHTS, SAIL__DECAY_ALL };

typedef struct sail__eval_section {
    int64_t every;    /* steps; 0: only before and after */
    int64_t pairs;    /* held-out pairs scored; 0: none */
    int64_t generate; /* held-out prompts answered; 0: none */
    bool before;
    const sail_node *judge;    /* slot: win rate against the reference's responses */
    int64_t bootstrap;         /* resamples */
    double temperature;        /* of the responses; 0: greedy */
    double penalty_alpha;      /* above 0: contrastive search among top_k tokens */
    int64_t top_k;
    bool one_order;            /* win rates by the authors' convention: one order a prompt, ties are losses */
    const sail_node *models;   /* stage eval: {NAME: PATH or list of PATHs (seeds of one method)} */
    const sail_node *against;  /* stage eval: names of models that the others are compared with */
} sail__eval_section;

typedef struct sail__generate_section {
    const sail_node *prompts; /* path, or list of paths; unset: data.eval, or what is held out of data.train */
    int64_t num, limit;
} sail__generate_section;

typedef struct sail__tables_section {
    const sail_node *make; /* a function of the recipe, or a list of them */
} sail__tables_section;

typedef struct sail__checkpoint_section {
    int64_t every, keep;
    bool best; /* keep the one with the best evaluation besides */
} sail__checkpoint_section;

typedef struct sail__guard_section { /* guards.h */
    double max_weight, max_coef; /* warn beyond (METHOD: 0.3 and 0.4) */
    bool strict;                 /* refuse instead of warning */
    double spike;                /* loss z-score that is skipped; 0: off */
    double max_kl;               /* nats a token; 0: none */
    int64_t halve, recover;      /* bad steps after which coefficients are halved, good ones after which they double; halve 0: never */
    int64_t skips;               /* consecutive bad steps after which the run goes back */
    int64_t rollbacks;           /* … and so often before it stops */
    double chosen_fall;          /* alarm, nats a token; 0: off */
    double length_drift;         /* alarm, ratio; 1: off */
    int64_t equal;               /* alarm, steps; 0: off */
} sail__guard_section;

typedef enum sail__stage_kind { SAIL__SFT, SAIL__ALIGN, SAIL__REWARD, SAIL__EVAL, SAIL__GENERATE, SAIL__TABLES, SAIL__REPORT, SAIL__STAGE_COUNT } sail__stage_kind;

/* One stage, as the trainer sees it. `node` is its resolved map; sections are parsed at step 0. */
typedef struct sail__stage {
    sail__stage_kind kind;
    const char *name; /* directory-safe; unique in the recipe */
    const sail_node *node;
    uint64_t seed;
    sail__model_section model;
    sail__adapter_section adapter;
    bool has_adapter;
    sail__data_section data;
    sail__rollout_section rollout;
    sail__method_section method;
    sail__train_section train;
    sail__eval_section eval;
    sail__generate_section generate;
    sail__tables_section tables;
    sail__checkpoint_section checkpoint;
    sail__guard_section guard;
    sail__modifiers modifiers; /* what method says of any objective */
    sail_slot given_objective; /* as the recipe names it; `objective` is made of it and others where there are several, or weights of pairs */
    sail_route routes[SAIL_MAX_ROUTES]; /* of method.routes, what the weights leave first as `offline`; n_routes 0: not given */
    int n_routes;
    sail_slot backend, reader, objective, preference, strategy, judge, eval_judge, optimizer; /* loaded NULL: not used */
} sail__stage;

extern const sail_opt sail__route_table[]; /* of each entry of method.routes */
extern const sail_opt sail__model_table[], sail__adapter_table[], sail__data_table[], sail__rollout_table[],
    sail__method_table[], sail__train_table[], sail__eval_table[], sail__generate_table[], sail__tables_table[], sail__checkpoint_table[], sail__guard_table[];
/* Sections of a stage in order: name, table, offset of the struct in sail__stage. Ends with a NULL name. */
typedef struct sail__section {
    const char *name;
    const sail_opt *options;
    size_t offset;
    const char *help;
} sail__section;
extern const sail__section sail__sections[];

/* Calls a recipe's function as a schedule: the value at a step. Given by lua/; NULL where there is no Lua. */
typedef double (*sail__call_schedule)(void *user, int64_t function, int64_t step, sail_err *err);

/* Parse all sections and slots of `node` as they are at `step`. Appends to problems; false when any was added.
 * Unknown sections are problems too, but for `name`, `title`, `seed`, `runs`, `stage`, `plugins`, `on`, `extends`. */
bool sail__stage_parse(sail_ctx *ctx, sail_arena *a, sail__stage_kind kind, const sail_node *node, int64_t step,
                       sail__call_schedule call, void *user, sail__stage *out, sail_problems *problems);
static inline bool sail__stage_trains(sail__stage_kind k) { return k == SAIL__SFT || k == SAIL__ALIGN || k == SAIL__REWARD; }
static inline bool sail__stage_has_pairs(sail__stage_kind k) { return k == SAIL__ALIGN || k == SAIL__REWARD; }
/* Whether the stage's objective is measured from a reference. */
static inline bool sail__stage_needs_reference(const sail__stage *s)
{
    return s->kind != SAIL__REWARD && (s->objective.loaded->plugin.caps & SAIL_CAP_REFERENCE) != 0;
}
static inline sail_preference_model sail__stage_preference(const sail__stage *s)
{
    return (sail_preference_model){s->preference.loaded->ops, s->preference.options, s->preference.loaded->plugin.name};
}
bool sail__init_parse(const sail_node *init, sail__init_section *out, sail_problems *problems);
bool sail__stage_is_scheduled(const sail__stage *s); /* any schedule in it: parse again every step */

extern const char *const sail__stage_names[]; /* "sft", "align", … NULL */

#endif
