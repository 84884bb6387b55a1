/* tokenizer_json.c - a parsed tokenizer.json into a tokenizer.
 *
 * Every part names its key in messages. What is not known here is an error: a tokenizer that leaves out a step gives
 * wrong ids without a word. Truncation and padding, which belong to a call and not to the text, are passed over. */
#include <string.h>

#include <jansson.h>
#include <utf8proc.h>

#include "tokenizer_impl.h"

static const char mark[] = "\xE2\x96\x81"; /* U+2581, what SentencePiece writes for a space */

static const char *text(const json_t *o, const char *key, const char *otherwise)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : otherwise;
}

static bool flag(const json_t *o, const char *key, bool otherwise)
{
    const json_t *v = json_object_get(o, key);
    return json_is_boolean(v) ? json_is_true(v) : otherwise;
}

static bool absent(const json_t *v)
{
    return !v || json_is_null(v);
}

static sail_code wrong(const sail__tokenizer *t, const char *key, const char *what, sail_err *err)
{
    return sail_fail(err, SAIL_E_FORMAT, "%s: %s %s", t->origin, key, what);
}

static sail_code unknown_type(const sail__tokenizer *t, const char *key, const char *type, const char *known,
                              sail_err *err)
{
    return sail_fail(err, SAIL_E_FORMAT, "%s: %s.type '%s' is not supported; known: %s", t->origin, key, type, known);
}

static char *copy(sail__tokenizer *t, const json_t *s) /* keeps NULs */
{
    return sail__arena_strndup(t->arena, json_string_value(s), json_string_length(s));
}

/* Call fn for v, or for each member of a Sequence's list, nested ones too. */
typedef sail_code part_fn(sail__tokenizer *t, const json_t *v, const char *type, const char *key, void *user,
                          sail_err *err);
static sail_code each(sail__tokenizer *t, const json_t *v, const char *key, const char *list, int depth, part_fn *fn,
                      void *user, sail_err *err)
{
    if (absent(v))
        return SAIL_OK;
    const char *type = text(v, "type", NULL);
    if (!type)
        return wrong(t, key, "must be an object with a type", err);
    if (strcmp(type, "Sequence") != 0)
        return fn(t, v, type, key, user, err);
    const json_t *items = json_object_get(v, list);
    if (!json_is_array(items) || depth > 4)
        return wrong(t, key, depth > 4 ? "is nested too deeply" : "is a Sequence without its list", err);
    size_t i;
    json_t *item;
    json_array_foreach(items, i, item) SAIL_TRY(each(t, item, key, list, depth + 1, fn, user, err));
    return SAIL_OK;
}

/* {"String": s} or {"Regex": s}, or a bare string. */
static sail_code pattern(sail__tokenizer *t, const json_t *v, const char *key, sail__regex *out, sail_err *err)
{
    const json_t *s = v;
    bool literal = true;
    if (json_is_object(v)) {
        s = json_object_get(v, "String");
        if (!s) {
            s = json_object_get(v, "Regex");
            literal = false;
        }
    }
    if (!json_is_string(s) || json_string_length(s) == 0)
        return wrong(t, key, "needs a pattern {\"Regex\": …} or {\"String\": …}", err);
    const char *where = sail__arena_printf(t->arena, "%s: %s", t->origin, key);
    return sail__regex_compile(t->arena, json_string_value(s), json_string_length(s), literal, where ? where : key, out,
                               err);
}

/* ---- normalizer ---- */

static sail_code normalizer(sail__tokenizer *t, const json_t *v, const char *type, const char *key, void *user,
                            sail_err *err)
{
    (void)user;
    if (t->n_normal == SAIL__MAX_STEPS)
        return wrong(t, key, "has too many steps", err);
    sail__normal n = {0};
    static const struct {
        const char *name;
        int options;
    } forms[] = {{"NFC", UTF8PROC_COMPOSE},
                 {"NFD", UTF8PROC_DECOMPOSE},
                 {"NFKC", UTF8PROC_COMPOSE | UTF8PROC_COMPAT},
                 {"NFKD", UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT}};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (strcmp(type, forms[i].name) == 0) {
            n.kind = SAIL__NORMAL_FORM;
            n.form = forms[i].options;
            t->normal[t->n_normal++] = n;
            return SAIL_OK;
        }
    if (strcmp(type, "Strip") == 0) {
        n.kind = SAIL__NORMAL_STRIP;
        n.left = flag(v, "strip_left", true);
        n.right = flag(v, "strip_right", true);
        t->normal[t->n_normal++] = n;
        return SAIL_OK;
    }
    bool prepend = strcmp(type, "Prepend") == 0;
    if (!prepend && strcmp(type, "Replace") != 0)
        return unknown_type(t, key, type, "NFC, NFD, NFKC, NFKD, Prepend, Replace, Strip, Sequence", err);
    const json_t *content = json_object_get(v, prepend ? "prepend" : "content");
    if (!json_is_string(content))
        return wrong(t, key, prepend ? "Prepend needs a string 'prepend'" : "Replace needs a string 'content'", err);
    n.kind = prepend ? SAIL__NORMAL_PREPEND : SAIL__NORMAL_REPLACE;
    n.content = copy(t, content);
    n.content_len = json_string_length(content);
    if (!n.content)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (!prepend)
        SAIL_TRY(pattern(t, json_object_get(v, "pattern"), key, &n.regex, err));
    t->normal[t->n_normal++] = n;
    return SAIL_OK;
}

/* ---- pre-tokenizer ---- */

static sail_code add_step(sail__tokenizer *t, sail__step step, const char *key, sail_err *err)
{
    if (t->n_steps == SAIL__MAX_STEPS) {
        sail__regex_free(&step.regex);
        return wrong(t, key, "has too many steps", err);
    }
    t->steps[t->n_steps++] = step;
    return SAIL_OK;
}

static sail_code add_split(sail__tokenizer *t, const char *source, bool literal, sail__behavior behavior, bool invert,
                           const char *key, sail_err *err)
{
    sail__step step = {.kind = SAIL__STEP_SPLIT, .behavior = behavior, .invert = invert};
    SAIL_TRY(sail__regex_compile(t->arena, source, strlen(source), literal, t->origin, &step.regex, err));
    return add_step(t, step, key, err);
}

static sail_code behavior_of(sail__tokenizer *t, const json_t *v, const char *key, sail__behavior *out, sail_err *err)
{
    static const char *const names[] = {"Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"};
    const char *s = text(v, "behavior", "Isolated");
    for (int i = 0; i < 5; i++)
        if (strcmp(s, names[i]) == 0) {
            *out = (sail__behavior)i;
            return SAIL_OK;
        }
    return sail_fail(err, SAIL_E_FORMAT, "%s: %s.behavior '%s' is unknown", t->origin, key, s);
}

static sail_code metaspace_step(sail__tokenizer *t, const json_t *v, const char *key, sail_err *err)
{
    sail__step step = {.kind = SAIL__STEP_METASPACE};
    step.replacement = sail__arena_strdup(t->arena, text(v, "replacement", mark));
    if (!step.replacement)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (!*step.replacement)
        return wrong(t, key, "Metaspace has an empty replacement", err);
    /* older files say add_prefix_space */
    const char *scheme = text(v, "prepend_scheme", flag(v, "add_prefix_space", true) ? "always" : "never");
    if (strcmp(scheme, "always") == 0)
        step.prepend = SAIL__PREPEND_ALWAYS;
    else if (strcmp(scheme, "first") == 0)
        step.prepend = SAIL__PREPEND_FIRST;
    else if (strcmp(scheme, "never") == 0)
        step.prepend = SAIL__PREPEND_NEVER;
    else
        return sail_fail(err, SAIL_E_FORMAT, "%s: %s.prepend_scheme '%s' is not always, first or never", t->origin, key,
                         scheme);
    SAIL_TRY(add_step(t, step, key, err));
    return flag(v, "split", true) ? add_split(t, step.replacement, true, SAIL__MERGED_NEXT, false, key, err) : SAIL_OK;
}

static sail_code pre_tokenizer(sail__tokenizer *t, const json_t *v, const char *type, const char *key, void *user,
                               sail_err *err)
{
    (void)user;
    if (t->byte_level)
        return wrong(t, key, "has a step after ByteLevel, which must be the last", err);
    if (strcmp(type, "ByteLevel") == 0) {
        if (flag(v, "add_prefix_space", true))
            SAIL_TRY(add_step(t, (sail__step){.kind = SAIL__STEP_PREFIX_SPACE}, key, err));
        if (flag(v, "use_regex", true))
            SAIL_TRY(add_split(t, SAIL__GPT2_PATTERN, false, SAIL__ISOLATED, false, key, err));
        t->byte_level = true;
        return SAIL_OK;
    }
    if (strcmp(type, "Split") == 0) {
        sail__step step = {.kind = SAIL__STEP_SPLIT, .invert = flag(v, "invert", false)};
        SAIL_TRY(behavior_of(t, v, key, &step.behavior, err));
        SAIL_TRY(pattern(t, json_object_get(v, "pattern"), key, &step.regex, err));
        return add_step(t, step, key, err);
    }
    if (strcmp(type, "Digits") == 0)
        return add_split(t, "\\p{N}", false, flag(v, "individual_digits", false) ? SAIL__ISOLATED : SAIL__CONTIGUOUS,
                         false, key, err);
    if (strcmp(type, "Punctuation") == 0) {
        sail__behavior b;
        SAIL_TRY(behavior_of(t, v, key, &b, err));
        return add_split(t, "[\\p{P}$+<=>^`|~]", false, b, false, key, err);
    }
    if (strcmp(type, "WhitespaceSplit") == 0)
        return add_split(t, "\\s", false, SAIL__REMOVED, false, key, err);
    if (strcmp(type, "Whitespace") == 0)
        return add_split(t, "\\w+|[^\\w\\s]+", false, SAIL__REMOVED, true, key, err);
    if (strcmp(type, "Metaspace") == 0)
        return metaspace_step(t, v, key, err);
    return unknown_type(t, key, type,
                        "ByteLevel, Split, Digits, Punctuation, Whitespace, WhitespaceSplit, Metaspace, "
                        "Sequence",
                        err);
}

/* ---- vocabulary ---- */

/* Room for ids up to n - 1 in tokens and flags. */
static sail_code reserve(sail__tokenizer *t, size_t n, sail_err *err)
{
    t->tokens = sail__arena_array(t->arena, n, sizeof *t->tokens);
    t->flags = sail__arena_array(t->arena, n, 1);
    if (!t->tokens || !t->flags)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    t->size = (int32_t)n;
    return SAIL_OK;
}

static sail_code check_id(const sail__tokenizer *t, const json_t *v, const char *key, const char *token, sail_err *err)
{
    if (!json_is_integer(v))
        return sail_fail(err, SAIL_E_FORMAT, "%s: %s: the id of '%.100s' must be an integer", t->origin, key, token);
    json_int_t id = json_integer_value(v);
    if (id < 0 || id > SAIL__MAX_TOKEN_ID)
        return sail_fail(err, SAIL_E_FORMAT, "%s: %s: the id of '%.100s' is %lld, outside 0..%d", t->origin, key, token,
                         (long long)id, SAIL__MAX_TOKEN_ID);
    return SAIL_OK;
}

static sail_code vocabulary(sail__tokenizer *t, const json_t *vocab, const json_t *added, sail_err *err)
{
    if (!json_is_object(vocab) || json_object_size(vocab) == 0)
        return wrong(t, "model.vocab", "must be an object of tokens and their ids", err);
    size_t bytes = 0, i;
    json_int_t largest = 0;
    const char *token;
    json_t *v;
    json_object_foreach((json_t *)vocab, token, v)
    {
        SAIL_TRY(check_id(t, v, "model.vocab", token, err));
        bytes += strlen(token) + 1;
        if (json_integer_value(v) > largest)
            largest = json_integer_value(v);
    }
    json_array_foreach(added, i, v)
    {
        const char *content = text(v, "content", NULL);
        if (!content || !*content)
            return sail_fail(err, SAIL_E_FORMAT, "%s: added_tokens[%zu] has no content", t->origin, i);
        SAIL_TRY(check_id(t, json_object_get(v, "id"), "added_tokens", content, err));
        if (json_integer_value(json_object_get(v, "id")) > largest)
            largest = json_integer_value(json_object_get(v, "id"));
    }
    /* A few holes are met in real files; a vocabulary of holes is a damaged one, and would cost memory for nothing. */
    if ((size_t)largest / 8 > json_object_size(vocab) + json_array_size(added))
        return sail_fail(err, SAIL_E_FORMAT, "%s: model.vocab has %zu tokens but ids up to %lld", t->origin,
                         json_object_size(vocab), (long long)largest);
    SAIL_TRY(reserve(t, (size_t)largest + 1, err));
    char *room = sail__arena_alloc(t->arena, bytes);
    if (!room)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    json_object_foreach((json_t *)vocab, token, v)
    {
        size_t n = strlen(token);
        sail__string *s = &t->tokens[json_integer_value(v)];
        if (s->data)
            return sail_fail(err, SAIL_E_FORMAT, "%s: model.vocab: '%.100s' and '%.100s' have the same id %lld",
                             t->origin, s->data, token, (long long)json_integer_value(v));
        memcpy(room, token, n + 1);
        *s = (sail__string){room, (uint32_t)n};
        t->flags[json_integer_value(v)] = SAIL__TOKEN_MODEL;
        room += n + 1;
    }
    return SAIL_OK;
}

static sail_code added_tokens(sail__tokenizer *t, const json_t *list, sail_err *err)
{
    size_t i, n = json_array_size(list);
    json_t *v;
    t->added = sail__arena_array(t->arena, n ? n : 1, sizeof *t->added);
    if (!t->added)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    json_array_foreach(list, i, v)
    {
        const json_t *content = json_object_get(v, "content");
        sail__added *a = &t->added[t->n_added++];
        *a = (sail__added){.content = copy(t, content),
                           .len = json_string_length(content),
                           .id = (int32_t)json_integer_value(json_object_get(v, "id")),
                           .special = flag(v, "special", false),
                           .single_word = flag(v, "single_word", false),
                           .lstrip = flag(v, "lstrip", false),
                           .rstrip = flag(v, "rstrip", false)};
        a->normalized = flag(v, "normalized", !a->special);
        if (!a->content)
            return sail_fail(err, SAIL_E_NOMEM, "out of memory");
        sail__string *s = &t->tokens[a->id];
        if (s->data && (s->len != a->len || memcmp(s->data, a->content, a->len) != 0))
            return sail_fail(err, SAIL_E_FORMAT, "%s: added_tokens[%zu]: id %d is '%.100s', not '%.100s'", t->origin, i,
                             (int)a->id, s->data, a->content);
        *s = (sail__string){a->content, (uint32_t)a->len};
        t->flags[a->id] |= a->special ? SAIL__TOKEN_SPECIAL : 0;
    }
    return SAIL_OK;
}

/* Into the two tries; contents that are searched in normalized text are normalized themselves. */
static sail_code added_tries(sail__tokenizer *t, sail_err *err)
{
    sail__matcher m = {0};
    SAIL_TRY(sail__matcher_init(&m, err));
    sail_buf buf[2] = {{0}, {0}};
    sail_code code = SAIL_OK;
    for (size_t i = 0; i < t->n_added && !code; i++) {
        sail__added *a = &t->added[i];
        if (a->normalized && t->n_normal) {
            const char *s;
            size_t n;
            if ((code = sail__normalize(t, &m, a->content, a->len, false, buf, &s, &n, err)))
                break;
            a->content = sail__arena_strndup(t->arena, s, n);
            a->len = n;
            if (!a->content)
                code = sail_fail(err, SAIL_E_NOMEM, "out of memory");
        }
        if (!code && a->len)
            code = sail__trie_add(a->normalized ? &t->normalized : &t->raw, a->content, a->len, (int32_t)i, err);
    }
    sail__buf_free(&buf[0]);
    sail__buf_free(&buf[1]);
    sail__matcher_free(&m);
    return code;
}

/* ---- merges ---- */

static sail_code get_merge(void *user, size_t i, sail__string *a, sail__string *b, sail_err *err)
{
    const sail__tokenizer *t = ((void **)user)[0];
    const json_t *v = json_array_get(((void **)user)[1], i);
    if (json_is_array(v) && json_array_size(v) == 2 && json_is_string(json_array_get(v, 0)) &&
        json_is_string(json_array_get(v, 1))) {
        const json_t *l = json_array_get(v, 0), *r = json_array_get(v, 1);
        *a = (sail__string){json_string_value(l), (uint32_t)json_string_length(l)};
        *b = (sail__string){json_string_value(r), (uint32_t)json_string_length(r)};
        return SAIL_OK;
    }
    const char *s = json_string_value(v), *space = s ? strchr(s, ' ') : NULL;
    if (!space || space == s || !space[1] || strchr(space + 1, ' '))
        return sail_fail(err, SAIL_E_FORMAT, "%s: model.merges[%zu] must be \"a b\" or [\"a\", \"b\"]", t->origin, i);
    *a = (sail__string){s, (uint32_t)(space - s)};
    *b = (sail__string){space + 1, (uint32_t)strlen(space + 1)};
    return SAIL_OK;
}

static sail_code model(sail__tokenizer *t, const json_t *m, const json_t *added, sail_err *err)
{
    if (!json_is_object(m))
        return wrong(t, "model", "is missing", err);
    const char *type = text(m, "type", "BPE"); /* old files leave it out */
    if (strcmp(type, "BPE") != 0)
        return unknown_type(t, "model", type, "BPE", err);
    if (*text(m, "continuing_subword_prefix", "") || *text(m, "end_of_word_suffix", ""))
        return wrong(t, "model", "has a continuing_subword_prefix or end_of_word_suffix, which is not supported", err);
    if (json_number_value(json_object_get(m, "dropout")) != 0)
        return wrong(t, "model.dropout", "must be null: ids would be random", err);
    const json_t *merges = json_object_get(m, "merges");
    if (!json_is_array(merges))
        return wrong(t, "model.merges", "must be a list", err);
    t->fuse_unk = flag(m, "fuse_unk", false);
    t->byte_fallback = flag(m, "byte_fallback", false);
    t->ignore_merges = flag(m, "ignore_merges", false);
    SAIL_TRY(vocabulary(t, json_object_get(m, "vocab"), added, err));
    SAIL_TRY(added_tokens(t, added, err));
    SAIL_TRY(sail__tokenizer_index(t, err));
    const char *unk = text(m, "unk_token", NULL);
    t->unk_model = unk ? sail__tokenizer_id(t, unk) : -1;
    if (unk && t->unk_model < 0)
        return sail_fail(err, SAIL_E_FORMAT, "%s: model.unk_token '%s' is not in model.vocab", t->origin, unk);
    t->unk = t->unk_model;
    void *user[2] = {t, (void *)merges};
    return sail__tokenizer_add_merges(t, json_array_size(merges), get_merge, user, err);
}

/* ---- post-processor ---- */

static sail_code post_processor(sail__tokenizer *t, const json_t *v, const char *type, const char *key, void *user,
                                sail_err *err)
{
    (void)user;
    if (strcmp(type, "ByteLevel") == 0)
        return SAIL_OK; /* moves offsets only */
    if (strcmp(type, "TemplateProcessing") != 0)
        return unknown_type(t, key, type, "ByteLevel, TemplateProcessing, Sequence", err);
    const json_t *single = json_object_get(v, "single"), *specials = json_object_get(v, "special_tokens");
    if (!json_is_array(single) || json_array_size(single) > 64)
        return wrong(t, key, "TemplateProcessing needs a list 'single' of at most 64 items", err);
    sail__ids before = {0}, after = {0}, *now = &before;
    size_t i, j;
    json_t *item, *id;
    sail_code code = SAIL_OK;
    json_array_foreach(single, i, item)
    {
        if (json_object_get(item, "Sequence")) {
            now = &after;
            continue;
        }
        const char *name = text(json_object_get(item, "SpecialToken"), "id", NULL);
        const json_t *ids = name ? json_object_get(json_object_get(specials, name), "ids") : NULL;
        if (!json_is_array(ids)) {
            code =
                sail_fail(err, SAIL_E_FORMAT, "%s: %s.single[%zu] names no token of special_tokens", t->origin, key, i);
            break;
        }
        json_array_foreach(ids, j, id)
        {
            int32_t n = json_is_integer(id) && json_integer_value(id) >= 0 && json_integer_value(id) < t->size
                            ? (int32_t)json_integer_value(id)
                            : -1;
            if (n < 0 || !t->tokens[n].data)
                code = sail_fail(err, SAIL_E_FORMAT, "%s: %s: token '%s' has an id that is not in the vocabulary",
                                 t->origin, key, name);
            if (!code)
                code = sail__ids_add(now, &n, 1, err);
        }
    }
    if (!code) {
        t->prefix = sail__arena_array(t->arena, before.n + 1, sizeof *t->prefix);
        t->suffix = sail__arena_array(t->arena, after.n + 1, sizeof *t->suffix);
        if (!t->prefix || !t->suffix) {
            code = sail_fail(err, SAIL_E_NOMEM, "out of memory");
        } else {
            if (before.n)
                memcpy(t->prefix, before.items, before.n * sizeof *t->prefix);
            if (after.n)
                memcpy(t->suffix, after.items, after.n * sizeof *t->suffix);
            t->n_prefix = before.n;
            t->n_suffix = after.n;
        }
    }
    sail__ids_free(&before);
    sail__ids_free(&after);
    return code;
}

/* ---- decoder ---- */

typedef struct decoder_state {
    const char *replace[SAIL__MAX_STEPS][2];
    size_t n_replace;
    bool any, fused;
} decoder_state;

static sail_code decoder(sail__tokenizer *t, const json_t *v, const char *type, const char *key, void *user,
                         sail_err *err)
{
    decoder_state *d = user;
    bool first = !d->any;
    d->any = true;
    if (strcmp(type, "ByteLevel") == 0 && first) {
        t->decoder = SAIL__DECODE_BYTE_LEVEL;
        return SAIL_OK;
    }
    if (strcmp(type, "Metaspace") == 0 && first) {
        t->decoder = SAIL__DECODE_METASPACE;
        t->drop_first =
            strcmp(text(v, "prepend_scheme", flag(v, "add_prefix_space", true) ? "always" : "never"), "never") != 0;
        d->replace[0][0] = sail__arena_strdup(t->arena, text(v, "replacement", mark));
        d->replace[0][1] = " ";
        d->n_replace = 1;
        return d->replace[0][0] ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "out of memory");
    }
    if (!first && t->decoder != SAIL__DECODE_PIECES)
        return wrong(t, key, "has steps in an order that is not supported", err);
    t->decoder = SAIL__DECODE_PIECES;
    if (strcmp(type, "Replace") == 0 && !d->fused && !t->decode_bytes && d->n_replace < SAIL__MAX_STEPS) {
        const json_t *p = json_object_get(v, "pattern");
        const char *from = json_is_string(p) ? json_string_value(p) : text(p, "String", NULL),
                   *to = text(v, "content", NULL);
        if (!from || !*from || !to)
            return wrong(t, key, "Replace needs a pattern {\"String\": …} and a content", err);
        d->replace[d->n_replace][0] = sail__arena_strdup(t->arena, from);
        d->replace[d->n_replace][1] = sail__arena_strdup(t->arena, to);
        if (!d->replace[d->n_replace][0] || !d->replace[d->n_replace][1])
            return sail_fail(err, SAIL_E_NOMEM, "out of memory");
        d->n_replace++;
        return SAIL_OK;
    }
    if (strcmp(type, "ByteFallback") == 0 && !d->fused) {
        t->decode_bytes = true;
        return SAIL_OK;
    }
    if (strcmp(type, "Fuse") == 0) {
        d->fused = true;
        return SAIL_OK;
    }
    if (strcmp(type, "Strip") == 0 && d->fused) {
        const char *content = text(v, "content", " ");
        if (strlen(content) != 1)
            return wrong(t, key, "Strip must take off one ASCII character", err);
        json_int_t start = json_integer_value(json_object_get(v, "start")),
                   stop = json_integer_value(json_object_get(v, "stop"));
        t->strip_char = content[0];
        t->strip = start > 0 ? (size_t)start : 0;
        t->strip_end = stop > 0 ? (size_t)stop : 0;
        return SAIL_OK;
    }
    return unknown_type(t, key, type, "ByteLevel, Metaspace, or Replace, ByteFallback, Fuse, Strip in this order", err);
}

sail_code sail__tokenizer_from_json(sail__tokenizer *t, const struct json_t *root, sail_err *err)
{
    t->bos = t->eos = t->pad = t->unk = t->unk_model = -1;
    if (!json_is_object(root))
        return wrong(t, "the file", "must be a JSON object", err);
    const json_t *added = json_object_get(root, "added_tokens");
    if (!absent(added) && !json_is_array(added))
        return wrong(t, "added_tokens", "must be a list", err);
    SAIL_TRY(each(t, json_object_get(root, "normalizer"), "normalizer", "normalizers", 0, normalizer, NULL, err));
    SAIL_TRY(
        each(t, json_object_get(root, "pre_tokenizer"), "pre_tokenizer", "pretokenizers", 0, pre_tokenizer, NULL, err));
    SAIL_TRY(model(t, json_object_get(root, "model"), added, err));
    SAIL_TRY(added_tries(t, err));
    SAIL_TRY(
        each(t, json_object_get(root, "post_processor"), "post_processor", "processors", 0, post_processor, NULL, err));
    decoder_state d = {.n_replace = 0};
    t->decoder = SAIL__DECODE_JOIN;
    SAIL_TRY(each(t, json_object_get(root, "decoder"), "decoder", "decoders", 0, decoder, &d, err));
    if (t->decoder == SAIL__DECODE_PIECES && !d.fused && (t->strip || t->strip_end))
        return wrong(t, "decoder", "strips before it fuses, which is not supported", err);
    SAIL_TRY(sail__tokenizer_decoded(t, (const char *const(*)[2])d.replace, d.n_replace, err));
    if (t->byte_level && t->ignore_merges)
        SAIL_TRY(sail__tokenizer_index_bytes(t, err));
    return SAIL_OK;
}

sail_code sail__tokenizer_add_end(sail__tokenizer *t, int64_t id, sail_err *err)
{
    if (id < 0 || id > SAIL__MAX_TOKEN_ID)
        return SAIL_OK;
    for (size_t i = 0; i < t->n_ends; i++)
        if (t->ends[i] == id)
            return SAIL_OK;
    int32_t *more = sail__arena_array(t->arena, t->n_ends + 1, sizeof *more);
    if (!more)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (t->n_ends)
        memcpy(more, t->ends, t->n_ends * sizeof *more);
    more[t->n_ends++] = (int32_t)id;
    t->ends = more;
    return SAIL_OK;
}

sail_code sail__tokenizer_parse(const struct json_t *root, const char *origin, sail__tokenizer **out, sail_err *err)
{
    *out = NULL;
    sail__tokenizer *t = sail__calloc(1, sizeof *t);
    if (!t || !(t->arena = sail__arena_new()) || !(t->origin = sail__arena_strdup(t->arena, origin))) {
        sail__tokenizer_free(t);
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    }
    sail_code code = sail__tokenizer_from_json(t, root, err);
    if (code) {
        sail__tokenizer_free(t);
        return code;
    }
    *out = t;
    return SAIL_OK;
}
