/* tokenizer.h - text to token ids and back: BPE, byte-level (GPT-2 form) or SentencePiece form.
 *
 * Floor: io. A tokenizer is what tokenizer.json says, step by step: added tokens, normalizer, pre-tokenizer patterns,
 * merges, post-processor, decoder; what it says and this program does not know is an error, never passed over.
 * Threads: a loaded tokenizer is constant and may be used by any number of threads; a scratch belongs to one at a time.
 * Ownership: the caller frees what he was given with the function beside it. */
#ifndef SAIL_TOKENIZER_H
#define SAIL_TOKENIZER_H

#include "../base/base.h"

typedef struct sail__tokenizer sail__tokenizer;
typedef struct sail__token_scratch sail__token_scratch; /* caches and work space of one thread */

/* A growing array of ids; zero it first. */
typedef struct sail__ids {
    int32_t *items;
    size_t n, cap;
} sail__ids;
sail_code sail__ids_add(sail__ids *a, const int32_t *ids, size_t n, sail_err *err);
void sail__ids_free(sail__ids *a);

/* ---- loading ---- */

/* path: a tokenizer.json, or a directory that holds one, or a GGUF file. Beside a tokenizer.json are read, where they
 * are: tokenizer_config.json and special_tokens_map.json (names of the special tokens, chat template),
 * chat_template.jinja (wins), generation_config.json and config.json (end tokens). */
sail_code sail__tokenizer_open(const char *path, sail__tokenizer **out, sail_err *err);
void sail__tokenizer_free(sail__tokenizer *t);

enum sail__token_type { SAIL__TYPE_NORMAL = 1, SAIL__TYPE_UNKNOWN, SAIL__TYPE_CONTROL, SAIL__TYPE_USER, SAIL__TYPE_UNUSED, SAIL__TYPE_BYTE };

/* A vocabulary in memory, as a GGUF file carries it (tokenizer.ggml.*). Strings are borrowed for the call. */
typedef struct sail__vocabulary {
    const char *origin;        /* for messages: the file's name */
    const char *model;         /* "gpt2" (byte-level BPE) or "llama" (SentencePiece) */
    const char *pre;           /* pre-tokenizer name, llama.cpp's; NULL or "default": GPT-2's */
    const char *const *tokens; /* [n] */
    const size_t *token_sizes; /* [n] bytes; NULL: NUL-terminated */
    size_t n;
    const int32_t *types;      /* [n] sail__token_type; NULL: all normal */
    const float *scores;       /* [n], model llama; NULL: none */
    const char *const *merges; /* [n_merges] "a b" in order of rank, model gpt2 */
    const size_t *merge_sizes; /* [n_merges] bytes; NULL: NUL-terminated */
    size_t n_merges;
    int64_t bos, eos, eot, eom, unk, pad;   /* -1: none */
    int add_bos, add_eos, add_space_prefix; /* 0, 1, or -1: not said */
    const char *chat_template;              /* NULL: none */
} sail__vocabulary;
sail_code sail__tokenizer_from_vocabulary(const sail__vocabulary *v, sail__tokenizer **out, sail_err *err);
/* The same as files, for an exported model: *json is a tokenizer.json, *config a tokenizer_config.json. */
sail_code sail__vocabulary_write(const sail__vocabulary *v, sail_buf *json, sail_buf *config, sail_err *err);
/* A tokenizer as a vocabulary of n tokens; those that it lacks are called [PADi] and unused. Everything is in the arena or the
 * tokenizer. pre: the pre-tokenizer's name; NULL: found by what it does. What a vocabulary cannot say is SAIL_E_FORMAT. */
sail_code sail__tokenizer_vocabulary(const sail__tokenizer *t, size_t n, const char *pre, sail_arena *a, sail__vocabulary *out, sail_err *err);
/* Whether the pre-tokenizer of that name does what t's does: 1, 0, or -1: the name is not known here. */
int sail__tokenizer_pre_fits(const sail__tokenizer *t, const char *pre);
/* From an opened GGUF file. The vocabulary's lists are in the arena, its strings in the file. */
struct sail__gguf;
sail_code sail__vocabulary_from_gguf(const struct sail__gguf *g, sail_arena *a, sail__vocabulary *v, sail_err *err);
struct sail__gguf_keys;
void sail__vocabulary_to_gguf(const sail__vocabulary *v, struct sail__gguf_keys *k);
sail_code sail__tokenizer_from_gguf(const struct sail__gguf *g, sail__tokenizer **out, sail_err *err);

/* ---- what is in it ---- */
int32_t sail__tokenizer_size(const sail__tokenizer *t);                  /* largest id + 1 */
int32_t sail__tokenizer_id(const sail__tokenizer *t, const char *token); /* whole token; -1: none */
/* The token as its vocabulary writes it ("Ġthe"), NUL-terminated; NULL: no such id. */
const char *sail__tokenizer_token(const sail__tokenizer *t, int32_t id, size_t *len);
/* The bytes the token adds to a text, which need not be whole characters; NULL: no such id. */
const char *sail__tokenizer_bytes(const sail__tokenizer *t, int32_t id, size_t *len);
bool sail__tokenizer_is_special(const sail__tokenizer *t, int32_t id);
int32_t sail__tokenizer_bos(const sail__tokenizer *t); /* -1: none; likewise the next three */
int32_t sail__tokenizer_eos(const sail__tokenizer *t);
int32_t sail__tokenizer_pad(const sail__tokenizer *t);
int32_t sail__tokenizer_unk(const sail__tokenizer *t);
/* All ids that end a response, by tokenizer_config, generation_config and config: the union. */
const int32_t *sail__tokenizer_ends(const sail__tokenizer *t, size_t *n);
const char *sail__tokenizer_chat_template(const sail__tokenizer *t); /* Jinja text; NULL: none */
const char *sail__tokenizer_origin(const sail__tokenizer *t);

/* ---- encoding ---- */
enum {
    SAIL__ADD_SPECIAL = 1u << 0,   /* the post-processor's tokens (a bos, an eos) */
    SAIL__ADD_PREFIX = 1u << 3,    /* those among them that go before the text: for a text that goes on */
    SAIL__PARSE_SPECIAL = 1u << 1, /* strings of special tokens become their ids; else they are ordinary text */
    SAIL__CONTINUATION = 1u << 2,  /* goes on from earlier text: no prefix that a text's start would get */
};
typedef struct sail__span {
    size_t begin, end; /* bytes */
} sail__span;

sail__token_scratch *sail__token_scratch_new(const sail__tokenizer *t); /* NULL: out of memory */
void sail__token_scratch_free(sail__token_scratch *s);

/* Appends the ids of text[len] (UTF-8, NULs allowed) to out. scratch may be NULL: one is made for the call. Time grows
 * with n log n at the worst, whatever the text. Broken UTF-8 is SAIL_E_PARSE with the byte's position. */
sail_code sail__encode(const sail__tokenizer *t, sail__token_scratch *scratch, const char *text, size_t len,
                       unsigned flags, sail__ids *out, sail_err *err);
/* The same, but no special token is recognised where it touches one of the spans (ascending, apart): what a user wrote
 * inside a rendered template stays text. */
sail_code sail__encode_spans(const sail__tokenizer *t, sail__token_scratch *scratch, const char *text, size_t len,
                             unsigned flags, const sail__span *plain, size_t n_plain, sail__ids *out, sail_err *err);

/* ---- decoding ---- */
enum {
    SAIL__SKIP_SPECIAL = 1u << 0,        /* leave special tokens out */
    SAIL__DECODE_CONTINUATION = 1u << 1, /* keep the leading space that a SentencePiece decoder takes off a text */
};
/* Appends text, always valid UTF-8: a broken part becomes U+FFFD. Ids outside the vocabulary add nothing. */
sail_code sail__decode(const sail__tokenizer *t, const int32_t *ids, size_t n, unsigned flags, sail_buf *out,
                       sail_err *err);

/* ends[i]: how many bytes of `text` the first i + 1 ids make; text is what sail__decode gave for them with these flags. False where the
 * text is not the sum of its tokens' (or memory lacks): ends is then not filled. */
bool sail__token_ends(const sail__tokenizer *t, const int32_t *ids, size_t n, unsigned flags, const char *text, uint32_t *ends);

/* Decoding token by token: a character appears as soon as it is complete, an unfinished but still valid one waits, each
 * broken part becomes one U+FFFD. The state is plain data. */
typedef struct sail__text_stream {
    const sail__tokenizer *tokenizer;
    unsigned flags; /* SAIL__SKIP_SPECIAL */
    unsigned char held[4];
    int n_held;
} sail__text_stream;
void sail__stream_push(sail__text_stream *s, int32_t id, sail_buf *out);
void sail__stream_flush(sail__text_stream *s, sail_buf *out); /* at the end: what waits is broken */

#endif
