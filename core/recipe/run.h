/* run.h - a recipe's stages, one after another, in a run's directory.
 *
 * Floor: recipe. RUNS/NAME holds recipe.resolved.yaml, the recipe's source, run.db, and a directory for each stage. A stage whose
 * output/ is there is done and is skipped; one that was interrupted goes on from its newest checkpoint, or (generate) after the prompts that
 * it has answered.
 * A model.path or model.adapter_path of the form "@STAGE" is that earlier stage's output: a model, or the model that stage began with
 * together with the adapter it trained. */
#ifndef SAIL_RUN_H
#define SAIL_RUN_H

#include "../align/trainer.h"
#include "recipe.h"

typedef struct sail__run_options {
    sail_ctx *ctx;
    const sail__recipe *recipe;
    bool force;  /* remove a run of this name first */
    bool resume; /* the run exists: go on */
    sail_problems *missing; /* needed without resume: gets the files that are not there, SAIL_E_NOTFOUND; nothing was begun then */
    const char *const *overrides; /* kept in the run, for resume */
    size_t n_overrides;
    /* Told of each stage (done: it was skipped) and each step; may be NULL. */
    void (*on_stage)(void *user, const sail__stage *s, size_t index, size_t n, bool done);
    void (*on_step)(void *user, int64_t step, int64_t steps, const sail__metrics *m);
    void *user;
    /* Set: the steps of stages that learn are profiled; the stage's directory gets profile.json. */
    void (*on_profile)(void *user, const sail__profile *p);
} sail__run_options;

/* RUNS/NAME, in the recipe's arena. */
char *sail__run_dir(const sail__recipe *r);

/* SAIL_E_EXISTS where the run exists and neither force nor resume is set; SAIL_E_CANCEL when stopped after saving. *finished
 * (may be NULL): nothing was left to do. */
sail_code sail__run(const sail__run_options *o, bool *finished, sail_err *err);

/* Load the recipe that a run was made from, with its key=value. A Lua recipe is read from its file again, which must not
 * have changed since. *overrides live in the arena of the recipe. */
sail_code sail__run_recipe(sail_ctx *ctx, const char *dir, sail_problems *problems, sail__recipe **out, sail_err *err);

/* What "@STAGE" stands for in a run: fills path and adapter_path; other paths stay. */
sail_code sail__run_resolve(const sail__recipe *r, const char *run_dir, sail__model_section *m, sail_arena *a, sail_err *err);

#endif
