/* weights.h - a model on disk: a Hugging Face directory or a GGUF file, seen alike.
 *
 * Floor: io. (nn takes what it needs through nn/model_config.h: the config and a sail__param_source.)
 * Threads: an opened model may be read from any thread. Ownership: everything lives until close; files are mapped.
 * Parameters go by their canonical name, that of the family's Hugging Face checkpoint, whatever the file calls them;
 * GGUF's permutation of q and k rows is undone on reading. On opening, every parameter of the config must be there with
 * its shape; an error names tensor, file, expected and found shape; a tensor that no role asks for is a warning. */
#ifndef SAIL_IO_WEIGHTS_H
#define SAIL_IO_WEIGHTS_H

#include "../base/node.h"
#include "../nn/family.h"
#include "../sail/log.h"
#include "gguf.h"

typedef struct sail__weights sail__weights;

/* path: a directory with config.json and model.safetensors or model.safetensors.index.json, or a .gguf file. ctx (may
 * be NULL) receives warnings. */
sail_code sail__weights_open(sail_ctx *ctx, const char *path, sail__weights **out, sail_err *err);
void sail__weights_close(sail__weights *w);

const char *sail__weights_path(const sail__weights *w);
const sail__model_config *sail__weights_config(const sail__weights *w);
const sail__param *sail__weights_params(const sail__weights *w, size_t *n); /* canonical order */
const sail__param *sail__weights_find(const sail__weights *w, const char *name); /* NULL: none */
const sail__param_source *sail__weights_source(const sail__weights *w);

/* What sail__param_source does, for use from io and above. */
sail_code sail__weights_dtype(const sail__weights *w, const char *name, sail_dtype *out, sail_err *err);
sail_code sail__weights_read_f32(const sail__weights *w, const char *name, int64_t first, int64_t count, float *out,
                                 sail_err *err);
sail_code sail__weights_read_raw(const sail__weights *w, const char *name, int64_t first, int64_t count, void *out,
                                 sail_err *err);

/* Access to the rest of what is there. NULL where it is not. */
const char *sail__weights_tokenizer_json(const sail__weights *w); /* path */
const sail__gguf *sail__weights_gguf(const sail__weights *w);     /* tokenizer and template of a GGUF */
const sail_node *sail__weights_config_node(const sail__weights *w); /* config.json as it stands */

/* Hash of names, types, shapes and all bytes of the parameters, 32 hex digits: the base's identity in checkpoints.
 * Reads the whole file. */
sail_code sail__weights_hash(const sail__weights *w, char out[33], sail_err *err);

#endif
