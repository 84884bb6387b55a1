/* tokenizer_gguf.c - the vocabulary that a GGUF file carries (tokenizer.ggml.*). */
#include <string.h>

#include "gguf.h"
#include "tokenizer_impl.h"

static sail_code strings(const sail__gguf *g, sail_arena *a, const char *key, bool required, const char *const **out,
                         const size_t **sizes, size_t *n, sail_err *err)
{
    const sail__gguf_kv *kv = sail__gguf_get(g, key);
    if (!kv && !required)
        return SAIL_OK;
    if (!kv || kv->type != SAIL__GGUF_ARRAY || kv->item != SAIL__GGUF_STRING)
        return sail_fail(err, SAIL_E_FORMAT, "%s: %s must be a list of strings", sail__gguf_path(g), key);
    const char **data = sail__arena_array(a, kv->n + 1, sizeof *data);
    size_t *len = sail__arena_array(a, kv->n + 1, sizeof *len);
    if (!data || !len)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    for (size_t i = 0; i < kv->n; i++) {
        data[i] = kv->strings[i].data;
        len[i] = kv->strings[i].len;
    }
    *out = data;
    *sizes = len;
    *n = kv->n;
    return SAIL_OK;
}

/* A list of numbers with one entry a token, or none. */
static sail_code numbers(const sail__gguf *g, const char *key, size_t n, const sail__gguf_kv **out, sail_err *err)
{
    const sail__gguf_kv *kv = *out = sail__gguf_get(g, key);
    if (kv && (kv->type != SAIL__GGUF_ARRAY || kv->item == SAIL__GGUF_STRING || kv->n != n))
        return sail_fail(err, SAIL_E_FORMAT, "%s: %s must be a list of %zu numbers, one a token", sail__gguf_path(g),
                         key, n);
    return SAIL_OK;
}

static sail_code tri(const sail__gguf *g, const char *key, int *out, sail_err *err)
{
    bool value = false;
    *out = -1;
    if (!sail__gguf_get(g, key))
        return SAIL_OK;
    SAIL_TRY(sail__gguf_bool(g, key, NULL, &value, err));
    *out = value;
    return SAIL_OK;
}

sail_code sail__vocabulary_from_gguf(const sail__gguf *g, sail_arena *a, sail__vocabulary *v, sail_err *err)
{
    memset(v, 0, sizeof *v);
    v->origin = sail__gguf_path(g);
    SAIL_TRY(sail__gguf_text(g, "tokenizer.ggml.model", NULL, true, &v->model, err));
    SAIL_TRY(sail__gguf_text(g, "tokenizer.ggml.pre", NULL, false, &v->pre, err));
    SAIL_TRY(sail__gguf_text(g, "tokenizer.chat_template", NULL, false, &v->chat_template, err));
    SAIL_TRY(strings(g, a, "tokenizer.ggml.tokens", true, &v->tokens, &v->token_sizes, &v->n, err));
    SAIL_TRY(strings(g, a, "tokenizer.ggml.merges", false, &v->merges, &v->merge_sizes, &v->n_merges, err));
    const sail__gguf_kv *types, *scores;
    SAIL_TRY(numbers(g, "tokenizer.ggml.token_type", v->n, &types, err));
    SAIL_TRY(numbers(g, "tokenizer.ggml.scores", v->n, &scores, err));
    int32_t *type = types ? sail__arena_array(a, v->n + 1, sizeof *type) : NULL;
    float *score = scores ? sail__arena_array(a, v->n + 1, sizeof *score) : NULL;
    if ((types && !type) || (scores && !score))
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    for (size_t i = 0; types && i < v->n; i++)
        type[i] = (int32_t)sail__gguf_int_at(types, i);
    for (size_t i = 0; scores && i < v->n; i++)
        score[i] = (float)sail__gguf_double_at(scores, i);
    v->types = type;
    v->scores = score;
    const int64_t none = -1;
    SAIL_TRY(sail__gguf_int(g, "tokenizer.ggml.bos_token_id", &none, &v->bos, err));
    SAIL_TRY(sail__gguf_int(g, "tokenizer.ggml.eos_token_id", &none, &v->eos, err));
    SAIL_TRY(sail__gguf_int(g, "tokenizer.ggml.eot_token_id", &none, &v->eot, err));
    SAIL_TRY(sail__gguf_int(g, "tokenizer.ggml.eom_token_id", &none, &v->eom, err));
    SAIL_TRY(sail__gguf_int(g, "tokenizer.ggml.unknown_token_id", &none, &v->unk, err));
    SAIL_TRY(sail__gguf_int(g, "tokenizer.ggml.padding_token_id", &none, &v->pad, err));
    SAIL_TRY(tri(g, "tokenizer.ggml.add_bos_token", &v->add_bos, err));
    SAIL_TRY(tri(g, "tokenizer.ggml.add_eos_token", &v->add_eos, err));
    return tri(g, "tokenizer.ggml.add_space_prefix", &v->add_space_prefix, err);
}

void sail__vocabulary_to_gguf(const sail__vocabulary *v, sail__gguf_keys *k)
{
    const struct {
        const char *key;
        int64_t id;
    } ids[] = {{"tokenizer.ggml.bos_token_id", v->bos}, {"tokenizer.ggml.eos_token_id", v->eos},     {"tokenizer.ggml.eot_token_id", v->eot},
               {"tokenizer.ggml.eom_token_id", v->eom}, {"tokenizer.ggml.unknown_token_id", v->unk}, {"tokenizer.ggml.padding_token_id", v->pad}};
    const struct {
        const char *key;
        int said;
    } flags[] = {{"tokenizer.ggml.add_bos_token", v->add_bos},
                 {"tokenizer.ggml.add_eos_token", v->add_eos},
                 {"tokenizer.ggml.add_space_prefix", v->add_space_prefix}};
    sail__gguf_put_text(k, "tokenizer.ggml.model", v->model);
    if (v->pre)
        sail__gguf_put_text(k, "tokenizer.ggml.pre", v->pre);
    if (v->tokens)
        sail__gguf_put_texts(k, "tokenizer.ggml.tokens", v->tokens, v->token_sizes, v->n);
    if (v->types)
        sail__gguf_put_i32s(k, "tokenizer.ggml.token_type", v->types, v->n);
    if (v->scores)
        sail__gguf_put_f32s(k, "tokenizer.ggml.scores", v->scores, v->n);
    if (v->merges)
        sail__gguf_put_texts(k, "tokenizer.ggml.merges", v->merges, v->merge_sizes, v->n_merges);
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
        if (ids[i].id >= 0)
            sail__gguf_put_u32(k, ids[i].key, (uint32_t)ids[i].id);
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (flags[i].said >= 0)
            sail__gguf_put_bool(k, flags[i].key, flags[i].said != 0);
    if (v->chat_template)
        sail__gguf_put_text(k, "tokenizer.chat_template", v->chat_template);
}

sail_code sail__tokenizer_from_gguf(const sail__gguf *g, sail__tokenizer **out, sail_err *err)
{
    *out = NULL;
    sail_arena *a = sail__arena_new();
    if (!a)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    sail__vocabulary v;
    sail_code code = sail__vocabulary_from_gguf(g, a, &v, err);
    if (!code)
        code = sail__tokenizer_from_vocabulary(&v, out, err);
    sail__arena_free(a);
    return code;
}
