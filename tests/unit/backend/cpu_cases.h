/* cpu_cases.h - cases of test_cpu.c for attention and the head. */

/* A forest of n segments in depth-first order: parents[i], lengths[i]; `room` keys lie before the first query's. */
typedef struct trees {
    float segments[16 * 8], ranges[64 * 4], tiles[64 * 4];
    int n_segments, n_ranges, n_tiles;
    int64_t rows;
} trees;

static void grow(trees *t, int n, const int *parents, const int *lengths)
{
    int first[16], position[16];
    memset(t, 0, sizeof *t);
    t->n_segments = n;
    for (int i = 0; i < n; i++) {
        first[i] = (int)t->rows;
        position[i] = parents[i] < 0 ? 0 : position[parents[i]] + lengths[parents[i]];
        int line[16], depth = 0, end = (int)t->rows + lengths[i];
        for (int s = i; s >= 0; s = parents[s])
            line[depth++] = s;
        float *segment = t->segments + i * 8;
        segment[5] = (float)t->n_ranges;
        segment[6] = (float)depth;
        while (depth--) {
            float *range = t->ranges + t->n_ranges++ * 4;
            range[0] = (float)first[line[depth]];
            range[1] = (float)lengths[line[depth]];
            range[2] = (float)position[line[depth]];
        }
        for (int at = 0; at < lengths[i]; at += 64) {
            float *tile = t->tiles + t->n_tiles++ * 4;
            tile[0] = (float)i;
            tile[1] = (float)(t->rows + at);
            tile[2] = (float)(lengths[i] - at < 64 ? lengths[i] - at : 64);
            tile[3] = (float)(position[i] + at);
        }
        for (int s = i + 1; s < n; s++) { /* descendants follow */
            int up = parents[s];
            while (up > i)
                up = parents[up];
            if (up != i)
                break;
            end += lengths[s];
        }
        segment[0] = (float)t->rows;
        segment[1] = (float)lengths[i];
        segment[2] = (float)position[i];
        segment[3] = (float)parents[i];
        segment[4] = (float)end;
        t->rows += lengths[i];
    }
}

static operand table(const float *v, int rows, int cols)
{
    return mat(I, rows, cols, 0, memcpy(malloc((size_t)(rows * cols) * 4), v, (size_t)(rows * cols) * 4));
}

static void attention_case(const trees *t, sail_dtype x, int heads, int groups, int h, int window, float cap)
{
    sail_attr a = {.dtype = x, .heads = heads, .kv_heads = groups, .head_dim = h, .scale = 1 / sqrtf((float)h),
                   .window = window, .softcap = cap};
    int64_t T = t->rows;
    rig_case c = {.op = SAIL_OP_ATTENTION, .attr = a, .n_in = 6, .n_out = 2,
                  .in = {noise(x, T, heads * h, 2), noise(x, T, groups * h, 4), noise(x, T, groups * h, 3),
                         table(t->segments, t->n_segments, 8), table(t->ranges, t->n_ranges, 4), table(t->tiles, t->n_tiles, 4)},
                  .out = {empty(x, T, heads * h), empty(F, T, heads)}};
    rig ref;
    float *out[SAIL_MAX_OUTPUTS];
    assert_true(rig_open(&ref, "ref", NULL));
    assert_true(rig_run(&ref, &c, out, NULL));
    rig_close(&ref);
    check(&c, eps_of(x));
    c = (rig_case){.op = SAIL_OP_ATTENTION_BACK, .attr = a, .n_in = 9, .n_out = 3,
                   .in = {noise(x, T, heads * h, 5), noise(x, T, heads * h, 2), noise(x, T, groups * h, 4),
                          noise(x, T, groups * h, 3), mat(x, T, heads * h, 0, out[0]), mat(F, T, heads, 0, out[1]),
                          table(t->segments, t->n_segments, 8), table(t->ranges, t->n_ranges, 4),
                          table(t->tiles, t->n_tiles, 4)},
                   .out = {empty(x, T, heads * h), empty(x, T, groups * h), empty(x, T, groups * h)}};
    check(&c, eps_of(x));
}

static void attention_agrees(void **state)
{
    trees t;
    for (int types = 0; types < 2; types++) {
        sail_dtype x = types ? B : F;
        grow(&t, 6, (int[]){-1, 0, 0, 2, -1, 4}, (int[]){150, 75, 40, 1, 66, 3});
        attention_case(&t, x, 6, 2, 64, 0, 0);
        attention_case(&t, x, 3, 3, 40, 0, 0);
        attention_case(&t, x, 4, 1, 32, 37, 0);
        attention_case(&t, x, 2, 1, 24, 0, 3);
        attention_case(&t, x, 2, 1, 33, 5, 3);
        grow(&t, 3, (int[]){-1, 0, 0}, (int[]){300, 1, 1});
        attention_case(&t, x, 9, 3, 64, 0, 0);
    }
}

static void head_case(int64_t rows, int64_t vocabulary, int64_t d, sail_dtype x, sail_dtype w, float scale, float cap, int want)
{
    sail_attr a = {.dtype = x, .scale = scale, .softcap = cap, .want = want};
    float *targets = rig_ids(rows, 3, vocabulary);
    targets[rows / 2] = -1;
    targets[0] = (float)(vocabulary - 1);
    bool quantised = w != x;
    rig_case c = {.op = SAIL_OP_HEAD, .attr = a, .n_in = 3, .n_out = 4,
                  .in = {noise(x, rows, d, 2), mat(w, vocabulary, d, 0, rig_random(vocabulary * d, 4, 0.3f)), mat(I, rows, 1, 0, targets)},
                  .out = {empty(F, rows, 1), empty(F, rows, 1), empty(F, rows, 1), empty(F, rows, 1)}};
    rig ref;
    float *out[SAIL_MAX_OUTPUTS];
    assert_true(rig_open(&ref, "ref", NULL));
    if (!rig_run(&ref, &c, out, NULL))
        print_message("%s\n", ref.err.message);
    assert_int_equal(ref.err.code, SAIL_OK);
    rig_close(&ref);
    float *copy = memcpy(malloc((size_t)rows * 4), targets, (size_t)rows * 4);
    check(&c, x == B && quantised ? 0.01 : 5e-6);
    for (int dw = 0; dw < (quantised ? 1 : 3); dw++) {
        a.want = want | (dw ? SAIL_WANT_DW : 0);
        a.accumulate = dw == 2;
        bool entropy = want & SAIL_WANT_ENTROPY, lss = want & SAIL_WANT_LSS;
        size_t bytes = (size_t)rows * 4;
        rig_case b = {.op = SAIL_OP_HEAD_BACK, .attr = a, .n_in = 9, .n_out = dw ? 2 : 1,
                      .in = {noise(x, rows, d, 2), mat(w, vocabulary, d, 0, rig_random(vocabulary * d, 4, 0.3f)),
                             mat(I, rows, 1, 0, memcpy(malloc(bytes), copy, bytes)), mat(F, rows, 1, 0, memcpy(malloc(bytes), out[3], bytes)),
                             mat(F, rows, 1, 0, memcpy(malloc(bytes), out[1], bytes)), mat(F, rows, 1, 0, memcpy(malloc(bytes), out[2], bytes)),
                             noise(F, rows, 1, 7), entropy ? noise(F, rows, 1, 9) : absent(), lss ? noise(F, rows, 1, 11) : absent()},
                      .out = {empty(x, rows, d), dw ? mat(F, vocabulary, d, 0, rig_random(vocabulary * d, 6, 1)) : absent()}};
        check(&b, x == B ? 0.01 : 1e-5);
    }
    free(copy);
    for (int i = 0; i < 4; i++)
        free(out[i]);
}

static void head_agrees(void **state)
{
    for (int types = 0; types < 2; types++) {
        sail_dtype x = types ? B : F;
        head_case(70, 1700, 65, x, x, 1, 0, 0);
        head_case(3, 3333, 64, x, x, 1, 0, SAIL_WANT_ENTROPY | SAIL_WANT_LSS);
        head_case(600, 500, 32, x, x, 0.5f, 4, SAIL_WANT_ENTROPY);
        head_case(40, 300, 64, x, x, 0.5f, 0, SAIL_WANT_LSS);
        head_case(40, 300, 64, x, SAIL_Q8_0, 1, 0, SAIL_WANT_LSS);
    }
}

static void sampling_agrees(void **state)
{
    enum { S = 6, V = 700, L = 9 };
    static const float params[S][8] = {{0, 0, 1, 0, 1, 1},        {1, 0, 1, 0, 1, 1},     {0.8f, 20, 1, 0, 1, 1},
                                       {1.3f, 0, 0.7f, 0, 1, 1}, {1, 0, 1, 0.1f, 1, 1.2f}, {1, 50, 0.9f, 0.02f, 0.8f, 1.1f}};
    rig_case c = {.op = SAIL_OP_SAMPLE, .n_in = 4, .n_out = 3,
                  .in = {mat(F, S, V, 5, rig_random(S * V, 3, 3)), mat(F, S, 8, 0, memcpy(malloc(sizeof params), params, sizeof params)),
                         mat(I, S, 6, 0, rig_ids(S * 6, 5, 1000)), mat(I, S, L, 0, rig_ids(S * L, 6, V))},
                  .out = {empty(I, S, 1), empty(F, S, 1), empty(F, S, 1)}};
    check(&c, 2e-6);
}

static void updates_agree(void **state)
{
    enum { N = 150001 };
    for (int form = 0; form < 8; form++) {
        float *control = rig_same(16, 0);
        control[0] = 0.01f, control[1] = 0.5f, control[2] = form == 7, control[5] = form % 2 ? 1.0f : 3.0f;
        control[9] = 0.271f, control[10] = 0.002997f;
        float *positive = rig_random(N, 6, 1);
        for (int64_t i = 0; i < N; i++)
            positive[i] *= positive[i];
        sail_attr a = {.beta1 = 0.9f, .beta2 = 0.999f, .adam_eps = 1e-8f, .weight_decay = form & 1 ? 0.1f : 0.0f,
                       .momentum = form & 2 ? 0.9f : 0.0f, .dampening = 0.1f, .centered = form & 4};
        operand g = mat(F, 1, N, 0, rig_random(N, 1, 1)), w = mat(F, 1, N, 0, rig_random(N, 2, 1));
        operand block = mat(F, 1, 16, 0, control), other = mat(F, 1, N, 0, rig_random(N, 3, 0.1f));
        operand v = mat(F, 1, N, 0, positive), shadow = empty(B, 1, N);
        bool shadowed = form % 3;
        rig_case c = {.op = SAIL_OP_SGD, .attr = a, .n_in = 5, .n_out = 1, .in_place = 3,
                      .in = {g, block, w, a.momentum != 0 ? other : absent(), shadowed ? shadow : absent()}};
        rig_case copies[3] = {c};
        copies[1] = (rig_case){.op = SAIL_OP_RMSPROP, .attr = a, .n_in = 7, .n_out = 1, .in_place = 3,
                               .in = {g, block, w, v, a.momentum != 0 ? other : absent(), a.centered ? other : absent(),
                                      shadowed ? shadow : absent()}};
        copies[2] = (rig_case){.op = SAIL_OP_ADAMW, .attr = a, .n_in = 6, .n_out = 1, .in_place = 3,
                               .in = {g, block, w, other, v, shadowed ? shadow : absent()}};
        for (int i = 0; i < 3; i++) {
            for (int k = 0; k < copies[i].n_in; k++) { /* check frees what it is given */
                operand *o = &copies[i].in[k];
                size_t bytes = (size_t)(o->rows * o->cols) * 4;
                if (o->values)
                    o->values = memcpy(malloc(bytes), o->values, bytes);
            }
            check(&copies[i], shadowed ? 1.0 / 256 : 3e-6);
        }
        const float *mine[] = {g.values, w.values, block.values, other.values, v.values};
        for (int i = 0; i < 5; i++)
            free((void *)(uintptr_t)mine[i]);
    }
}

static void norm_and_clip_agree(void **state)
{
    for (int form = 0; form < 6; form++) {
        float *control = rig_same(16, 0), *total = rig_same(1, 12.5f);
        control[3] = form & 1 ? 1.0f : 0.0f, control[6] = form == 4, control[7] = 0.5f, control[8] = form == 5 ? NAN : 1.5f;
        rig_case c = {.op = SAIL_OP_CLIP, .n_in = 2, .n_out = 1, .in_place = 2, .in = {mat(F, 1, 1, 0, total), mat(F, 1, 16, 0, control)}};
        check(&c, 1e-6);
        sail_dtype x = form & 1 ? B : F;
        int64_t n = form & 2 ? 200001 : 333;
        c = (rig_case){.op = SAIL_OP_SUM_SQUARES, .attr = {.accumulate = form & 4}, .n_in = 2, .n_out = 1, .in_place = 2,
                       .in = {mat(x, 1, n, 0, rig_random(n, 2, 1)), mat(F, 1, 1, 0, rig_same(1, 7))}};
        check(&c, 1e-6);
    }
}

/* A NaN anywhere in an operand is a NaN in every result that it enters: close_to takes a pair of NaN only as equal. */
static void not_a_number_stays(void **state)
{
    for (int types = 0; types < 2; types++) {
        sail_dtype x = types ? B : F;
        enum { R = 70, D = 64 };
        float *poisoned = rig_random(R * D, 3, 1), *w = rig_random(300 * D, 4, 1);
        poisoned[37 * D + 5] = NAN;
#define POISON mat(x, R, D, 0, memcpy(malloc(R * D * 4), poisoned, R * D * 4))
        rig_case c = {.op = SAIL_OP_MATMUL, .attr = {.dtype = F, .trans_b = true, .scale = 1}, .n_in = 2, .n_out = 1,
                      .in = {POISON, mat(x, 300, D, 0, memcpy(malloc(300 * D * 4), w, 300 * D * 4))}, .out = {empty(F, R, 300)}};
        check(&c, 1e-5);
        c = (rig_case){.op = SAIL_OP_HEAD, .attr = {.scale = 1, .want = 3}, .n_in = 3, .n_out = 4,
                       .in = {POISON, mat(x, 300, D, 0, memcpy(malloc(300 * D * 4), w, 300 * D * 4)), mat(I, R, 1, 0, rig_ids(R, 1, 300))},
                       .out = {empty(F, R, 1), empty(F, R, 1), empty(F, R, 1), empty(F, R, 1)}};
        check(&c, 1e-5);
        c = (rig_case){.op = SAIL_OP_RMS_NORM, .attr = {.dtype = x, .groups = 1, .eps = 1e-5f}, .n_in = 2, .n_out = 2,
                       .in = {POISON, noise(F, 1, D, 1)}, .out = {empty(x, R, D), empty(F, R, 1)}};
        check(&c, eps_of(x));
        for (int act = 0; act < 4; act++) {
            c = (rig_case){.op = SAIL_OP_GLU, .attr = {.activation = act}, .n_in = 2, .n_out = 1, .in = {POISON, noise(x, R, D, 3)},
                           .out = {empty(x, R, D)}};
            check(&c, eps_of(x));
        }
        trees t;
        grow(&t, 1, (int[]){-1}, (int[]){R});
        for (int operand_ = 0; operand_ < 3; operand_++) {
            c = (rig_case){.op = SAIL_OP_ATTENTION, .attr = {.heads = 2, .kv_heads = 2, .head_dim = 32, .scale = 0.2f},
                           .n_in = 6, .n_out = 2, .in = {noise(x, R, D, 1), noise(x, R, D, 5), noise(x, R, D, 7),
                           table(t.segments, 1, 8), table(t.ranges, 1, 4), table(t.tiles, t.n_tiles, 4)},
                           .out = {empty(x, R, D), empty(F, R, 2)}};
            free((void *)(uintptr_t)c.in[operand_].values);
            c.in[operand_] = POISON;
            if (operand_ > 0) { /* a key that every query sees: one that some do not may still spoil its tile */
                float *v = (float *)(uintptr_t)c.in[operand_].values;
                v[37 * D + 5] = 1;
                v[5] = NAN;
            }
            check(&c, eps_of(x));
        }
        free(poisoned);
        free(w);
    }
}

#define CPU_CASES                                                                                                      \
    cmocka_unit_test(attention_agrees), cmocka_unit_test(head_agrees), cmocka_unit_test(sampling_agrees),             \
        cmocka_unit_test(updates_agree), cmocka_unit_test(norm_and_clip_agree), cmocka_unit_test(not_a_number_stays),
