/* tokenizer_impl.h - what the files of the tokenizer share: tokenizer.c (look-ups, encoding), tokenizer_json.c and
 * tokenizer_files.c (loading), tokenizer_vocab.c and tokenizer_to_vocab.c (vocabularies in memory), bpe.c, pretoken.c, normalize.c, added.c,
 * tokenizer_decode.c.
 *
 * Floor: io. Not for other parts of the program. */
#ifndef SAIL_TOKENIZER_IMPL_H
#define SAIL_TOKENIZER_IMPL_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "tokenizer.h"

enum { SAIL__MAX_TOKEN_ID = (1 << 24) - 1, SAIL__MAX_STEPS = 16 };

/* ---- patterns (pretoken.c) ---- */
typedef struct sail__regex {
    pcre2_code *code;
    const char *source; /* as the file writes it; for messages */
    bool jit;
} sail__regex;
typedef struct sail__matcher { /* of one thread */
    pcre2_match_data *data;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
} sail__matcher;
/* literal: the source is a string, not a pattern. `where` is the file and key. */
sail_code sail__regex_compile(sail_arena *a, const char *source, size_t len, bool literal, const char *where,
                              sail__regex *out, sail_err *err);
void sail__regex_free(sail__regex *r);
sail_code sail__matcher_init(sail__matcher *m, sail_err *err);
void sail__matcher_free(sail__matcher *m);
/* The first match that is not empty at or after `from`; *found says whether there is one. */
sail_code sail__regex_find(const sail__regex *r, sail__matcher *m, const char *s, size_t len, size_t from, bool *found,
                           sail__span *match, sail_err *err);

/* ---- pre-tokenizer ---- */
typedef enum sail__behavior {
    SAIL__ISOLATED,
    SAIL__REMOVED,
    SAIL__MERGED_PREVIOUS,
    SAIL__MERGED_NEXT,
    SAIL__CONTIGUOUS
} sail__behavior;
typedef struct sail__step {
    enum { SAIL__STEP_SPLIT, SAIL__STEP_PREFIX_SPACE, SAIL__STEP_METASPACE } kind;
    sail__regex regex; /* SPLIT */
    sail__behavior behavior;
    bool invert;
    const char *replacement; /* METASPACE: what stands for a space */
    enum { SAIL__PREPEND_ALWAYS, SAIL__PREPEND_FIRST, SAIL__PREPEND_NEVER } prepend;
} sail__step;

/* ---- normalizer ---- */
typedef struct sail__normal {
    enum { SAIL__NORMAL_FORM, SAIL__NORMAL_PREPEND, SAIL__NORMAL_REPLACE, SAIL__NORMAL_STRIP } kind;
    int form;            /* utf8proc options */
    const char *content; /* PREPEND, REPLACE */
    size_t content_len;
    sail__regex regex; /* REPLACE */
    bool left, right;  /* STRIP */
} sail__normal;
/* s through all steps into `out` (two buffers that take turns); *result and *n point into one of them, or to s itself.
 * continuation: nothing is put before the text. */
sail_code sail__normalize(const sail__tokenizer *t, sail__matcher *m, const char *s, size_t len, bool continuation,
                          sail_buf out[2], const char **result, size_t *n, sail_err *err);
bool sail__is_white_space(uint32_t c); /* Unicode's White_Space */
bool sail__is_word(uint32_t c);        /* \w of Unicode TS 18 */

/* ---- added tokens (added.c) ---- */
typedef struct sail__added {
    const char *content; /* normalized, where it is searched in normalized text */
    size_t len;
    int32_t id;
    bool special, single_word, lstrip, rstrip, normalized;
} sail__added;
typedef struct sail__trie_node {
    unsigned char byte;
    uint32_t child, sibling; /* 0: none */
    int32_t token;           /* index into added; -1: none ends here */
} sail__trie_node;
typedef struct sail__trie {
    sail__trie_node *nodes; /* [0] is the root */
    size_t n, cap;
    bool first[256];
} sail__trie;
sail_code sail__trie_add(sail__trie *t, const char *s, size_t len, int32_t token, sail_err *err);
void sail__trie_free(sail__trie *t);

typedef struct sail__added_search {
    const sail__added *added;
    const sail__trie *trie;
    const char *text;
    size_t len, next, done; /* where to search on; what was given out up to here */
    bool parse_special;
    const sail__span *plain; /* where no special token is recognised */
    size_t n_plain;
} sail__added_search;
/* The next match, leftmost and longest: text from `done` to match->begin is ordinary, then comes the token. False: none
 * is left. The caller sets done = match->end after each. */
bool sail__added_next(sail__added_search *s, sail__span *match, int32_t *id);

/* ---- vocabulary ---- */
typedef struct sail__string_table { /* strings of an array, open addressing; slots hold index + 1 */
    uint32_t *slots;
    size_t mask;
} sail__string_table;
typedef struct sail__merge { /* open addressing; id < 0 is a free slot */
    uint64_t pair;
    uint32_t rank;
    int32_t id;
} sail__merge;

typedef struct sail__string {
    const char *data;
    uint32_t len;
} sail__string;

struct sail__tokenizer {
    sail_arena *arena;
    const char *origin;
    int32_t size;

    sail__string *tokens;        /* [size]; data NULL: no such id */
    sail__string *bytes;         /* [size] what a token adds to a text */
    unsigned char *flags;        /* [size] of TOKEN_* below */
    sail__string_table by_text;  /* all tokens, added ones too */
    sail__string_table by_bytes; /* ignore_merges with a byte-level vocabulary */

    /* model */
    sail__merge *merges;
    size_t merge_mask;
    bool byte_level, byte_fallback, fuse_unk, ignore_merges;
    int32_t byte_id[256]; /* byte_level: initial symbol of each byte; byte_fallback: <0xXX>. -1: none */
    int32_t unk_model;    /* -1: unknown characters are left out */
    bool words_apart;     /* no token has the mark U+2581 behind another character: merging never crosses there */

    /* before the model */
    sail__normal normal[SAIL__MAX_STEPS];
    size_t n_normal;
    sail__step steps[SAIL__MAX_STEPS];
    size_t n_steps;
    sail__added *added;
    size_t n_added;
    sail__trie raw, normalized;

    /* after it */
    int32_t *prefix, *suffix;
    size_t n_prefix, n_suffix;
    enum { SAIL__DECODE_BYTE_LEVEL, SAIL__DECODE_PIECES, SAIL__DECODE_METASPACE, SAIL__DECODE_JOIN } decoder;
    bool decode_bytes;       /* PIECES: <0xXX> are bytes */
    size_t strip, strip_end; /* PIECES: so many of strip_char are taken off the whole text */
    char strip_char;
    bool drop_first; /* METASPACE: the first token loses its marks */

    int32_t bos, eos, pad, unk;
    int32_t *ends;
    size_t n_ends;
    const char *chat_template;
};
enum {
    SAIL__TOKEN_SPECIAL = 1,
    SAIL__TOKEN_BYTE = 2,  /* <0xXX> of a byte-fallback decoder */
    SAIL__TOKEN_MODEL = 4, /* in the model's vocabulary, not only among the added tokens */
};

sail_code sail__table_build(sail__string_table *h, const sail__string *strings, int32_t n, sail_err *err);
int32_t sail__lookup(const sail__string_table *h, const sail__string *strings, const char *s, size_t len); /* -1 */

/* ---- scratch ---- */
typedef struct sail__symbol {
    int32_t id, prev, next;
} sail__symbol;
typedef struct sail__candidate {
    uint32_t rank, pos;
    int32_t id;
} sail__candidate;
typedef struct sail__cache_entry {
    uint64_t hash;
    uint32_t text, len, ids, n;
} sail__cache_entry;

struct sail__token_scratch {
    sail__matcher matcher;
    sail_buf normal[2], prefixed[SAIL__MAX_STEPS];
    sail__symbol *symbols;
    size_t cap_symbols;
    sail__candidate *heap;
    size_t cap_heap;
    sail__cache_entry *cache;
    size_t n_cached;
    char *cache_text;
    int32_t *cache_ids;
    size_t n_cache_text, n_cache_ids;
};

/* One pre-token to ids (bpe.c). */
sail_code sail__bpe(const sail__tokenizer *t, sail__token_scratch *s, const char *text, size_t len, sail__ids *out,
                    sail_err *err);
/* A stretch without added tokens through the steps from `step` on, each piece to sail__bpe (pretoken.c). */
sail_code sail__pretokenize(const sail__tokenizer *t, sail__token_scratch *s, size_t step, const char *text, size_t len,
                            bool at_start, bool continuation, sail__ids *out, sail_err *err);

/* ---- loading ---- */
struct json_t;
/* From a parsed tokenizer.json; t is zeroed but for its arena and origin. */
sail_code sail__tokenizer_from_json(sail__tokenizer *t, const struct json_t *root, sail_err *err);
/* Index, merges and decoded bytes, once tokens and pipeline are there (tokenizer.c). */
sail_code sail__tokenizer_index(sail__tokenizer *t, sail_err *err);
sail_code sail__tokenizer_index_bytes(sail__tokenizer *t, sail_err *err); /* once bytes are there */
sail_code sail__tokenizer_add_merges(sail__tokenizer *t, size_t n,
                                     sail_code (*get)(void *user, size_t i, sail__string *a, sail__string *b,
                                                      sail_err *err),
                                     void *user, sail_err *err);
sail_code sail__tokenizer_decoded(sail__tokenizer *t, const char *const (*replace)[2], size_t n_replace, sail_err *err);
/* A whole tokenizer from a parsed tokenizer.json, without the files beside it. */
sail_code sail__tokenizer_parse(const struct json_t *root, const char *origin, sail__tokenizer **out, sail_err *err);
sail_code sail__tokenizer_add_end(sail__tokenizer *t, int64_t id, sail_err *err); /* twice is once; < 0: nothing */

/* A pre-tokenizer that a vocabulary names instead of writing it (tokenizer_vocab.c). NULL past the end. */
typedef struct sail__pre {
    const char *name, *pattern;
    bool digits; /* each by itself, before the pattern */
    bool nfc, ignore_merges, add_bos;
} sail__pre;
const sail__pre *sail__pre_at(size_t i);
const sail__pre *sail__pre_named(const char *name); /* NULL: none is called so */

/* Byte alphabet of GPT-2: the character that stands for each byte, and back (-1: none). */
uint32_t sail__byte_char(unsigned char b);
int sail__char_byte(uint32_t c);
#define SAIL__GPT2_PATTERN "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

#endif
