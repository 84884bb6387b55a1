/* test_gguf.c - GGUF files of tiny models against golden/models/gguf: logits of every file that is recorded (computed from the
 * dequantised weights), and the vocabulary that the files carry. */
#include "../rig.h"

#include "io/tokenizer.h"

/* Bytes that a projection of the first layer takes on the device. */
static uint64_t held(const rig *r)
{
    sail__model_view v;
    sail__model_view_of(r->model, SAIL__POLICY, &v);
    for (size_t i = 0; i < v.spec->n_params; i++)
        if (v.spec->params[i].role == SAIL__ROLE_DOWN)
            return sail_dtype_bytes(v.bind[i].dtype, (uint64_t)(v.bind[i].rows * v.bind[i].cols));
    return 0;
}

/* logits.<family>.<type>: models/gguf/tiny-<family>.<type>.gguf on row 0 of models/families/<family>. */
static void one_file(rig *r, const golden_file *f, const char *tensor, bool as_stored)
{
    const char *what = tensor + strlen("logits."), *dot = strrchr(what, '.');
    golden_file base;
    size_t n_rows, width, count;
    sail_err err = {0};
    const char *path = sail__arena_printf(r->arena, "%s/models/gguf/tiny-%s.gguf", golden_dir(), what);
    rig_load(r, &(rig_spec){.path = path});
    const uint64_t converted = held(r);
    if (as_stored) {
        rig_load(r, &(rig_spec){.path = path, .as_stored = true});
        const bool blocks = strstr(dot, ".Q") != NULL;
        assert_true(blocks ? held(r) < converted / 2 : held(r) == converted);
    }
    golden_open(&base, sail__arena_printf(r->arena, "models/families/%.*s/expected.safetensors", (int)(dot - what), what));
    int64_t *lengths = golden_ints(&base, "lengths", &n_rows);
    int32_t *ids = rig_ids(r, &base, "input_ids", &width);
    double *want = golden_doubles(f, tensor, &count);
    float *logits = sail__arena_array(r->arena, count, sizeof *logits);
    assert_int_equal(count, (size_t)lengths[0] * (size_t)sail__weights_config(r->weights)->vocab);
    if (rig_score(r, SAIL__POLICY, ids, (size_t)lengths[0], logits, NULL, NULL, NULL, &err) != SAIL_OK)
        fail_msg("%s: %s", what, err.message);
    rig_floats(r, "logits", what, logits, want, count, 1e-4);
    golden_close(&base);
}

static void logits(void **state)
{
    rig r;
    golden_file f;
    size_t seen = 0;
    GOLDEN_OR_SKIP();
    rig_open(&r, (int)(intptr_t)*state);
    golden_open(&f, "models/gguf/expected.safetensors");
    for (size_t i = 0; i < f.header->list.n; i++)
        if (strncmp(f.header->list.keys[i], "logits.", 7) == 0) {
            one_file(&r, &f, f.header->list.keys[i], false);
            one_file(&r, &f, f.header->list.keys[i], true);
            seen++;
        }
    assert_true(seen > 0);
    golden_close(&f);
    rig_report(&r, "GGUF");
    rig_close(&r);
}

/* Whether a model fits is judged by what is kept of it: between the two sizes the quantised one is taken, the other told of it. */
static void a_quantised_base_fits_where_its_values_do_not(void **state)
{
    rig r;
    sail_err err = {0};
    GOLDEN_OR_SKIP();
    rig_open(&r, (int)(intptr_t)*state);
    const char *path = sail__arena_printf(r.arena, "%s/models/gguf/tiny-llama.Q4_0.gguf", golden_dir());
    size_t n;
    double values = 0;
    rig_load(&r, &(rig_spec){.path = path});
    const sail__param *p = sail__weights_params(r.weights, &n);
    for (size_t i = 0; i < n; i++)
        values += 4 * (double)p[i].rows * (double)p[i].cols;
    rig_close_model(&r);
    r.rt->info.memory = (uint64_t)(values / 2);
    assert_int_equal(rig_try(&r, &(rig_spec){.path = path}, &err), SAIL_E_NOMEM);
    if (!strstr(err.message, "what fits: model.weights: as_stored ("))
        fail_msg("%s", err.message);
    rig_load(&r, &(rig_spec){.path = path, .as_stored = true});
    rig_close_model(&r);
    r.rt->info.memory = (uint64_t)(values / 16);
    assert_int_equal(rig_try(&r, &(rig_spec){.path = path, .as_stored = true}, &err), SAIL_E_NOMEM);
    rig_close(&r);
}

/* What is said to fit is what fits, to the byte; the adapter of a model of which nothing is trained is part of it. */
static void what_is_said_to_fit_does(void **state)
{
    rig r;
    sail_err err = {0};
    uint64_t too_little = 1, enough = 1u << 30;
    GOLDEN_OR_SKIP();
    rig_open(&r, (int)(intptr_t)*state);
    const rig_spec spec = {.path = sail__path_join(r.arena, golden_dir(), "method/model"),
                           .adapter = sail__path_join(r.arena, golden_dir(), "method/trajectories/lora_initial")};
    r.variant.dtype = SAIL_BF16;
    while (enough - too_little > 1) {
        r.rt->info.memory = (too_little + enough) / 2;
        *(rig_try(&r, &spec, &err) == SAIL_OK ? &enough : &too_little) = r.rt->info.memory;
    }
    r.variant.dtype = SAIL_F32;
    for (int i = 0; i < 2; i++) {
        r.rt->info.memory = i ? enough : too_little;
        assert_int_equal(rig_try(&r, &spec, &err), SAIL_E_NOMEM);
        if ((strstr(err.message, "what fits: bf16 (") != NULL) != i)
            fail_msg("%llu bytes: %s", (unsigned long long)r.rt->info.memory, err.message);
    }
    rig_close(&r);
}

/* The vocabulary of every file: recorded texts to ids and back. */
static void vocabulary(void **state)
{
    char **names;
    size_t n, seen = 0;
    sail_err err = {0};
    golden_file f;
    GOLDEN_OR_SKIP();
    const sail_node *cases = golden_json(&f, "models/gguf/tokens.json");
    const char *dir = sail__path_join(f.arena, golden_dir(), "models/gguf");
    assert_int_equal(sail__list_dir(f.arena, dir, &names, &n, &err), SAIL_OK);
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(names[i]);
        sail__tokenizer *t;
        if (len < 5 || strcmp(names[i] + len - 5, ".gguf") != 0)
            continue;
        if (sail__tokenizer_open(sail__path_join(f.arena, dir, names[i]), &t, &err) != SAIL_OK)
            fail_msg("%s: %s", names[i], err.message);
        for (size_t k = 0; k < cases->list.n; k++) {
            const sail_node *text = sail__node_get(cases->list.items[k], "text"), *want = sail__node_get(cases->list.items[k], "ids");
            sail__ids ids = {0};
            sail_buf back = {0};
            if (sail__encode(t, NULL, text->string.data, text->string.len, SAIL__PARSE_SPECIAL, &ids, &err) != SAIL_OK ||
                sail__decode(t, ids.items, ids.n, 0, &back, &err) != SAIL_OK)
                fail_msg("%s: %s", names[i], err.message);
            assert_int_equal(ids.n, want->list.n);
            for (size_t j = 0; j < ids.n; j++)
                assert_int_equal(ids.items[j], want->list.items[j]->integer);
            assert_int_equal(back.len, text->string.len);
            assert_memory_equal(back.data ? back.data : "", text->string.data, back.len);
            sail__ids_free(&ids);
            sail__buf_free(&back);
            seen++;
        }
        sail__tokenizer_free(t);
    }
    print_message("%zu texts\n", seen);
    assert_true(seen > 0);
    golden_close(&f);
}

#define VARIANT(test, i, label) {#test " on " label, test, NULL, NULL, (void *)(intptr_t)(i)}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VARIANT(logits, 0, "ref"),
        VARIANT(logits, 1, "ref, strict"),
        VARIANT(logits, 2, "cpu f32"),
        VARIANT(a_quantised_base_fits_where_its_values_do_not, 2, "cpu f32"),
        VARIANT(what_is_said_to_fit_does, 2, "cpu f32"),
        cmocka_unit_test(vocabulary),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
