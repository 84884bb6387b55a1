/* template.c - chat templates as tables: what goes before and after each role's content. */
#include <string.h>

#include "template.h"

typedef struct turn {
    const char *role;           /* "*": any */
    const char *before, *after; /* \1 is the role, \2 the tokenizer's eos */
} turn;

typedef struct form {
    const char *start; /* may be NULL. Before the first message; \3 is the tokenizer's bos */
    turn turns[4];
    const char *generation;            /* what asks for a response */
    const char *response;              /* what stands before it in rendered text; NULL: nothing */
    const char *end;                   /* token that ends a response; NULL: the tokenizer's eos */
    const char *system;                /* of conversations without one; NULL: none */
    const char *usual_bos, *usual_eos; /* where there is no tokenizer; NULL: "" */
    bool trim, add_special;
} form;

enum { CHATML, LLAMA3, ZEPHYR, VICUNA, HH, PLAIN, FORMS };
static const char *const names[FORMS + 1] = {"chatml", "llama3", "zephyr", "vicuna", "hh", "plain", NULL};
static const form forms[FORMS] = {
    [CHATML] = {.turns = {{"*", "<|im_start|>\1\n", "<|im_end|>\n"}},
                .generation = "<|im_start|>assistant\n",
                .end = "<|im_end|>"},
    [LLAMA3] = {.start = "\3",
                .turns = {{"*", "<|start_header_id|>\1<|end_header_id|>\n\n", "<|eot_id|>"}},
                .generation = "<|start_header_id|>assistant<|end_header_id|>\n\n",
                .end = "<|eot_id|>",
                .usual_bos = "<|begin_of_text|>",
                .trim = true},
    [ZEPHYR] = {.turns = {{"system", "<|system|>\n", "\2\n"},
                          {"user", "<|user|>\n", "\2\n"},
                          {"assistant", "<|assistant|>\n", "\2\n"}},
                .generation = "<|assistant|>\n",
                .usual_eos = "</s>"},
    [VICUNA] = {.turns = {{"system", "", " "}, {"user", "USER: ", " "}, {"assistant", "ASSISTANT: ", "\2"}},
                .generation = "ASSISTANT:",
                .response = " ",
                .system = "A chat between a curious user and an artificial intelligence assistant. The assistant gives "
                          "helpful, detailed, and polite answers to the user's questions.",
                .usual_eos = "</s>",
                .add_special = true},
    [HH] = {.turns = {{"system", "", ""}, {"user", "\n\nHuman: ", ""}, {"assistant", "\n\nAssistant: ", ""}},
            .generation = "\n\nAssistant:",
            .response = " ",
            .add_special = true},
    [PLAIN] = {.turns = {{"*", "", "\n"}}, .generation = "", .add_special = true},
};

/* Jinja texts that are one of the forms; \4 stands for the default system message. Newlines may be written \n. */
static const struct {
    int form;
    const char *text;
} known[] = {
    {CHATML, "{% for message in messages %}"
             "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
             "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"},
    {CHATML,
     "{% for message in messages %}"
     "{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n\4<|im_end|>\n' }}{% endif %}"
     "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
     "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"},
    {LLAMA3,
     "{% set loop_messages = messages %}{% for message in loop_messages %}"
     "{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim "
     "+ '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}"
     "{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"},
    {ZEPHYR,
     "{% for message in messages %}\n"
     "{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] + eos_token }}\n"
     "{% elif message['role'] == 'system' %}\n{{ '<|system|>\n' + message['content'] + eos_token }}\n"
     "{% elif message['role'] == 'assistant' %}\n{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n"
     "{% endif %}\n{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}"},
};
static const char guard[] =
    "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}";

struct sail__template {
    const form *form;
    char *system, *bos, *eos;
};

const char *sail__template_name(const sail__template *t)
{
    return names[t->form - forms];
}
const char *sail__template_response_prefix(const sail__template *t)
{
    return t->form->response ? t->form->response : "";
}
bool sail__template_add_special(const sail__template *t)
{
    return t->form->add_special;
}

int32_t sail__template_end_id(const sail__template *t, const sail__tokenizer *tok)
{
    int32_t id = t->form->end ? sail__tokenizer_id(tok, t->form->end) : -1;
    return id >= 0 ? id : sail__tokenizer_eos(tok);
}

void sail__template_free(sail__template *t)
{
    if (!t)
        return;
    sail__free(t->system);
    sail__free(t->bos);
    sail__free(t->eos);
    sail__free(t);
}

static sail_code make(const form *f, const char *system, const sail__tokenizer *tok, sail__template **out,
                      sail_err *err)
{
    *out = NULL;
    const char *bos = tok ? sail__tokenizer_token(tok, sail__tokenizer_bos(tok), NULL) : f->usual_bos;
    const char *eos = tok ? sail__tokenizer_token(tok, sail__tokenizer_eos(tok), NULL) : f->usual_eos;
    sail__template *t = sail__calloc(1, sizeof *t);
    if (t) {
        t->form = f;
        t->system = sail__strdup(system ? system : f->system ? f->system : "");
        t->bos = sail__strdup(bos ? bos : "");
        t->eos = sail__strdup(eos ? eos : f->usual_eos ? f->usual_eos : "");
    }
    if (!t || !t->system || !t->bos || !t->eos) {
        sail__template_free(t);
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    }
    *out = t;
    return SAIL_OK;
}

static void list_names(sail_buf *b)
{
    for (int i = 0; i < FORMS; i++)
        sail__buf_printf(b, "%s%s", i ? ", " : "", names[i]);
}

sail_code sail__template_named(const char *name, const char *system, const sail__tokenizer *t, sail__template **out,
                               sail_err *err)
{
    *out = NULL;
    for (int i = 0; i < FORMS; i++)
        if (sail__name_equal(names[i], name))
            return make(&forms[i], system, t, out, err);
    sail_buf b = {0};
    list_names(&b);
    const char *near = sail__nearest(name, names, FORMS);
    sail_code code =
        sail_fail(err, SAIL_E_OPTION, "no template '%s'%s%s%s; there are %s", name, near ? "; did you mean '" : "",
                  near ? near : "", near ? "'?" : "", b.data ? b.data : "");
    sail__buf_free(&b);
    return code;
}

/* ---- Jinja texts ---- */

/* Line ends as \n, the escape \n as one, no newline at the end. */
static void canonical(const char *s, sail_buf *out)
{
    for (; *s; s++) {
        if (s[0] == '\r') {
            if (s[1] != '\n')
                sail__buf_add(out, "\n", 1);
        } else if (s[0] == '\\' && s[1] == 'n') {
            sail__buf_add(out, "\n", 1);
            s++;
        } else {
            sail__buf_add(out, s, 1);
        }
    }
    while (out->len && out->data[out->len - 1] == '\n')
        out->data[--out->len] = '\0';
}

/* Is text the known one? The default system message goes to *system (in place: text is cut there). */
static bool matches(char *text, const char *want, const char **system)
{
    const char *hole = strchr(want, '\4');
    *system = NULL;
    if (!hole)
        return strcmp(text, want) == 0;
    size_t head = (size_t)(hole - want), tail = strlen(hole + 1), n = strlen(text);
    if (n < head + tail || memcmp(text, want, head) != 0 || memcmp(text + n - tail, hole + 1, tail) != 0)
        return false;
    for (size_t i = head; i < n - tail; i++)
        if (strchr("'\\{}", text[i])) /* more than a plain string stands there */
            return false;
    text[n - tail] = '\0';
    *system = text + head;
    return true;
}

sail_code sail__template_from_jinja(const char *text, const char *origin, const char *system, const sail__tokenizer *t,
                                    sail__template **out, sail_err *err)
{
    *out = NULL;
    sail_buf b = {0}, list = {0};
    canonical(text, &b);
    if (b.oom) {
        sail__buf_free(&b);
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    }
    char *s = b.data ? b.data : "";
    if (strncmp(s, guard, sizeof guard - 1) == 0)
        s += sizeof guard - 1;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const char *own;
        if (!matches(s, known[i].text, &own))
            continue;
        sail_code code = make(&forms[known[i].form], system ? system : own, t, out, err);
        sail__buf_free(&b);
        return code;
    }
    list_names(&list);
    size_t line = strcspn(text, "\r\n");
    sail_code code = sail_fail(err, SAIL_E_FORMAT,
                               "%s: this chat template is not one that is known here (it begins '%.*s'); name one with "
                               "template: %s",
                               origin, (int)(line > 80 ? 80 : line), text, list.data ? list.data : "");
    sail__buf_free(&b);
    sail__buf_free(&list);
    return code;
}

sail_code sail__template_for(const sail__tokenizer *t, const char *name, const char *system, sail__template **out,
                             sail_err *err)
{
    if (name && *name)
        return sail__template_named(name, system, t, out, err);
    const char *text = sail__tokenizer_chat_template(t);
    if (text)
        return sail__template_from_jinja(text, sail__tokenizer_origin(t), system, t, out, err);
    return sail__template_named("plain", system, t, out, err);
}

/* ---- rendering ---- */

static void markup(const sail__template *t, const char *s, const char *role, sail_buf *out)
{
    for (; *s; s++) {
        if (*s == '\1')
            sail__buf_str(out, role);
        else if (*s == '\2')
            sail__buf_str(out, t->eos);
        else if (*s == '\3')
            sail__buf_str(out, t->bos);
        else
            sail__buf_add(out, s, 1);
    }
}

/* What Python's strip takes off: White_Space and the separators U+001C to U+001F. */
static bool python_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

static void trim(const char **s, size_t *len)
{
    uint32_t c;
    for (int n; (n = sail__utf8_next(*s, *len, &c)) > 0 && python_space(c);) {
        *s += n;
        *len -= (size_t)n;
    }
    while (*len) {
        size_t i = *len - 1;
        while (i > 0 && ((unsigned char)(*s)[i] & 0xC0) == 0x80)
            i--;
        if (sail__utf8_next(*s + i, *len - i, &c) <= 0 || !python_space(c))
            break;
        *len = i;
    }
}

static sail_code content(const sail__template *t, const char *s, size_t len, sail_buf *out, sail__spans *plain,
                         sail_err *err)
{
    if (t->form->trim)
        trim(&s, &len);
    if (plain && len) {
        SAIL_TRY(sail__grow(&plain->items, &plain->cap, plain->n + 1, sizeof *plain->items, err));
        plain->items[plain->n++] = (sail__span){out->len, out->len + len};
    }
    sail__buf_add(out, s, len);
    return SAIL_OK;
}

static const turn *find_turn(const form *f, const char *role)
{
    for (size_t i = 0; i < sizeof f->turns / sizeof *f->turns && f->turns[i].role; i++)
        if (strcmp(f->turns[i].role, "*") == 0 || strcmp(f->turns[i].role, role) == 0)
            return &f->turns[i];
    return NULL;
}

static sail_code add_message(const sail__template *t, const sail__message *m, size_t i, sail_buf *out,
                             sail__spans *plain, sail_err *err)
{
    const turn *row = find_turn(t->form, m->role);
    if (!row)
        return sail_fail(err, SAIL_E_FORMAT, "message %zu has the role '%s', for which template '%s' has no form",
                         i + 1, m->role, sail__template_name(t));
    markup(t, row->before, m->role, out);
    SAIL_TRY(content(t, m->content, m->content_len, out, plain, err));
    markup(t, row->after, m->role, out);
    return SAIL_OK;
}

sail_code sail__template_render(const sail__template *t, const sail__message *messages, size_t n,
                                bool add_generation_prompt, sail_buf *out, sail__spans *plain, sail_err *err)
{
    if (n) {
        markup(t, t->form->start ? t->form->start : "", "", out);
        if (*t->system && strcmp(messages[0].role, "system") != 0) {
            /* The recipe's or the model's own words, but content all the same. */
            sail__message system = {"system", t->system, strlen(t->system)};
            SAIL_TRY(add_message(t, &system, 0, out, plain, err));
        }
    }
    for (size_t i = 0; i < n; i++)
        SAIL_TRY(add_message(t, &messages[i], i, out, plain, err));
    if (add_generation_prompt)
        markup(t, t->form->generation, "assistant", out);
    return out->oom ? sail_fail(err, SAIL_E_NOMEM, "out of memory") : SAIL_OK;
}

sail_code sail__template_response(const sail__template *t, const char *text, size_t len, sail_buf *out,
                                  sail__spans *plain, sail_err *err)
{
    sail__buf_str(out, sail__template_response_prefix(t));
    SAIL_TRY(content(t, text, len, out, plain, err));
    return out->oom ? sail_fail(err, SAIL_E_NOMEM, "out of memory") : SAIL_OK;
}
