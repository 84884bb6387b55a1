/* scoring.c - see scoring.h. */
#include "scoring.h"

#include <math.h>
#include <string.h>

static const char note[] = "reward.json";

/* ---- what stage `reward` left ---- */

sail_code sail__scorer_describe(const char *dir, const sail__session *s, const sail__model_section *m, const sail__rows *rows,
                                const char *preference, sail_err *err)
{
    sail_arena *a = sail__arena_new();
    char *path = a ? sail__path_join(a, dir, note) : NULL;
    sail_buf b = {0};
    bool messages = rows->n && rows->rows[0]->part[SAIL_PART_PROMPT].messages, own = s->tokenizer && sail__tokenizer_chat_template(s->tokenizer);
    sail__buf_printf(&b, "{\"fitted_on\": \"%s\", \"preference\": \"%s\"", messages ? "messages" : "text", preference);
    const char *form = m->template_name ? m->template_name : !own && s->chat ? sail__template_name(s->chat) : NULL;
    if (messages && form) { /* one that is not in the tokenizer's files */
        sail__buf_str(&b, ", \"template\": ");
        sail__json_quote(&b, form, strlen(form));
    }
    if (messages && m->system) {
        sail__buf_str(&b, ", \"system\": ");
        sail__json_quote(&b, m->system, strlen(m->system));
    }
    sail__buf_str(&b, "}\n");
    sail_code code = !path || b.oom ? sail_fail(err, SAIL_E_NOMEM, "out of memory") : sail__file_write(path, b.data, b.len, err);
    sail__buf_free(&b);
    sail__arena_free(a);
    return code;
}

static const char *said(const sail_node *map, const char *key)
{
    const sail_node *n = map ? sail__node_get(map, key) : NULL;
    return n && n->kind == SAIL_NODE_STRING ? n->string.data : NULL;
}

static sail_code read_note(sail__scorer *s, const char *dir, sail_node **out, sail_err *err)
{
    char *path = sail__path_join(s->arena, dir, note);
    if (!path)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (!sail__file_exists(path))
        return SAIL_OK;
    SAIL_TRY(sail__json_read(s->arena, path, 1 << 16, out, err));
    return (*out)->kind == SAIL_NODE_MAP ? SAIL_OK : sail_fail(err, SAIL_E_FORMAT, "%s: a JSON object was expected", path);
}

/* ---- opening ---- */

static sail_code fits(const sail__scorer *s, const sail__scorer_spec *spec, sail_err *err)
{
    const sail__model_config *c = s->session->config;
    int32_t tokens = sail__tokenizer_size(s->session->tokenizer);
    if (spec->policy && c->labels > 0)
        return sail_fail(err, SAIL_E_RECIPE, "%s has a score head: it is a reward model, for the judge `reward`; a policy is a language model", spec->path);
    if (spec->policy && s->session->reference_is_policy)
        return sail_fail(err, SAIL_E_RECIPE, "%s has no adapter, and no reference is named: its implicit reward is measured from the model that it was "
                         "trained from (reference: a model of the same shape, or an adapter on it)", spec->path);
    if (!spec->policy && c->labels < 1)
        return sail_fail(err, SAIL_E_RECIPE, "%s is a language model without a score head: a …ForSequenceClassification model is needed, or what "
                         "`stage: reward` makes (of an adapter, name it beside its base)", spec->path);
    if (tokens > c->vocab)
        return sail_fail(err, SAIL_E_RECIPE, "the tokenizer of %s has %d tokens, the model's embedding %d rows: it is another model's; name the "
                         "reward model's own (tokenizer: a tokenizer.json or its directory)", spec->tokenizer ? spec->tokenizer : spec->path, tokens, c->vocab);
    return SAIL_OK;
}

static sail_code open_scorer(sail__scorer *s, sail_ctx *ctx, const sail__scorer_spec *spec, sail_err *err)
{
    sail_node *left = NULL;
    s->policy = spec->policy;
    s->beta = spec->beta;
    if (!s->policy)
        SAIL_TRY(read_note(s, spec->adapter ? spec->adapter : spec->path, &left, err));
    s->fitted_on = said(left, "fitted_on");
    s->preference = said(left, "preference");
    bool text = s->fitted_on && !strcmp(s->fitted_on, "text");
    const char *form = spec->template_name ? spec->template_name : said(left, "template");
    sail__model_section m = {.path = spec->path, .adapter_path = spec->adapter, .tokenizer = spec->tokenizer, .dtype = spec->dtype, .device = spec->device,
                             .template_name = form ? form : text ? "plain" : NULL, .system = spec->system ? spec->system : said(left, "system")};
    sail__session_spec how = {.model = &m, .backend = spec->backend, .need_tokenizer = true, .reference = s->policy, .reference_path = spec->reference};
    SAIL_TRY(sail__session_open(ctx, &how, &s->session, err));
    SAIL_TRY(fits(s, spec, err));
    const sail__model_config *c = s->session->config;
    const sail__tokenizer *t = s->session->tokenizer;
    if (!form && c->prompt_form) {
        sail__template_free(s->session->chat);
        s->session->chat = NULL;
        SAIL_TRY(sail__template_named(form = c->prompt_form, m.system, t, &s->session->chat, err));
    }
    s->labels = s->policy ? 1 : c->labels;
    s->has_form = form || (!text && sail__tokenizer_chat_template(t));
    s->text_is_message = !s->policy && (spec->template_name || c->prompt_form || (s->fitted_on ? !text : s->has_form));
    s->scratch = sail__token_scratch_new(t);
    if (!s->scratch)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (!c->score_open && s->has_form && !s->policy)
        SAIL_TRY(sail__closing_ids(s->session->chat, t, &s->closing, err));
    s->encode = (sail__encode_options){.tokenizer = t, .chat = s->session->chat, .no_end = c->score_open, .closing = s->closing.items,
                                       .n_closing = s->closing.n};
    return SAIL_OK;
}

sail_code sail__scorer_open(sail_ctx *ctx, const sail__scorer_spec *spec, sail__scorer **out, sail_err *err)
{
    sail__scorer *s = sail__calloc(1, sizeof *s);
    *out = NULL;
    if (s)
        s->arena = sail__arena_new();
    if (!s || !s->arena) {
        sail__free(s);
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    }
    sail_code code = open_scorer(s, ctx, spec, err);
    if (code != SAIL_OK) {
        sail__scorer_close(s);
        return code;
    }
    *out = s;
    return SAIL_OK;
}

void sail__scorer_close(sail__scorer *s)
{
    if (!s)
        return;
    sail__forest_free(&s->forest);
    sail__free(s->rows);
    sail__ids_free(&s->closing);
    sail__token_scratch_free(s->scratch);
    sail__session_close(s->session);
    sail__arena_free(s->arena);
    sail__free(s);
}

sail_code sail__scorer_compared_by(const sail__scorer *s, const sail_preference_model *m, sail_err *err)
{
    const int width = sail_preference_width(m);
    if (width == s->labels)
        return SAIL_OK;
    if (s->labels == 1)
        return sail_fail(err, SAIL_E_RECIPE, "%s gives one number for a response, and preference model %s compares %d: choose bradley_terry, thurstone, …",
                         s->session->path, m->name, width);
    return sail_fail(err, SAIL_E_RECIPE, "%s gives %d numbers for a response, and preference model %s compares %d: vectors are compared by "
                     "{kind: general, dimension: %d}, where the model was fitted with it", s->session->path, s->labels, m->name, width, s->labels);
}

/* ---- encoding ---- */

static sail_code form_of(const sail__scorer *s, const sail__part *prompt, sail__part *out, sail__message *as, sail_err *err)
{
    *out = *prompt;
    if (prompt->text && s->text_is_message) {
        *as = (sail__message){"user", prompt->text, prompt->len};
        *out = (sail__part){.messages = as, .n_messages = 1};
    }
    if (!out->messages || s->has_form)
        return SAIL_OK;
    if (s->fitted_on)
        return sail_fail(err, SAIL_E_RECIPE, "the reward model %s was fitted to prompts of text, and these are messages: give it prompts as text, or name the "
                         "form that it should see them in (template: chatml, llama3, …)", s->session->path);
    return sail_fail(err, SAIL_E_RECIPE, "the %s %s has no chat template, and the prompts are messages: name the form that it was trained with "
                     "(template: chatml, llama3, zephyr, vicuna, hh, mistral, beaver or plain)", s->policy ? "policy" : "reward model", s->session->path);
}

/* An empty response has a score all the same: that of its end, or, where none is appended, of the prompt's last token. */
static sail_code encode_empty(sail__scorer *s, const sail__part *prompt, sail_arena *a, sail__encoded *out, sail_err *err)
{
    const sail__encode_options *o = &s->encode;
    sail__ids ids = {0};
    int32_t end = prompt->messages ? sail__template_end_id(o->chat, o->tokenizer) : sail__tokenizer_eos(o->tokenizer);
    sail_code code = sail__encode_prompt(o, s->scratch, prompt, &ids, err);
    size_t at = ids.n;
    if (code == SAIL_OK && end >= 0 && !o->no_end)
        code = sail__ids_add(&ids, &end, 1, err);
    if (code == SAIL_OK && prompt->messages && o->n_closing)
        code = sail__ids_add(&ids, o->closing, o->n_closing, err);
    if (code == SAIL_OK && ids.n == 0)
        code = sail_fail(err, SAIL_E_ARG, "an empty prompt and an empty response");
    int32_t *copy = code == SAIL_OK ? sail__arena_array(a, ids.n, sizeof *copy) : NULL;
    if (code == SAIL_OK && !copy)
        code = sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (code == SAIL_OK) {
        at -= at == ids.n;
        memcpy(copy, ids.items, ids.n * sizeof *copy);
        *out = (sail__encoded){.prompt = copy, .n_prompt = at, .chosen = copy + at, .n_chosen = ids.n - at};
    }
    sail__ids_free(&ids);
    return code;
}

static sail_code encode(sail__scorer *s, const sail__part *prompt, const sail__part *response, sail_arena *a, sail__encoded *out, sail_err *err)
{
    const char *dropped = NULL;
    sail__message as;
    sail_row row = {.arena = a, .score = {NAN, NAN}};
    SAIL_TRY(form_of(s, prompt, &row.part[SAIL_PART_PROMPT], &as, err));
    row.part[SAIL_PART_CHOSEN] = *response;
    SAIL_TRY(sail__encode_row(&s->encode, s->scratch, &row, a, out, &dropped, err));
    if (dropped && strcmp(dropped, "empty response") == 0)
        return encode_empty(s, &row.part[SAIL_PART_PROMPT], a, out, err);
    return dropped ? sail_fail(err, SAIL_E_ARG, "%s", dropped) : SAIL_OK;
}

static bool same_prompt(const sail__encoded *x, const sail__encoded *y)
{
    return x->n_prompt == y->n_prompt && memcmp(x->prompt, y->prompt, x->n_prompt * sizeof *x->prompt) == 0;
}

/* One tree; a response whose prompt was cut otherwise (it is empty) gets one of its own. */
static sail_code add(sail__scorer *s, const sail__encoded *e, int k, sail_err *err)
{
    for (int i = 0, j; i < k; i = j) {
        int root = -1;
        if (e[i].n_prompt > 0)
            SAIL_TRY(sail__forest_add(&s->forest, -1, e[i].prompt, (int64_t)e[i].n_prompt, SAIL__HEAD_NONE, 0, &root, err));
        for (j = i; j == i || (j < k && same_prompt(&e[i], &e[j])); j++) {
            const int64_t before = s->forest.n_rows;
            SAIL_TRY(sail__forest_add(&s->forest, root, e[j].chosen, (int64_t)e[j].n_chosen, s->policy ? SAIL__HEAD_EACH : SAIL__HEAD_LAST, 0, NULL, err));
            SAIL_TRY(sail__grow(&s->rows, &s->cap, (size_t)s->n_responses + 1, sizeof *s->rows, err));
            s->rows[s->n_responses++] = s->forest.n_rows - before;
        }
    }
    return SAIL_OK;
}

sail_code sail__scorer_add(sail__scorer *s, const sail__part *prompt, const sail__part *responses, int k, sail_err *err)
{
    sail__encoded e[SAIL_MAX_RESPONSES];
    sail_arena *a = sail__arena_new();
    if (!a)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    sail_code code = k >= 1 && k <= SAIL_MAX_RESPONSES ? SAIL_OK : sail_fail(err, SAIL_E_BUG, "scorer: %d responses", k);
    for (int i = 0; code == SAIL_OK && i < k; i++)
        code = encode(s, prompt, &responses[i], a, &e[i], err);
    if (code == SAIL_OK)
        code = add(s, e, k, err);
    sail__arena_free(a);
    return code;
}

int64_t sail__scorer_tokens(const sail__scorer *s) { return s->forest.n_tokens; }
int64_t sail__scorer_responses(const sail__scorer *s) { return s->n_responses; }

void sail__scorer_forget(sail__scorer *s)
{
    sail__forest_reset(&s->forest);
    s->n_responses = 0;
}

static sail_code implicit_rewards(const sail__scorer *s, float *out, sail_err *err)
{
    const size_t n = (size_t)s->forest.n_rows;
    float *logp = sail__malloc(2 * n * sizeof *logp + 1), *ref = logp + n;
    if (!logp)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory for %zu log-probabilities", 2 * n);
    sail_code code = sail__model_logprobs(s->session->model, SAIL__POLICY, &s->forest, false, logp, NULL, NULL, err);
    if (code == SAIL_OK)
        code = sail__model_logprobs(s->session->model, SAIL__REFERENCE, &s->forest, false, ref, NULL, NULL, err);
    for (int64_t i = 0, row = 0; code == SAIL_OK && i < s->n_responses; i++) {
        double rho = 0;
        for (const int64_t end = row + s->rows[i]; row < end; row++)
            rho += (double)logp[row] - (double)ref[row];
        out[i] = (float)(s->beta * rho);
    }
    sail__free(logp);
    return code;
}

sail_code sail__scorer_run(sail__scorer *s, float *out, sail_err *err)
{
    sail_code code = s->policy ? implicit_rewards(s, out, err) : sail__model_scores(s->session->model, &s->forest, false, out, err);
    sail__scorer_forget(s);
    return code;
}

/* ---- identity ---- */

static sail_code adapter_about(const char *dir, sail_buf *out, sail_err *err)
{
    char hash[33];
    sail__peft p;
    sail_arena *a = sail__arena_new();
    sail_code code = a ? sail__peft_read(a, dir, &p, err) : sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (code == SAIL_OK) {
        sail__peft_hash(&p, hash);
        sail__buf_printf(out, "adapter %s %s", sail__path_base(dir), hash);
    }
    sail__arena_free(a);
    return code;
}

sail_code sail__scorer_about(const sail__scorer *s, const sail__scorer_spec *spec, sail_arena *a, const char **out, sail_err *err)
{
    sail_buf b = {0};
    char hash[33];
    sail_code code = sail__session_hash(s->session, err);
    sail__buf_printf(&b, "%s %s", sail__path_base(spec->path), s->session->base_hash);
    if (code == SAIL_OK && spec->adapter) {
        sail__buf_str(&b, ", ");
        code = adapter_about(spec->adapter, &b, err);
    }
    if (code == SAIL_OK && s->policy)
        sail__buf_printf(&b, ", beta %g from ", s->beta);
    if (code == SAIL_OK && s->session->reference_weights) {
        code = sail__weights_hash(s->session->reference_weights, hash, err);
        sail__buf_printf(&b, "%s %s", sail__path_base(spec->reference), hash);
    } else if (code == SAIL_OK && s->policy) {
        code = spec->reference ? adapter_about(spec->reference, &b, err) : SAIL_OK;
        sail__buf_str(&b, spec->reference ? "" : "the model without it");
    }
    sail__buf_printf(&b, ", tokenizer %s, form %s%s%s, %s on %s", spec->tokenizer ? sail__path_base(spec->tokenizer) : "its own",
                     spec->template_name ? spec->template_name : "its own", spec->system ? ", system " : "", spec->system ? spec->system : "",
                     spec->dtype == SAIL__BF16 ? "bf16" : "f32", spec->backend->loaded->plugin.name);
    *out = b.oom ? NULL : sail__arena_strdup(a, b.data);
    sail__buf_free(&b);
    return code != SAIL_OK ? code : *out ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "out of memory");
}
