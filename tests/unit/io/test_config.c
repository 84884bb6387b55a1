/* test_config.c - a wrong field of config.json is an error that names it; what is written reads back; llama3 scaling is
 * found again from a GGUF's divisors. Also what a model lacks or has too much of. */
#include "../../weights.h"

#include <math.h>
#include <unistd.h>

#include "io/hf_config.h"
#include "io/safetensors.h"

static sail_node *family_config(sail_arena *a, const char *family)
{
    char relative[128];
    sail_err err = {0};
    sail_node *node;
    snprintf(relative, sizeof relative, "models/families/%s/config.json", family);
    ok(sail__json_read(a, golden_path(relative), 1 << 20, &node, &err), &err);
    return node;
}

static sail_node *parse(sail_arena *a, const char *text)
{
    sail_err err = {0};
    sail_node *node;
    ok(sail__json_parse(a, text, strlen(text), "test", 1, &node, &err), &err);
    return node;
}

static void a_wrong_field_is_named(void **state)
{
    (void)state;
    GOLDEN_OR_SKIP();
    static const struct {
        const char *family, *field, *value, *word;
    } cases[] = {
        {"llama", "model_type", "\"mamba\"", "mamba"},
        {"llama", "model_type", "null", "model_type"},
        {"llama", "model_type", "[1]", "model_type"},
        {"llama", "architectures", "[\"LlamaForQuestionAnswering\"]", "LlamaForQuestionAnswering"},
        {"llama", "architectures", "[\"MistralForCausalLM\"]", "architectures"},
        {"llama", "hidden_size", "null", "hidden_size: is missing"},
        {"llama", "hidden_size", "\"64\"", "hidden_size"},
        {"llama", "hidden_size", "0", "hidden_size"},
        {"llama", "hidden_size", "64.5", "hidden_size"},
        {"llama", "hidden_size", "99999999999", "hidden_size"},
        {"llama", "num_hidden_layers", "-1", "num_hidden_layers"},
        {"llama", "num_hidden_layers", "100000", "layers"},
        {"llama", "num_attention_heads", "5", "5 attention heads"},
        {"llama", "num_key_value_heads", "3", "3 key/value heads"},
        {"llama", "head_dim", "15", "turn"},
        {"llama", "vocab_size", "null", "vocab_size"},
        {"llama", "intermediate_size", "1e3000", "intermediate_size"},
        {"llama", "rms_norm_eps", "null", "rms_norm_eps"},
        {"llama", "rms_norm_eps", "\"small\"", "rms_norm_eps"},
        {"llama", "rms_norm_eps", "-1", "rms_norm_eps"},
        {"llama", "hidden_act", "\"mish\"", "mish"},
        {"llama", "hidden_act", "null", "hidden_act"},
        {"llama", "attention_bias", "\"no\"", "attention_bias"},
        {"llama", "max_position_embeddings", "null", "max_position_embeddings"},
        {"llama", "rope_parameters", "{\"rope_type\": \"yarn\", \"factor\": 4}", "yarn"},
        {"llama", "rope_parameters", "{\"rope_type\": \"linear\"}", "factor"},
        {"llama", "rope_parameters", "{\"rope_theta\": 0}", "rope_theta"},
        {"llama", "rope_parameters", "3", "rope"},
        {"llama", "rope_parameters",
         "{\"rope_type\": \"llama3\", \"factor\": 8, \"high_freq_factor\": 4, "
         "\"original_max_position_embeddings\": 64}",
         "low_freq_factor"},
        {"llama", "rope_parameters",
         "{\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 4, "
         "\"high_freq_factor\": 4, \"original_max_position_embeddings\": 64}",
         "high_freq_factor"},
        {"llama", "rope_parameters", "{\"partial_rotary_factor\": 0}", "partial_rotary_factor"},
        {"llama", "rope_parameters", "{\"partial_rotary_factor\": 3.3e16}", "from 0 to 1"}, /* found by the fuzzer: beyond int */
        {"llama", "quantization_config", "{\"quant_method\": \"gptq\"}", "quantization_config"},
        {"llama", "dtype", "\"int8\"", "dtype"},
        {"llama", "eos_token_id", "\"</s>\"", "eos_token_id"},
        {"llama", "eos_token_id", "[1, 2.5]", "eos_token_id"},
        {"llama", "bos_token_id", "-7", "bos_token_id"},
        {"phi3_longrope", "rope_parameters", "{\"rope_type\": null, \"type\": \"longrope\"}", "rope_type: is null"},
        {"phi3_longrope", "rope_parameters",
         "{\"rope_type\": \"longrope\", \"short_factor\": [1], \"long_factor\": [1]}", "short_factor"},
        {"gemma2", "layer_types", "[\"full_attention\"]", "layer_types"},
        {"gemma2", "layer_types", "[\"chunked_attention\", \"full_attention\", \"full_attention\"]",
         "chunked_attention"},
        {"gemma2", "use_bidirectional_attention", "true", "use_bidirectional_attention"},
        {"phi", "qk_layernorm", "true", "qk_layernorm"},
        {"phi", "layer_norm_eps", "null", "layer_norm_eps"},
        {"qwen2", "num_experts", "60", "num_experts"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sail_arena *a = sail__arena_new();
        sail_err err = {0};
        sail__model_config c;
        sail_node *n = family_config(a, cases[i].family), *v;
        if (sail__json_parse(a, cases[i].value, strlen(cases[i].value), "test", 1, &v, &err) != SAIL_OK)
            v = parse(a, "1e300"); /* the JSON reader refuses what overflows */
        assert_true(sail__node_set(a, n, cases[i].field, v));
        sail_code code = sail__config_from_node(a, n, NULL, &c, &err);
        if (code == SAIL_OK || !strstr(err.message, cases[i].word) || !strstr(err.message, "config.json"))
            fail_msg("%s %s %s: code %d, \"%s\" should hold \"%s\"", cases[i].family, cases[i].field, cases[i].value,
                     code, err.message, cases[i].word);
        sail__arena_free(a);
    }
}

static void end_tokens_are_the_union(void **state)
{
    (void)state;
    GOLDEN_OR_SKIP();
    sail_arena *a = sail__arena_new();
    sail_err err = {0};
    sail__model_config c;
    sail_node *n = family_config(a, "llama");
    assert_true(sail__node_set(a, n, "eos_token_id", parse(a, "[5, 7]")));
    ok(sail__config_from_node(a, n, parse(a, "{\"eos_token_id\": [7, 9], \"pad_token_id\": 3}"), &c, &err), &err);
    assert_int_equal(c.n_end_ids, 3);
    assert_true(c.end_ids[0] == 5 && c.end_ids[1] == 7 && c.end_ids[2] == 9);
    assert_int_equal(c.pad_id, sail__node_get(n, "pad_token_id")->integer); /* config.json's own goes before */
    ok(sail__config_from_node(a, n, parse(a, "{\"eos_token_id\": 258}"), &c, &err), &err);
    assert_int_equal(c.n_end_ids, 3);
    sail__arena_free(a);
}

static void assert_same_rotation(const sail__rope *x, const sail__rope *y, double limit)
{
    double *a = malloc((size_t)x->rotary * sizeof *a), *b = malloc((size_t)x->rotary * sizeof *b);
    assert_int_equal(x->rotary, y->rotary);
    sail__rope_frequencies(x, false, a);
    sail__rope_frequencies(y, false, b);
    for (int i = 0; i < x->rotary / 2; i++)
        assert_true(fabs(a[i] / b[i] - 1) <= limit);
    free(a), free(b);
}

static void a_written_config_reads_the_same(void **state)
{
    (void)state;
    GOLDEN_OR_SKIP();
    static const char *const able[] = {"llama", "llama_rope3", "llama_tied", "llama_sharded", "llama_bf16", "mistral", "qwen2", "qwen3",
                                       "phi3", "phi3_longrope", "gemma", "gemma2", "gemma3_text", "gpt_neox", "gpt_neox_serial", "phi"};
    for (size_t i = 0; i < sizeof able / sizeof able[0]; i++) {
        sail_arena *a = sail__arena_new();
        sail_err err = {0};
        sail__model_config c, d;
        sail_node *n, *g;
        ok(sail__config_from_node(a, family_config(a, able[i]), NULL, &c, &err), &err);
        if (c.n_ropes == 2)
            c.ropes[1].theta = 2e4; /* not what is taken where nothing is said */
        for (int part = 0; part < 3; part++) { /* with all rope keys, with the new ones alone, with the old ones alone */
            static const char *const old[] = {"rope_theta", "rope_scaling", "rotary_emb_base", "rotary_pct", "partial_rotary_factor",
                                              "rope_local_base_freq", "original_max_position_embeddings"};
            ok(sail__config_to_node(a, &c, &n, &err), &err);
            ok(sail__config_generation_node(a, &c, &g, &err), &err);
            for (size_t k = 0; part == 1 && k < sizeof old / sizeof old[0]; k++)
                sail__node_unset(n, old[k]);
            if (part == 2)
                assert_true(sail__node_unset(n, "rope_parameters"));
            ok(sail__config_from_node(a, n, g, &d, &err), &err);
            assert_ptr_equal(c.family, d.family);
            assert_string_equal(c.architecture, d.architecture);
            assert_int_equal(c.n_ropes, d.n_ropes);
            for (int k = 0; k < c.n_ropes; k++)
                assert_same_rotation(&c.ropes[k], &d.ropes[k], 0);
            for (int k = 0; k < c.layers; k++)
                assert_true(c.layer[k].window == d.layer[k].window && c.layer[k].rope == d.layer[k].rope);
            assert_true(c.activation == d.activation && c.parallel == d.parallel && c.attention_softcap == d.attention_softcap &&
                        c.final_softcap == d.final_softcap && fabs(c.attention_scale / d.attention_scale - 1) < 1e-12);
            assert_true(c.width == d.width && c.layers == d.layers && c.heads == d.heads && c.kv_heads == d.kv_heads &&
                        c.head_dim == d.head_dim && c.ff == d.ff && c.vocab == d.vocab && c.tied == d.tied &&
                        c.max_positions == d.max_positions && c.norm_eps == d.norm_eps && c.qkv_bias == d.qkv_bias &&
                        c.o_bias == d.o_bias && c.mlp_bias == d.mlp_bias && c.qk_norm == d.qk_norm &&
                        c.dtype == d.dtype && c.bos_id == d.bos_id && c.pad_id == d.pad_id &&
                        c.n_end_ids == d.n_end_ids);
        }
        sail__arena_free(a);
    }
}

static void llama3_scaling_is_found_from_divisors(void **state)
{
    (void)state;
    GOLDEN_OR_SKIP();
    sail_arena *a = sail__arena_new();
    sail_err err = {0};
    sail__weights *w;
    sail_node *n;
    sail__model_config c, want;
    ok(sail__weights_open(NULL, golden_path("models/gguf/tiny-llama_rope3.F32.gguf"), &w, &err), &err);
    assert_non_null(sail__weights_config(w)->ropes[0].divisors);
    ok(sail__config_to_node(a, sail__weights_config(w), &n, &err), &err);
    ok(sail__config_from_node(a, n, NULL, &c, &err), &err);
    ok(sail__config_from_node(a, family_config(a, "llama_rope3"), NULL, &want, &err), &err);
    assert_int_equal(c.ropes[0].kind, SAIL__ROPE_LLAMA3);
    assert_same_rotation(&c.ropes[0], &want.ropes[0], 1e-6);
    /* the real models' settings, head sizes 64 and 128; then what none has: other low factors, few frequencies on the ramp, none, all below it */
    static const double settings[][6] = {{8, 1, 4, 8192, 128, 5e5}, {32, 1, 4, 8192, 64, 5e5}, {16, 1, 2, 4096, 128, 5e5}, {4, 1.5, 4, 64, 16, 1e4},
                                         {8, 3, 40, 512, 64, 1e4},  {8, 0.5, 0.6, 100, 16, 1e4}, {2, 1, 1.01, 2000, 8, 1e6}, {4, 9, 90, 9, 8, 2}};
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        const double *s = settings[i];
        sail__rope r = {.kind = SAIL__ROPE_LLAMA3, .rotary = (int32_t)s[4], .theta = s[5], .factor = s[0], .low_freq = s[1], .high_freq = s[2],
                        .original_length = (int64_t)s[3], .attention_factor = 1};
        sail__rope plain = r;
        double x[64], y[64];
        plain.kind = SAIL__ROPE_DEFAULT;
        sail__rope_frequencies(&r, false, x);
        sail__rope_frequencies(&plain, false, y);
        for (int k = 0; k < r.rotary / 2; k++)
            x[k] = (double)(float)(y[k] / x[k]);
        sail__model_config big = *sail__weights_config(w);
        plain.divisors = x;
        big.head_dim = r.rotary;
        big.ropes[0] = plain;
        ok(sail__config_to_node(a, &big, &n, &err), &err);
        ok(sail__config_from_node(a, n, NULL, &c, &err), &err);
        assert_same_rotation(&c.ropes[0], &r, i < 3 ? 1e-9 : 1e-5);
        if (i < 3)
            assert_true(c.ropes[0].low_freq == 1 && c.ropes[0].high_freq == r.high_freq && c.ropes[0].original_length == r.original_length);
        x[r.rotary / 4] *= 1.5; /* divisors that no scaling gives */
        assert_int_equal(sail__config_to_node(a, &big, &n, &err), SAIL_E_FORMAT);
    }
    sail__weights_close(w);
    sail__arena_free(a);
}

/* A file that says so of such a family would be read as one whose heads turn whole. */
static void heads_that_turn_in_part_are_said_where_they_are_read(void **state)
{
    (void)state;
    GOLDEN_OR_SKIP();
    static const char *const families[] = {"llama", "gemma3_text", "phi3"};
    for (int i = 0; i < 3; i++) {
        sail_arena *a = sail__arena_new();
        sail_err err = {0};
        sail__model_config c;
        sail_node *n;
        ok(sail__config_from_node(a, family_config(a, families[i]), NULL, &c, &err), &err);
        c.ropes[0].rotary /= 2;
        assert_int_equal(sail__config_to_node(a, &c, &n, &err), i == 2 ? SAIL_OK : SAIL_E_FORMAT);
        if (i < 2)
            assert_non_null(strstr(err.message, "of the 16 entries of a head turn"));
        sail__arena_free(a);
    }
}

/* ---- whole models that lack something ---- */

struct seen {
    int warnings;
    char text[512];
};

static void sink(void *user, sail_log_level level, const char *message)
{
    struct seen *s = user;
    s->warnings += level == SAIL_LOG_WARN;
    snprintf(s->text, sizeof s->text, "%s", message);
}

enum change { WHOLE, EXTRA, BUFFER, LACKING, LACKING_HEAD, WRONG_ROWS, WRONG_RANK, WRONG_TYPE, CHANGES };

static void write_model(const char *dir, enum change change)
{
    sail_arena *a = sail__arena_new();
    sail_err err = {0};
    sail__safetensors *f;
    sail__st_entry e[256];
    size_t n = 0;
    static unsigned char filler[1 << 16];
    ok(sail__safetensors_open(golden_path("models/families/llama/model.safetensors"), &f, &err), &err);
    for (size_t i = 0; i < sail__safetensors_count(f); i++) {
        const sail__st_tensor *t = sail__safetensors_at(f, i);
        if ((change == LACKING && !strcmp(t->name, "model.layers.1.mlp.up_proj.weight")) ||
            (change == LACKING_HEAD && !strcmp(t->name, "lm_head.weight")))
            continue;
        e[n] = (sail__st_entry){t->name, t->dtype, t->rank, {0}, t->data};
        memcpy(e[n].shape, t->shape, sizeof e[n].shape);
        if (!strcmp(t->name, "model.layers.0.self_attn.k_proj.weight")) {
            if (change == WRONG_ROWS)
                e[n].shape[0] /= 2;
            if (change == WRONG_RANK)
                e[n].shape[0] *= e[n].shape[1], e[n].rank = 1;
            if (change == WRONG_TYPE)
                e[n].dtype = SAIL_I32;
        }
        n++;
    }
    if (change == EXTRA || change == BUFFER)
        e[n++] = (sail__st_entry){change == EXTRA ? "model.layers.0.adapter.weight"
                                                  : "model.layers.0.self_attn.rotary_emb.inv_freq",
                                  SAIL_F32,
                                  1,
                                  {8},
                                  filler};
    ok(sail__safetensors_save(sail__path_join(a, dir, "model.safetensors"), e, n, NULL, &err), &err);
    char *data;
    size_t size;
    ok(sail__file_read(golden_path("models/families/llama/config.json"), 1 << 20, &data, &size, &err), &err);
    ok(sail__file_write(sail__path_join(a, dir, "config.json"), data, size, &err), &err);
    sail__free(data);
    sail__safetensors_close(f);
    sail__arena_free(a);
}

static void missing_and_misshapen_tensors_are_named(void **state)
{
    (void)state;
    GOLDEN_OR_SKIP();
    static const struct {
        sail_code code;
        int warnings;
        const char *words[3];
    } want[CHANGES] = {
        [EXTRA] = {SAIL_OK, 1, {"model.layers.0.adapter.weight", "model.safetensors"}},
        [LACKING] = {SAIL_E_NOTFOUND, 0, {"model.layers.1.mlp.up_proj.weight", "[intermediate_size, 64]"}},
        [LACKING_HEAD] = {SAIL_E_NOTFOUND, 0, {"lm_head.weight", "tie_word_embeddings"}},
        [WRONG_ROWS] = {SAIL_E_SHAPE, 0, {"model.layers.0.self_attn.k_proj.weight", "[16, 64]", "[32, 64]"}},
        [WRONG_RANK] = {SAIL_E_SHAPE, 0, {"model.layers.0.self_attn.k_proj.weight", "[2048]", "[32, 64]"}},
        [WRONG_TYPE] = {SAIL_E_DTYPE, 0, {"model.layers.0.self_attn.k_proj.weight", "I32"}},
    };
    char up[32];
    sail_arena *a = sail__arena_new();
    snprintf(up, sizeof up, "[%lld, 64]", (long long)sail__node_get(family_config(a, "llama"), "intermediate_size")->integer);
    sail__arena_free(a);
    for (int i = 0; i < CHANGES; i++) {
        char dir[] = "/tmp/sail-model-XXXXXX";
        assert_non_null(mkdtemp(dir));
        write_model(dir, (enum change)i);
        struct seen seen = {0};
        sail_ctx *ctx = sail_ctx_new();
        sail_ctx_set_log(ctx, SAIL_LOG_DEBUG, sink, &seen);
        sail_err err = {0};
        sail__weights *w;
        sail_code code = sail__weights_open(ctx, dir, &w, &err);
        assert_int_equal(code, want[i].code);
        assert_int_equal(seen.warnings, want[i].warnings);
        const char *text = code == SAIL_OK ? seen.text : err.message;
        for (int k = 0; k < 3 && want[i].words[k]; k++) {
            const char *word = strcmp(want[i].words[k], "[intermediate_size, 64]") ? want[i].words[k] : up;
            if (!strstr(text, word) || !strstr(text, dir))
                fail_msg("\"%s\" should hold %s and %s", text, word, dir);
        }
        sail__weights_close(w);
        sail_ctx_free(ctx);
        ok(sail__remove_tree(dir, &err), &err);
    }
}

static void refused(const char *path, const char *word)
{
    sail_err err = {0};
    sail__weights *w;
    sail_code code = sail__weights_open(NULL, path, &w, &err);
    if (code == SAIL_OK || !strstr(err.message, word) || !strstr(err.message, path))
        fail_msg("code %d, \"%s\" should hold \"%s\" and %s", code, err.message, word, path);
    assert_null(w);
}

static void what_is_no_model_is_refused_with_the_reason(void **state)
{
    (void)state;
    char dir[] = "/tmp/sail-model-XXXXXX", path[128];
    sail_err err = {0};
    assert_non_null(mkdtemp(dir));
    refused("/nonexistent/model", "no such model");
    refused(dir, "config.json");
    snprintf(path, sizeof path, "%s/pytorch_model.bin", dir);
    ok(sail__file_write(path, "PK", 2, &err), &err);
    refused(path, "pickle");
    snprintf(path, sizeof path, "%s/x.gguf", dir);
    ok(sail__file_write(path, "", 0, &err), &err);
    refused(path, "GGUF");
    if (golden_dir()) {
        char *data;
        size_t size;
        ok(sail__file_read(golden_path("models/families/llama/config.json"), 1 << 20, &data, &size, &err), &err);
        snprintf(path, sizeof path, "%s/config.json", dir);
        ok(sail__file_write(path, data, size, &err), &err);
        sail__free(data);
        refused(dir, "pickle");
        snprintf(path, sizeof path, "%s/pytorch_model.bin", dir);
        assert_int_equal(unlink(path), 0);
        refused(dir, "model.safetensors");
    }
    ok(sail__remove_tree(dir, &err), &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wrong_field_is_named),
        cmocka_unit_test(end_tokens_are_the_union),
        cmocka_unit_test(heads_that_turn_in_part_are_said_where_they_are_read),
        cmocka_unit_test(a_written_config_reads_the_same),
        cmocka_unit_test(llama3_scaling_is_found_from_divisors),
        cmocka_unit_test(missing_and_misshapen_tensors_are_named),
        cmocka_unit_test(what_is_no_model_is_refused_with_the_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
