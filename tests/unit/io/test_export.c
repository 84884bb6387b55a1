/* test_export.c - an exported model is the model: tensors, config, tokenizer; whole or not there; in shards as asked.
 */
#include "../../weights.h"

#include <unistd.h>

#include "io/tokenizer.h"

static void assert_same_model(sail__weights *a, sail__weights *b, sail_dtype dtype)
{
    size_t n, m;
    sail_err err = {0};
    const sail__param *p = sail__weights_params(a, &n);
    sail__weights_params(b, &m);
    assert_int_equal(n, m);
    for (size_t k = 0; k < n; k++) {
        size_t count = (size_t)(p[k].rows * p[k].cols);
        float *x = malloc(count * sizeof *x), *y = malloc(count * sizeof *y);
        sail_dtype t;
        ok(sail__weights_dtype(b, p[k].name, &t, &err), &err);
        assert_int_equal(t, dtype);
        ok(sail__weights_read_f32(a, p[k].name, 0, p[k].rows, x, &err), &err);
        ok(sail__weights_read_f32(b, p[k].name, 0, p[k].rows, y, &err), &err);
        for (size_t i = 0; i < count; i++) {
            float want = dtype == SAIL_BF16 ? sail_bf16_to_f32(sail_f32_to_bf16(x[i])) : x[i];
            assert_true(want == y[i]);
        }
        free(x), free(y);
    }
    const sail__model_config *c = sail__weights_config(a), *d = sail__weights_config(b);
    assert_ptr_equal(c->family, d->family);
    assert_int_equal(d->dtype, dtype);
    assert_true(c->norm_eps == d->norm_eps && c->tied == d->tied && c->max_positions == d->max_positions &&
                c->n_end_ids == d->n_end_ids && c->end_ids[0] == d->end_ids[0] && c->bos_id == d->bos_id &&
                c->pad_id == d->pad_id && c->ropes[0].theta == d->ropes[0].theta);
}

static void an_exported_model_is_the_model(void **state)
{
    (void)state;
    GOLDEN_OR_SKIP();
    static const struct {
        const char *path;
        sail_dtype dtype;
        uint64_t shard;
    } cases[] = {{"models/families/llama", SAIL_F32, 0},
                 {"models/families/llama_tied", SAIL_BF16, 0},
                 {"models/families/gpt_neox", SAIL_F32, 0},
                 {"models/families/llama_sharded", SAIL_F32, 100000},
                 {"models/families/gemma3_text", SAIL_F32, 1},
                 {"models/reward", SAIL_F32, 0},
                 {"models/gguf/tiny-llama.F32.gguf", SAIL_F32, 0},
                 {"models/gguf/tiny-llama.Q4_0.gguf", SAIL_BF16, 50000},
                 {"models/gguf/tiny-llama_rope3.F32.gguf", SAIL_F32, 0},
                 {"models/gguf/tiny-qwen2.F32.gguf", SAIL_F32, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char dir[] = "/tmp/sail-export-XXXXXX", path[128];
        assert_non_null(mkdtemp(dir));
        sail_err err = {0};
        sail__weights *a = open_ok(golden_path(cases[i].path));
        sail__export e = {.dtype = cases[i].dtype, .shard_bytes = cases[i].shard, .rows = from_weights, .user = a};
        sail__export_from(&e, a);
        ok(sail__export_model(dir, &e, &err), &err);
        sail__weights *b = open_ok(dir);
        assert_same_model(a, b, cases[i].dtype);
        snprintf(path, sizeof path, "%s/model.safetensors.index.json", dir);
        assert_int_equal(sail__file_exists(path), cases[i].shard != 0);
        e.shard_bytes = cases[i].shard ? 0 : 100000; /* again, over the other kind: nothing old is left in the way */
        ok(sail__export_model(dir, &e, &err), &err);
        assert_int_equal(sail__file_exists(path), cases[i].shard == 0);
        snprintf(path, sizeof path, "%s/model.safetensors", dir);
        assert_int_equal(sail__file_exists(path), cases[i].shard != 0);
        sail__weights_close(b);
        b = open_ok(dir);
        assert_same_model(a, b, cases[i].dtype);
        sail__weights_close(a), sail__weights_close(b);
        ok(sail__remove_tree(dir, &err), &err);
    }
}

/* The tokenizer written from a GGUF gives the recorded ids. */
static void the_tokenizer_of_a_gguf_is_written(void **state)
{
    (void)state;
    GOLDEN_OR_SKIP();
    char dir[] = "/tmp/sail-export-XXXXXX";
    assert_non_null(mkdtemp(dir));
    sail_arena *arena = sail__arena_new();
    sail_err err = {0};
    sail__weights *w = open_ok(golden_path("models/gguf/tiny-llama.F32.gguf"));
    ok(sail__export_tokenizer(dir, sail__weights_gguf(w), &err), &err);
    sail__weights_close(w);
    sail__tokenizer *t;
    sail_node *cases;
    ok(sail__tokenizer_open(dir, &t, &err), &err);
    ok(sail__json_read(arena, golden_path("models/gguf/tokens.json"), 1 << 20, &cases, &err), &err);
    assert_true(cases->list.n > 0);
    for (size_t i = 0; i < cases->list.n; i++) {
        const sail_node *text = sail__node_get(cases->list.items[i], "text"),
                        *ids = sail__node_get(cases->list.items[i], "ids");
        sail__ids got = {0};
        ok(sail__encode(t, NULL, text->string.data, text->string.len, SAIL__PARSE_SPECIAL, &got, &err), &err);
        assert_int_equal(got.n, ids->list.n);
        for (size_t k = 0; k < got.n; k++)
            assert_int_equal(got.items[k], ids->list.items[k]->integer);
        sail__ids_free(&got);
    }
    sail__tokenizer_free(t);
    sail__arena_free(arena);
    ok(sail__remove_tree(dir, &err), &err);
}

static sail_code failing(void *user, const sail__param *p, int64_t first, int64_t count, float *out, sail_err *err)
{
    if (p->layer == 1)
        return sail_fail(err, SAIL_E_IO, "the device is gone");
    return from_weights(user, p, first, count, out, err);
}

static void what_failed_is_no_model(void **state)
{
    (void)state;
    GOLDEN_OR_SKIP();
    char dir[] = "/tmp/sail-export-XXXXXX", path[128];
    assert_non_null(mkdtemp(dir));
    sail_err err = {0};
    sail__weights *a = open_ok(golden_path("models/families/llama"));
    sail__export e = {.dtype = SAIL_F32, .rows = from_weights, .user = a};
    sail__export_from(&e, a);
    ok(sail__export_model(dir, &e, &err), &err);
    e.rows = failing;
    assert_int_equal(sail__export_model(dir, &e, &err), SAIL_E_IO);
    snprintf(path, sizeof path, "%s/config.json", dir);
    assert_false(sail__file_exists(path));
    e.dtype = SAIL_Q8_0;
    assert_int_equal(sail__export_model(dir, &e, &err), SAIL_E_DTYPE);
    e.dtype = SAIL_F32;
    e.files_from = dir; /* its own source */
    assert_int_equal(sail__export_model(dir, &e, &err), SAIL_E_ARG);
    sail__weights_close(a);
    ok(sail__remove_tree(dir, &err), &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_exported_model_is_the_model),
        cmocka_unit_test(the_tokenizer_of_a_gguf_is_written),
        cmocka_unit_test(what_failed_is_no_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
