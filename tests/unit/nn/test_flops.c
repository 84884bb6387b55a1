/* test_flops.c - flops counted from a decoder's graph and a forest, against the formula for a pair that shares its prompt. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "nn/decoder.h"
#include "nn/forest.h"
#include "nn/inputs.h"

enum { LAYERS = 4, WIDTH = 576, HEADS = 9, KV_HEADS = 3, HEAD_DIM = 64, FF = 1536, VOCAB = 49152 };

typedef struct world {
    sail_arena *arena;
    sail__layer_config layer[LAYERS];
    sail__model_config config;
    sail__forest forest;
} world;

static void world_init(world *w, int window)
{
    *w = (world){.arena = sail__arena_new()};
    for (int i = 0; i < LAYERS; i++)
        w->layer[i].window = window;
    w->config = (sail__model_config){.family = sail__family_by_type("llama"), .model_type = "llama",
                                     .architecture = "LlamaForCausalLM", .width = WIDTH, .layers = LAYERS, .heads = HEADS,
                                     .kv_heads = KV_HEADS, .head_dim = HEAD_DIM, .ff = FF, .vocab = VOCAB,
                                     .max_positions = 2048, .norm_eps = 1e-5, .gated = true, .activation = SAIL_ACT_SILU,
                                     .embed_scale = 1, .attention_scale = 1 / sqrt(HEAD_DIM), .tied = true, .n_ropes = 1,
                                     .layer = w->layer};
    w->config.ropes[0] = (sail__rope){.rotary = HEAD_DIM, .theta = 10000, .attention_factor = 1};
}

static void world_free(world *w)
{
    sail__forest_free(&w->forest);
    sail__arena_free(w->arena);
}

static void grow(world *w, int64_t prompt, int64_t response)
{
    sail_err err = {0};
    int32_t ids[2048] = {0};
    int parent;
    sail__forest_reset(&w->forest);
    assert_int_equal(sail__forest_add(&w->forest, -1, ids, prompt, SAIL__HEAD_NONE, 0, &parent, &err), SAIL_OK);
    for (int i = 0; i < 2; i++)
        assert_int_equal(sail__forest_add(&w->forest, parent, ids, response, SAIL__HEAD_EACH, i, NULL, &err), SAIL_OK);
}

/* Flops of a forward pass; `known` false: without the forest's ranges. */
static double counted(world *w, bool known, double *blocks)
{
    sail__param *params;
    size_t n;
    sail_graph *g = NULL;
    sail_err err = {0};
    double flops, bytes;
    assert_int_equal(sail__model_params(w->arena, &w->config, &params, &n, &err), SAIL_OK);
    sail_dtype *types = sail__arena_array(w->arena, n, sizeof *types);
    *blocks = 0;
    for (size_t i = 0; i < n; i++) {
        types[i] = SAIL_F32;
        if (!params[i].vector && params[i].layer >= 0)
            *blocks += (double)params[i].rows * (double)params[i].cols;
    }
    const sail__decoder_spec spec = {.config = &w->config, .params = params, .n_params = n, .param_dtype = types,
                                     .dtype = SAIL_F32, .rope_param = {(int)n, (int)n}, .positions = 2048,
                                     .head = SAIL__HEAD_LOGPROB};
    const sail_code code = sail__decoder_build(&spec, &g, &err);
    if (code != SAIL_OK)
        print_message("%s\n", err.message);
    assert_int_equal(code, SAIL_OK);
    const sail_forest_tables tables = {w->forest.segments, w->forest.ranges, w->forest.n_segments};
    const sail_dims dims = sail__forest_dims(&w->forest);
    sail_graph_count(g, &dims, known ? &tables : NULL, 0, sail_graph_nodes(g), &flops, &bytes);
    sail_graph_free(g);
    return flops;
}

static void a_pair_costs_what_the_formula_says(void **state)
{
    static const int64_t sizes[][2] = {{256, 128}, {128, 64}, {1024, 512}, {64, 512}};
    for (int i = 0; i < 4; i++) {
        world w;
        double blocks;
        const double p = (double)sizes[i][0], r = (double)sizes[i][1];
        world_init(&w, 0);
        grow(&w, sizes[i][0], sizes[i][1]);
        const double exact = counted(&w, true, &blocks), bound = counted(&w, false, &blocks);
        /* the prompt's rows end with the last layer's attention: nothing reads what would follow */
        const double unread = 2 * p * ((double)HEADS * HEAD_DIM * WIDTH + 3.0 * WIDTH * FF);
        const double formula = 2 * blocks * (p + 2 * r) - unread + 4 * (double)WIDTH * VOCAB * r +
                               2 * (double)LAYERS * HEADS * HEAD_DIM * (p * p + 4 * p * r + 2 * r * r);
        print_message("%g + 2 x %g: counted %.4g, formula %.4g (%+.2f%%), without the forest %+.2f%%\n", p, r, exact, formula,
                      100 * (exact / formula - 1), 100 * (bound / formula - 1));
        assert_true(fabs(exact / formula - 1) < 0.01);
        assert_true(bound > exact);
        world_free(&w);
    }
}

/* Pairs one by one, from who is whose ancestor. */
static double pairs_seen(const sail__forest *f, int window)
{
    double n = 0;
    for (int64_t c = 0; c < f->n_segments; c++)
        for (int64_t a = c; a >= 0; a = f->segments[8 * a + 3]) {
            const int32_t *q = f->segments + 8 * c, *k = f->segments + 8 * a;
            for (int32_t i = 0; i < q[1]; i++)
                for (int32_t j = 0; j < k[1]; j++)
                    n += k[2] + j <= q[2] + i && (window == 0 || k[2] + j > q[2] + i - window);
        }
    return n;
}

static void pairs_are_those_that_see_each_other(void **state)
{
    static const int windows[] = {0, 1, 7, 40, 1000};
    world w;
    sail_err err = {0};
    int32_t ids[64] = {0};
    int root, branch;
    world_init(&w, 0);
    assert_int_equal(sail__forest_add(&w.forest, -1, ids, 33, SAIL__HEAD_NONE, 0, &root, &err), SAIL_OK);
    assert_int_equal(sail__forest_add(&w.forest, root, ids, 20, SAIL__HEAD_EACH, 1, &branch, &err), SAIL_OK);
    assert_int_equal(sail__forest_add(&w.forest, branch, ids, 5, SAIL__HEAD_EACH, 2, NULL, &err), SAIL_OK);
    assert_int_equal(sail__forest_add(&w.forest, branch, ids, 1, SAIL__HEAD_EACH, 3, NULL, &err), SAIL_OK);
    assert_int_equal(sail__forest_add(&w.forest, root, ids, 64, SAIL__HEAD_EACH, 4, NULL, &err), SAIL_OK);
    assert_int_equal(sail__forest_add(&w.forest, -1, ids, 9, SAIL__HEAD_EACH, 5, NULL, &err), SAIL_OK);
    const sail_forest_tables tables = {w.forest.segments, w.forest.ranges, w.forest.n_segments};
    for (int i = 0; i < 5; i++)
        assert_true(sail_forest_pairs(&tables, windows[i]) == pairs_seen(&w.forest, windows[i]));
    world_free(&w);
}

static void a_window_makes_attention_cheaper(void **state)
{
    world w;
    double blocks, flops[2];
    for (int i = 0; i < 2; i++) {
        world_init(&w, i ? 32 : 0);
        grow(&w, 256, 128);
        flops[i] = counted(&w, true, &blocks);
        const sail_forest_tables tables = {w.forest.segments, w.forest.ranges, w.forest.n_segments};
        flops[i] -= 4.0 * LAYERS * HEADS * HEAD_DIM * sail_forest_pairs(&tables, i ? 32 : 0);
        world_free(&w);
    }
    assert_true(fabs(flops[0] - flops[1]) < 1); /* all the rest is the same */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pair_costs_what_the_formula_says),
        cmocka_unit_test(pairs_are_those_that_see_each_other),
        cmocka_unit_test(a_window_makes_attention_cheaper),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
