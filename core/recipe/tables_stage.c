/* tables_stage.c - stage `tables`: what the recipe's functions make of what earlier stages measured, checked, kept, written. */
#include "recipe_internal.h"

#include "../io/store.h"
#include "../io/tables.h"

/* The function's tables, one or a list of them, added to the list of the stage, and as Markdown to text. */
static sail_code add_tables(const sail__recipe *r, sail__store *store, const sail_node *function, sail_node *list, sail_buf *text, sail_err *err)
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
        sail__table t;
        if (list->list.n == SAIL__TABLES_MOST)
            return sail_fail(err, SAIL_E_LIMIT, "a stage makes at most %d tables", SAIL__TABLES_MOST);
        if (!sail__node_append(r->arena, list, made->kind == SAIL_NODE_LIST ? made->list.items[i] : made))
            return sail_fail(err, SAIL_E_NOMEM, "out of memory");
        SAIL_TRY(sail__table_read(list, before + i, &t, err));
        sail__table_markdown(&t, text);
    }
    return SAIL_OK;
}

sail_code sail__tables_stage(const sail__recipe *r, const sail__stage *s, const char *at, sail__store *store, sail_err *err)
{
    const sail_node *make = s->tables.make;
    const bool many = make->kind == SAIL_NODE_LIST;
    sail_node *list = sail__node_new(r->arena, SAIL_NODE_LIST, "tables", 0, 0);
    const char *key = sail__arena_printf(r->arena, "tables/%s", s->name);
    if (!list || !key)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    sail_buf json = {0}, text = {0};
    sail_code code = SAIL_OK;
    for (size_t i = 0; code == SAIL_OK && i < (many ? make->list.n : 1); i++)
        code = add_tables(r, store, many ? make->list.items[i] : make, list, &text, err);
    sail__node_to_json(&json, list);
    if (code == SAIL_OK)
        code = json.oom ? sail_fail(err, SAIL_E_NOMEM, "out of memory") : sail__store_set_info(store, key, json.data, err);
    if (code == SAIL_OK)
        code = sail__store_sync(store, err);
    const sail__stage_file files[] = {{"tables.md", &text}, {"tables.json", &json}};
    if (code == SAIL_OK)
        code = sail__stage_output(r->arena, at, files, 2, err);
    sail__buf_free(&json);
    sail__buf_free(&text);
    return code;
}
