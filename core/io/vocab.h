/* vocab.h - the tokenizer that belongs to a model on disk.
 *
 * Floor: io. Threads: any. */
#ifndef SAIL_VOCAB_H
#define SAIL_VOCAB_H

#include "gguf.h"
#include "tokenizer.h"

/* From a GGUF's tokenizer.ggml.* keys. */
sail_code sail__tokenizer_from_gguf(const sail__gguf *g, sail__tokenizer **out, sail_err *err);

/* Of a model directory, a GGUF file, a tokenizer.json or its directory. SAIL_E_NOTFOUND where the place has none. */
sail_code sail__tokenizer_for_path(const char *path, sail__tokenizer **out, sail_err *err);

#endif
