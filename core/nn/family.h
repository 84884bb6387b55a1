/* family.h - decoder families: one row each, with the name of every parameter by its role.
 *
 * Floor: nn. Threads: any; the table is constant. */
#ifndef SAIL_NN_FAMILY_H
#define SAIL_NN_FAMILY_H

#include "model_config.h"

/* ROLE(NAME, per layer?): what a parameter does. */
#define SAIL__ROLES(ROLE)                                                                                              \
    ROLE(EMBED, 0)            /* [vocab, width] */                                                                     \
    ROLE(ATTN_NORM, 1)        /* [1, width] */                                                                         \
    ROLE(ATTN_NORM_BIAS, 1)                                                                                            \
    ROLE(Q, 1)                /* [heads * head_dim, width] */                                                          \
    ROLE(Q_BIAS, 1)                                                                                                    \
    ROLE(K, 1)                /* [kv_heads * head_dim, width] */                                                       \
    ROLE(K_BIAS, 1)                                                                                                    \
    ROLE(V, 1)                                                                                                         \
    ROLE(V_BIAS, 1)                                                                                                    \
    ROLE(QKV, 1)              /* [(heads + 2 kv_heads) * head_dim, width] */                                           \
    ROLE(QKV_BIAS, 1)                                                                                                  \
    ROLE(Q_NORM, 1)           /* [1, head_dim] */                                                                      \
    ROLE(K_NORM, 1)                                                                                                    \
    ROLE(O, 1)                /* [width, heads * head_dim] */                                                          \
    ROLE(O_BIAS, 1)                                                                                                    \
    ROLE(POST_ATTN_NORM, 1)   /* after attention, before the residual (post_norms) */                                  \
    ROLE(MLP_NORM, 1)         /* before the MLP */                                                                     \
    ROLE(MLP_NORM_BIAS, 1)                                                                                             \
    ROLE(GATE, 1)             /* [ff, width] */                                                                        \
    ROLE(GATE_BIAS, 1)                                                                                                 \
    ROLE(UP, 1)                                                                                                        \
    ROLE(UP_BIAS, 1)                                                                                                   \
    ROLE(GATE_UP, 1)          /* [2 ff, width] */                                                                      \
    ROLE(DOWN, 1)             /* [width, ff] */                                                                        \
    ROLE(DOWN_BIAS, 1)                                                                                                 \
    ROLE(POST_MLP_NORM, 1)                                                                                             \
    ROLE(FINAL_NORM, 0)                                                                                                \
    ROLE(FINAL_NORM_BIAS, 0)                                                                                           \
    ROLE(HEAD, 0)             /* [vocab, width]; absent where tied */                                                  \
    ROLE(HEAD_BIAS, 0)        /* [1, vocab] */                                                                         \
    ROLE(SCORE, 0)            /* [labels, width]; where the config names the head's module, that is its name */        \
    ROLE(SCORE_BIAS, 0)       /* [1, labels] */

typedef enum sail__role {
#define ROLE(NAME, per_layer) SAIL__ROLE_##NAME,
    SAIL__ROLES(ROLE)
#undef ROLE
        SAIL__ROLE_COUNT
} sail__role;

struct sail__family {
    const char *model_type;              /* config.json's */
    const char *architecture;            /* without "ForCausalLM", "ForSequenceClassification": "Llama" */
    const char *gguf;                    /* general.architecture */
    bool gguf_permuted;                  /* rows of q and k lie permuted in GGUF: see sail__gguf_file_row */
    int32_t gguf_period;                 /* GGUF: the last of so many layers has no window, where no key says how many; 0: layers are alike */
    const char *names[SAIL__ROLE_COUNT]; /* '#' stands for the layer; NULL: the family has none */
};

const sail__family *sail__family_by_type(const char *model_type); /* NULL: unknown */
const sail__family *sail__family_by_gguf(const char *arch);           /* the first of that architecture */
const sail__family *sail__family_at(size_t i);                    /* NULL past the end */

/* Name of a parameter in the family's checkpoint, or in GGUF files (all families alike); false: none, or no room. */
bool sail__family_name(const sail__family *f, sail__role role, int layer, char *out, size_t size);
bool sail__gguf_name(sail__role role, int layer, char *out, size_t size);
bool sail__role_per_layer(sail__role role);
const char *sail__role_name(sail__role role); /* "Q_BIAS" */

/* Gemma 2 and 3, whose scores of attention have a scale and a cap of their own. */
bool sail__later_gemma(const sail__model_config *c);

/* Fill in what the family alone decides; family, model_type, width and head_dim are there. Biases and caps are not among it. */
void sail__family_rules(sail__model_config *c);

typedef struct sail__param {
    const char *name; /* canonical */
    sail__role role;
    int32_t layer;      /* -1: none */
    int64_t rows, cols; /* a vector: one row */
    bool vector;        /* one-dimensional in files */
} sail__param;

/* True when a model of this config has a parameter in this role. */
bool sail__param_wanted(const sail__model_config *c, sail__role role);

/* Every parameter of the config, in canonical order: embedding, layers from the first (in the order of the roles),
 * final norm, head. In the arena. Nothing is read. */
sail_code sail__model_params(sail_arena *a, const sail__model_config *c, sail__param **out, size_t *n, sail_err *err);

/* Whether a parameter of this name is the weight of a module, "model.layers.0.mlp.up_proj"; and the one that is (NULL: none). */
bool sail__is_weight_of(const char *param, const char *module);
const sail__param *sail__weight_of(const sail__param *params, size_t n, const char *module);

/* Row i (of a vector: entry i) of a parameter lies at this row of the family's Hugging Face files, and the other way round. They
 * differ where the files keep q, k and v per head. */
bool sail__param_reordered(const sail__model_config *c, sail__role role);
int64_t sail__param_file_row(const sail__model_config *c, sail__role role, int64_t i);
int64_t sail__param_row_of_file(const sail__model_config *c, sail__role role, int64_t at);

/* The same for GGUF files, which keep q and k of some families so that the two rows of a head that turn together are neighbours. */
bool sail__gguf_reordered(const sail__model_config *c, sail__role role);
int64_t sail__gguf_file_row(const sail__model_config *c, sail__role role, int64_t i);
int64_t sail__gguf_row_of_file(const sail__model_config *c, sail__role role, int64_t at);
/* What GGUF files have added to the values of a parameter (Gemma's norms: 1). */
double sail__gguf_plus(const sail__model_config *c, sail__role role);

#endif
