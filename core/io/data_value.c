/* data_value.c - a record and a row as reader plugins see them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data_impl.h"

/* ---- records ---- */

static const json_t *json(const sail_json *v)
{
    return (const json_t *)v;
}

sail_json_kind sail_json_kind_of(const sail_json *v)
{
    if (!v)
        return SAIL_JSON_ABSENT;
    switch (json_typeof(json(v))) {
    case JSON_OBJECT:
        return SAIL_JSON_MAP;
    case JSON_ARRAY:
        return SAIL_JSON_LIST;
    case JSON_STRING:
        return SAIL_JSON_STRING;
    case JSON_INTEGER:
    case JSON_REAL:
        return SAIL_JSON_NUMBER;
    case JSON_TRUE:
    case JSON_FALSE:
        return SAIL_JSON_BOOL;
    default:
        return SAIL_JSON_ABSENT;
    }
}

const sail_json *sail_json_get(const sail_json *map, const char *key)
{
    return map ? (const sail_json *)json_object_get(json(map), key) : NULL;
}

const sail_json *sail_json_at(const sail_json *list, size_t i)
{
    return list ? (const sail_json *)json_array_get(json(list), i) : NULL;
}

size_t sail_json_size(const sail_json *v)
{
    return sail_json_kind_of(v) == SAIL_JSON_MAP ? json_object_size(json(v)) : v ? json_array_size(json(v)) : 0;
}

const char *sail_json_string(const sail_json *v, size_t *len)
{
    const char *s = v ? json_string_value(json(v)) : NULL;
    if (len)
        *len = s ? json_string_length(json(v)) : 0;
    return s;
}

double sail_json_number(const sail_json *v, double otherwise)
{
    switch (sail_json_kind_of(v)) {
    case SAIL_JSON_NUMBER:
        return json_number_value(json(v));
    case SAIL_JSON_BOOL:
        return json_is_true(json(v)) ? 1 : 0;
    default:
        return otherwise;
    }
}

static const char *kind_name(const sail_json *v)
{
    static const char *const names[] = {"nothing", "true or false", "a number", "a string", "a list", "a map"};
    return names[sail_json_kind_of(v)];
}

json_t *sail__json_copy_map(const json_t *map)
{
    json_t *copy = json_copy((json_t *)(uintptr_t)map);
    if (copy && json_object_size(copy) != json_object_size(map)) { /* jansson leaves out what it has no memory for */
        json_decref(copy);
        return NULL;
    }
    return copy;
}

sail_code sail__json_open_record(const sail_json *map, const char *const *without, char **out, sail_err *err)
{
    json_t *copy = sail__json_copy_map(json(map));
    for (; copy && *without; without++)
        (void)json_object_del(copy, *without); /* not there: fine */
    char *text = copy ? json_dumps(copy, JSON_PRESERVE_ORDER) : NULL;
    json_decref(copy);
    *out = text ? sail__strdup(text) : NULL;
    free(text);
    if (!*out)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    (*out)[strlen(*out) - 1] = 0;
    return SAIL_OK;
}

/* ---- rows ---- */

static sail_code no_memory(sail_err *err)
{
    return sail_fail(err, SAIL_E_NOMEM, "out of memory");
}

/* A part is one of text, messages, ids: putting in another kind starts it anew. */
static sail__part *part_of(sail_row *row, sail_part part)
{
    return &row->part[part < SAIL_PART_COUNT ? part : 0];
}

sail_code sail_row_text(sail_row *row, sail_part part, const char *text, size_t len, sail_err *err)
{
    sail__part *p = part_of(row, part);
    *p = (sail__part){.text = sail__arena_strndup(row->arena, text ? text : "", text ? len : 0), .len = text ? len : 0};
    return p->text ? SAIL_OK : no_memory(err);
}

sail_code sail_row_text_between(sail_row *row, sail_part part, const char *before, const char *text, size_t len,
                                const char *after, sail_err *err)
{
    const size_t n_before = strlen(before), n_after = strlen(after);
    char *all = sail__arena_alloc(row->arena, n_before + len + n_after + 1);
    if (!all)
        return no_memory(err);
    memcpy(all, before, n_before);
    if (len)
        memcpy(all + n_before, text, len);
    memcpy(all + n_before + len, after, n_after + 1);
    *part_of(row, part) = (sail__part){.text = all, .len = n_before + len + n_after};
    return SAIL_OK;
}

sail_code sail_row_message(sail_row *row, sail_part part, const char *role, const char *content, size_t len,
                           sail_err *err)
{
    sail__part *p = part_of(row, part);
    size_t n = strlen(role);
    /* A role goes into the markup of a template, so it must not be able to write markup. */
    if (n == 0 || n > 32 || strspn(role, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != n)
        return sail_fail(err, SAIL_E_PARSE,
                         "a message's role is '%.40s'; a role is a word: system, user, assistant, tool", role);
    if (!p->messages)
        *p = (sail__part){0};
    size_t cap = p->n_messages < p->cap_messages ? p->cap_messages : 2 * p->n_messages + 2;
    sail__message *more = cap == p->cap_messages ? p->messages : sail__arena_array(row->arena, cap, sizeof *more);
    sail__message m = {sail__arena_strdup(row->arena, role),
                       sail__arena_strndup(row->arena, content ? content : "", len), len};
    if (!more || !m.role || !m.content)
        return no_memory(err);
    if (p->n_messages && more != p->messages)
        memcpy(more, p->messages, p->n_messages * sizeof *more);
    more[p->n_messages] = m;
    p->messages = more;
    p->n_messages++;
    p->cap_messages = cap;
    return SAIL_OK;
}

void sail_row_scores(sail_row *row, double chosen, double rejected)
{
    row->score[0] = chosen;
    row->score[1] = rejected;
}

void sail_row_desirable(sail_row *row, bool desirable) { row->label = desirable ? 1 : -1; }

sail_code sail_row_subset(sail_row *row, const char *name, size_t len, sail_err *err)
{
    row->subset = sail__arena_strndup(row->arena, name, len);
    return row->subset ? SAIL_OK : no_memory(err);
}

void sail_row_drop(sail_row *row, const char *reason)
{
    if (!row->dropped)
        row->dropped = sail__arena_strdup(row->arena, reason);
}

/* Content: a string, or a list of parts {type: text, text}. */
static sail_code content_of(const sail_json *v, sail_buf *out, bool *ok)
{
    size_t len;
    const char *s = sail_json_string(v, &len);
    *ok = s != NULL;
    if (s)
        sail__buf_add(out, s, len);
    if (sail_json_kind_of(v) != SAIL_JSON_LIST)
        return SAIL_OK;
    *ok = true;
    for (size_t i = 0; i < sail_json_size(v) && *ok; i++) {
        s = sail_json_string(sail_json_get(sail_json_at(v, i), "text"), &len);
        *ok = s != NULL;
        if (s)
            sail__buf_add(out, s, len);
    }
    return SAIL_OK;
}

const char *sail_json_role(const sail_json *message)
{
    const char *role = sail_json_string(sail_json_get(message, "role"), NULL);
    if (role || !(role = sail_json_string(sail_json_get(message, "from"), NULL)))
        return role;
    static const char *const theirs[][2] = {{"human", "user"},       {"gpt", "assistant"},           {"chatgpt", "assistant"},
                                            {"bing", "assistant"},   {"bard", "assistant"},          {"model", "assistant"},
                                            {"observation", "tool"}, {"function_call", "assistant"}, {"function_response", "tool"}};
    for (size_t k = 0; k < sizeof theirs / sizeof *theirs; k++)
        if (strcmp(role, theirs[k][0]) == 0)
            return theirs[k][1];
    return role;
}

/* {role, content}, or ShareGPT's {from, value}. */
static sail_code add_message(sail_row *row, sail_part part, const sail_json *v, const char *field, size_t i,
                             sail_err *err)
{
    const char *role = sail_json_role(v);
    const sail_json *content = sail_json_get(v, sail_json_get(v, "role") ? "content" : "value");
    if (!role)
        return sail_fail(err, SAIL_E_PARSE, "'%s': message %zu must be {\"role\": …, \"content\": …}", field, i + 1);
    sail_buf text = {0};
    bool ok;
    content_of(content, &text, &ok);
    sail_code code = SAIL_OK;
    if (!ok)
        code = sail_fail(err, SAIL_E_PARSE, "'%s': the content of message %zu must be a string, not %s", field, i + 1,
                         kind_name(content));
    else if (text.oom)
        code = no_memory(err);
    else
        code = sail_row_message(row, part, role, text.data, text.len, err);
    sail__buf_free(&text);
    return code;
}

sail_code sail_row_value(sail_row *row, sail_part part, const sail_json *v, const char *field, sail_err *err)
{
    size_t len;
    const char *s = sail_json_string(v, &len);
    if (s)
        return sail_row_text(row, part, s, len, err);
    if (sail_json_kind_of(v) == SAIL_JSON_MAP)
        return add_message(row, part, v, field, 0, err);
    if (sail_json_kind_of(v) == SAIL_JSON_ABSENT)
        return sail_fail(err, SAIL_E_PARSE, "'%s' is missing", field);
    if (sail_json_kind_of(v) != SAIL_JSON_LIST || sail_json_size(v) == 0)
        return sail_fail(err, SAIL_E_PARSE, "'%s' must be a string or a list of messages, not %s", field,
                         sail_json_kind_of(v) == SAIL_JSON_LIST ? "an empty list" : kind_name(v));
    *part_of(row, part) = (sail__part){0};
    for (size_t i = 0; i < sail_json_size(v); i++)
        SAIL_TRY(add_message(row, part, sail_json_at(v, i), field, i, err));
    return SAIL_OK;
}

const sail_json *sail_json_conversation(const sail_json *record)
{
    const sail_json *v = sail_json_get(record, "messages");
    if (sail_json_kind_of(v) == SAIL_JSON_ABSENT)
        v = sail_json_get(record, "conversations");
    return sail_json_kind_of(v) == SAIL_JSON_ABSENT ? NULL : v;
}

sail_code sail_row_conversation(sail_row *row, sail_part part, const sail_json *record, size_t n, sail_err *err)
{
    const sail_json *list = sail_json_conversation(record);
    const char *field = list && sail_json_get(record, "messages") == list ? "messages" : "conversations";
    size_t len, size = sail_json_size(list);
    const char *system = sail_json_string(sail_json_get(record, "system"), &len), *first = sail_json_role(sail_json_at(list, 0));
    if (sail_json_kind_of(list) != SAIL_JSON_LIST || !size)
        return sail_row_value(row, part, list, "messages", err); /* says what it must be */
    *part_of(row, part) = (sail__part){0};
    if (system && len && !(first && strcmp(first, "system") == 0))
        SAIL_TRY(sail_row_message(row, part, "system", system, len, err));
    for (size_t i = 0; i < size && i < n; i++)
        SAIL_TRY(add_message(row, part, sail_json_at(list, i), field, i, err));
    return SAIL_OK;
}

sail_code sail_row_id_list(sail_row *row, sail_part part, const sail_json *v, const char *field, sail_err *err)
{
    if (sail_json_kind_of(v) != SAIL_JSON_LIST)
        return sail_fail(err, SAIL_E_PARSE, "'%s' must be a list of token ids, not %s", field, kind_name(v));
    size_t n = sail_json_size(v);
    int32_t *ids = sail__arena_array(row->arena, n + 1, sizeof *ids);
    if (!ids)
        return no_memory(err);
    for (size_t i = 0; i < n; i++) {
        const json_t *id = json(sail_json_at(v, i));
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) > INT32_MAX)
            return sail_fail(err, SAIL_E_PARSE, "'%s': item %zu must be a token id, an integer from 0", field, i + 1);
        ids[i] = (int32_t)json_integer_value(id);
    }
    *part_of(row, part) = (sail__part){.ids = ids, .n_ids = n};
    return SAIL_OK;
}

static bool same_message(const sail__message *x, const sail__message *y)
{
    return strcmp(x->role, y->role) == 0 && x->content_len == y->content_len &&
           memcmp(x->content, y->content, x->content_len) == 0;
}

sail_code sail_row_common_prompt(sail_row *row, sail_err *err)
{
    sail__part *c = &row->part[SAIL_PART_CHOSEN], *r = &row->part[SAIL_PART_REJECTED];
    if (!c->messages || !r->messages)
        return sail_fail(err, SAIL_E_PARSE, "without a prompt, 'chosen' and 'rejected' must be lists of messages");
    size_t n = 0;
    while (n < c->n_messages && n < r->n_messages && same_message(&c->messages[n], &r->messages[n]))
        n++;
    if (n == 0)
        sail_row_drop(row, "chosen and rejected have no common prompt");
    else if (n == c->n_messages && n == r->n_messages)
        sail_row_drop(row, "chosen and rejected are equal");
    else if (n == c->n_messages || n == r->n_messages)
        sail_row_drop(row, "empty response");
    row->part[SAIL_PART_PROMPT] = (sail__part){.messages = c->messages, .n_messages = n};
    c->messages += n;
    r->messages += n;
    c->n_messages -= n;
    r->n_messages -= n;
    c->cap_messages = r->cap_messages = 0;
    return SAIL_OK;
}

sail_code sail_row_prompt_message(sail_row *row, sail_err *err)
{
    sail__part p = row->part[SAIL_PART_PROMPT];
    return p.text ? sail_row_message(row, SAIL_PART_PROMPT, "user", p.text, p.len, err) : SAIL_OK;
}

/* ---- what the host does with parts ---- */

bool sail__part_present(const sail__part *p)
{
    return p->text || p->messages || p->ids;
}

static bool blank(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!strchr(" \t\r\n\v\f", s[i]) || s[i] == '\0')
            return false;
    return true;
}

bool sail__part_empty(const sail__part *p)
{
    if (p->ids)
        return p->n_ids == 0;
    if (p->text)
        return blank(p->text, p->len);
    for (size_t i = 0; i < p->n_messages; i++)
        if (!blank(p->messages[i].content, p->messages[i].content_len))
            return false;
    return true;
}

bool sail__part_equal(const sail__part *a, const sail__part *b)
{
    if (!a->text != !b->text || !a->messages != !b->messages || !a->ids != !b->ids || a->len != b->len ||
        a->n_messages != b->n_messages || a->n_ids != b->n_ids)
        return false;
    if (a->text)
        return memcmp(a->text, b->text, a->len) == 0;
    if (a->ids)
        return memcmp(a->ids, b->ids, a->n_ids * sizeof *a->ids) == 0;
    for (size_t i = 0; i < a->n_messages; i++)
        if (!same_message(&a->messages[i], &b->messages[i]))
            return false;
    return true;
}

size_t sail__row_parts(const sail_row *row) { return SAIL_PART_COUNT + row->n_behind; }

const sail__part *sail__row_part(const sail_row *row, size_t i)
{
    return i < SAIL_PART_COUNT ? &row->part[i] : &row->behind[i - SAIL_PART_COUNT].part;
}

static uint64_t part_hash(const sail__part *p, uint64_t h)
{
    if (p->text)
        h = sail__hash64(p->text, p->len, h + 1);
    if (p->ids)
        h = sail__hash64(p->ids, p->n_ids * sizeof *p->ids, h + 2);
    for (size_t i = 0; i < p->n_messages; i++) {
        h = sail__hash64(p->messages[i].role, strlen(p->messages[i].role), h + 3);
        h = sail__hash64(p->messages[i].content, p->messages[i].content_len, h);
    }
    return h;
}

void sail__row_hash(sail_row *row)
{
    row->prompt_hash = row->hash = part_hash(&row->part[0], 0);
    for (size_t i = 1; i < sail__row_parts(row); i++)
        row->hash = part_hash(sail__row_part(row, i), row->hash + 4);
    if (row->label) /* the same words, judged otherwise, are another row */
        row->hash = sail__hash64(&row->label, sizeof row->label, row->hash);
}

static sail_code copy_part(sail_arena *a, const sail__part *from, sail__part *to, sail_err *err)
{
    *to = (sail__part){.len = from->len, .n_ids = from->n_ids, .n_messages = from->n_messages};
    int32_t *ids = from->ids ? sail__arena_array(a, from->n_ids + 1, sizeof *ids) : NULL;
    sail__message *m = from->messages ? sail__arena_array(a, from->n_messages, sizeof *m) : NULL;
    to->text = from->text ? sail__arena_strndup(a, from->text, from->len) : NULL;
    if ((from->text && !to->text) || (from->ids && !ids) || (from->messages && !m))
        return no_memory(err);
    if (from->n_ids)
        memcpy(ids, from->ids, from->n_ids * sizeof *ids);
    for (size_t k = 0; k < from->n_messages; k++) {
        const sail__message *x = &from->messages[k];
        m[k] = (sail__message){sail__arena_strdup(a, x->role), sail__arena_strndup(a, x->content, x->content_len), x->content_len};
        if (!m[k].role || !m[k].content)
            return no_memory(err);
    }
    to->ids = ids;
    to->messages = m;
    return SAIL_OK;
}

sail_code sail__row_copy(sail_arena *a, const sail_row *from, sail_row **out, sail_err *err)
{
    sail_row *row = sail__arena_alloc(a, sizeof *row);
    if (!row)
        return no_memory(err);
    *row = *from;
    row->arena = a;
    row->next = row->responses = NULL;
    row->behind = from->n_behind ? sail__arena_array(a, from->n_behind, sizeof *row->behind) : NULL;
    if ((from->subset && !(row->subset = sail__arena_strdup(a, from->subset))) || (from->n_behind && !row->behind))
        return no_memory(err);
    for (int i = 0; i < SAIL_PART_COUNT; i++)
        SAIL_TRY(copy_part(a, &from->part[i], &row->part[i], err));
    for (size_t i = 0; i < from->n_behind; i++) {
        row->behind[i].score = from->behind[i].score;
        SAIL_TRY(copy_part(a, &from->behind[i].part, &row->behind[i].part, err));
    }
    *out = row;
    return SAIL_OK;
}

const char *sail__row_last_user(const sail_row *row)
{
    const sail__part *p = &row->part[SAIL_PART_PROMPT];
    for (size_t i = p->n_messages; i-- > 0;)
        if (strcmp(p->messages[i].role, "user") == 0)
            return p->messages[i].content;
    return p->text ? p->text : "";
}

void sail__row_conversation(const sail_row *row, sail_buf *out)
{
    const sail__part *p = &row->part[SAIL_PART_PROMPT];
    if (p->text)
        sail__buf_add(out, p->text, p->len);
    for (size_t i = 0; i < p->n_messages; i++) {
        const char *role = p->messages[i].role;
        char first = role[0] >= 'a' && role[0] <= 'z' ? (char)(role[0] - 'a' + 'A') : role[0];
        sail__buf_printf(out, "%s%c%s: ", i ? "\n\n" : "", first, role + 1);
        sail__buf_add(out, p->messages[i].content, p->messages[i].content_len);
    }
}
