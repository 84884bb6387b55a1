/* recipe.h - a recipe: one or more stages, read from YAML or Lua over the tables of align/config.h.
 *
 * Floor: recipe. Ownership: a recipe owns its arena: nodes, strings, stages.
 *
 * A file is a map of sections (one stage, kind `stage: align` by default) or has `stages: [ {stage: sft, …}, … ]`, whose
 * maps are merged over the file's other keys. `extends: FILE` (relative to the file) is merged under it: maps deeply, lists
 * replaced. key=value from the command line wins; a key may be prefixed by a stage's name ("align.train.steps=3" only
 * where the first part names a stage and no section). Relative paths in options with SAIL_OPT_PATH are relative to the
 * file they are written in; on the command line to the working directory. */
#ifndef SAIL_RECIPE_H
#define SAIL_RECIPE_H

#include "../align/config.h"
#include "../align/hooks.h"

typedef struct sail__recipe {
    sail_arena *arena;
    const char *path;  /* of the file; NULL: from a node */
    const char *name;  /* directory under runs: letters, digits, . - _ */
    const char *title; /* free text */
    const char *runs;  /* directory of runs */
    sail_node *root;   /* resolved: extends and overrides merged, paths absolute or relative to the working directory */
    sail__stage *stages;
    size_t n_stages;
    sail__hooks hooks;
    sail_problems absent; /* of a plan: what must be fetched first */
    struct sail_ctx *ctx;
} sail__recipe;

/* Reads a Lua recipe into a node tree and fills hooks; registered by lua/ in the context. Functions in the tree are
 * FUNCTION nodes; objectives, preference models and judges given as functions have become plugins of the context whose
 * names stand in the tree. */
typedef sail_code (*sail__lua_reader)(sail_ctx *ctx, sail_arena *a, const char *path, sail_node **out, sail__hooks *hooks,
                                      sail_err *err);
bool sail__recipe_set_lua(sail_ctx *ctx, sail__lua_reader reader); /* false: out of memory */
/* The directory of the recipes that come with sail: `extends` and sail.recipe look there for what is not beside the file. */
bool sail__recipe_set_library(sail_ctx *ctx, const char *dir); /* false: out of memory */
/* dir/name if it is there, else the library's; where neither is, dir/name for the message. NULL: out of memory. */
char *sail__recipe_find(sail_ctx *ctx, sail_arena *a, const char *dir, const char *name);

/* A file and all that it extends as one tree, paths not yet resolved. hooks is filled where a Lua recipe is among them;
 * NULL: a Lua recipe is refused. A message goes to problems (may be NULL) besides err. */
sail_code sail__recipe_read(sail_ctx *ctx, sail_arena *a, const char *path, sail_node **root, sail__hooks *hooks,
                            sail_problems *problems, sail_err *err);

/* Load, merge, resolve, parse. All problems of the recipe are collected (and sorted by file and line); returns
 * SAIL_E_RECIPE with the first one in err when there is any; *out is NULL then. overrides: "key=value" strings whose
 * values are YAML. */
sail_code sail__recipe_load(sail_ctx *ctx, const char *path, const char *const *overrides, size_t n_overrides,
                            sail_problems *problems, sail__recipe **out, sail_err *err);
/* The same for looking only: models and data of the hub that the cache does not have are listed in `absent` and are no problems. */
sail_code sail__recipe_plan(sail_ctx *ctx, const char *path, const char *const *overrides, size_t n_overrides,
                            sail_problems *problems, sail__recipe **out, sail_err *err);
sail_code sail__recipe_from_node(sail_ctx *ctx, const sail_node *root, sail_problems *problems, sail__recipe **out,
                                 sail_err *err);
void sail__recipe_free(sail__recipe *r);

/* A problem for each file or directory that the recipe reads and that is not there; once each, what an earlier stage writes or a hub has is
 * none. */
void sail__recipe_missing(const sail__recipe *r, sail_problems *problems);

/* The resolved recipe as YAML, each value with its origin as a comment when asked; reading it back gives the same. */
void sail__recipe_print(const sail__recipe *r, bool with_origin, sail_buf *out);

/* YAML (libyaml): anchors and merge keys are refused, depth <= 64, 1.2 core schema for plain scalars (yes/no are strings,
 * 1e-5 is a number); duplicate keys are errors. */
sail_code sail__yaml_parse(sail_arena *a, const char *text, size_t n, const char *origin, sail_node **out, sail_err *err);
sail_code sail__yaml_read(sail_arena *a, const char *path, sail_node **out, sail_err *err);

#endif
