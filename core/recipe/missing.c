/* missing.c - files that a recipe reads and that are not there; its tables know only that they are paths. */
#include <string.h>

#include "../io/data.h"
#include "../io/hub.h"
#include "recipe.h"

static void need_file(sail_problems *p, const sail_node *at, const char *stage, const char *key, const char *path)
{
    if (!path || *path == '@' || sail__hub_is_name(path) || sail__file_exists(path) || sail__is_dir(path))
        return;
    const char *message = sail__arena_printf(p->arena, "there is no file or directory %s", path);
    for (size_t i = 0; message && i < p->n; i++)
        if (!strcmp(p->items[i].message, message)) /* many stages may read one file */
            return;
    sail__problem(p, at, sail__arena_printf(p->arena, "%s.%s", stage, key), "%s", message ? message : path);
}

static void need_files(sail_problems *p, const char *stage, const char *key, const sail_node *files)
{
    size_t n = !files ? 0 : files->kind == SAIL_NODE_LIST ? files->list.n : 1;
    for (size_t i = 0; i < n; i++) {
        const sail_node *one = files->kind == SAIL_NODE_LIST ? files->list.items[i] : files;
        sail__data_options found;
        sail_err err = {0};
        if (one->kind == SAIL_NODE_STRING && sail__is_dir(one->string.data))
            sail__problem(p, one, sail__arena_printf(p->arena, "%s.%s", stage, key), "%s is a directory; name a file of rows, or a pattern such as %s/*.jsonl",
                          one->string.data, one->string.data);
        else if (one->kind == SAIL_NODE_STRING && (sail__hub_is_name(one->string.data) || !strpbrk(one->string.data, "*?[")))
            need_file(p, one, stage, key, one->string.data);
        else if (sail__data_files(p->arena, one, key, &found, &err) != SAIL_OK)
            sail__problem_of(p, one, sail__arena_printf(p->arena, "%s.%s", stage, key), &err);
        else
            for (size_t k = 0; k < found.n_paths; k++)
                need_file(p, one, stage, key, found.paths[k]);
    }
}

/* A plugin's own paths. */
static void slot_files(sail_problems *p, const sail__stage *s, const char *key, const sail_slot *slot)
{
    const sail_node *node = slot->loaded ? sail__node_find(s->node, key) : NULL;
    for (const sail_opt *o = slot->loaded ? slot->loaded->plugin.opts : NULL; node && node->kind == SAIL_NODE_MAP && o && o->name; o++) {
        const sail_node *at = o->flags & SAIL_OPT_PATH ? sail__node_get(node, o->name) : NULL;
        if (at && at->kind == SAIL_NODE_STRING)
            need_file(p, at, s->name, sail__arena_printf(p->arena, "%s.%s", key, o->name), at->string.data);
    }
}

void sail__recipe_missing(const sail__recipe *r, sail_problems *p)
{
    for (size_t i = 0; i < r->n_stages; i++) {
        const sail__stage *s = &r->stages[i];
        const char *const keys[] = {"path", "adapter_path", "tokenizer"};
        const char *const values[] = {s->model.path, s->model.adapter_path, s->model.tokenizer};
        for (size_t k = 0; k < 3; k++) {
            const char *key = sail__arena_printf(p->arena, "model.%s", keys[k]);
            need_file(p, key ? sail__node_find(s->node, key) : NULL, s->name, key, values[k]);
        }
        slot_files(p, s, "method.judge", &s->judge);
        slot_files(p, s, "eval.judge", &s->eval_judge);
        need_files(p, s->name, "data.train", s->data.train);
        need_files(p, s->name, "data.eval", s->data.eval);
        need_files(p, s->name, "generate.prompts", s->generate.prompts);
    }
}
