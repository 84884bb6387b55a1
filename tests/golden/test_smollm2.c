/* test_smollm2.c - a real model, SmolLM2-135M-Instruct (Q4_1 GGUF), against golden/models/smollm2: texts to ids, scores of two
 * texts, the largest logits, a greedy continuation of a chat message. */
#include "../rig.h"

#include "io/template.h"
#include "nn/generate.h"

typedef struct limits {
    double logprob, entropy, top, logsumexp, greedy;
} limits;
static const limits limits_f32 = {2e-4, 3e-4, 3e-4, 3e-4, 5e-4};
/* bfloat16 has 8 bits: twice what was measured */
static const limits limits_bf16 = {0.2, 0.25, 0.35, 0.05, 0.1};

static const char *model_path(const sail_node *texts)
{
    char relative[512];
    snprintf(relative, sizeof relative, "../models/%s", test_string(sail__node_get(texts, "file")));
    return golden_path(relative);
}

#define MODEL_OR_SKIP(texts, close)                                                                                    \
    do {                                                                                                               \
        if (!model_path(texts)) {                                                                                      \
            print_message("skipped: no shared models/%s\n", test_string(sail__node_get(texts, "file"))); \
            golden_close(close);                                                                                       \
            skip();                                                                                                    \
        }                                                                                                              \
    } while (0)

static void same_ids(const sail__ids *got, const sail_node *want)
{
    assert_int_equal(got->n, want->list.n);
    for (size_t i = 0; i < got->n; i++)
        assert_int_equal(got->items[i], want->list.items[i]->integer);
}

static void texts_become_the_recorded_ids(void **state)
{
    golden_file f;
    sail__tokenizer *t;
    sail_err err = {0};
    GOLDEN_OR_SKIP();
    const sail_node *root = golden_json(&f, "models/smollm2/texts.json"), *texts = sail__node_get(root, "texts");
    MODEL_OR_SKIP(root, &f);
    if (sail__tokenizer_open(model_path(root), &t, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    for (size_t i = 0; i < texts->list.n; i++) {
        const sail_node *text = sail__node_get(texts->list.items[i], "text"), *ids = sail__node_get(texts->list.items[i], "ids");
        sail__ids got = {0};
        sail_buf back = {0};
        assert_int_equal(sail__encode(t, NULL, text->string.data, text->string.len, 0, &got, &err), SAIL_OK);
        same_ids(&got, ids);
        assert_int_equal(sail__decode(t, got.items, got.n, 0, &back, &err), SAIL_OK);
        assert_string_equal(back.data, text->string.data);
        sail__ids_free(&got);
        sail__buf_free(&back);
    }
    sail__tokenizer_free(t);
    golden_close(&f);
}

/* The user's message, found in the recorded text, through the model's own template. */
static void chat_becomes_the_recorded_ids(void **state)
{
    static const char open[] = "<|im_start|>user\n", shut[] = "<|im_end|>";
    golden_file f;
    sail__tokenizer *t;
    sail__template *chat = NULL;
    sail_err err = {0};
    GOLDEN_OR_SKIP();
    const sail_node *root = golden_json(&f, "models/smollm2/texts.json"), *c = sail__node_get(root, "chat");
    MODEL_OR_SKIP(root, &f);
    if (sail__tokenizer_open(model_path(root), &t, &err) != SAIL_OK || sail__template_for(t, NULL, NULL, &chat, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    const char *text = test_string(sail__node_get(c, "text")), *user = strstr(text, open);
    assert_non_null(user);
    user += strlen(open);
    const char *end = strstr(user, shut);
    assert_non_null(end);
    sail__message message = {"user", sail__arena_strndup(f.arena, user, (size_t)(end - user)), (size_t)(end - user)};
    sail_buf rendered = {0};
    sail__spans spans = {0};
    sail__ids ids = {0};
    if (sail__template_render(chat, &message, 1, true, &rendered, &spans, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    assert_string_equal(rendered.data, text);
    assert_int_equal(sail__encode_spans(t, NULL, rendered.data, rendered.len,
                                        SAIL__PARSE_SPECIAL | (sail__template_add_special(chat) ? SAIL__ADD_SPECIAL : 0), spans.items,
                                        spans.n, &ids, &err), SAIL_OK);
    same_ids(&ids, sail__node_get(c, "ids"));
    sail__ids_free(&ids);
    sail__buf_free(&rendered);
    sail__free(spans.items);
    sail__template_free(chat);
    sail__tokenizer_free(t);
    golden_close(&f);
}

static void one_text(rig *r, const golden_file *f, int i, const limits *l)
{
    sail_err err = {0};
    char name[64], at[32];
    size_t n, count, vocab = (size_t)sail__weights_config(r->weights)->vocab;
    snprintf(at, sizeof at, "text %d", i);
    snprintf(name, sizeof name, "input_ids.%d", i);
    int32_t *ids = rig_ids(r, f, name, &n);
    float *logp = sail__arena_array(r->arena, n, sizeof *logp), *entropy = sail__arena_array(r->arena, n, sizeof *entropy);
    float *logits = sail__arena_array(r->arena, n * vocab, sizeof *logits);
    if (rig_score(r, SAIL__POLICY, ids, n, logits, logp, entropy, NULL, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    snprintf(name, sizeof name, "logprob.%d", i);
    double *want = golden_doubles(f, name, &count);
    assert_int_equal(count, n - 1);
    rig_floats(r, "log-probability", at, logp, want, count, l->logprob);
    snprintf(name, sizeof name, "entropy.%d", i);
    want = golden_doubles(f, name, &count);
    assert_int_equal(count, n);
    rig_floats(r, "entropy", at, entropy, want, count, l->entropy);
    const float *last = logits + (n - 1) * vocab;
    snprintf(name, sizeof name, "top_ids.%d", i);
    int64_t *top = golden_ints(f, name, &count);
    snprintf(name, sizeof name, "top_logits.%d", i);
    want = golden_doubles(f, name, NULL);
    double max = last[0], sum = 0;
    for (size_t k = 0; k < count; k++)
        rig_judge(r, "largest logits", at, fabs(last[top[k]] - want[k]), l->top);
    for (size_t k = 1; k < vocab; k++)
        max = fmax(max, last[k]);
    for (size_t k = 0; k < vocab; k++)
        sum += exp(last[k] - max);
    snprintf(name, sizeof name, "last_logsumexp.%d", i);
    rig_judge(r, "log sum of exponentials", at, fabs(max + log(sum) - golden_scalar(f, name)), l->logsumexp);
}

static void continuation(rig *r, const golden_file *f, const limits *l)
{
    sail_err err = {0};
    sail__generator *g;
    sail__gen_response *out = NULL;
    size_t n_prompt, n, n_out = 0, agreed = 0;
    int32_t *prompt = rig_ids(r, f, "chat_ids", &n_prompt);
    int64_t *want = golden_ints(f, "greedy", &n);
    double *gap = golden_doubles(f, "greedy_gap", NULL), *logp = golden_doubles(f, "greedy_logprob", NULL);
    sail__gen_request request = {.prompt = prompt, .n_prompt = (int64_t)n_prompt, .children = 1, .max_new = (int64_t)n,
                                 .sampling = {.top_p = 1, .typical = 1, .penalty = 1}, .ignore_end = true};
    if (sail__generator_new(r->model, SAIL__POLICY, 1, &g, &err) != SAIL_OK ||
        sail__generate(g, 1, &request, 1, NULL, 0, NULL, NULL, r->arena, &out, &n_out, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    assert_int_equal(n_out, 1);
    assert_int_equal(out->n, n);
    while (agreed < n && out->ids[agreed] == want[agreed])
        agreed++;
    if (agreed < n && gap[agreed] > 2 * l->top) /* a smaller gap this precision need not see */
        rig_judge(r, "greedy ids", "chat", gap[agreed], 0);
    rig_judge(r, "greedy ids", "chat", 0, 1);
    rig_floats(r, "greedy log-probability", "chat", out->logp, logp, agreed, l->greedy);
    print_message("%zu of %zu greedy tokens agree\n", agreed, n);
    sail__generator_free(g);
}

static void scores_and_continuation(void **state)
{
    rig r;
    golden_file f, texts;
    GOLDEN_OR_SKIP();
    const sail_node *root = golden_json(&texts, "models/smollm2/texts.json");
    MODEL_OR_SKIP(root, &texts);
    rig_open(&r, (int)(intptr_t)*state);
    const limits *l = r.variant.dtype == SAIL_BF16 ? &limits_bf16 : &limits_f32;
    golden_open(&f, "models/smollm2/expected.safetensors");
    rig_load(&r, &(rig_spec){.path = model_path(root)});
    for (int i = 0; i < (int)sail__node_get(root, "texts")->list.n; i++)
        one_text(&r, &f, i, l);
    continuation(&r, &f, l);
    golden_close(&f);
    golden_close(&texts);
    rig_report(&r, "SmolLM2");
    rig_close(&r);
}

#define VARIANT(test, i, label) {#test " on " label, test, NULL, NULL, (void *)(intptr_t)(i)}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_become_the_recorded_ids),
        cmocka_unit_test(chat_becomes_the_recorded_ids),
        VARIANT(scores_and_continuation, 0, "ref"),
        VARIANT(scores_and_continuation, 2, "cpu f32"),
        VARIANT(scores_and_continuation, 3, "cpu bf16"),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
