/* export.h - writing a model as a Hugging Face directory that transformers loads, or as a GGUF file that llama.cpp loads.
 *
 * Floor: io. Threads: any. */
#ifndef SAIL_IO_EXPORT_H
#define SAIL_IO_EXPORT_H

#include "../base/node.h"
#include "../nn/family.h"
#include "gguf.h"
#include "peft.h"
#include "tokenizer.h"
#include "weights.h"

/* Rows [first, first + count) of a parameter as float32, out[count * cols]. Asked for in canonical order, rows
 * ascending but where sail__param_reordered says that the files keep them otherwise. */
typedef sail_code (*sail__export_rows)(void *user, const sail__param *p, int64_t first, int64_t count, float *out,
                                       sail_err *err);

typedef struct sail__export {
    const sail__model_config *config;
    const sail_node *config_node; /* carried over with the dtype updated; NULL: made from config */
    bool new_head;                /* config has a score head that config_node does not know of */
    const char *files_from;       /* directory whose tokenizer, template and generation files are copied; may be NULL */
    const sail__gguf *gguf;       /* tokenizer and template are written from this, where it has them; may be NULL */
    const sail__tokenizer *tokenizer; /* for a GGUF file, where the model does not come from one; NULL: none */
    const char *pre;              /* … name of its pre-tokenizer; NULL: found by what it does */
    const char *name;             /* … of the model, where it comes from no GGUF file that has one */
    sail_dtype dtype;             /* F32 or BF16; of a GGUF file F16 and Q8_0, too */
    uint64_t shard_bytes;         /* 0: 5 GB */
    sail__export_rows rows;
    void *user;
} sail__export;

/* Fill config, config_node, files_from and gguf from the model that the new one is made of. */
void sail__export_from(sail__export *e, const sail__weights *base);

/* The directory is made. config.json is taken away first and written last, so that a directory with it is whole. */
sail_code sail__export_model(const char *dir, const sail__export *e, sail_err *err);

/* A GGUF file. Vectors are F32 in it, and matrices whose rows are no whole blocks of dtype F16. Messages name the tensor. */
sail_code sail__export_gguf(const char *path, const sail__export *e, sail_err *err);
/* An adapter for such a file, as llama.cpp reads it, of dtype F32, F16 or BF16; p's rows are in the model's order. */
sail_code sail__export_gguf_lora(const char *path, const sail__export *e, const sail__peft *p, sail_err *err);

/* tokenizer.json and tokenizer_config.json (with the chat template) from a GGUF's vocabulary. */
sail_code sail__export_tokenizer(const char *dir, const sail__gguf *g, sail_err *err);

#endif
