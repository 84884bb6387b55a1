/* test_reward.c - fitting a reward model: the gradient of every preference model's loss through the recorded model's score head and all
 * its layers, against differences of the loss along each parameter's own gradient; and the same for a new head on a language model with an
 * adapter. The loss is a sum in double of scores in float32, so that differences along a direction keep five digits. */
#include "../lesson.h"

#include "align/score_head.h"

static const struct {
    const char *name, *options[3];
} models[] = {
    {"bradley_terry", {NULL}},           {"thurstone", {"scale", "0.7", NULL}}, {"plackett_luce", {"temperature", "2", NULL}},
    {"rao_kupper", {"nu", "1.5", NULL}}, {"davidson", {"nu", "0.8", NULL}},     {"noisy_bradley_terry", {"epsilon", "0.1", NULL}},
    {"general", {"dimension", "4", NULL}}, /* last: vectors need a head of their own */
};
enum { MODELS = sizeof models / sizeof *models - 1 };

/* A loss of the pairs at hand. */
static void begin(lesson *l, rig *r, int which, const golden_file *f, bool centred)
{
    const sail_node *options = centred ? test_map(r->arena, "center_rewards_coefficient", "0.3", "margin", "0.5", NULL) : NULL;
    lesson_begin(l, r, "reward", options, 1);
    l->stage.kind = SAIL__REWARD;
    l->stage.preference = rig_slot(r, SAIL_KIND_PREFERENCE, models[which].name,
                                   models[which].options[0] ? test_map(r->arena, models[which].options[0], models[which].options[1], NULL) : NULL);
    lesson_pairs(l, f);
    for (int64_t i = 0; i < l->step.n; i++) { /* the first pair has a margin, the second has none */
        l->step.groups[i].r[0].score = i == 0 ? 2.5 : NAN;
        l->step.groups[i].r[1].score = i == 0 ? 1.25 : NAN;
    }
}

static double loss_of(lesson *l)
{
    sail_err err = {0};
    double loss;
    l->metrics.n = 0;
    if (sail__learner_evaluate(&l->learner, &l->stage, &l->step, &l->metrics, &loss, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    return loss;
}

/* Every entry moved along its gradient: dL/dh = |g|^2. */
static void along_gradients(lesson *l, const char *where, double limit)
{
    rig *r = l->rig;
    sail__flat *f = sail__model_flat(r->model);
    lesson_gradients(l);
    double at_once = loss_of(l);
    rig_judge(r, "loss", where, fabs(at_once - l->loss), 1e-6);
    for (int e = 0; e < f->n_entries; e++) {
        size_t n;
        sail_err err = {0};
        float *w = lesson_values(r, e, SAIL__FLAT_WEIGHT, &n), *g = lesson_values(r, e, SAIL__FLAT_GRADIENT, &n), *moved = sail__arena_array(r->arena, n, sizeof *moved);
        double norm = lesson_norm(g, n), value[5], h = norm > 0 ? fmin(0.02 / (norm * norm), 0.05 * lesson_norm(w, n) / norm + 1e-2) : 0;
        if (norm < 1e-4)
            continue; /* what the head does not see */
        for (int k = -2; k <= 2; k++) {
            for (size_t i = 0; i < n; i++)
                moved[i] = (float)(w[i] + k * h * g[i]);
            if (sail__flat_put(f, e, moved, &err) != SAIL_OK)
                fail_msg("%s", err.message);
            value[k + 2] = loss_of(l);
        }
        sail__flat_put(f, e, w, &err);
        double slope = (8 * (value[3] - value[1]) - (value[4] - value[0])) / (12 * h);
        char at[256];
        snprintf(at, sizeof at, "%s, %s", where, f->entries[e].name);
        rig_judge(r, "gradient against differences", at, fabs(slope / (norm * norm) - 1), limit);
    }
}

static void whole_model(void **state)
{
    rig r;
    golden_file f;
    GOLDEN_OR_SKIP();
    rig_open(&r, (int)(intptr_t)*state);
    golden_open(&f, "models/families/llama/dpo.safetensors");
    for (int i = 0; i < 2 * MODELS; i++) {
        sail_optimizer_plan plan = {0};
        lesson l;
        char where[128];
        lesson_plan(&r, test_map(r.arena, "kind", "\"sgd\"", NULL), &plan);
        rig_load(&r, &(rig_spec){.path = sail__path_join(r.arena, golden_dir(), "models/reward"), .train = SAIL__TRAIN_ALL, .optimizer = &plan});
        begin(&l, &r, i / 2, &f, i % 2);
        snprintf(where, sizeof where, "%s%s", models[i / 2].name, i % 2 ? ", centred, with margins" : "");
        along_gradients(&l, where, 1e-3);
        lesson_end(&l);
    }
    golden_close(&f);
    rig_report(&r, "reward: every parameter");
    rig_close(&r);
}

/* The language model gets a head and an adapter: only they learn, and the head is saved with the adapter. */
static void new_head(rig *r, int which, int32_t labels, const golden_file *f)
{
    sail_err err = {0};
    sail_optimizer_plan plan = {0};
    lesson_plan(r, test_map(r->arena, "kind", "\"sgd\"", NULL), &plan);
    rig_load(r, &(rig_spec){.path = sail__path_join(r->arena, golden_dir(), "models/families/llama")});
    sail__model_free(r->model);
    r->model = NULL;
    const sail__model_config *config;
    sail__param_source source;
    assert_int_equal(sail__score_head_config(r->arena, sail__weights_config(r->weights), labels, NULL, &config, &err), SAIL_OK);
    assert_int_equal(sail__score_head_source(r->arena, config, sail__weights_source(r->weights), 7, &source, &err), SAIL_OK);
    assert_string_equal(config->architecture, "LlamaForSequenceClassification");
    sail__model_config ending = *sail__weights_config(r->weights); /* transformers would read the score before the end token */
    const sail__model_config *padded;
    ending.pad_id = ending.end_ids[0];
    assert_int_equal(sail__score_head_config(r->arena, &ending, labels, NULL, &padded, &err), SAIL_OK);
    assert_true(padded->pad_id >= 0 && padded->pad_id != ending.end_ids[0]);
    assert_int_equal(sail__score_head_config(r->arena, config, labels + 1, NULL, &padded, &err), SAIL_E_RECIPE);
    sail__model_config scaled = *config; /* as costs and normalised scores are */
    const double shift[4] = {0.5, -1, 0, 2}, scale[4] = {-0.5, 3, 1, 0.25};
    if (labels == 4) {
        scaled.score_shift = shift;
        scaled.score_scale = scale;
        config = &scaled;
    }
    const char *targets[] = {"q_proj", "down_proj"}, **modules;
    size_t n;
    assert_int_equal(sail__linear_modules(r->arena, config, targets, 2, &modules, &n, &err), SAIL_OK);
    sail__adapter_layer *layers = sail__arena_array(r->arena, n, sizeof *layers);
    for (size_t i = 0; i < n; i++) {
        const sail__lora_layer shape[] = {{.in = strstr(modules[i], "down") ? config->ff : config->width, .out = config->width}};
        float *b = sail__arena_array(r->arena, (size_t)(shape->out * 4), sizeof *b);
        for (int64_t k = 0; k < shape->out * 4; k++)
            b[k] = 0.05f * (float)((k * 37 + (int64_t)i) % 11 - 5);
        layers[i] = (sail__adapter_layer){modules[i], 4, 0.5, NULL, b};
    }
    sail__peft peft = {.rank = 4, .alpha = 2};
    sail__adapter adapter = {layers, n, NULL, 0, 0};
    assert_int_equal(sail__score_head_save(r->arena, config, &source, &peft, &adapter, &err), SAIL_OK);
    assert_int_equal(adapter.n_saved, 1);
    assert_string_equal(peft.task_type, "SEQ_CLS");
    assert_string_equal(peft.save_names[0], "score");
    sail__model_spec spec = {.config = config, .source = &source, .dtype = r->variant.dtype, .train = SAIL__TRAIN_ADAPTER, .adapter = &adapter,
                             .optimizer = &plan, .seed = 3};
    if (sail__model_new(r->rt, &spec, &r->model, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    lesson l;
    begin(&l, r, which, f, true);
    assert_int_equal(sail__model_flat(r->model)->n_entries, 2 * (int)n + 1);
    along_gradients(&l, models[which].name, 1e-3);
    double margin = sail__metrics_get(&l.metrics, "rewards/margins");
    assert_true(isfinite(margin));
    lesson_end(&l);
}

static void adapter_and_new_head(void **state)
{
    rig r;
    golden_file f;
    GOLDEN_OR_SKIP();
    rig_open(&r, (int)(intptr_t)*state);
    golden_open(&f, "models/families/llama/dpo.safetensors");
    new_head(&r, 0, 1, &f);
    new_head(&r, MODELS, 4, &f);
    golden_close(&f);
    rig_report(&r, "reward: adapter and head");
    rig_close(&r);
}

/* A step cut into micro-batches has the gradient of the whole. */
static void cut_in_parts(void **state)
{
    rig r;
    golden_file f;
    GOLDEN_OR_SKIP();
    rig_open(&r, (int)(intptr_t)*state);
    golden_open(&f, "models/families/llama/dpo.safetensors");
    sail_optimizer_plan plan = {0};
    lesson_plan(&r, test_map(r.arena, "kind", "\"sgd\"", NULL), &plan);
    rig_load(&r, &(rig_spec){.path = sail__path_join(r.arena, golden_dir(), "models/reward"), .train = SAIL__TRAIN_ALL, .optimizer = &plan});
    lesson l;
    begin(&l, &r, 0, &f, true);
    lesson_gradients(&l);
    sail__flat *flat = sail__model_flat(r.model);
    float **whole = sail__arena_array(r.arena, (size_t)flat->n_entries, sizeof *whole);
    size_t n;
    for (int e = 0; e < flat->n_entries; e++)
        whole[e] = lesson_values(&r, e, SAIL__FLAT_GRADIENT, &n);
    double loss = l.loss, accuracy = sail__metrics_get(&l.metrics, "rewards/accuracies");
    l.stage.train.micro_batch = 1;
    lesson_gradients(&l);
    assert_int_equal(l.learner.extra_forwards, 0);
    rig_judge(&r, "loss", "two parts", fabs(l.loss - loss), 1e-6);
    rig_judge(&r, "accuracy", "two parts", fabs(sail__metrics_get(&l.metrics, "rewards/accuracies") - accuracy), 1e-12);
    for (int e = 0; e < flat->n_entries; e++) {
        float *parts = lesson_values(&r, e, SAIL__FLAT_GRADIENT, &n);
        double most = 0, largest = 1e-6;
        for (size_t i = 0; i < n; i++) {
            most = fmax(most, fabs((double)parts[i] - whole[e][i]));
            largest = fmax(largest, fabs(whole[e][i]));
        }
        rig_judge(&r, "gradient of parts", flat->entries[e].name, most / largest, 2e-5);
    }
    assert_true(isnan(sail__metrics_get(&l.metrics, "logps/chosen")) && isnan(sail__metrics_get(&l.metrics, "entropy")));
    lesson_end(&l);
    golden_close(&f);
    rig_report(&r, "reward: micro-batches");
    rig_close(&r);
}

#define VARIANT(test, i, label) {#test " on " label, test, NULL, NULL, (void *)(intptr_t)(i)}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VARIANT(whole_model, 0, "ref"),          VARIANT(whole_model, 2, "cpu f32"),  VARIANT(adapter_and_new_head, 0, "ref"),
        VARIANT(adapter_and_new_head, 2, "cpu f32"), VARIANT(cut_in_parts, 0, "ref"), VARIANT(cut_in_parts, 2, "cpu f32"),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
