/* test_export_gguf.c - models as GGUF files: what is written reads back to the same numbers, is what gguf-py writes of the same weights, and
 * an adapter is what merging adds to the file's own tensors. */
#include "../rig.h"
#include "../weights.h"

#include <math.h>

#include "io/hf_config.h"

static sail__export export_of(sail__weights *w, sail_dtype dtype)
{
    sail__export e = {.dtype = dtype, .rows = from_weights, .user = w};
    sail__export_from(&e, w);
    return e;
}

static const char *new_path(void)
{
    static char path[64];
    strcpy(path, "/tmp/sail-gguf-XXXXXX");
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    return path;
}

/* ---- the same numbers ---- */

static void compare_logits(rig *r, const char *name)
{
    golden_file f;
    sail_err err = {0};
    size_t n_rows, width, count, vocab = (size_t)sail__weights_config(r->weights)->vocab;
    golden_open(&f, sail__arena_printf(r->arena, "models/families/%s/expected.safetensors", name));
    int64_t *lengths = golden_ints(&f, "lengths", &n_rows);
    int32_t *ids = rig_ids(r, &f, "input_ids", &width);
    for (size_t i = 0; i < n_rows; i++) {
        char tensor[32];
        snprintf(tensor, sizeof tensor, "logits.%zu", i);
        double *want = golden_doubles(&f, tensor, &count);
        float *logits = sail__arena_array(r->arena, count, sizeof *logits);
        assert_int_equal(count, (size_t)lengths[i] * vocab);
        if (rig_score(r, SAIL__POLICY, ids + i * width / n_rows, (size_t)lengths[i], logits, NULL, NULL, NULL, &err) != SAIL_OK)
            fail_msg("%s: %s", name, err.message);
        rig_floats(r, "logits", name, logits, want, count, 1e-4);
    }
    golden_close(&f);
}

/* Written once, and what was read written again. */
static void every_family_reads_back(void **state)
{
    rig r;
    char **names;
    size_t n;
    sail_err err = {0};
    GOLDEN_OR_SKIP();
    rig_open(&r, (int)(intptr_t)*state);
    const char *dir = sail__path_join(r.arena, golden_dir(), "models/families");
    ok(sail__list_dir(r.arena, dir, &names, &n, &err), &err);
    assert_true(n > 0);
    for (size_t i = 0; i < n; i++) {
        const char *path = sail__arena_strdup(r.arena, new_path()), *second = sail__arena_strdup(r.arena, new_path());
        sail__weights *w = open_ok(sail__path_join(r.arena, dir, names[i]));
        sail__export e = export_of(w, SAIL_F32);
        ok(sail__export_gguf(path, &e, &err), &err);
        rig_load(&r, &(rig_spec){.path = path});
        compare_logits(&r, names[i]);
        const sail__model_config *a = sail__weights_config(w), *b = sail__weights_config(r.weights);
        assert_string_equal(a->model_type, b->model_type);
        assert_true(a->max_positions == b->max_positions && a->bos_id == b->bos_id && a->pad_id == b->pad_id && a->n_end_ids == b->n_end_ids);
        e = export_of(r.weights, SAIL_F32);
        ok(sail__export_gguf(second, &e, &err), &err);
        rig_load(&r, &(rig_spec){.path = second});
        compare_logits(&r, names[i]);
        const char *dir_of = sail__arena_printf(r.arena, "%s.d", path); /* and as a directory, with a config.json of our making */
        e = export_of(r.weights, SAIL_F32);
        ok(sail__export_model(dir_of, &e, &err), &err);
        rig_load(&r, &(rig_spec){.path = dir_of});
        compare_logits(&r, names[i]);
        rig_unlink(dir_of);
        sail__weights_close(w);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(unlink(second), 0);
    }
    rig_report(&r, "GGUF read back");
    rig_close(&r);
}

/* ---- the same bytes ---- */

static void same_tensors(const sail__gguf *a, const sail__gguf *b, const char *name)
{
    assert_int_equal(sail__gguf_count(a), sail__gguf_count(b));
    for (size_t i = 0; i < sail__gguf_count(a); i++) {
        const sail__gguf_tensor *x = sail__gguf_at(a, i), *y = sail__gguf_find(b, x->name);
        if (!y || x->dtype != y->dtype || x->rank != y->rank || x->dims[0] != y->dims[0] || x->dims[1] != y->dims[1])
            fail_msg("%s: %s is not there, or of another type or shape", name, x->name);
        if (memcmp(x->data, y->data, x->bytes))
            fail_msg("%s: %s has other bytes", name, x->name);
    }
}

static bool same_value(const sail__gguf_kv *x, const sail__gguf_kv *y)
{
    if (!y || x->type != y->type || x->item != y->item || x->n != y->n)
        return false;
    for (size_t i = 0; x->strings && i < x->n; i++)
        if (x->strings[i].len != y->strings[i].len || memcmp(x->strings[i].data, y->strings[i].data, x->strings[i].len))
            return false;
    return !x->raw || !memcmp(x->raw, y->raw, x->n * sail__gguf_value_bytes(x->item));
}

/* From the directory with the tokenizer beside it: whatever gguf-py said, and each tensor to the bit. */
static void files_are_those_of_gguf_py(void **state)
{
    static const struct {
        const char *family, *type;
        sail_dtype dtype;
    } cases[] = {{"llama", "F32", SAIL_F32},       {"llama", "F16", SAIL_F16},       {"llama", "BF16", SAIL_BF16},
                 {"llama", "Q8_0", SAIL_Q8_0},     {"llama_rope3", "F32", SAIL_F32}, {"qwen2", "F32", SAIL_F32}};
    (void)state;
    GOLDEN_OR_SKIP();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char name[128];
        sail_err err = {0};
        sail__tokenizer *t;
        sail__gguf *made, *recorded;
        const sail__gguf_kv *kv;
        const char *path = new_path();
        snprintf(name, sizeof name, "models/families/%s", cases[i].family);
        sail__weights *w = open_ok(golden_path(name));
        ok(sail__tokenizer_open(golden_path("models/gguf/tokenizer.json"), &t, &err), &err);
        sail__export e = export_of(w, cases[i].dtype);
        e.tokenizer = t;
        e.name = "tiny";
        ok(sail__export_gguf(path, &e, &err), &err);
        snprintf(name, sizeof name, "models/gguf/tiny-%s.%s.gguf", cases[i].family, cases[i].type);
        ok(sail__gguf_open(path, &made, &err), &err);
        ok(sail__gguf_open(golden_path(name), &recorded, &err), &err);
        same_tensors(recorded, made, name);
        for (size_t k = 0; (kv = sail__gguf_kv_at(recorded, k)); k++)
            if (strcmp(kv->key, "general.name") && !same_value(kv, sail__gguf_get(made, kv->key)))
                fail_msg("%s: %s is not there, or says something else", name, kv->key);
        sail__gguf_close(made), sail__gguf_close(recorded);
        sail__tokenizer_free(t);
        sail__weights_close(w);
        assert_int_equal(unlink(path), 0);
    }
}

static double entry(const sail__gguf_tensor *t, int64_t i)
{
    float f;
    assert_non_null(t);
    assert_true(t->dtype == SAIL_F32 && i < t->rows * t->cols);
    memcpy(&f, (const char *)t->data + i * 4, 4);
    return (double)f;
}

/* What llama.cpp's converter does to families that no file is recorded of, number by number from the directory. */
static void values_are_where_their_readers_look(void **state)
{
    static const struct {
        const char *family, *from, *to; /* parameter, tensor */
        int64_t i, at;                  /* entries of the file of each */
        double plus, times; /* times 0: what Gemma's query_pre_attn_scalar makes of it */
    } cases[] = {{"gemma", "model.layers.1.input_layernorm.weight", "blk.1.attn_norm.weight", 5, 5, 1, 1},
                 {"gemma", "model.norm.weight", "output_norm.weight", 7, 7, 1, 1},
                 {"gemma2", "model.layers.2.post_feedforward_layernorm.weight", "blk.2.post_ffw_norm.weight", 3, 3, 1, 1},
                 {"gemma2", "model.layers.2.pre_feedforward_layernorm.weight", "blk.2.ffn_norm.weight", 3, 3, 1, 1},
                 {"gemma2", "model.layers.0.self_attn.q_proj.weight", "blk.0.attn_q.weight", 70, 70, 0, 0},
                 {"gemma2", "model.layers.0.self_attn.k_proj.weight", "blk.0.attn_k.weight", 70, 70, 0, 1},
                 {"gemma3_text", "model.layers.0.self_attn.k_norm.weight", "blk.0.attn_k_norm.weight", 4, 4, 1, 1},
                 {"qwen3", "model.layers.0.self_attn.q_norm.weight", "blk.0.attn_q_norm.weight", 4, 4, 0, 1},
                 {"phi3", "model.layers.1.mlp.gate_up_proj.weight", "blk.1.ffn_up.weight", 999, 999, 0, 1},
                 {"phi", "model.layers.1.mlp.fc1.bias", "blk.1.ffn_up.bias", 9, 9, 0, 1},
                 {"phi", "lm_head.bias", "output.bias", 300, 300, 0, 1},
                 {"mistral", "model.layers.0.self_attn.k_proj.weight", "blk.0.attn_k.weight", 64 * 9, 64 * 3, 0, 1}, /* row 1 + 16 / 2 of a head */
                 {"gpt_neox", "gpt_neox.layers.1.attention.query_key_value.bias", "blk.1.attn_qkv.bias", 48 + 2, 16 + 2, 0, 1}, /* q of head 1 */
                 {"gpt_neox", "gpt_neox.layers.1.attention.query_key_value.bias", "blk.1.attn_qkv.bias", 32 + 2, 128 + 2, 0, 1}}; /* v of head 0 */
    (void)state;
    GOLDEN_OR_SKIP();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sail_arena *a = sail__arena_new();
        golden_file f;
        size_t n;
        sail_err err = {0};
        sail__gguf *g;
        const char *path = new_path(), *dir = sail__arena_printf(a, "models/families/%s", cases[i].family);
        sail__weights *w = open_ok(golden_path(dir));
        sail__export e = export_of(w, SAIL_F32);
        ok(sail__export_gguf(path, &e, &err), &err);
        ok(sail__gguf_open(path, &g, &err), &err);
        golden_open(&f, sail__arena_printf(a, "%s/model.safetensors", dir));
        const double *v = golden_doubles(&f, cases[i].from, &n);
        assert_true((size_t)cases[i].i < n);
        const sail__model_config *c = sail__weights_config(w);
        const double times = cases[i].times != 0 ? cases[i].times : c->attention_scale * sqrt((double)c->head_dim);
        const double want = (v[cases[i].i] + cases[i].plus) * times, got = entry(sail__gguf_find(g, cases[i].to), cases[i].at);
        if (fabs(want - got) > 2e-7 * fabs(want))
            fail_msg("%s: %s[%lld] is %.9g, not %.9g", cases[i].family, cases[i].to, (long long)cases[i].at, got, want);
        golden_close(&f);
        sail__gguf_close(g);
        sail__weights_close(w);
        assert_int_equal(unlink(path), 0);
        sail__arena_free(a);
    }
}

/* What the base file says beside the model goes along. */
static void a_gguf_keeps_its_keys(void **state)
{
    (void)state;
    GOLDEN_OR_SKIP();
    sail_err err = {0};
    sail__gguf *made;
    const sail__gguf_kv *kv;
    const char *path = new_path();
    sail__weights *w = open_ok(golden_path("models/gguf/tiny-llama.Q4_0.gguf"));
    sail__export e = export_of(w, SAIL_F16);
    ok(sail__export_gguf(path, &e, &err), &err);
    ok(sail__gguf_open(path, &made, &err), &err);
    for (size_t i = 0; (kv = sail__gguf_kv_at(sail__weights_gguf(w), i)); i++)
        if (strcmp(kv->key, "general.file_type") && !same_value(kv, sail__gguf_get(made, kv->key)))
            fail_msg("%s is not there, or says something else", kv->key);
    int64_t type;
    ok(sail__gguf_int(made, "general.file_type", NULL, &type, &err), &err);
    assert_int_equal(type, 1);
    sail__gguf_close(made);
    sail__weights_close(w);
    assert_int_equal(unlink(path), 0);
}

/* ---- adapters ---- */

static float number_of(size_t module, size_t i)
{
    return sinf((float)(module * 131 + i) * 0.7f) * 0.1f;
}

/* One for every linear layer, of two ranks, each module with a scale of its own. */
static sail__peft an_adapter(sail_arena *a, const sail__model_config *c)
{
    const char **names;
    size_t n, n_params;
    sail_err err = {0};
    sail__param *params;
    ok(sail__linear_modules(a, c, NULL, 0, &names, &n, &err), &err);
    ok(sail__model_params(a, c, &params, &n_params, &err), &err);
    sail__lora_module *m = sail__arena_array(a, n, sizeof *m);
    for (size_t i = 0; i < n; i++) {
        const sail__param *p = sail__weight_of(params, n_params, names[i]);
        assert_non_null(p);
        m[i] = (sail__lora_module){.module = names[i], .rank = 2 + (int64_t)(i % 2), .in = p->cols, .out = p->rows, .scale = 1 + 0.25 * (double)i};
        float *wa = sail__arena_array(a, (size_t)(m[i].rank * m[i].in), sizeof *wa), *wb = sail__arena_array(a, (size_t)(m[i].rank * m[i].out), sizeof *wb);
        for (int64_t k = 0; k < m[i].rank * m[i].in; k++)
            wa[k] = number_of(2 * i, (size_t)k);
        for (int64_t k = 0; k < m[i].rank * m[i].out; k++)
            wb[k] = number_of(2 * i + 1, (size_t)k);
        m[i].a = wa, m[i].b = wb;
    }
    return (sail__peft){.rank = 2, .alpha = 5, .modules = m, .n_modules = n};
}

struct merged {
    sail__weights *w;
    const sail__peft *p;
};

static sail_code merged_rows(void *user, const sail__param *p, int64_t first, int64_t count, float *out, sail_err *err)
{
    const struct merged *m = user;
    SAIL_TRY(from_weights(m->w, p, first, count, out, err));
    for (size_t i = 0; i < m->p->n_modules; i++) {
        const sail__lora_module *l = &m->p->modules[i];
        if (!sail__is_weight_of(p->name, l->module))
            continue;
        for (int64_t r = 0; r < count; r++)
            for (int64_t c = 0; c < p->cols; c++)
                for (int64_t k = 0; k < l->rank; k++)
                    out[r * p->cols + c] += (float)l->scale * l->b[(first + r) * l->rank + k] * l->a[k * p->cols + c];
    }
    return SAIL_OK;
}

/* W + alpha / rank B A, with the file's own tensors and its one alpha, is the tensor of the merged model's file. */
static size_t compare_adapter(const char *name, const sail__gguf *base, const sail__gguf *merged, const sail__gguf *lora)
{
    sail_err err = {0};
    double alpha;
    size_t adapted = 0;
    ok(sail__gguf_double(lora, "adapter.lora.alpha", NULL, &alpha, &err), &err);
    for (size_t i = 0; i < sail__gguf_count(base); i++) {
        char key[96];
        const sail__gguf_tensor *w = sail__gguf_at(base, i), *m = sail__gguf_find(merged, w->name);
        snprintf(key, sizeof key, "%s.lora_a", w->name);
        const sail__gguf_tensor *a = sail__gguf_find(lora, key);
        snprintf(key, sizeof key, "%s.lora_b", w->name);
        const sail__gguf_tensor *b = sail__gguf_find(lora, key);
        assert_true(!a == !b);
        adapted += a != NULL;
        for (int64_t k = 0; k < w->rows * w->cols; k++) {
            double want = entry(w, k), most = fabs(want);
            for (int64_t j = 0; a && j < a->rows; j++) {
                const double term = alpha / (double)a->rows * entry(b, k / w->cols * b->cols + j) * entry(a, j * a->cols + k % w->cols);
                want += term;
                most += fabs(term);
            }
            if (fabs(want - entry(m, k)) > 8 * 6e-8 * most)
                fail_msg("%s: %s[%lld] is %g, not %g", name, w->name, (long long)k, entry(m, k), want);
        }
    }
    return adapted;
}

static void an_adapter_is_what_merging_adds(void **state)
{
    static const char *const names[] = {"llama", "mistral", "qwen3", "phi3", "gemma2", "gemma3_text", "gpt_neox", "phi"};
    (void)state;
    GOLDEN_OR_SKIP();
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        sail_arena *a = sail__arena_new();
        sail_err err = {0};
        sail__gguf *file[3];
        const char *path[3];
        sail__weights *w = open_ok(golden_path(sail__arena_printf(a, "models/families/%s", names[i])));
        const sail__peft p = an_adapter(a, sail__weights_config(w));
        struct merged m = {w, &p};
        sail__export e = export_of(w, SAIL_F32);
        for (int k = 0; k < 3; k++)
            path[k] = sail__arena_strdup(a, new_path());
        ok(sail__export_gguf(path[0], &e, &err), &err);
        ok(sail__export_gguf_lora(path[2], &e, &p, &err), &err);
        e.rows = merged_rows, e.user = &m;
        ok(sail__export_gguf(path[1], &e, &err), &err);
        for (int k = 0; k < 3; k++)
            ok(sail__gguf_open(path[k], &file[k], &err), &err);
        assert_int_equal(compare_adapter(names[i], file[0], file[1], file[2]), p.n_modules);
        assert_int_equal(sail__gguf_count(file[2]), 2 * p.n_modules);
        for (int k = 0; k < 3; k++) {
            sail__gguf_close(file[k]);
            assert_int_equal(unlink(path[k]), 0);
        }
        sail__weights_close(w);
        sail__arena_free(a);
    }
}

/* ---- what GGUF cannot say ---- */

static void change_rope(sail__model_config *c) { c->ropes[0].kind = SAIL__ROPE_LLAMA3; }
static void change_longrope(sail__model_config *c) { c->ropes[0].kind = SAIL__ROPE_LONGROPE; }
static void change_rotary(sail__model_config *c) { c->ropes[0].rotary /= 2; }
static void change_caps(sail__model_config *c) { c->final_softcap = 0; }
static void change_attention_cap(sail__model_config *c) { c->attention_softcap = 50; }
static void change_activation(sail__model_config *c) { c->activation = SAIL_ACT_RELU; }
static void change_bias(sail__model_config *c) { c->qkv_bias = !c->qkv_bias; }
static void change_tied(sail__model_config *c) { c->tied = !c->tied; }
static void change_local_rope(sail__model_config *c) { c->ropes[1].kind = SAIL__ROPE_LINEAR; }
static void change_local_size(sail__model_config *c) { c->ropes[1].rotary -= 2; }
static void change_window(sail__model_config *c)
{
    sail__layer_config *layer = (sail__layer_config *)c->layer; /* the test's own copy */
    layer[0].window = layer[0].window ? 0 : 5;
}

static void what_the_architecture_cannot_say_is_refused(void **state)
{
    static const struct {
        const char *family;
        void (*change)(sail__model_config *c);
        const char *word;
    } cases[] = {{"qwen2", change_rope, "llama3"},
                 {"llama", change_longrope, "longrope"},
                 {"mistral", change_rotary, "of which a part turns"},
                 {"gemma2", change_caps, "not capped"},
                 {"gemma3_text", change_attention_cap, "capped scores"},
                 {"phi", change_activation, "an activation"},
                 {"phi3", change_bias, "biases in attention"},
                 {"gpt_neox", change_bias, "without biases"},
                 {"gpt_neox", change_tied, "is the embedding"},
                 {"gemma", change_tied, "of its own"},
                 {"gemma3_text", change_local_rope, "with a window"},
                 {"gemma3_text", change_local_size, "two sizes"},
                 {"mistral", change_window, "which of this model's layers"},
                 {"gemma2", change_window, "which of this model's layers"},
                 {"gemma3_text", change_window, "which of this model's layers"}};
    (void)state;
    GOLDEN_OR_SKIP();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sail_arena *a = sail__arena_new();
        sail_err err = {0};
        sail__weights *w = open_ok(golden_path(sail__arena_printf(a, "models/families/%s", cases[i].family)));
        sail__model_config c = *sail__weights_config(w);
        sail__layer_config *layer = sail__arena_array(a, (size_t)c.layers, sizeof *layer);
        memcpy(layer, c.layer, (size_t)c.layers * sizeof *layer);
        c.layer = layer;
        cases[i].change(&c);
        sail__gguf_keys k = {0};
        if (sail__config_to_gguf(&c, &k, &err) != SAIL_E_FORMAT || !strstr(err.message, cases[i].word) || !strstr(err.message, "export hf"))
            fail_msg("%s: \"%s\" should hold \"%s\"", cases[i].family, err.message, cases[i].word);
        sail__gguf_keys_free(&k);
        sail__weights_close(w);
        sail__arena_free(a);
    }
}

static sail_code too_large(void *user, const sail__param *p, int64_t first, int64_t count, float *out, sail_err *err)
{
    SAIL_TRY(from_weights(user, p, first, count, out, err));
    if (p->role == SAIL__ROLE_DOWN)
        out[3] = -7e4f;
    return SAIL_OK;
}

static void refusal(sail_code code, const sail_err *err, sail_code want, const char *word, const char *path)
{
    if (code != want || !strstr(err->message, word))
        fail_msg("\"%s\" should hold \"%s\"", err->message, word);
    assert_false(sail__file_exists(path)); /* nothing half-written */
}

static void what_cannot_be_written_leaves_no_file(void **state)
{
    (void)state;
    GOLDEN_OR_SKIP();
    const char *path = new_path();
    assert_int_equal(unlink(path), 0);
    sail_arena *a = sail__arena_new();
    sail_err err = {0};
    sail__weights *w = open_ok(golden_path("models/families/llama")), *reward = open_ok(golden_path("models/reward"));
    sail__export e = export_of(w, SAIL_F16), scores = export_of(reward, SAIL_F32);
    e.rows = too_large;
    refusal(sail__export_gguf(path, &e, &err), &err, SAIL_E_NUMERIC, "ffn_down.weight: f16 has no number as large as -70000", path);
    refusal(sail__export_gguf(path, &scores, &err), &err, SAIL_E_FORMAT, "score head", path);
    sail__peft p;
    ok(sail__peft_read(a, golden_path("models/training/lora_head"), &p, &err), &err);
    refusal(sail__export_gguf_lora(path, &e, &p, &err), &err, SAIL_E_FORMAT, "lm_head.weight whole", path);
    p = an_adapter(a, sail__weights_config(w));
    ((float *)(uintptr_t)p.modules[0].a)[2] = 8e4f; /* the test's own numbers */
    refusal(sail__export_gguf_lora(path, &e, &p, &err), &err, SAIL_E_NUMERIC, "lora_a: f16 has no number as large as 80000", path);
    e.dtype = SAIL_Q8_0;
    refusal(sail__export_gguf_lora(path, &e, &p, &err), &err, SAIL_E_ARG, "not q8_0", path);
    sail__weights_close(w), sail__weights_close(reward);
    sail__arena_free(a);
}

/* ---- files of others ---- */

/* A copy of a file with one key or tensor changed, read. */
struct change {
    const char *family, *key, *tensor; /* what is left out; NULL: nothing */
    const char *added;                 /* a tensor */
    const char *text_key, *text;       /* a key with another text */
    const char *word;
};

static void rewrite(const char *from, const char *to, const struct change *x, sail_arena *a)
{
    sail_err err = {0};
    sail__gguf *g;
    sail__gguf_keys k = {0};
    sail__gguf_writer *w;
    const sail__gguf_kv *kv;
    size_t n = 0;
    ok(sail__gguf_open(from, &g, &err), &err);
    for (size_t i = 0; (kv = sail__gguf_kv_at(g, i)); i++)
        if (!(x->key && !strcmp(kv->key, x->key)) && !(x->text_key && !strcmp(kv->key, x->text_key)))
            sail__gguf_put_copy(&k, kv);
    if (x->text_key)
        sail__gguf_put_text(&k, x->text_key, x->text);
    sail__gguf_entry *e = sail__arena_array(a, sail__gguf_count(g) + 1, sizeof *e);
    for (size_t i = 0; i < sail__gguf_count(g); i++) {
        const sail__gguf_tensor *t = sail__gguf_at(g, i);
        if (!(x->tensor && !strcmp(t->name, x->tensor)))
            e[n++] = (sail__gguf_entry){t->name, t->dtype, t->rank, {t->dims[0], t->dims[1]}};
    }
    if (x->added)
        e[n] = (sail__gguf_entry){x->added, SAIL_F32, 1, {4, 1}};
    ok(sail__gguf_begin(to, &k, e, n + (x->added != NULL), &w, &err), &err);
    for (size_t i = 0; i < n; i++)
        ok(sail__gguf_write(w, sail__gguf_find(g, e[i].name)->data, sail__gguf_find(g, e[i].name)->bytes, &err), &err);
    if (x->added)
        ok(sail__gguf_write(w, (float[4]){0}, 4 * sizeof(float), &err), &err);
    ok(sail__gguf_commit(w, &err), &err);
    sail__gguf_keys_free(&k);
    sail__gguf_close(g);
}

static void a_damaged_file_is_refused_with_the_reason(void **state)
{
    static const struct change cases[] = {
        {"phi3_longrope", .tensor = "rope_factors_long.weight", .word = "rope_factors_long.weight is missing"},
        {"gpt_neox", .key = "gptneox.attention.layer_norm_epsilon", .word = "gptneox.attention.layer_norm_epsilon is missing"},
        {"phi", .tensor = "output.bias", .word = "tensor output.bias [320] is missing"},
        {"gemma2", .tensor = "blk.1.post_ffw_norm.weight", .word = "post_ffw_norm.weight"},
        {"qwen3", .text_key = "qwen3.rope.scaling.type", .text = "yarn", .word = "\"yarn\" is not supported"},
        {"qwen3", .text_key = "qwen3.rope.scaling.type", .text = "longrope", .word = "\"longrope\" is not supported"},
        {"llama", .text_key = "general.architecture", .text = "mamba", .word = "known are llama, qwen2, qwen3, phi3, gemma, gemma2, gemma3, gptneox, phi2"}};
    (void)state;
    GOLDEN_OR_SKIP();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sail_arena *a = sail__arena_new();
        sail_err err = {0};
        sail__weights *w = open_ok(golden_path(sail__arena_printf(a, "models/families/%s", cases[i].family))), *again = NULL;
        const char *path = sail__arena_strdup(a, new_path()), *changed = sail__arena_strdup(a, new_path());
        sail__export e = export_of(w, SAIL_F32);
        ok(sail__export_gguf(path, &e, &err), &err);
        rewrite(path, changed, &cases[i], a);
        sail_code code = sail__weights_open(NULL, changed, &again, &err);
        if (code == SAIL_OK || !strstr(err.message, cases[i].word) || !strstr(err.message, changed))
            fail_msg("\"%s\" should hold \"%s\" and %s", err.message, cases[i].word, changed);
        sail__weights_close(again);
        sail__weights_close(w);
        assert_int_equal(unlink(path) + unlink(changed), 0);
        sail__arena_free(a);
    }
}

struct warnings {
    int n;
    char last[1024];
};

static void keep_warning(void *user, sail_log_level level, const char *message)
{
    struct warnings *w = user;
    if (level != SAIL_LOG_WARN)
        return;
    w->n++;
    snprintf(w->last, sizeof w->last, "%s", message);
}

static struct warnings warnings_of(const char *path)
{
    struct warnings out = {0};
    sail_err err = {0};
    sail__weights *w;
    sail_ctx *ctx = sail_ctx_new();
    sail_ctx_set_log(ctx, SAIL_LOG_WARN, keep_warning, &out);
    ok(sail__weights_open(ctx, path, &w, &err), &err);
    sail__weights_close(w);
    sail_ctx_free(ctx);
    return out;
}

static void a_tensor_that_is_not_read_is_told(void **state)
{
    static const struct change cases[] = {{"llama_rope3"}, {"phi3_longrope"}, {"llama_rope3", .added = "blk.0.adapter.weight"},
                                          {"phi3_longrope", .added = "output.scale"}};
    (void)state;
    GOLDEN_OR_SKIP();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sail_arena *a = sail__arena_new();
        sail_err err = {0};
        sail__weights *w = open_ok(golden_path(sail__arena_printf(a, "models/families/%s", cases[i].family)));
        const char *path = sail__arena_strdup(a, new_path()), *changed = sail__arena_strdup(a, new_path());
        sail__export e = export_of(w, SAIL_F32);
        ok(sail__export_gguf(path, &e, &err), &err);
        rewrite(path, changed, &cases[i], a);
        const struct warnings told = warnings_of(changed);
        assert_int_equal(told.n, cases[i].added != NULL);
        if (cases[i].added && (!strstr(told.last, cases[i].added) || !strstr(told.last, changed)))
            fail_msg("\"%s\" should hold %s and %s", told.last, cases[i].added, changed);
        sail__weights_close(w);
        assert_int_equal(unlink(path) + unlink(changed), 0);
        sail__arena_free(a);
    }
}

/* A copy of a file with q, k and v of each layer in one tensor, as early conversions of Phi-2 have it. */
static void fuse(sail_arena *a, const char *from, const char *to)
{
    static const char *const parts[] = {"attn_q.", "attn_k.", "attn_v."};
    sail_err err = {0};
    sail__gguf *g;
    sail__gguf_keys k = {0};
    sail__gguf_writer *w;
    const sail__gguf_kv *kv;
    size_t n = 0;
    ok(sail__gguf_open(from, &g, &err), &err);
    for (size_t i = 0; (kv = sail__gguf_kv_at(g, i)); i++)
        sail__gguf_put_copy(&k, kv);
    const size_t most = sail__gguf_count(g);
    sail__gguf_entry *e = sail__arena_array(a, most, sizeof *e);
    const sail__gguf_tensor *(*of)[3] = sail__arena_array(a, most, sizeof *of);
    for (size_t i = 0; i < most; i++) {
        const sail__gguf_tensor *t = sail__gguf_at(g, i);
        const char *q = strstr(t->name, parts[0]);
        if (strstr(t->name, parts[1]) || strstr(t->name, parts[2]))
            continue;
        e[n] = (sail__gguf_entry){t->name, t->dtype, t->rank, {t->dims[0], t->dims[1]}};
        of[n][0] = t;
        for (int p = 1; q && p < 3; p++) {
            of[n][p] = sail__gguf_find(g, sail__arena_printf(a, "%.*s%s%s", (int)(q - t->name), t->name, parts[p], q + strlen(parts[0])));
            e[n].dims[t->rank - 1] += of[n][p]->dims[t->rank - 1];
        }
        if (q)
            e[n].name = sail__arena_printf(a, "%.*sattn_qkv.%s", (int)(q - t->name), t->name, q + strlen(parts[0]));
        n++;
    }
    ok(sail__gguf_begin(to, &k, e, n, &w, &err), &err);
    for (size_t i = 0; i < n; i++)
        for (int p = 0; p < 3 && of[i][p]; p++)
            ok(sail__gguf_write(w, of[i][p]->data, of[i][p]->bytes, &err), &err);
    ok(sail__gguf_commit(w, &err), &err);
    sail__gguf_keys_free(&k);
    sail__gguf_close(g);
}

static void fused_projections_read_the_same(void **state)
{
    rig r;
    sail_err err = {0};
    GOLDEN_OR_SKIP();
    rig_open(&r, (int)(intptr_t)*state);
    sail__weights *w = open_ok(golden_path("models/families/phi"));
    const char *path = sail__arena_strdup(r.arena, new_path()), *fused = sail__arena_strdup(r.arena, new_path());
    sail__export e = export_of(w, SAIL_F32);
    ok(sail__export_gguf(path, &e, &err), &err);
    fuse(r.arena, path, fused);
    rig_load(&r, &(rig_spec){.path = fused});
    assert_null(sail__gguf_find(sail__weights_gguf(r.weights), "blk.0.attn_q.weight"));
    compare_logits(&r, "phi");
    assert_int_equal(warnings_of(fused).n, 0);
    rig_report(&r, "fused q, k and v");
    assert_int_equal(unlink(path) + unlink(fused), 0);
    sail__weights_close(w);
    rig_close(&r);
}

#define VARIANT(test, i, label) {#test " on " label, test, NULL, NULL, (void *)(intptr_t)(i)}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VARIANT(every_family_reads_back, 0, "ref"),
        VARIANT(every_family_reads_back, 2, "cpu f32"),
        VARIANT(fused_projections_read_the_same, 0, "ref"),
        cmocka_unit_test(files_are_those_of_gguf_py),
        cmocka_unit_test(values_are_where_their_readers_look),
        cmocka_unit_test(a_gguf_keeps_its_keys),
        cmocka_unit_test(an_adapter_is_what_merging_adds),
        cmocka_unit_test(what_the_architecture_cannot_say_is_refused),
        cmocka_unit_test(what_cannot_be_written_leaves_no_file),
        cmocka_unit_test(a_damaged_file_is_refused_with_the_reason),
        cmocka_unit_test(a_tensor_that_is_not_read_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
