/* template.c - conversations through their template, and what of the text is a response. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "template.h"

enum { LARGEST = 4 << 20, MOST_FORMS = 32 };

struct sail__template {
    sail__jinja *jinja;
    const sail__template_form *form; /* NULL: a model's own */
    char *name, *system, *end;       /* end: text of the token that ends a response; NULL: none is known */
    char *special[4];                /* bos, eos, pad, unk; NULL: none */
    int32_t end_id;
    int64_t now; /* what strftime_now shows; < 0: the clock */
};
static const char *const special_names[] = {"bos_token", "eos_token", "pad_token", "unk_token"};

const char *sail__template_name(const sail__template *t)
{
    return t->name;
}
bool sail__template_add_special(const sail__template *t)
{
    return t->form && t->form->add_special;
}
int32_t sail__template_end_id(const sail__template *t, const sail__tokenizer *tok)
{
    return t->end_id >= 0 ? t->end_id : sail__tokenizer_eos(tok);
}

void sail__template_free(sail__template *t)
{
    if (!t)
        return;
    sail__jinja_free(t->jinja);
    sail__free(t->name);
    sail__free(t->system);
    sail__free(t->end);
    for (int i = 0; i < 4; i++)
        sail__free(t->special[i]);
    sail__free(t);
}

/* ---- rendering ---- */

static sail_node *text_node(sail_arena *a, const char *s, size_t n)
{
    sail_node *node = sail__node_new(a, SAIL_NODE_STRING, "message", 0, 0);
    if (node) {
        node->string.data = s;
        node->string.len = n;
    }
    return node;
}

static bool add_message(sail_arena *a, sail_node *list, const sail__message *m)
{
    sail_node *map = sail__node_new(a, SAIL_NODE_MAP, "message", 0, 0);
    return map && sail__node_set(a, map, "role", text_node(a, m->role, strlen(m->role))) &&
           sail__node_set(a, map, "content", text_node(a, m->content, m->content_len)) && sail__node_append(a, list, map);
}

static bool system_first(const sail_node *messages)
{
    const sail_node *role = messages->list.n ? sail__node_get(messages->list.items[0], "role") : NULL;
    return role && role->kind == SAIL_NODE_STRING && strcmp(role->string.data, "system") == 0;
}

/* The recipe's system message before the others, where they have none. */
static const sail_node *with_system(sail_arena *a, const sail__template *t, const sail_node *messages)
{
    if (!t->system || !*t->system || !messages->list.n || system_first(messages))
        return messages;
    const sail__message system = {"system", t->system, strlen(t->system)};
    sail_node *list = sail__node_new(a, SAIL_NODE_LIST, "message", 0, 0);
    bool ok = list && add_message(a, list, &system);
    for (size_t i = 0; ok && i < messages->list.n; i++)
        ok = sail__node_append(a, list, messages->list.items[i]);
    return ok ? list : NULL;
}

static sail_node *context(sail_arena *a, const sail__template *t, const sail_node *messages, const sail_node *more,
                          bool add_generation_prompt)
{
    sail_node *map = sail__node_new(a, SAIL_NODE_MAP, "template", 0, 0),
              *ask = sail__node_new(a, SAIL_NODE_BOOL, "template", 0, 0);
    const sail_node *all = with_system(a, t, messages);
    if (!map || !ask || !all)
        return NULL;
    ask->boolean = add_generation_prompt;
    bool ok = sail__node_set(a, map, "messages", (sail_node *)all) && sail__node_set(a, map, "add_generation_prompt", ask) &&
              sail__node_set(a, map, "tools", sail__node_new(a, SAIL_NODE_NULL, "template", 0, 0)) &&
              sail__node_set(a, map, "documents", sail__node_new(a, SAIL_NODE_NULL, "template", 0, 0));
    for (int i = 0; ok && i < 4; i++)
        if (t->special[i])
            ok = sail__node_set(a, map, special_names[i], text_node(a, t->special[i], strlen(t->special[i])));
    if (ok && t->form && t->system)
        ok = sail__node_set(a, map, "system", text_node(a, t->system, strlen(t->system)));
    for (size_t i = 0; ok && more && more->kind == SAIL_NODE_MAP && i < more->list.n; i++)
        ok = sail__node_set(a, map, more->list.keys[i], more->list.items[i]);
    return ok ? map : NULL;
}

sail_code sail__template_render_nodes(const sail__template *t, const sail_node *messages, const sail_node *more,
                                      bool add_generation_prompt, sail__jinja_result *out, sail_err *err)
{
    static const char *const foreign[] = {"messages", "tools", "documents", NULL};
    memset(out, 0, sizeof *out);
    sail_arena *a = sail__arena_new();
    sail_node *map = a ? context(a, t, messages, more, add_generation_prompt) : NULL;
    const sail__jinja_options o = {.variables = map, .foreign = foreign, .now = t->now};
    sail_code code = map ? sail__jinja_render(t->jinja, &o, out, NULL, err) : sail_fail(err, SAIL_E_NOMEM, "out of memory");
    sail__arena_free(a);
    return code;
}

static sail_code render(const sail__template *t, const sail__message *messages, size_t n, const sail__message *last, bool ask,
                        sail__jinja_result *out, sail_err *err)
{
    memset(out, 0, sizeof *out);
    sail_arena *a = sail__arena_new();
    sail_node *list = a ? sail__node_new(a, SAIL_NODE_LIST, "message", 0, 0) : NULL;
    bool ok = list != NULL;
    for (size_t i = 0; ok && i < n; i++)
        ok = add_message(a, list, &messages[i]);
    if (ok && last)
        ok = add_message(a, list, last);
    sail_code code =
        ok ? sail__template_render_nodes(t, list, NULL, ask, out, err) : sail_fail(err, SAIL_E_NOMEM, "out of memory");
    sail__arena_free(a);
    return code;
}

/* The part of a rendering from begin to end, with its spans, behind what `out` holds. */
static sail_code append(const sail__jinja_result *r, size_t begin, size_t end, sail_buf *out, sail__spans *plain, sail_err *err)
{
    size_t base = out->len;
    if (end > begin)
        sail__buf_add(out, r->text.data + begin, end - begin);
    for (size_t i = 0; plain && i < r->foreign.n; i++) {
        size_t from = r->foreign.items[i].begin > begin ? r->foreign.items[i].begin : begin,
               to = r->foreign.items[i].end < end ? r->foreign.items[i].end : end;
        if (from < to)
            SAIL_TRY(sail__spans_add(plain, base + from - begin, base + to - begin, err));
    }
    return out->oom ? sail_fail(err, SAIL_E_NOMEM, "out of memory") : SAIL_OK;
}

sail_code sail__template_render(const sail__template *t, const sail__message *messages, size_t n, bool add_generation_prompt,
                                sail_buf *out, sail__spans *plain, sail_err *err)
{
    sail__jinja_result r;
    sail_code code = render(t, messages, n, NULL, add_generation_prompt, &r, err);
    if (!code)
        code = append(&r, 0, r.text.len, out, plain, err);
    sail__jinja_result_free(&r);
    return code;
}

/* ---- responses ---- */

/* Where the answer stands in a whole conversation's text, of which `prompt` is the text before it with the generation
 * prompt. A prompt that ends with more than the conversation has there (a "<think>" that begins a reasoning) leaves the
 * words alone. */
static void find_response(const sail__jinja_result *whole, const char *prompt, size_t n, size_t *begin, size_t *content_end)
{
    const sail__spans *s = &whole->foreign;
    size_t same = 0, at = 0;
    while (same < n && same < whole->text.len && whole->text.data[same] == prompt[same])
        same++;
    *begin = same;
    *content_end = same;
    while (at < s->n && s->items[at].end <= same)
        at++;
    if (at < s->n) { /* else the answer left no words */
        *content_end = s->items[s->n - 1].end;
        if (same < n)
            *begin = s->items[at].begin > same ? s->items[at].begin : same;
    }
}

/* How far it goes: to the end token where the template writes one behind the words, else to the last of the words. */
static size_t response_end(const sail__template *t, const sail__jinja_result *whole, size_t content_end)
{
    const char *at = t->end && content_end < whole->text.len
                         ? memmem(whole->text.data + content_end, whole->text.len - content_end, t->end, strlen(t->end))
                         : NULL;
    return at ? (size_t)(at - whole->text.data) : content_end;
}

void sail__template_answer(const sail__template *t, const sail__jinja_result *whole, const sail_buf *prompt, size_t *begin,
                           size_t *end)
{
    size_t content_end;
    find_response(whole, prompt->data ? prompt->data : "", prompt->len, begin, &content_end);
    *end = response_end(t, whole, content_end);
}

sail_code sail__template_response(const sail__template *t, const sail__message *messages, size_t n, const sail_buf *rendered,
                                  const char *content, size_t len, sail_buf *out, sail__spans *plain, sail_err *err)
{
    const sail__message answer = {"assistant", content, len};
    sail__jinja_result whole = {0}, prompt = {0};
    sail_code code = rendered ? SAIL_OK : render(t, messages, n, NULL, true, &prompt, err);
    if (!code)
        code = render(t, messages, n, &answer, false, &whole, err);
    if (!code) {
        size_t begin, end;
        sail__template_answer(t, &whole, rendered ? rendered : &prompt.text, &begin, &end);
        code = append(&whole, begin, end, out, plain, err);
    }
    sail__jinja_result_free(&whole);
    sail__jinja_result_free(&prompt);
    return code;
}

/* ---- making ---- */

/* The token that the template writes behind an answer's words: the first special one of what follows them. */
static sail_code find_end(sail__template *t, const sail__tokenizer *tok, sail_err *err)
{
    const sail__message ask = {"user", "question", 8}, answer = {"assistant", "answer", 6};
    sail__jinja_result whole = {0}, prompt = {0};
    sail_err refused = {0};
    sail__ids ids = {0};
    size_t begin, end, n;
    sail_code code = render(t, &ask, 1, NULL, true, &prompt, &refused);
    if (!code)
        code = render(t, &ask, 1, &answer, false, &whole, &refused);
    if (code == SAIL_E_NOMEM) {
        sail__jinja_result_free(&prompt);
        return sail_fail(err, code, "%s", refused.message);
    }
    if (!code) { /* a template that refuses this says so when it is used */
        sail__template_answer(t, &whole, &prompt.text, &begin, &end); /* no end is known yet: to the last of the words */
        code = sail__encode(tok, NULL, whole.text.data ? whole.text.data + end : "", whole.text.len - end,
                            SAIL__PARSE_SPECIAL | SAIL__CONTINUATION, &ids, err);
        for (size_t i = 0; !code && i < ids.n && t->end_id < 0; i++)
            if (sail__tokenizer_is_special(tok, ids.items[i]))
                t->end_id = ids.items[i];
        const char *text = t->end_id >= 0 ? sail__tokenizer_token(tok, t->end_id, &n) : NULL;
        if (!code && text && !(t->end = sail__strdup(text)))
            code = sail_fail(err, SAIL_E_NOMEM, "out of memory");
    } else {
        code = SAIL_OK;
    }
    sail__ids_free(&ids);
    sail__jinja_result_free(&whole);
    sail__jinja_result_free(&prompt);
    return code;
}

/* Seconds since the epoch that SOURCE_DATE_EPOCH names, for runs that must come out the same on another day. */
static int64_t fixed_date(void)
{
    const char *s = getenv("SOURCE_DATE_EPOCH");
    char *end;
    long long v = s && *s ? strtoll(s, &end, 10) : -1;
    return s && *s && !*end && v >= 0 ? (int64_t)v : -1;
}

static sail_code make(const char *text, size_t len, const char *name, const char *origin, const sail__template_form *form,
                      const char *system, const sail__tokenizer *tok, sail__template **out, sail_err *err)
{
    *out = NULL;
    sail__template *t = sail__calloc(1, sizeof *t);
    if (!t)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    t->form = form;
    t->end_id = -1;
    t->now = fixed_date();
    const char *special[4] = {form ? form->usual_bos : NULL, form ? form->usual_eos : NULL, NULL, NULL};
    for (int i = 0; tok && i < 4; i++) {
        int32_t id = i == 0   ? sail__tokenizer_bos(tok)
                     : i == 1 ? sail__tokenizer_eos(tok)
                     : i == 2 ? sail__tokenizer_pad(tok)
                              : sail__tokenizer_unk(tok);
        special[i] = id >= 0 ? sail__tokenizer_token(tok, id, NULL) : form ? "" : NULL;
    }
    bool ok = (t->name = sail__strdup(name)) != NULL && (!system || (t->system = sail__strdup(system)));
    for (int i = 0; ok && i < 4; i++)
        ok = (!special[i] && !(form && i < 2)) || (t->special[i] = sail__strdup(special[i] ? special[i] : ""));
    sail_code code =
        ok ? sail__jinja_parse(text, len, origin, &t->jinja, NULL, err) : sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (!code && tok)
        code = find_end(t, tok, err);
    if (code)
        sail__template_free(t);
    else
        *out = t;
    return code;
}

static const char *list_names(sail_buf *b, const char *names[MOST_FORMS], size_t *n)
{
    for (*n = 0; sail__template_forms[*n].name && *n < MOST_FORMS; (*n)++) {
        names[*n] = sail__template_forms[*n].name;
        sail__buf_printf(b, "%s%s", *n ? ", " : "", names[*n]);
    }
    return b->data ? b->data : "";
}

sail_code sail__template_named(const char *name, const char *system, const sail__tokenizer *t, sail__template **out,
                               sail_err *err)
{
    *out = NULL;
    for (const sail__template_form *f = sail__template_forms; f->name; f++)
        if (sail__name_equal(f->name, name)) {
            char origin[64] = "template ";
            strncat(origin, f->name, 40);
            return make(f->text, strlen(f->text), f->name, origin, f, system, t, out, err);
        }
    sail_buf b = {0};
    const char *names[MOST_FORMS];
    size_t n;
    const char *list = list_names(&b, names, &n), *near = sail__nearest(name, names, n);
    sail_code code = sail_fail(err, SAIL_E_OPTION, "no template '%s'%s%s%s; there are %s, or a file that ends in .jinja", name,
                               near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "", list);
    sail__buf_free(&b);
    return code;
}

sail_code sail__template_from_jinja(const char *text, const char *origin, const char *system, const sail__tokenizer *t,
                                    sail__template **out, sail_err *err)
{
    char where[512];
    snprintf(where, sizeof where, "chat template of %s", origin);
    return make(text, strlen(text), origin, where, NULL, system, t, out, err);
}

static sail_code from_file(const char *path, const char *system, const sail__tokenizer *t, sail__template **out, sail_err *err)
{
    char *text;
    size_t size;
    *out = NULL;
    SAIL_TRY(sail__file_read(path, LARGEST, &text, &size, err));
    sail_code code = make(text, size, path, path, NULL, system, t, out, err);
    sail__free(text);
    return code;
}

sail_code sail__template_for(const sail__tokenizer *t, const char *name, const char *system, sail__template **out, sail_err *err)
{
    if (name && sail__glob_match("*.jinja", name))
        return from_file(name, system, t, out, err);
    if (name && *name)
        return sail__template_named(name, system, t, out, err);
    const char *text = sail__tokenizer_chat_template(t);
    if (text)
        return sail__template_from_jinja(text, sail__tokenizer_origin(t), system, t, out, err);
    return sail__template_named("plain", system, t, out, err);
}
