/* registry.h - finding, checking and loading plugins of every kind.
 *
 * Floor: backend. Threads: the owner of the context. Loaded plugins live as long as the process; the registry's own
 * copies of descriptions live as long as the context.
 *
 * A name is resolved by file name, without loading others: KIND/NAME.so (or KIND-NAME.so) in, in this order, the
 * directories added with sail__plugins_add_path (the recipe's `plugins:`), SAIL_PLUGIN_PATH (colon-separated), the user's
 * data directory, the build tree or the installed directory beside the program or library. '-' and '_' are alike. */
#ifndef SAIL_REGISTRY_H
#define SAIL_REGISTRY_H

#include "../base/node.h"
#include "../sail/backend.h"
#include "load.h"

sail_code sail__plugins_add_path(sail_ctx *ctx, const char *dir, sail_err *err);
/* A plugin that is linked in or made by Lua. Copies the description. */
sail_code sail__plugins_add(sail_ctx *ctx, const sail_plugin *p, const char *path, sail_err *err);
/* Load (once) and return (a backend may be named `auto`); the error names the directories searched, the nearest name, or what is wrong with the file:
 * ABI, size, missing symbol, wrong kind, another name than the file's. */
sail_code sail__plugin_get(sail_ctx *ctx, sail_kind kind, const char *name, const sail_loaded **out, sail_err *err);
/* The backend that the name `auto` stands for: opencl where it has a GPU or an accelerator, else cpu; *name is static. reason: the
 * device, or why it is not a GPU. */
enum { SAIL__AUTO_REASON = 600 };
sail_code sail__backend_auto(sail_ctx *ctx, const char **name, char reason[SAIL__AUTO_REASON], sail_err *err);
/* All plugins that can be found, each unknown file probed in a child process (crash, hang beyond 2 s and exit are
 * survived); `problem` (may be NULL) is told about each file that cannot be used. */
typedef struct sail_found {
    sail_kind kind;
    const char *name, *doc, *source, *path, *problem; /* problem: NULL when usable */
} sail_found;
sail_code sail__plugins_list(sail_ctx *ctx, sail_arena *a, sail_found **out, size_t *n, sail_err *err);

/* From a recipe's slot (NAME or {kind: NAME, …}): the plugin, and its option struct parsed into the arena. */
typedef struct sail_slot {
    const sail_loaded *loaded;
    void *options; /* what its functions get as `self`: the struct, or where it has no options plugin.self */
    const sail_node *node;
} sail_slot;
bool sail__slot_parse(sail_ctx *ctx, sail_arena *a, sail_kind kind, const sail_node *node, const char *path,
                      sail_schedule_fn schedule, void *user, sail_slot *out, sail_problems *problems);

/* Context internals that floors hang things off: one pointer per floor, freed in reverse order. */
enum { SAIL_CTX_PLUGINS, SAIL_CTX_RECIPE, SAIL_CTX_LUA, SAIL_CTX_SLOTS };
void *sail__ctx_get(sail_ctx *ctx, int slot);
void sail__ctx_set(sail_ctx *ctx, int slot, void *p, void (*destroy)(void *p));

#endif
