/* tokenizer_to_vocab.c - a tokenizer as the vocabulary that a GGUF file carries: the way back from tokenizer_vocab.c.
 *
 * A byte-level tokenizer has its merges written out and its pre-tokenizer named. One of SentencePiece's form has scores instead of
 * merges: of two pieces the one that is merged earlier has the better score. */
#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

#include "tokenizer_impl.h"

static const float worst_score = -1e6f; /* of pieces that no merge makes */

struct writer {
    const sail__tokenizer *t;
    sail_arena *arena;
    sail__vocabulary *v;
    const char **tokens;
    size_t *sizes;
    int32_t *types;
    float *scores;
    sail_err *err;
};

static sail_code unsayable(const struct writer *w, const char *what)
{
    return sail_fail(w->err, SAIL_E_FORMAT, "%s: %s, which a GGUF's vocabulary cannot say", w->t->origin, what);
}

/* ---- tokens ---- */

static sail_code tokens(struct writer *w)
{
    const sail__tokenizer *t = w->t;
    for (size_t i = 0; i < w->v->n; i++) {
        const bool there = i < (size_t)t->size && t->tokens[i].data;
        w->tokens[i] = there ? t->tokens[i].data : sail__arena_printf(w->arena, "[PAD%zu]", i);
        if (!w->tokens[i])
            return sail_fail(w->err, SAIL_E_NOMEM, "out of memory");
        w->sizes[i] = there ? t->tokens[i].len : strlen(w->tokens[i]);
        w->types[i] = there ? SAIL__TYPE_NORMAL : SAIL__TYPE_UNUSED;
        w->scores[i] = worst_score;
    }
    for (size_t i = 0; i < t->n_added; i++)
        w->types[t->added[i].id] = t->added[i].special ? SAIL__TYPE_CONTROL : SAIL__TYPE_USER;
    for (int b = 0; b < 256 && !t->byte_level; b++)
        if (t->byte_id[b] >= 0)
            w->types[t->byte_id[b]] = SAIL__TYPE_BYTE;
    if (t->unk_model >= 0 && !t->byte_level)
        w->types[t->unk_model] = SAIL__TYPE_UNKNOWN;
    return SAIL_OK;
}

/* ---- merges ---- */

static int by_rank(const void *a, const void *b)
{
    const sail__merge *x = a, *y = b;
    return x->rank < y->rank ? -1 : x->rank > y->rank;
}

static sail_code merges(struct writer *w)
{
    const sail__tokenizer *t = w->t;
    size_t n = 0;
    sail__merge *list = sail__arena_array(w->arena, t->merge_mask + 1, sizeof *list);
    for (size_t i = 0; list && i <= t->merge_mask; i++)
        if (t->merges[i].id >= 0)
            list[n++] = t->merges[i];
    const char **texts = sail__arena_array(w->arena, n + 1, sizeof *texts);
    size_t *sizes = sail__arena_array(w->arena, n + 1, sizeof *sizes);
    if (!list || !texts || !sizes)
        return sail_fail(w->err, SAIL_E_NOMEM, "out of memory");
    qsort(list, n, sizeof *list, by_rank);
    if (!t->byte_level) {
        for (size_t i = n; i-- > 0;) /* of several ways to make a piece the earliest counts */
            w->scores[list[i].id] = -(float)i;
        return SAIL_OK;
    }
    for (size_t i = 0; i < n; i++) {
        const sail__string *l = &t->tokens[list[i].pair >> 32], *r = &t->tokens[list[i].pair & UINT32_MAX];
        sizes[i] = (size_t)l->len + 1 + r->len;
        texts[i] = sail__arena_printf(w->arena, "%s %s", l->data, r->data);
        if (!texts[i])
            return sail_fail(w->err, SAIL_E_NOMEM, "out of memory");
    }
    w->v->merges = texts;
    w->v->merge_sizes = sizes;
    w->v->n_merges = n;
    return SAIL_OK;
}

/* ---- what goes before the model ---- */

static bool splits_by(const sail__step *s, const char *pattern)
{
    const bool whole = (s->behavior == SAIL__ISOLATED && !s->invert) || (s->behavior == SAIL__REMOVED && s->invert);
    return s->kind == SAIL__STEP_SPLIT && whole && strcmp(s->regex.source, pattern) == 0;
}

static bool does_the_same(const sail__tokenizer *t, const sail__pre *p)
{
    size_t at = 0;
    if (p->digits && !(t->n_steps && splits_by(&t->steps[at++], "\\p{N}")))
        return false;
    return t->n_steps == at + 1 && splits_by(&t->steps[at], p->pattern) && t->ignore_merges == p->ignore_merges;
}

int sail__tokenizer_pre_fits(const sail__tokenizer *t, const char *pre)
{
    const sail__pre *p = sail__pre_named(pre);
    return p ? does_the_same(t, p) : -1;
}

/* A pre-tokenizer that differs in the normal form alone will do where none has it as well: llama.cpp has none at all. */
static sail_code pre_tokenizer(struct writer *w, const char *named)
{
    const sail__tokenizer *t = w->t;
    const bool nfc = t->n_normal == 1 && t->normal[0].kind == SAIL__NORMAL_FORM && t->normal[0].form == UTF8PROC_COMPOSE;
    const sail__pre *p;
    w->v->pre = named;
    for (int strict = 1; strict >= 0 && !w->v->pre && (nfc || !t->n_normal); strict--)
        for (size_t i = 1; (p = sail__pre_at(i)) && !w->v->pre; i++) /* not "default", which llama.cpp has another meaning for */
            if (does_the_same(t, p) && (p->nfc == nfc || !strict))
                w->v->pre = p->name;
    if (w->v->pre)
        return SAIL_OK;
    return sail_fail(w->err, SAIL_E_FORMAT, "%s: no pre-tokenizer that GGUF has a name for does what this one does; give the name with --pre",
                     t->origin);
}

static sail_code sentencepiece(struct writer *w)
{
    const sail__tokenizer *t = w->t;
    if (!t->byte_fallback || t->byte_id['a'] < 0)
        return unsayable(w, "it is neither byte-level nor has it tokens for bytes (byte_fallback)");
    bool prefix = false;
    for (size_t i = 0; i < t->n_normal; i++) {
        if (t->normal[i].kind != SAIL__NORMAL_PREPEND && t->normal[i].kind != SAIL__NORMAL_REPLACE)
            return unsayable(w, "its normalizer does more than to mark spaces");
        prefix |= t->normal[i].kind == SAIL__NORMAL_PREPEND;
    }
    for (size_t i = 0; i < t->n_steps; i++)
        prefix |= t->steps[i].kind == SAIL__STEP_METASPACE && t->steps[i].prepend != SAIL__PREPEND_NEVER;
    w->v->add_space_prefix = prefix;
    return SAIL_OK;
}

/* ---- special tokens ---- */

static sail_code around(const struct writer *w, const int32_t *ids, size_t n, int64_t expected, int *out)
{
    *out = n > 0;
    if (n > 1 || (n == 1 && ids[0] != expected))
        return unsayable(w, "its post-processor puts other tokens around a text than one of begin and one of end");
    return SAIL_OK;
}

static sail_code specials(struct writer *w)
{
    const sail__tokenizer *t = w->t;
    sail__vocabulary *v = w->v;
    v->bos = t->bos >= 0 || !t->n_prefix ? t->bos : t->prefix[0];
    v->eos = t->eos >= 0 || !t->n_ends ? t->eos : t->ends[0];
    v->unk = t->unk;
    v->pad = t->pad;
    int64_t *const others[] = {&v->eot, &v->eom};
    size_t n = 0;
    v->eot = v->eom = -1;
    for (size_t i = 0; i < t->n_ends; i++) {
        if (t->ends[i] == v->eos)
            continue;
        if (n == 2)
            return unsayable(w, "it has more than three end tokens");
        *others[n++] = t->ends[i];
    }
    SAIL_TRY(around(w, t->prefix, t->n_prefix, v->bos, &v->add_bos));
    return around(w, t->suffix, t->n_suffix, v->eos, &v->add_eos);
}

sail_code sail__tokenizer_vocabulary(const sail__tokenizer *t, size_t n, const char *pre, sail_arena *a, sail__vocabulary *out, sail_err *err)
{
    *out = (sail__vocabulary){.origin = t->origin, .model = t->byte_level ? "gpt2" : "llama", .n = n, .add_space_prefix = -1,
                              .chat_template = t->chat_template};
    if ((size_t)t->size > n)
        return sail_fail(err, SAIL_E_FORMAT, "%s: ids up to %d, but the model's vocabulary has %zu", t->origin, t->size - 1, n);
    struct writer w = {t, a, out, sail__arena_array(a, n, sizeof *w.tokens), sail__arena_array(a, n, sizeof *w.sizes),
                       sail__arena_array(a, n, sizeof *w.types), sail__arena_array(a, n, sizeof *w.scores), err};
    if (!w.tokens || !w.sizes || !w.types || !w.scores)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    out->tokens = w.tokens;
    out->token_sizes = w.sizes;
    out->types = w.types;
    out->scores = t->byte_level ? NULL : w.scores;
    SAIL_TRY(t->byte_level ? pre_tokenizer(&w, pre) : sentencepiece(&w));
    SAIL_TRY(tokens(&w));
    SAIL_TRY(merges(&w));
    return specials(&w);
}
