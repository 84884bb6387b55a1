/* trainer.c - the loop of a stage that learns. It puts the parts in order; each part is a file of its own. */
#include "trainer.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "routes.h"
#include "schedule.h"
#include "scoring.h"

/* ---- opening ---- */

static sail_code optimizer_plan(const sail__stage *stage, sail_optimizer_plan *plan)
{
    memset(plan, 0, sizeof *plan);
    const sail_optimizer *o = stage->optimizer.loaded->ops;
    o->plan(stage->optimizer.options, plan);
    return SAIL_OK;
}

static bool needs_fresh_reference(const sail__stage *s)
{
    if (s->kind != SAIL__ALIGN)
        return false;
    if (s->eval.generate > 0 || s->objective.loaded->plugin.caps & SAIL_CAP_MISMATCHED)
        return true;
    sail_route routes[SAIL_MAX_ROUTES];
    sail_err ignored;
    int n = 0;
    if (sail__routes_of(s, 0, routes, &n, &ignored) != SAIL_OK)
        return true;
    for (int i = 0; i < n; i++)
        if (routes[i].writer == SAIL_BY_POLICY && (routes[i].probability > 0 || sail__stage_is_scheduled(s)))
            return true;
    return false;
}

static sail_code open_session(sail__trainer *t, sail_err *err)
{
    const sail__stage *stage = t->o.stage;
    sail_optimizer_plan plan;
    SAIL_TRY(optimizer_plan(stage, &plan));
    uint32_t caps = stage->objective.loaded->plugin.caps;
    const sail_preference_model preference = sail__stage_preference(stage);
    if (stage->kind == SAIL__REWARD)
        caps &= ~(uint32_t)(SAIL_CAP_ENTROPY | SAIL_CAP_LSS);
    sail__session_spec spec = {.model = &stage->model,
                               .backend = &stage->backend,
                               .adapter = stage->has_adapter ? &stage->adapter : NULL,
                               .train = stage->has_adapter || stage->model.adapter_path ? SAIL__TRAIN_ADAPTER : SAIL__TRAIN_ALL,
                               .optimizer = &plan,
                               .decay_all = stage->train.decay == SAIL__DECAY_ALL,
                               .grad_want = sail__objective_grad_want(caps),
                               .reference = sail__stage_needs_reference(stage) || stage->rollout.rival != SAIL__RIVAL_POLICY,
                               .labels = stage->kind == SAIL__REWARD ? sail_preference_width(&preference) : 0,
                               .fresh_reference = needs_fresh_reference(stage),
                               .seed = stage->seed};
    return sail__session_open(t->o.ctx, &spec, &t->session, err);
}

static sail_code count_steps(sail__trainer *t, sail_err *err)
{
    const sail__train_section *s = &t->o.stage->train;
    t->steps = s->steps;
    if (t->steps == 0 && s->epochs > 0)
        t->steps = (int64_t)ceil(s->epochs * (double)t->stream.train.n / (double)s->batch);
    if (t->steps > 0 && t->stream.train.n == 0)
        return sail_fail(err, SAIL_E_ARG, "data.train has no usable row%s", t->o.stage->data.share ? " in the part that data.share takes" : "");
    return t->steps > 0 ? SAIL_OK : sail_fail(err, SAIL_E_RECIPE, "train.steps or train.epochs must be above 0");
}

static bool first_time(sail__trainer *t, const char *what)
{
    for (int i = 0; i < t->n_told; i++)
        if (strncmp(t->told[i], what, sizeof *t->told - 1) == 0)
            return false;
    if (t->n_told == sizeof t->told / sizeof *t->told)
        return false;
    snprintf(t->told[t->n_told++], sizeof *t->told, "%s", what);
    return true;
}

/* What the objective has to say about how the responses are drawn. */
static sail_code caution(sail__trainer *t, const sail__stage *live, int64_t step, const sail_route *routes, int n, sail_err *err)
{
    const sail__rollout_section *r = &live->rollout;
    const sail_slot *given = live->given_objective.loaded ? &live->given_objective : &live->objective; /* not what was wrapped around it */
    const sail_objective *o = given->loaded->ops;
    sail_circumstances c = {.size = sizeof c};
    sail_plan plan;
    if (live->kind != SAIL__ALIGN)
        return SAIL_OK;
    SAIL_TRY(sail__plan_of(live, step, &plan, err));
    for (int i = 0; i < n; i++)
        c.policy_writes |= routes[i].writer == SAIL_BY_POLICY && routes[i].probability > 0;
    const bool filtered = r->top_k > 0 || r->top_p < 1 || r->min_p > 0;
    c.off_policy = r->temperature != 1 || filtered || plan.replay > 0;
    if (c.policy_writes && r->temperature == 0 && first_time(t, "#greedy"))
        sail_log(t->o.ctx, SAIL_LOG_WARN, "rollout.temperature is 0: all responses to a prompt are the same, and nothing is learned from their difference; "
                 "1 draws from the policy itself");
    const char *text = o->caution ? o->caution(given->options, &c) : NULL;
    if (text && first_time(t, "#caution"))
        sail_log(t->o.ctx, SAIL_LOG_WARN, "objective %s, with %s: %s", given->loaded->plugin.name,
                 r->temperature != 1 ? "rollout.temperature other than 1" : filtered ? "filters in rollout" : "replayed responses", text);
    return SAIL_OK;
}

/* A judge where one is needed; a warning (or refusal) where the paper saw instability. */
static sail_code check_routes(sail__trainer *t, const sail__stage *live, int64_t step, sail_err *err)
{
    sail_route routes[SAIL_MAX_ROUTES];
    int n;
    SAIL_TRY(sail__routes_of(live, step, routes, &n, err));
    for (int i = 0; i < n; i++) {
        if (routes[i].labeller != SAIL_BY_JUDGE || !(routes[i].probability > 0))
            continue;
        if (!live->judge.loaded)
            return sail_fail(err, SAIL_E_RECIPE, "route `%s` is labelled by a judge: set method.judge", routes[i].name);
        SAIL_TRY(sail__judging_open(&t->stream.judging, &live->judge, err)); /* what is wrong with it is told before the first step */
    }
    SAIL_TRY(caution(t, live, step, routes, n, err));
    sail_code code = SAIL_OK;
    for (int i = 0; i < n && code == SAIL_OK; i++) {
        sail_buf text = {0};
        if (sail__route_warn(&routes[i], live->guard.max_weight, live->guard.max_coef, &text) && text.data) {
            if (live->guard.strict)
                code = sail_fail(err, SAIL_E_RECIPE, "guard.strict: %s", text.data);
            else if (first_time(t, routes[i].name))
                sail_log(t->o.ctx, SAIL_LOG_WARN, "%s", text.data);
        }
        sail__buf_free(&text);
    }
    return code;
}

/* Reference log-probabilities of all data rows, from the model as it starts. */
static sail_code fill_cache(sail__trainer *t, const sail__rows *rows, sail__ref_cache *c, sail_err *err)
{
    SAIL_TRY(sail__stream_cache_new(rows, c, err));
    enum { CHUNK = 64 };
    for (size_t first = 0; first < rows->n; first += CHUNK) {
        sail_arena *a = sail__arena_new();
        sail__step s = {.arena = a};
        sail__micro *m;
        int64_t parts;
        s.groups = a ? sail__arena_array(a, CHUNK, sizeof *s.groups) : NULL;
        sail_code code = s.groups ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "out of memory");
        for (size_t i = first; code == SAIL_OK && i < rows->n && i < first + CHUNK; i++) {
            sail__group *g = &s.groups[s.n++];
            *g = sail__group_of_row(rows, (int64_t)i, 0);
            sail__stream_cached(c, (int64_t)i, g);
            g->ref_known = false; /* the pass writes it into the cache */
        }
        if (code == SAIL_OK)
            code = sail__passes_plan(&s, 0, t->o.stage->train.max_tokens, &m, &parts, err);
        for (int64_t i = 0; code == SAIL_OK && i < parts; i++)
            code = sail__passes_reference(&t->learner.passes, &s, &m[i], err);
        if (a)
            sail__arena_free(a);
        SAIL_TRY(code);
        sail_progress(t->o.ctx, "reference", first, rows->n);
        if (sail_cancelled(t->o.ctx))
            return sail_fail(err, SAIL_E_CANCEL, "stopped before the first step");
    }
    return SAIL_OK;
}

static sail_code begin(sail__trainer *t, bool *resumed, sail_err *err)
{
    const sail__stage *stage = t->o.stage;
    SAIL_TRY(open_session(t, err));
    SAIL_TRY(sail__learner_init(&t->learner, t->session->model, stage->objective.loaded->plugin.caps, err));
    SAIL_TRY(sail__stream_open(t->session, stage, t->o.store, &t->stream, err));
    sail__stream_tell_drops(&t->stream, stage);
    t->stream.passes = &t->learner.passes;
    SAIL_TRY(count_steps(t, err));
    SAIL_TRY(sail__evaluator_init(&t->evaluator, &t->stream, &t->learner, err));
    if (stage->objective.loaded->plugin.caps & SAIL_CAP_MISMATCHED && stage->train.batch < 2)
        return sail_fail(err, SAIL_E_RECIPE, "objective %s estimates the divergence on responses to other prompts of the step: set train.batch to 2 or more",
                         stage->objective.loaded->plugin.name);
    SAIL_TRY(check_routes(t, stage, 0, err));
    if (!(t->checkpoints = sail__path_join(t->arena, t->o.dir, "checkpoints")))
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    t->state.best = NAN;
    t->state.evaluated = -1;
    sail__guards_init(&t->guards);
    SAIL_TRY(sail__checkpoint_clean(t->checkpoints, err));
    SAIL_TRY(sail__trainer_load(t, resumed, err));
    int64_t at = *resumed ? t->state.step : -1;
    SAIL_TRY(sail__store_cut(t->o.store, stage->name, at, err));
    SAIL_TRY(sail__tfevents_open(t->o.dir, stage->name, at, &t->events, err));
    bool cached = t->session->reference_is_policy && sail__stage_needs_reference(stage) && stage->kind == SAIL__ALIGN;
    if (cached && !*resumed) {
        SAIL_TRY(fill_cache(t, &t->stream.train, &t->stream.train_ref, err));
        SAIL_TRY(fill_cache(t, &t->stream.held_out, &t->stream.held_ref, err));
    }
    t->ready = true;
    char text[64];
    snprintf(text, sizeof text, *resumed ? "from step %lld" : "%lld steps", (long long)(*resumed ? t->state.step : t->steps));
    return sail__store_add_event(t->o.store, stage->name, at, *resumed ? "resume" : "start", text, err);
}

static void end(sail__trainer *t)
{
    sail_err ignored;
    sail__tfevents_close(t->events, &ignored);
    sail__evaluator_free(&t->evaluator);
    sail__stream_close(&t->stream);
    sail__profile_close(&t->profile);
    sail__learner_free(&t->learner);
    sail__session_close(t->session);
    sail__arena_free(t->arena);
}

/* ---- metrics ---- */

static sail_code record(sail__trainer *t, int64_t step, const sail__metrics *m, sail_err *err)
{
    const char **names = sail__arena_array(m->arena, m->n + 1, sizeof *names);
    double *values = sail__arena_array(m->arena, m->n + 1, sizeof *values);
    if (!names || !values)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    for (size_t i = 0; i < m->n; i++) {
        names[i] = m->items[i].name;
        values[i] = sail__metric_value(&m->items[i]);
    }
    SAIL_TRY(sail__store_add_metrics(t->o.store, t->o.stage->name, step, names, values, m->n, err));
    return sail__tfevents_add(t->events, step, names, values, m->n, err);
}

static sail_code evaluate(sail__trainer *t, const sail__stage *live, sail__watched *w, sail_err *err)
{
    sail_arena *a = sail__arena_new();
    if (!a)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    sail__metrics m = {.arena = a};
    double start = sail__now();
    sail_code code = sail__watch_caught(sail__evaluate(&t->evaluator, live, t->state.step, &m, err), w, err);
    if (code == SAIL_OK)
        code = sail__watch_evaluation(t, live, &m, w, err);
    if (code == SAIL_OK && m.n)
        code = sail__metrics_mean(&m, "time/evaluation", sail__now() - start, 1, err);
    if (code == SAIL_OK && m.n)
        code = record(t, t->state.step, &m, err);
    double loss = sail__metrics_get(&m, "eval_loss");
    if (code == SAIL_OK && !isnan(loss) && (isnan(t->state.best) || loss < t->state.best)) {
        t->state.best = loss;
        t->state.best_step = t->state.step;
    }
    if (code == SAIL_OK)
        t->state.evaluated = t->state.step;
    if (code == SAIL_OK && t->o.on_step && m.n)
        t->o.on_step(t->o.user, t->state.step, t->steps, &m);
    sail__free(m.items);
    sail__arena_free(a);
    return code;
}

/* ---- a step ---- */

static sail_code update(sail__trainer *t, const sail__stage *live, const sail__lr_schedule *lr, sail__watched *w, sail__metrics *m, sail_err *err)
{
    sail__train_state *s = &t->state;
    sail__update u = {.rate = live->train.lr * sail__lr_factor(lr, s->step, t->steps),
                      .max_norm = live->train.max_grad_norm,
                      .loss = w->loss,
                      .multiplier = 1,
                      .skip = w->cause != SAIL__FINE,
                      .step = s->updates + 1};
    SAIL_TRY(sail__flat_update(sail__model_flat(t->session->model), &u, err));
    w->norm = u.norm;
    if (u.skipped && w->cause == SAIL__FINE)
        w->cause = SAIL__BAD_GRADIENT;
    s->updates += !u.skipped;
    SAIL_TRY(sail__metrics_mean(m, "learning_rate", u.rate, 1, err));
    SAIL_TRY(sail__metrics_mean(m, "grad_norm", u.norm, 1, err));
    SAIL_TRY(sail__metrics_mean(m, "sail/clip", u.clip, 1, err));
    return sail__metrics_mean(m, "sail/skipped", (double)u.skipped, 1, err);
}

static sail_code call_hook(sail__trainer *t, const sail__metrics *m, sail_err *err)
{
    const sail__hooks *h = t->o.hooks;
    if (!h || !h->on_step)
        return SAIL_OK;
    const char **names = sail__arena_array(m->arena, m->n + 1, sizeof *names);
    double *values = sail__arena_array(m->arena, m->n + 1, sizeof *values);
    if (!names || !values)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    for (size_t i = 0; i < m->n; i++) {
        names[i] = m->items[i].name;
        values[i] = sail__metric_value(&m->items[i]);
    }
    sail__hook_step s = {.step = t->state.step, .steps = t->steps, .names = names, .values = values, .n = m->n, .backoff = 1};
    SAIL_TRY(h->on_step(h->user, &s, err));
    if (!(s.backoff >= 0) || !isfinite(s.backoff))
        return sail_fail(err, SAIL_E_RECIPE, "on.step: backoff must be a number of at least 0");
    t->stream.backoff *= s.backoff;
    t->state.stopped = s.stop;
    return SAIL_OK;
}

/* Whether a response of group i occurred in a group before it. */
static bool told_before(const sail__step *s, int64_t i, int64_t id)
{
    for (int64_t j = i - 1; s->groups[i].shared && j >= 0 && s->groups[j].shared == s->groups[i].shared; j--)
        for (int k = 0; k < sail__group_compared(&s->groups[j]); k++)
            if (s->groups[j].r[k].id == id)
                return true;
    return false;
}

/* What the policy wrote goes to the store, as ids and text, with its labels. */
static sail_code keep_rollouts(sail__trainer *t, const sail__step *s, sail_err *err)
{
    static const char *const writers[] = {"policy", "policy", "policy", "reference", "mixture"}; /* by SAIL_BY_…; 0: the group's, which the policy wrote */
    const sail__tokenizer *tok = t->session->tokenizer;
    int64_t index = 0;
    for (int64_t i = 0; i < s->n; i++) {
        const sail__group *g = &s->groups[i];
        if (g->writer != SAIL_BY_POLICY || g->replayed)
            continue;
        const int n_compared = sail__group_compared(g);
        sail__sample_response r[SAIL_MAX_RESPONSES];
        sail_buf text[SAIL_MAX_RESPONSES + 1];
        memset(text, 0, sizeof text);
        sail__row_conversation(t->stream.train.rows[g->row], &text[n_compared]);
        for (int k = 0; k < n_compared; k++) {
            sail_err ignored;
            if (tok)
                (void)!sail__decode(tok, g->r[k].ids, (size_t)g->r[k].n, SAIL__SKIP_SPECIAL | SAIL__DECODE_CONTINUATION, &text[k], &ignored);
            r[k] = (sail__sample_response){.ids = g->r[k].ids, .n = (size_t)g->r[k].n, .text = text[k].data, .logps = g->r[k].old_logp,
                                           .writer = writers[g->r[k].writer], .score = g->r[k].score, .ref = g->r[k].ref,
                                           .ends = sail__sample_ends(tok, g->r[k].ids, (size_t)g->r[k].n, text[k].data, s->arena)};
        }
        sail__sample x = {.stage = t->o.stage->name, .step = s->step + 1, .index = index++, .kind = "train", .route = g->route,
                          .prompt_ids = g->prompt, .n_prompt = (size_t)g->n_prompt, .prompt = text[n_compared].data ? text[n_compared].data : "",
                          .outcome = g->outcome, .k = n_compared, .responses = r};
        sail_code code = sail__store_add_samples(t->o.store, &x, 1, err);
        if (code == SAIL_OK && t->o.hooks && t->o.hooks->on_rollout)
            for (int k = 0; k < n_compared && code == SAIL_OK; k++)
                code = told_before(s, i, g->r[k].id) ? SAIL_OK : t->o.hooks->on_rollout(t->o.hooks->user, s->step, x.prompt, r[k].text ? r[k].text : "", err);
        for (int k = 0; k <= n_compared; k++)
            sail__buf_free(&text[k]);
        SAIL_TRY(code);
    }
    return SAIL_OK;
}

static sail_code timing(sail__trainer *t, double start, double flops, const sail__step *s, sail__metrics *m, sail_err *err)
{
    double seconds = sail__now() - start;
    int64_t tokens = 0;
    for (int64_t i = 0; i < s->n; i++) {
        tokens += s->groups[i].n_prompt;
        for (int k = 0; k < s->groups[i].k; k++)
            tokens += s->groups[i].r[k].n;
    }
    SAIL_TRY(sail__metrics_mean(m, "time/step", seconds, 1, err));
    SAIL_TRY(sail__metrics_mean(m, "time/tokens_per_second", (double)tokens / seconds, 1, err));
    /* of the passes over the step's responses; what wrote them is not counted */
    const double learning = seconds - (t->stream.rollout.new_tokens > 0 ? t->stream.rollout.seconds : 0);
    SAIL_TRY(sail__metrics_mean(m, "time/tflops", (t->learner.passes.flops - flops) / learning * 1e-12, 1, err));
    if (t->stream.rollout.new_tokens > 0) {
        SAIL_TRY(sail__metrics_mean(m, "time/rollout", t->stream.rollout.seconds, 1, err));
        SAIL_TRY(sail__metrics_mean(m, "time/rollout_tokens_per_second", (double)t->stream.rollout.new_tokens / t->stream.rollout.seconds, 1, err));
    }
    return sail__metrics_mean(m, "memory/peak_mib", sail__rss_peak_mib(), 1, err);
}

/* The step's groups, and the gradient of their loss. */
static sail_code gradients(sail__trainer *t, const sail__stage *live, sail__step *s, sail__watched *w, sail__metrics *m, sail_err *err)
{
    bool numeric;
    const sail_code code = sail__stream_next(&t->stream, live, s, err);
    if (code != SAIL_OK)
        s->n = 0; /* what there is of them may lack responses */
    SAIL_TRY(code);
    SAIL_TRY(sail__metrics_mean(m, "sail/ties", (double)s->tied, (double)s->judged, err));
    SAIL_TRY(sail__metrics_mean(m, "sail/abstentions", (double)s->abstained, (double)s->judged, err));
    SAIL_TRY(sail__learner_gradients(&t->learner, live, s, m, &w->loss, &numeric, err));
    w->cause = sail__watch_before(t, live, s, w->loss, numeric);
    if (live->kind == SAIL__ALIGN && live->train.diagnostics > 0 && s->step % live->train.diagnostics == 0 && !numeric)
        SAIL_TRY(sail__learner_diagnose(&t->learner, live, s, m, err));
    return SAIL_OK;
}

static sail_code one_step(sail__trainer *t, const sail__stage *live, const sail__lr_schedule *lr, sail_arena *a, sail__watched *w, sail_err *err)
{
    double start = sail__now(), flops = t->learner.passes.flops, state[SAIL_OBJECTIVE_STATE];
    sail__metrics m = {.arena = a};
    sail__step s = {.step = t->state.step, .seed = live->seed, .arena = a};
    sail_code code = check_routes(t, live, s.step, err);
    t->stream.coef = t->guards.ladder.coef;
    memcpy(state, t->learner.state, sizeof state);
    if (code == SAIL_OK)
        code = sail__watch_caught(gradients(t, live, &s, w, &m, err), w, err);
    if (code == SAIL_OK)
        code = update(t, live, lr, w, &m, err);
    /* what objective, strategy and replay remember is of steps learned from */
    if (w->cause != SAIL__FINE)
        memcpy(t->learner.state, state, sizeof state);
    else if (code == SAIL_OK)
        code = sail__stream_learned(&t->stream, live, &s, err);
    if (code == SAIL_OK)
        code = timing(t, start, flops, &s, &m, err);
    if (code == SAIL_OK)
        code = keep_rollouts(t, &s, err);
    if (code == SAIL_OK) {
        t->state.step++;
        code = sail__watch_after(t, live, &s, w, &m, err);
    }
    if (code == SAIL_OK)
        code = record(t, t->state.step, &m, err);
    if (code == SAIL_OK)
        code = call_hook(t, &m, err);
    if (code == SAIL_OK && t->o.on_step)
        t->o.on_step(t->o.user, t->state.step, t->steps, &m);
    sail__free(m.items);
    return code;
}

/* ---- where a step's time goes ---- */

static sail_code profiled_step(sail__trainer *t, const sail__stage *live, const sail__lr_schedule *lr, sail_arena *a, sail__watched *w, sail_err *err)
{
    static const sail__traffic none = {0};
    sail_runtime *rt = t->session->rt;
    sail__traffic before, after, all = {0};
    if (!t->o.on_profile)
        return one_step(t, live, lr, a, w, err);
    SAIL_TRY(sail__profile_begin(&t->profile, err));
    sail__traffic_now(rt, &before);
    SAIL_TRY(one_step(t, live, lr, a, w, err));
    sail__traffic_now(rt, &after);
    const bool wrote = t->stream.rollout.new_tokens > 0;
    sail__traffic_add(&all, &before, &after);
    if (wrote) { /* responses are told apart */
        sail__traffic_add(&all, &t->stream.rollout_traffic, &none);
        sail__profile_part_add(&t->profile, "token decoded in each sequence", (double)t->stream.rollout.steps, &t->stream.rollout_traffic);
    }
    sail__profile_part_add(&t->profile, "training step", 1, &all);
    return sail__profile_end(&t->profile, err);
}

static sail_code write_profile(sail__trainer *t, sail_err *err)
{
    sail_buf b = {0};
    if (!t->o.on_profile)
        return SAIL_OK;
    const sail_node *n = sail__profile_node(&t->profile, t->arena);
    if (n)
        sail__node_to_json(&b, n);
    sail__buf_str(&b, "\n");
    sail_code code = n && !b.oom ? sail__file_write(sail__path_join(t->arena, t->o.dir, "profile.json"), b.data, b.len, err)
                                 : sail_fail(err, SAIL_E_NOMEM, "out of memory for the profile");
    sail__buf_free(&b);
    if (code == SAIL_OK)
        t->o.on_profile(t->o.user, &t->profile);
    return code;
}

/* The stage with its schedules as they stand at a step. */
static sail_code live_stage(sail__trainer *t, int64_t step, sail_arena *a, sail__stage *live, sail_err *err)
{
    const sail__stage *s = t->o.stage;
    if (!sail__stage_is_scheduled(s)) {
        *live = *s;
        return SAIL_OK;
    }
    sail_problems problems = {.arena = a};
    const sail__hooks *h = t->o.hooks;
    if (!sail__stage_parse(t->o.ctx, a, s->kind, s->node, step, h ? h->call_schedule : NULL, h ? h->user : NULL, live, &problems)) {
        sail__problems_fail(&problems, SAIL_E_RECIPE, err);
        return sail_fail_in(err, "step %lld", (long long)step);
    }
    live->name = s->name;
    return SAIL_OK;
}

static bool evaluation_due(const sail__trainer *t, const sail__stage *live)
{
    int64_t step = t->state.step;
    if (t->state.evaluated == step)
        return false;
    if (step == 0)
        return live->eval.before;
    return sail__trainer_at_end(t) || (live->eval.every > 0 && step % live->eval.every == 0);
}

static bool ordered(const sail__watched *w) { return w->orders.stop || w->orders.roll_back; }

static sail_code obey(sail__trainer *t, const sail__watched *w, sail_err *err)
{
    return w->orders.stop ? sail__watch_stop(t, w, err) : sail__watch_go_back(t, w, err);
}

/* What the guards say of the step; then evaluation, and what they say of that; then a checkpoint. */
static sail_code after_step(sail__trainer *t, const sail__stage *live, const sail__watched *w, sail_err *err)
{
    sail__watched e = {.evaluation = true};
    if (ordered(w))
        return obey(t, w, err);
    if (evaluation_due(t, live))
        SAIL_TRY(evaluate(t, live, &e, err));
    if (ordered(&e))
        return obey(t, &e, err);
    int64_t every = t->o.stage->checkpoint.every, step = t->state.step;
    const bool due = every > 0 && step > 0 && step % every == 0;
    if (due)
        sail__guards_due(&t->guards, step);
    return sail__trainer_at_end(t) || due ? sail__trainer_save(t, err) : SAIL_OK;
}

/* The evaluation before the first step, or one that was due at the checkpoint and was cut short by a signal. */
static sail_code first_evaluation(sail__trainer *t, sail_err *err)
{
    sail_arena *a = sail__arena_new();
    sail__stage live;
    int64_t step = t->state.step;
    sail_code code = a ? live_stage(t, step > 0 ? step - 1 : 0, a, &live, err) : sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (code == SAIL_OK && evaluation_due(t, &live))
        code = after_step(t, &live, &(sail__watched){0}, err);
    if (a)
        sail__arena_free(a);
    return code;
}

static sail_code loop(sail__trainer *t, sail_err *err)
{
    sail__lr_schedule lr;
    const sail__stage *stage = t->o.stage;
    SAIL_TRY(sail__lr_parse(stage->train.schedule, &lr, err));
    SAIL_TRY(first_evaluation(t, err));
    if (t->o.on_profile)
        SAIL_TRY(sail__profile_open(&t->profile, t->session->rt, err));
    while (!sail__trainer_at_end(t)) {
        if (sail_cancelled(t->o.ctx))
            return sail_fail(err, SAIL_E_CANCEL, "stopped after step %lld of %lld", (long long)t->state.step, (long long)t->steps);
        sail_arena *a = sail__arena_new();
        sail__stage live;
        sail__watched w = {0};
        sail_code code = a ? live_stage(t, t->state.step, a, &live, err) : sail_fail(err, SAIL_E_NOMEM, "out of memory");
        if (code == SAIL_OK)
            code = profiled_step(t, &live, &lr, a, &w, err);
        if (code == SAIL_OK)
            code = after_step(t, &live, &w, err);
        if (a)
            sail__arena_free(a);
        SAIL_TRY(code);
        sail_progress(t->o.ctx, stage->name, (uint64_t)t->state.step, (uint64_t)t->steps);
    }
    return SAIL_OK;
}

/* What was to be learned from a judge has not been where it had nothing to say all along. */
static sail_code judge_spoke(const sail__trainer *t, sail_err *err)
{
    const sail__stream *s = &t->stream;
    if (!s->asked || s->answered)
        return SAIL_OK;
    return sail_fail(err, SAIL_E_STATE, "judge %s has labelled none of the %lld groups of responses that it was asked about: see what it says above; "
                     "`sail resume` keeps what was learned without it",
                     t->o.stage->judge.loaded->plugin.name, (long long)s->asked);
}

/* output/ appears whole. */
static sail_code write_output(sail__trainer *t, sail_err *err)
{
    char *part = sail__path_join(t->arena, t->o.dir, ".output"), *whole = sail__path_join(t->arena, t->o.dir, "output");
    SAIL_TRY(sail__remove_tree(part, err));
    SAIL_TRY(sail__session_save(t->session, part, err));
    if (t->o.stage->kind == SAIL__REWARD)
        SAIL_TRY(sail__scorer_describe(part, t->session, &t->o.stage->model, &t->stream.train, t->o.stage->preference.loaded->plugin.name, err));
    SAIL_TRY(sail__remove_tree(whole, err));
    if (rename(part, whole) != 0)
        return sail_fail(err, SAIL_E_IO, "cannot rename %s to %s: %s", part, whole, strerror(errno));
    SAIL_TRY(sail__sync_dir(t->o.dir, err));
    return sail__store_add_event(t->o.store, t->o.stage->name, t->state.step, "end", "output written", err);
}

sail_code sail__train(const sail__train_options *o, sail_err *err)
{
    sail__trainer t = {.o = *o, .arena = sail__arena_new()};
    bool resumed = false;
    if (!t.arena)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    sail_code code = begin(&t, &resumed, err);
    if (code == SAIL_OK)
        code = loop(&t, err);
    if ((code == SAIL_E_CANCEL || code == SAIL_E_WAIT) && t.ready) { /* before that there is nothing that a new start would not make again */
        sail_err save = {0};
        if (sail__trainer_save(&t, &save) != SAIL_OK)
            code = sail_fail(err, save.code, "%s", save.message);
    }
    if (code == SAIL_OK) { /* before output/: a stage whose curves were lost is not done */
        code = sail__tfevents_close(t.events, err);
        t.events = NULL;
    }
    if (code == SAIL_OK)
        code = write_profile(&t, err);
    if (code == SAIL_OK)
        code = judge_spoke(&t, err);
    if (code == SAIL_OK)
        code = write_output(&t, err);
    end(&t);
    return code;
}
