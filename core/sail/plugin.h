/* plugin.h - how a plugin introduces itself.
 *
 * Floor: backend. A plugin is one shared object that exports one function, sail_plugin_query, which returns a static
 * description. The same source can be linked in statically. Plugins link libsail.so.1 and include only <sail/…>.
 * Threads, ownership and lifetime of each callback are stated in the kind's own header. A plugin is loaded with
 * RTLD_NOW | RTLD_LOCAL and never unloaded; it must not abort, exit, or write to standard output.
 *
 * What grows within a major version: structs that begin with `size`, at their end; a plugin runs only on hosts at least as new as its
 * headers, so it finds there what they have. Enums and .def lists grow at their end, too: expect numbers that you do not know. */
#ifndef SAIL_PLUGIN_H
#define SAIL_PLUGIN_H

#include "err.h"
#include "log.h"
#include "opt.h"

#ifdef __cplusplus
extern "C" {
#endif

#define SAIL_ABI_MAJOR 1
#define SAIL_ABI_MINOR 1

/* KIND(NAME, name, folder and documentation) - recipe slots use `name`. */
#define SAIL_KINDS(KIND)                                                                                               \
    KIND(BACKEND, "backend", "devices that run ops")                                                                   \
    KIND(MODEL, "model", "score heads and model families")                                                             \
    KIND(OBJECTIVE, "objective", "losses on token log-probabilities")                                                  \
    KIND(PREFERENCE, "preference", "probabilities of outcomes given scores")                                           \
    KIND(STRATEGY, "strategy", "who writes and who labels each pair")                                                  \
    KIND(SAMPLER, "sampler", "how a token is drawn")                                                                   \
    KIND(JUDGE, "judge", "labels for responses")                                                                       \
    KIND(DATASET, "dataset", "readers of data files")                                                                  \
    KIND(OPTIMIZER, "optimizer", "parameter updates")                                                                  \
    KIND(TRACKER, "tracker", "where metrics go")                                                                       \
    KIND(COMM, "comm", "several processes")

typedef enum sail_kind {
#define KIND(NAME, name, doc) SAIL_KIND_##NAME,
    SAIL_KINDS(KIND)
#undef KIND
        SAIL_KIND_COUNT
} sail_kind;

/* Capabilities an objective declares (and a strategy REFERENCE, for implicit rewards). REFERENCE, ENTROPY, LSS, PROMPT and MISMATCHED are what the host computes for it, STEP how it
 * runs a step; PAIRS, UNPAIRED and ONLINE what data it is for; TAKES_… which of the recipe's modifiers (method.f_divergence_type,
 * ld_alpha, use_weighting) mean something with it: the host refuses the others. */
enum {
    SAIL_CAP_PAIRS = 1u << 0,       /* works on groups of two or more responses */
    SAIL_CAP_UNPAIRED = 1u << 1,    /* works on single responses */
    SAIL_CAP_REFERENCE = 1u << 2,   /* needs log-probabilities under the reference */
    SAIL_CAP_ENTROPY = 1u << 3,     /* needs the entropy at each token */
    SAIL_CAP_LSS = 1u << 4,         /* needs log sum p^2 at each token */
    SAIL_CAP_STEP = 1u << 5,        /* couples the pairs of a step: needs all of them before any derivative. Where it is not
                                     * declared, operators that couple are found out, at the price of one discarded micro-batch; what is
                                     * read with sail_value_of, or goes through SAIL_ANY, is not: declare it */
    SAIL_CAP_ONLINE = 1u << 6,      /* wants responses written by the policy */
    SAIL_CAP_PROMPT = 1u << 7,      /* needs the prompt tokens' log-probabilities */
    SAIL_CAP_SCORES = 1u << 8,      /* reads scores alone: for the stage `reward`, where there are no log-probabilities */
    SAIL_CAP_MISMATCHED = 1u << 9,  /* needs the log-ratio of another prompt's response after each prompt */
    SAIL_CAP_TAKES_DIVERGENCE = 1u << 10, /* all it has of rho are scores: they may come from another divergence than reverse KL */
    SAIL_CAP_TAKES_LENGTH = 1u << 11,    /* logp and ref of a response may be weighted sums over its tokens (ld_alpha) */
    SAIL_CAP_TAKES_WEIGHTS = 1u << 12,   /* the loss is the mean of per_pair over the step: pairs may be weighted */
};

typedef struct sail_plugin {
    uint32_t size;                 /* sizeof at the plugin's build; fields are only ever appended */
    uint16_t abi_major, abi_minor; /* major equal; minor not newer than the host's */
    uint32_t kind;                 /* sail_kind */
    uint32_t caps;
    const char *name, *doc, *source; /* recipe name; one sentence; paper or "" */
    const sail_opt *opts;            /* NULL: none */
    uint32_t opt_stride, opts_size;  /* sizeof(sail_opt) and sizeof(option struct) at the plugin's build */
    const void *ops;                 /* the kind's table of functions, beginning with its own uint32_t size */
    const void *self;                /* given to the functions of a plugin without options; made at run time (Lua). With options, they are given
                                      * the option struct instead: valid during the call, made again each step where a schedule sets it */
} sail_plugin;

typedef const sail_plugin *sail_plugin_query_fn(void);

#ifdef SAIL_STATIC
#define SAIL_PLUGIN_QUERY(kind_, name_) sail_plugin_query_##kind_##_##name_
#else
#define SAIL_PLUGIN_QUERY(kind_, name_) sail_plugin_query
#endif
#ifdef __cplusplus
#define SAIL_PLUGIN_EXTERN extern "C"
#else
#define SAIL_PLUGIN_EXTERN extern
#endif

/* SAIL_PLUGIN(SAIL_KIND_OBJECTIVE, dpo, "doc", "source", struct dpo, opts, &ops, caps). Use SAIL_PLUGIN_NO_OPTIONS where
 * there are none. */
#define SAIL_PLUGIN_(kind_, name_, doc_, source_, opts_, opts_size_, ops_, caps_)                                      \
    static const sail_plugin sail_plugin_description_ = {sizeof(sail_plugin), SAIL_ABI_MAJOR, SAIL_ABI_MINOR, kind_,  \
                                                         caps_, #name_, doc_, source_, opts_,                          \
                                                         (uint32_t)sizeof(sail_opt), opts_size_, ops_, NULL};          \
    SAIL_PLUGIN_EXTERN __attribute__((visibility("default"))) const sail_plugin *SAIL_PLUGIN_QUERY(kind_, name_)(void); \
    const sail_plugin *SAIL_PLUGIN_QUERY(kind_, name_)(void) { return &sail_plugin_description_; }
#define SAIL_PLUGIN(kind_, name_, doc_, source_, struct_, opts_, ops_, caps_)                                          \
    SAIL_PLUGIN_(kind_, name_, doc_, source_, opts_, (uint32_t)sizeof(struct_), ops_, caps_)
#define SAIL_PLUGIN_NO_OPTIONS(kind_, name_, doc_, source_, ops_, caps_)                                               \
    SAIL_PLUGIN_(kind_, name_, doc_, source_, NULL, 0, ops_, caps_)

#ifdef __cplusplus
}
#endif
#endif
