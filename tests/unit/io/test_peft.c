/* test_peft.c - recorded adapters are read with the scales that their configs give, and written so that they read the
 * same; what cannot be done is refused by name. */
#include "../../golden.h"

#include <math.h>
#include <unistd.h>

#include "io/peft.h"
#include "io/weights.h"

static const char *const adapters[] = {"lora", "lora_rs", "lora_head"};

static void ok(sail_code code, const sail_err *err)
{
    if (code != SAIL_OK)
        fail_msg("%s", err->message);
}

static const char *adapter_path(int i)
{
    char relative[128];
    snprintf(relative, sizeof relative, "models/training/%s", adapters[i]);
    return golden_path(relative);
}

/* What peft computes: the first pattern that the dotted name ends with, else the common value. */
static double expected(const sail_node *patterns, const char *module, double usual)
{
    for (size_t i = 0; patterns && patterns->kind == SAIL_NODE_MAP && i < patterns->list.n; i++) {
        const char *key = patterns->list.keys[i];
        size_t n = strlen(module), k = strlen(key);
        if (n >= k && !strcmp(module + n - k, key) && (n == k || module[n - k - 1] == '.'))
            return (double)patterns->list.items[i]->integer;
    }
    return usual;
}

static void recorded_adapters_read_with_their_scales(void **state)
{
    (void)state;
    GOLDEN_OR_SKIP();
    for (int i = 0; i < 3; i++) {
        sail_arena *a = sail__arena_new();
        sail_err err = {0};
        sail__peft p;
        sail_node *config;
        const char *dir = adapter_path(i);
        ok(sail__peft_read(a, dir, &p, &err), &err);
        ok(sail__json_read(a, sail__path_join(a, dir, "adapter_config.json"), 1 << 20, &config, &err), &err);
        bool rs = sail__node_get(config, "use_rslora")->boolean;
        for (size_t k = 0; k < p.n_modules; k++) {
            const sail__lora_module *m = &p.modules[k];
            double r = expected(sail__node_get(config, "rank_pattern"), m->module,
                                (double)sail__node_get(config, "r")->integer);
            double alpha = expected(sail__node_get(config, "alpha_pattern"), m->module,
                                    (double)sail__node_get(config, "lora_alpha")->integer);
            assert_true((double)m->rank == r && m->alpha == alpha);
            assert_true(fabs(m->scale - alpha / (rs ? sqrt(r) : r)) < 1e-12);
        }
        sail__weights *w;
        size_t n;
        ok(sail__weights_open(
               NULL, sail__path_join(a, dir, sail__node_get(config, "base_model_name_or_path")->string.data), &w, &err),
           &err);
        const sail__param *params = sail__weights_params(w, &n);
        ok(sail__peft_fits(&p, params, n, dir, &err), &err);
        assert_int_equal(p.n_saved, sail__node_get(config, "modules_to_save")->kind == SAIL_NODE_LIST ? 1 : 0);
        sail__weights_close(w);
        sail__arena_free(a);
    }
}

/* W + scale B A against the recorded merged matrices: scales and tensors are the right ones, the right way round. */
static void merged_matrices_are_the_recorded_ones(void **state)
{
    (void)state;
    GOLDEN_OR_SKIP();
    double worst = 0;
    int compared = 0;
    for (int i = 0; i < 3; i++) {
        sail_arena *a = sail__arena_new();
        sail_err err = {0};
        sail__peft p;
        char relative[128];
        golden_file f;
        sail__weights *w;
        ok(sail__peft_read(a, adapter_path(i), &p, &err), &err);
        ok(sail__weights_open(NULL, golden_path("models/families/llama"), &w, &err), &err);
        snprintf(relative, sizeof relative, "models/training/%s/expected.safetensors", adapters[i]);
        golden_open(&f, relative);
        for (size_t k = 0; k < p.n_modules; k++) {
            const sail__lora_module *m = &p.modules[k];
            char name[200];
            snprintf(name, sizeof name, "merged.%s.weight", m->module);
            if (!golden_has(&f, name))
                continue;
            golden_tensor t = golden_get(&f, name);
            float *base = malloc(t.n * sizeof *base);
            ok(sail__weights_read_f32(w, name + 7, 0, m->out, base, &err), &err);
            for (int64_t row = 0; row < m->out; row++)
                for (int64_t col = 0; col < m->in; col++) {
                    double v = base[row * m->in + col];
                    float want;
                    for (int64_t r = 0; r < m->rank; r++)
                        v += m->scale * (double)m->b[row * m->rank + r] * (double)m->a[r * m->in + col];
                    memcpy(&want, t.raw + (row * m->in + col) * 4, 4);
                    worst = fmax(worst, fabs(v - want));
                }
            compared++;
            free(base);
        }
        golden_close(&f);
        sail__weights_close(w);
        sail__arena_free(a);
    }
    print_message("%d merged matrices, largest difference %.3g\n", compared, worst);
    assert_true(compared > 0);
    assert_true(worst < 1e-6);
}

static void a_written_adapter_reads_the_same(void **state)
{
    (void)state;
    GOLDEN_OR_SKIP();
    for (int i = 0; i < 3; i++)
        for (int own_names = 0; own_names < 2; own_names++) {
            char dir[] = "/tmp/sail-peft-XXXXXX";
            assert_non_null(mkdtemp(dir));
            sail_arena *a = sail__arena_new();
            sail_err err = {0};
            sail__peft p, q;
            ok(sail__peft_read(a, adapter_path(i), &p, &err), &err);
            sail__peft given = p;
            if (own_names) { /* settings known only from the modules */
                given.n_targets = given.n_rank_pattern = given.n_alpha_pattern = given.n_save_names = 0;
            }
            ok(sail__peft_write(dir, &given, SAIL_F32, &err), &err);
            ok(sail__peft_read(a, dir, &q, &err), &err);
            assert_int_equal(p.n_modules, q.n_modules);
            assert_int_equal(p.n_saved, q.n_saved);
            assert_true(p.rank == q.rank && p.alpha == q.alpha && p.dropout == q.dropout && p.rslora == q.rslora);
            assert_string_equal(p.base, q.base);
            assert_string_equal(p.task_type, q.task_type);
            for (size_t k = 0; k < p.n_modules; k++) {
                const sail__lora_module *x = &p.modules[k], *y = &q.modules[k];
                assert_string_equal(x->module, y->module);
                assert_true(x->rank == y->rank && x->scale == y->scale && x->in == y->in && x->out == y->out);
                assert_memory_equal(x->a, y->a, (size_t)(x->rank * x->in) * sizeof *x->a);
                assert_memory_equal(x->b, y->b, (size_t)(x->rank * x->out) * sizeof *x->b);
            }
            for (size_t k = 0; k < p.n_saved; k++) {
                assert_string_equal(p.saved[k].name, q.saved[k].name);
                assert_memory_equal(p.saved[k].data, q.saved[k].data,
                                    (size_t)(p.saved[k].rows * p.saved[k].cols) * sizeof(float));
            }
            sail__arena_free(a);
            ok(sail__remove_tree(dir, &err), &err);
        }
}

/* A config with one field changed, beside good tensors. */
static void refused(const char *dir, const char *field, const char *value, const char *word)
{
    sail_arena *a = sail__arena_new();
    sail_err err = {0};
    sail__peft p;
    sail_node *config, *v;
    sail_buf b = {0};
    const char *path = sail__path_join(a, dir, "adapter_config.json");
    ok(sail__json_read(a, sail__path_join(a, adapter_path(0), "adapter_config.json"), 1 << 20, &config, &err), &err);
    ok(sail__json_parse(a, value, strlen(value), "test", 1, &v, &err), &err);
    assert_true(sail__node_set(a, config, field, v));
    sail__node_to_json(&b, config);
    ok(sail__file_write(path, b.data, b.len, &err), &err);
    sail__buf_free(&b);
    sail_code code = sail__peft_read(a, dir, &p, &err);
    if (code == SAIL_OK || !strstr(err.message, word) || !strstr(err.message, dir))
        fail_msg("%s %s: code %d, \"%s\" should name %s", field, value, code, code ? err.message : "", word);
    sail__arena_free(a);
}

static void what_cannot_be_done_is_refused_by_name(void **state)
{
    (void)state;
    GOLDEN_OR_SKIP();
    static const char *const cases[][3] = {
        {"use_dora", "true", "use_dora"},
        {"bias", "\"all\"", "bias"},
        {"fan_in_fan_out", "true", "fan_in_fan_out"},
        {"peft_type", "\"LOHA\"", "peft_type"},
        {"target_modules", "\".*q_proj\"", "target_modules"},
        {"target_modules", "[]", "target_modules"},
        {"target_modules", "[\"q_proj\"]", "target_modules"},
        {"init_lora_weights", "\"pissa_niter_4\"", "init_lora_weights"},
        {"layer_replication", "[[0, 1]]", "layer_replication"},
        {"rank_pattern", "{\"^model.*\": 2}", "rank_pattern"},
        {"rank_pattern", "{\"q_proj\": 3}", "q_proj"},
        {"alpha_pattern", "{\"q_proj\": -1}", "alpha_pattern"},
        {"r", "0", "r"},
        {"r", "\"four\"", "r"},
        {"r", "5", "rank"},
        {"lora_alpha", "[]", "lora_alpha"},
        {"lora_dropout", "2", "lora_dropout"},
        {"some_new_kind", "{\"x\": 1}", "some_new_kind"},
    };
    char dir[] = "/tmp/sail-peft-XXXXXX";
    assert_non_null(mkdtemp(dir));
    sail_arena *a = sail__arena_new();
    sail_err err = {0};
    char *data;
    size_t size;
    ok(sail__file_read(sail__path_join(a, adapter_path(0), "adapter_model.safetensors"), 1 << 20, &data, &size, &err),
       &err);
    ok(sail__file_write(sail__path_join(a, dir, "adapter_model.safetensors"), data, size, &err), &err);
    sail__free(data);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        refused(dir, cases[i][0], cases[i][1], cases[i][2]);
    sail__peft p;
    ok(sail__remove_tree(dir, &err), &err);
    assert_int_equal(sail__peft_read(a, dir, &p, &err), SAIL_E_NOTFOUND);
    sail__arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recorded_adapters_read_with_their_scales),
        cmocka_unit_test(merged_matrices_are_the_recorded_ones),
        cmocka_unit_test(a_written_adapter_reads_the_same),
        cmocka_unit_test(what_cannot_be_done_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
