/* test_weights.c - every recorded model opens, from either spelling of its config, with all its parameters; GGUF gives
 * the same numbers as the directory it was made from. */
#include "../../weights.h"

#include <math.h>

#include "io/hf_config.h"
#include "io/safetensors.h"

static const char *const families[] = {"gemma",   "gemma2",     "gemma3_text", "gpt_neox",      "gpt_neox_serial",
                                       "llama",   "llama_bf16", "llama_rope3", "llama_sharded", "llama_tied",
                                       "mistral", "phi",        "phi3",        "phi3_longrope", "qwen2",
                                       "qwen3"};
enum { FAMILIES = sizeof families / sizeof families[0] };

static const char *family_path(const char *name)
{
    char relative[256];
    snprintf(relative, sizeof relative, "models/families/%s", name);
    const char *path = golden_path(relative);
    if (!path)
        fail_msg("%s is not there", relative);
    return path;
}

static void assert_same_factors(const double *a, const double *b, int32_t n)
{
    assert_int_equal(a != NULL, b != NULL);
    for (int32_t i = 0; a && i < n; i++)
        assert_true(a[i] == b[i]);
}

/* Every member but the architecture and where the two spellings may differ in which ids they name. */
static void assert_same_config(const sail__model_config *a, const sail__model_config *b)
{
    assert_ptr_equal(a->family, b->family);
    assert_string_equal(a->architecture, b->architecture);
#define SAME(member) assert_true(a->member == b->member)
    SAME(width), SAME(layers), SAME(heads), SAME(kv_heads), SAME(head_dim), SAME(ff), SAME(vocab), SAME(max_positions);
    SAME(labels), SAME(layer_norm), SAME(norm_eps), SAME(norm_plus), SAME(post_norms), SAME(qk_norm), SAME(qkv_bias);
    SAME(o_bias), SAME(mlp_bias), SAME(head_bias), SAME(fused_qkv), SAME(per_head_qkv), SAME(fused_gate_up),
        SAME(gated);
    SAME(parallel), SAME(shared_norm), SAME(activation), SAME(embed_scale), SAME(attention_scale);
    SAME(attention_softcap), SAME(final_softcap), SAME(tied), SAME(n_ropes), SAME(bos_id), SAME(pad_id),
        SAME(n_end_ids);
    SAME(dtype);
    for (int i = 0; i < a->n_ropes; i++) {
        SAME(ropes[i].kind), SAME(ropes[i].rotary), SAME(ropes[i].theta), SAME(ropes[i].factor),
            SAME(ropes[i].low_freq);
        SAME(ropes[i].high_freq), SAME(ropes[i].original_length), SAME(ropes[i].attention_factor);
        assert_same_factors(a->ropes[i].short_factor, b->ropes[i].short_factor, a->ropes[i].rotary / 2);
        assert_same_factors(a->ropes[i].long_factor, b->ropes[i].long_factor, a->ropes[i].rotary / 2);
    }
    for (int i = 0; i < a->layers; i++)
        SAME(layer[i].window), SAME(layer[i].rope);
    for (int i = 0; i < a->n_end_ids; i++)
        SAME(end_ids[i]);
#undef SAME
}

static void read_config(sail_arena *a, const char *dir, const char *name, sail__model_config *out)
{
    sail_err err = {0};
    sail_node *node;
    ok(sail__json_read(a, sail__path_join(a, dir, name), 1 << 20, &node, &err), &err);
    ok(sail__config_from_node(a, node, NULL, out, &err), &err);
}

static void config_reads_alike_in_both_spellings(void **state)
{
    (void)state;
    GOLDEN_OR_SKIP();
    for (int i = 0; i <= FAMILIES; i++) {
        sail_arena *a = sail__arena_new();
        const char *dir = i < FAMILIES ? family_path(families[i]) : golden_path("models/reward");
        sail__model_config now, old;
        read_config(a, dir, "config.json", &now);
        read_config(a, dir, "config.old.json", &old);
        assert_same_config(&now, &old);
        sail__arena_free(a);
    }
}

static void windows_and_rotation_follow_the_layer_types(void **state)
{
    (void)state;
    GOLDEN_OR_SKIP();
    sail_arena *a = sail__arena_new();
    for (int k = 0; k < FAMILIES; k++) {
        sail__model_config c;
        sail_node *node;
        sail_err err = {0};
        ok(sail__config_read(a, family_path(families[k]), &c, &node, &err), &err);
        const sail_node *types = sail__node_get(node, "layer_types"), *window = sail__node_get(node, "sliding_window");
        int64_t size = window && window->kind == SAIL_NODE_INT ? window->integer : 0;
        for (int i = 0; i < c.layers; i++) {
            bool slides = types ? !strcmp(types->list.items[i]->string.data, "sliding_attention") : size > 0;
            assert_int_equal(c.layer[i].window, slides ? size : 0);
            assert_int_equal(c.layer[i].rope, slides && c.n_ropes == 2 ? 1 : 0);
        }
        if (!strcmp(families[k], "gemma3_text")) {
            static const char *const keys[] = {"full_attention.rope_theta", "sliding_attention.rope_theta", "full_attention.factor"};
            double said[3];
            for (int i = 0; i < 3; i++)
                ok(sail__node_as_double(sail__node_find(sail__node_get(node, "rope_parameters"), keys[i]), keys[i], &said[i], &err), &err);
            assert_true(c.ropes[0].theta == said[0] && c.ropes[1].theta == said[1]);
            assert_true(c.ropes[0].kind == SAIL__ROPE_LINEAR && c.ropes[0].factor == said[2]);
            assert_true(c.ropes[1].kind == SAIL__ROPE_DEFAULT && c.n_ropes == 2);
        }
        if (!strcmp(families[k], "phi3_longrope")) {
            double original = (double)c.ropes[0].original_length;
            assert_true(fabs(c.ropes[0].attention_factor -
                             sqrt(1 + log((double)c.max_positions / original) / log(original))) < 1e-12);
        }
    }
    sail__arena_free(a);
}

static void every_family_has_all_its_parameters(void **state)
{
    (void)state;
    GOLDEN_OR_SKIP();
    for (int i = 0; i <= FAMILIES; i++) {
        const char *dir = i < FAMILIES ? family_path(families[i]) : golden_path("models/reward");
        sail__weights *w = open_ok(dir);
        sail_err err = {0};
        size_t n;
        const sail__param *p = sail__weights_params(w, &n);
        char index[4200];
        snprintf(index, sizeof index, "%s/model.safetensors.index.json", dir);
        sail__safetensors *f;
        if (sail__file_exists(index)) {
            ok(sail__safetensors_open_index(index, &f, &err), &err);
        } else {
            snprintf(index, sizeof index, "%s/model.safetensors", dir);
            ok(sail__safetensors_open(index, &f, &err), &err);
        }
        assert_int_equal(n, sail__safetensors_count(f)); /* and so nothing in the file is left over */
        for (size_t k = 0; k < n; k++) {
            const sail__st_tensor *t = sail__safetensors_find(f, p[k].name);
            assert_non_null(t);
            assert_ptr_equal(sail__weights_find(w, p[k].name), &p[k]);
            size_t count = (size_t)(p[k].rows * p[k].cols);
            float *x = malloc(count * sizeof *x), *y = malloc(count * sizeof *y);
            ok(sail__weights_read_f32(w, p[k].name, 0, p[k].rows, x, &err), &err);
            ok(sail_to_f32(t->dtype, t->data, y, count, &err), &err);
            const sail__model_config *c = sail__weights_config(w);
            const size_t cols = p[k].vector ? 1 : (size_t)p[k].cols;
            for (size_t r = 0; r < count / cols; r++) { /* q, k and v of a head lie together in some files */
                const int64_t at = sail__param_file_row(c, p[k].role, (int64_t)r);
                assert_int_equal(sail__param_row_of_file(c, p[k].role, at), r);
                assert_memory_equal(x + r * cols, y + (size_t)at * cols, cols * sizeof *x);
            }
            ok(sail__weights_source(w)->read_f32(sail__weights_source(w)->self, p[k].name, p[k].rows - 1, 1, y, &err),
               &err);
            assert_memory_equal(x + count - (size_t)p[k].cols, y, (size_t)p[k].cols * sizeof *x);
            free(x), free(y);
        }
        sail__safetensors_close(f);
        sail__weights_close(w);
    }
}

/* Largest difference over largest magnitude, over all parameters. */
static double difference(sail__weights *a, sail__weights *b)
{
    size_t n;
    const sail__param *p = sail__weights_params(a, &n);
    double worst = 0;
    sail_err err = {0};
    for (size_t k = 0; k < n; k++) {
        size_t count = (size_t)(p[k].rows * p[k].cols);
        float *x = malloc(count * sizeof *x), *y = malloc(count * sizeof *y);
        double largest = 0, d = 0;
        ok(sail__weights_read_f32(a, p[k].name, 0, p[k].rows, x, &err), &err);
        ok(sail__weights_read_f32(b, p[k].name, 0, p[k].rows, y, &err), &err);
        for (size_t i = 0; i < count; i++) {
            largest = fmax(largest, fabs(x[i]));
            d = fmax(d, fabs((double)x[i] - y[i]));
        }
        worst = fmax(worst, d / largest);
        free(x), free(y);
    }
    return worst;
}

static void gguf_gives_the_numbers_of_the_directory(void **state)
{
    (void)state;
    GOLDEN_OR_SKIP();
    static const struct {
        const char *family, *type;
        double limit; /* of the largest magnitude: half a step of the grid (Q4_0: a whole one, at the end that has 7),
                         and the scale's rounding to f16 */
    } cases[] = {{"llama", "F32", 0},
                 {"llama_rope3", "F32", 0},
                 {"qwen2", "F32", 0},
                 {"llama", "F16", 1.0 / 2048},
                 {"llama", "BF16", 1.0 / 256},
                 {"llama", "Q8_0", 1.0 / 254 + 1.0 / 2048},
                 {"llama", "Q4_0", 1.0 / 8 + 1.0 / 2048}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char file[128];
        snprintf(file, sizeof file, "models/gguf/tiny-%s.%s.gguf", cases[i].family, cases[i].type);
        sail__weights *hf = open_ok(family_path(cases[i].family)), *gguf = open_ok(golden_path(file));
        double d = difference(hf, gguf);
        print_message("%s: largest difference %.3g of the largest entry (limit %.3g)\n", file, d, cases[i].limit);
        assert_true(d <= cases[i].limit);
        sail__model_config a = *sail__weights_config(hf), b = *sail__weights_config(gguf);
        if (b.ropes[0].divisors) { /* llama3 scaling came as numbers: it must turn alike */
            double x[64], y[64];
            sail__rope_frequencies(&a.ropes[0], false, x);
            sail__rope_frequencies(&b.ropes[0], false, y);
            assert_int_equal(a.ropes[0].rotary, b.ropes[0].rotary);
            for (int k = 0; k < a.ropes[0].rotary / 2; k++)
                assert_true(fabs(x[k] / y[k] - 1) < 1e-6);
            b.ropes[0] = a.ropes[0];
        }
        a.dtype = b.dtype = SAIL_F32;
        assert_same_config(&a, &b);
        sail__weights_close(hf), sail__weights_close(gguf);
    }
}

static void the_real_model_opens(void **state)
{
    (void)state;
    GOLDEN_OR_SKIP();
    const char *path = golden_path("../models/SmolLM2-135M-Instruct.Q4_1.gguf");
    if (!path) {
        print_message("skipped: no shared models/SmolLM2-135M-Instruct.Q4_1.gguf\n");
        skip();
    }
    sail__weights *w = open_ok(path);
    const sail__model_config *c = sail__weights_config(w);
    int64_t v;
    sail_err err = {0};
    ok(sail__gguf_int(sail__weights_gguf(w), "llama.embedding_length", NULL, &v, &err), &err);
    assert_int_equal(c->width, v);
    assert_true(c->tied);
    sail_dtype t;
    ok(sail__weights_dtype(w, "model.layers.0.self_attn.q_proj.weight", &t, &err), &err);
    assert_int_equal(t, SAIL_Q4_1);
    size_t bytes = sail_dtype_bytes(t, (uint64_t)c->width);
    unsigned char *raw = malloc(bytes);
    float *x = malloc((size_t)c->width * 4), *y = malloc((size_t)c->width * 4);
    ok(sail__weights_read_raw(w, "model.layers.0.self_attn.q_proj.weight", 65, 1, raw, &err), &err);
    ok(sail__weights_read_f32(w, "model.layers.0.self_attn.q_proj.weight", 65, 1, x, &err), &err);
    ok(sail_to_f32(t, raw, y, (size_t)c->width, &err), &err);
    assert_memory_equal(x, y, (size_t)c->width * 4);
    const sail__gguf_tensor *q = sail__gguf_find(sail__weights_gguf(w), "blk.0.attn_q.weight");
    assert_memory_equal(raw, (const char *)q->data + 66 * bytes, bytes); /* row 1 of head 1 is stored as its row 2 */
    free(raw), free(x), free(y);
    sail__weights_close(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(config_reads_alike_in_both_spellings),
        cmocka_unit_test(windows_and_rotation_follow_the_layer_types),
        cmocka_unit_test(every_family_has_all_its_parameters),
        cmocka_unit_test(gguf_gives_the_numbers_of_the_directory),
        cmocka_unit_test(the_real_model_opens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
