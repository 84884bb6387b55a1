/* tokenizer_files.c - a tokenizer from the files of a model's directory.
 *
 * tokenizer.json is the tokenizer; the files beside it name its special tokens, its chat template and the tokens that
 * end a response. All of those are optional. */
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "../base/node.h"
#include "gguf.h"
#include "tokenizer_impl.h"

enum { MOST_BYTES = 512 << 20 };

static sail_code read_json(const char *path, json_t **out, sail_err *err)
{
    char *data;
    size_t size;
    SAIL_TRY(sail__file_read(path, MOST_BYTES, &data, &size, err));
    json_error_t e;
    bool lacked;
    *out = sail__json_load(data, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &lacked, &e);
    sail__free(data);
    if (lacked)
        return sail_fail(err, SAIL_E_NOMEM, "%s: no memory for its values", path);
    if (!*out)
        return sail_fail(err, SAIL_E_PARSE, "%s:%d:%d: not valid JSON: %s", path, e.line, e.column, e.text);
    return SAIL_OK;
}

/* The same for a file that may be absent: *out is NULL then. */
static sail_code read_beside(sail_arena *a, const char *dir, const char *name, json_t **out, sail_err *err)
{
    *out = NULL;
    const char *path = sail__path_join(a, dir, name);
    if (!path)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (!sail__file_exists(path))
        return SAIL_OK;
    SAIL_TRY(read_json(path, out, err));
    if (!json_is_object(*out)) {
        json_decref(*out);
        *out = NULL;
        return sail_fail(err, SAIL_E_FORMAT, "%s: must be a JSON object", path);
    }
    return SAIL_OK;
}

/* "bos_token": "…" or {"content": "…"}. */
static sail_code special(sail__tokenizer *t, const json_t *config, const char *key, int32_t *id, sail_err *err)
{
    const json_t *v = json_object_get(config, key);
    if (json_is_object(v))
        v = json_object_get(v, "content");
    if (!json_is_string(v))
        return SAIL_OK;
    int32_t found = sail__tokenizer_id(t, json_string_value(v));
    bool needed = id == &t->bos || id == &t->eos; /* files name a pad or unk that no vocabulary has */
    if (found < 0 && !needed)
        return SAIL_OK;
    if (found < 0)
        return sail_fail(err, SAIL_E_FORMAT, "%s: %s '%s' of the files beside it is not in its vocabulary", t->origin,
                         key, json_string_value(v));
    *id = found;
    return SAIL_OK;
}

static sail_code specials(sail__tokenizer *t, const json_t *config, sail_err *err)
{
    SAIL_TRY(special(t, config, "bos_token", &t->bos, err));
    SAIL_TRY(special(t, config, "eos_token", &t->eos, err));
    SAIL_TRY(special(t, config, "pad_token", &t->pad, err));
    return special(t, config, "unk_token", &t->unk, err);
}

/* eos_token_id: an integer or a list of them. */
static sail_code add_ends(sail__tokenizer *t, const json_t *config, sail_err *err)
{
    const json_t *v = json_object_get(config, "eos_token_id");
    if (json_is_integer(v))
        return sail__tokenizer_add_end(t, json_integer_value(v), err);
    for (size_t i = 0; i < json_array_size(v); i++)
        if (json_is_integer(json_array_get(v, i)))
            SAIL_TRY(sail__tokenizer_add_end(t, json_integer_value(json_array_get(v, i)), err));
    return SAIL_OK;
}

/* chat_template: a string, or a list of {name, template} of which "default" is meant. */
static sail_code chat_template(sail__tokenizer *t, const json_t *config, const char *dir, sail_err *err)
{
    const json_t *v = json_object_get(config, "chat_template");
    for (size_t i = 0; json_is_array(v) && i < json_array_size(v); i++) {
        const json_t *item = json_array_get(v, i), *name = json_object_get(item, "name");
        if (json_is_string(name) && strcmp(json_string_value(name), "default") == 0) {
            v = json_object_get(item, "template");
            break;
        }
    }
    if (json_is_string(v) && !(t->chat_template = sail__arena_strdup(t->arena, json_string_value(v))))
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    const char *path = sail__path_join(t->arena, dir, "chat_template.jinja");
    if (!path || !sail__file_exists(path))
        return SAIL_OK;
    char *data;
    size_t size;
    SAIL_TRY(sail__file_read(path, 16 << 20, &data, &size, err));
    t->chat_template = sail__arena_strndup(t->arena, data, size);
    sail__free(data);
    return t->chat_template ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "out of memory");
}

static sail_code load_beside(sail__tokenizer *t, const char *dir, sail_err *err)
{
    static const char *const names[] = {"special_tokens_map.json", "tokenizer_config.json", "generation_config.json",
                                        "config.json"};
    for (int i = 0; i < 4; i++) {
        json_t *config;
        SAIL_TRY(read_beside(t->arena, dir, names[i], &config, err));
        if (!config)
            continue;
        sail_code code = i < 2 ? specials(t, config, err) : add_ends(t, config, err);
        if (!code && i == 1)
            code = chat_template(t, config, dir, err);
        json_decref(config);
        SAIL_TRY(code);
    }
    if (t->eos >= 0)
        SAIL_TRY(sail__tokenizer_add_end(t, t->eos, err));
    return SAIL_OK;
}

static sail_code open_json(sail_arena *a, const char *path, sail__tokenizer **out, sail_err *err)
{
    json_t *root;
    SAIL_TRY(read_json(path, &root, err));
    sail_code code = sail__tokenizer_parse(root, path, out, err);
    json_decref(root);
    SAIL_TRY(code);
    const char *dir = sail__path_dir(a, path);
    code = dir ? load_beside(*out, dir, err) : sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (code) {
        sail__tokenizer_free(*out);
        *out = NULL;
    }
    return code;
}

static bool is_gguf(const char *path)
{
    char magic[4] = "";
    FILE *f = fopen(path, "rb");
    bool is = f && fread(magic, 1, 4, f) == 4 && memcmp(magic, "GGUF", 4) == 0;
    if (f)
        fclose(f);
    return is;
}

static sail_code open_gguf(const char *path, sail__tokenizer **out, sail_err *err)
{
    sail__gguf *g;
    SAIL_TRY(sail__gguf_open(path, &g, err));
    sail_code code = sail__tokenizer_from_gguf(g, out, err);
    sail__gguf_close(g);
    return code;
}

sail_code sail__tokenizer_open(const char *path, sail__tokenizer **out, sail_err *err)
{
    *out = NULL;
    sail_arena *a = sail__arena_new();
    const char *file = a && sail__is_dir(path) ? sail__path_join(a, path, "tokenizer.json") : path;
    sail_code code;
    if (!a || !file)
        code = sail_fail(err, SAIL_E_NOMEM, "out of memory");
    else if (file != path && !sail__file_exists(file))
        code = sail_fail(err, SAIL_E_NOTFOUND, "%s: no tokenizer.json in this directory", path);
    else if (is_gguf(file))
        code = open_gguf(file, out, err);
    else
        code = open_json(a, file, out, err);
    sail__arena_free(a);
    return code;
}
