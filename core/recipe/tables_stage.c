/* tables_stage.c - stage `tables`: what the recipe's functions make of what earlier stages measured, checked, kept, written. */
#include "recipe_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../io/store.h"
#include "../io/tables.h"

/* The function's tables, one or a list of them, added to the list of the stage. */
static sail_code add_tables(const sail__recipe *r, sail__store *store, const sail_node *function, sail_node *list, sail_err *err)
{
    sail_buf json = {0};
    sail_node *made = NULL;
    sail_code code = r->hooks.make_tables(r->hooks.user, function->function, store, &json, err);
    if (code == SAIL_OK && json.oom)
        code = sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (code == SAIL_OK)
        code = sail__json_parse(r->arena, json.data, json.len, "tables", 1, &made, err);
    sail__buf_free(&json);
    SAIL_TRY(code);
    const size_t before = list->list.n, n = made->kind == SAIL_NODE_LIST ? made->list.n : 1;
    for (size_t i = 0; i < n; i++) {
        sail__table ignored;
        if (list->list.n == SAIL__TABLES_MOST)
            return sail_fail(err, SAIL_E_LIMIT, "a stage makes at most %d tables", SAIL__TABLES_MOST);
        if (!sail__node_append(r->arena, list, made->kind == SAIL_NODE_LIST ? made->list.items[i] : made))
            return sail_fail(err, SAIL_E_NOMEM, "out of memory");
        SAIL_TRY(sail__table_read(list, before + i, &ignored, err));
    }
    return SAIL_OK;
}

/* OUTPUT/tables.md and tables.json, there once the store has them. */
static sail_code write_output(const sail__recipe *r, const char *at, const char *json, const sail_node *list, sail_err *err)
{
    char *part = sail__path_join(r->arena, at, "output.part"), *output = sail__path_join(r->arena, at, "output");
    sail_buf text = {0};
    sail__table t;
    for (size_t i = 0; i < list->list.n; i++) {
        SAIL_TRY(sail__table_read(list, i, &t, err));
        sail__table_markdown(&t, &text);
    }
    sail_code code = text.oom || !part || !output ? sail_fail(err, SAIL_E_NOMEM, "out of memory") : sail__remove_tree(part, err);
    if (code == SAIL_OK)
        code = sail__make_dirs(part, err);
    if (code == SAIL_OK)
        code = sail__file_write(sail__path_join(r->arena, part, "tables.md"), text.data, text.len, err);
    if (code == SAIL_OK)
        code = sail__file_write(sail__path_join(r->arena, part, "tables.json"), json, strlen(json), err);
    if (code == SAIL_OK && rename(part, output) != 0)
        code = sail_fail(err, SAIL_E_IO, "%s: %s", output, strerror(errno));
    sail__buf_free(&text);
    return code;
}

sail_code sail__tables_stage(const sail__recipe *r, const sail__stage *s, const char *at, sail__store *store, sail_err *err)
{
    const sail_node *make = s->tables.make;
    const bool many = make->kind == SAIL_NODE_LIST;
    sail_node *list = sail__node_new(r->arena, SAIL_NODE_LIST, "tables", 0, 0);
    const char *key = sail__arena_printf(r->arena, "tables/%s", s->name);
    if (!list || !key)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    for (size_t i = 0; i < (many ? make->list.n : 1); i++)
        SAIL_TRY(add_tables(r, store, many ? make->list.items[i] : make, list, err));
    sail_buf json = {0};
    sail__node_to_json(&json, list);
    sail_code code = json.oom ? sail_fail(err, SAIL_E_NOMEM, "out of memory") : sail__store_set_info(store, key, json.data, err);
    if (code == SAIL_OK)
        code = sail__store_sync(store, err);
    if (code == SAIL_OK)
        code = write_output(r, at, json.data, list, err);
    sail__buf_free(&json);
    return code;
}
