/* vocab.c - the tokenizer that belongs to a model on disk. */
#include "vocab.h"

#include <string.h>

static int64_t id_of(const sail__gguf *g, const char *key)
{
    const sail__gguf_kv *kv = sail__gguf_get(g, key);
    return kv && kv->n == 1 && kv->type != SAIL__GGUF_STRING ? sail__gguf_int_at(kv, 0) : -1;
}

static int flag_of(const sail__gguf *g, const char *key)
{
    int64_t v = id_of(g, key);
    return v < 0 ? -1 : v != 0;
}

/* The strings of an array: pointers and sizes, in the arena. */
static sail_code strings_of(sail_arena *a, const sail__gguf *g, const char *key, bool required, const char *const **items,
                            const size_t **sizes, size_t *n, sail_err *err)
{
    const sail__gguf_kv *kv = sail__gguf_get(g, key);
    *n = 0;
    if (!kv)
        return required ? sail_fail(err, SAIL_E_NOTFOUND, "%s: no %s", sail__gguf_path(g), key) : SAIL_OK;
    if (!kv->strings || kv->type != SAIL__GGUF_ARRAY)
        return sail_fail(err, SAIL_E_FORMAT, "%s: %s must be an array of strings", sail__gguf_path(g), key);
    const char **s = sail__arena_array(a, kv->n + 1, sizeof *s);
    size_t *len = sail__arena_array(a, kv->n + 1, sizeof *len);
    if (!s || !len)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory for %s", key);
    for (size_t i = 0; i < kv->n; i++) {
        s[i] = kv->strings[i].data;
        len[i] = kv->strings[i].len;
    }
    *items = s;
    *sizes = len;
    *n = kv->n;
    return SAIL_OK;
}

static sail_code numbers_of(sail_arena *a, const sail__gguf *g, sail__vocabulary *v, sail_err *err)
{
    const sail__gguf_kv *types = sail__gguf_get(g, "tokenizer.ggml.token_type"), *scores = sail__gguf_get(g, "tokenizer.ggml.scores");
    if ((types && types->n != v->n) || (scores && scores->n != v->n))
        return sail_fail(err, SAIL_E_FORMAT, "%s: tokenizer.ggml.token_type and scores must have %zu entries, as tokens has", sail__gguf_path(g),
                         v->n);
    int32_t *t = types ? sail__arena_array(a, v->n + 1, sizeof *t) : NULL;
    float *s = scores ? sail__arena_array(a, v->n + 1, sizeof *s) : NULL;
    if ((types && !t) || (scores && !s))
        return sail_fail(err, SAIL_E_NOMEM, "out of memory for a vocabulary");
    for (size_t i = 0; i < v->n; i++) {
        if (t)
            t[i] = (int32_t)sail__gguf_int_at(types, i);
        if (s)
            s[i] = (float)sail__gguf_double_at(scores, i);
    }
    v->types = t;
    v->scores = s;
    return SAIL_OK;
}

static sail_code fill(sail_arena *a, const sail__gguf *g, sail__vocabulary *v, sail_err *err)
{
    v->origin = sail__gguf_path(g);
    SAIL_TRY(sail__gguf_text(g, "tokenizer.ggml.model", NULL, true, &v->model, err));
    SAIL_TRY(sail__gguf_text(g, "tokenizer.ggml.pre", NULL, false, &v->pre, err));
    SAIL_TRY(sail__gguf_text(g, "tokenizer.chat_template", NULL, false, &v->chat_template, err));
    SAIL_TRY(strings_of(a, g, "tokenizer.ggml.tokens", true, &v->tokens, &v->token_sizes, &v->n, err));
    SAIL_TRY(strings_of(a, g, "tokenizer.ggml.merges", false, &v->merges, &v->merge_sizes, &v->n_merges, err));
    SAIL_TRY(numbers_of(a, g, v, err));
    v->bos = id_of(g, "tokenizer.ggml.bos_token_id");
    v->eos = id_of(g, "tokenizer.ggml.eos_token_id");
    v->eot = id_of(g, "tokenizer.ggml.eot_token_id");
    v->eom = id_of(g, "tokenizer.ggml.eom_token_id");
    v->unk = id_of(g, "tokenizer.ggml.unknown_token_id");
    v->pad = id_of(g, "tokenizer.ggml.padding_token_id");
    v->add_bos = flag_of(g, "tokenizer.ggml.add_bos_token");
    v->add_eos = flag_of(g, "tokenizer.ggml.add_eos_token");
    v->add_space_prefix = flag_of(g, "tokenizer.ggml.add_space_prefix");
    return SAIL_OK;
}

sail_code sail__tokenizer_from_gguf(const sail__gguf *g, sail__tokenizer **out, sail_err *err)
{
    sail__vocabulary v = {0};
    sail_arena *a = sail__arena_new();
    if (!a)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    *out = NULL;
    sail_code code = fill(a, g, &v, err);
    if (code == SAIL_OK)
        code = sail__tokenizer_from_vocabulary(&v, out, err);
    sail__arena_free(a);
    return code;
}

sail_code sail__tokenizer_for_path(const char *path, sail__tokenizer **out, sail_err *err)
{
    size_t n = strlen(path);
    if (n < 5 || strcmp(path + n - 5, ".gguf") != 0)
        return sail__tokenizer_open(path, out, err);
    sail__gguf *g = NULL;
    *out = NULL;
    SAIL_TRY(sail__gguf_open(path, &g, err));
    sail_code code = sail__tokenizer_from_gguf(g, out, err);
    sail__gguf_close(g);
    return code;
}
