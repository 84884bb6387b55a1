/* cmd_run.c - sail run and sail resume. */
#include <math.h>
#include <string.h>

#include "cli.h"
#include "estimate.h"
#include "recipe/run.h"

struct run_options {
    bool force, dry_run, profile;
};
#define T struct run_options
static const sail_opt run_table[] = {
    SAIL_OPT_BOOL(T, force, .help = "remove a run of this name first"),
    SAIL_OPT_BOOL(T, dry_run, .help = "print the resolved recipe with the origin of every value, what each stage will take of memory and time, and what is "
                                        "to be fetched, and stop"),
    SAIL_OPT_BOOL(T, profile, .help = "print where the time of the steps goes: each kernel with its time, flops, bytes and fraction of the device's "
                                      "limits, and what crosses between host and device; kept as profile.json in the stage's directory"),
    {0},
};
#undef T

typedef struct progress {
    sail__cli *c;
    const char *stage;
    int64_t every; /* steps between lines where there is no terminal */
} progress;

static void on_stage(void *user, const sail__stage *s, size_t index, size_t n, bool done)
{
    progress *p = user;
    p->stage = s->name;
    p->every = s->train.log_every;
    if (done)
        sail__cli_line(p->c, "stage %zu of %zu: %s is done", index + 1, n, s->name);
    else if (n > 1 || s->kind != SAIL__ALIGN)
        sail__cli_line(p->c, "stage %zu of %zu: %s", index + 1, n, s->name);
}

static void value(sail_buf *b, const sail__metrics *m, const char *name, const char *label, const char *format)
{
    double v = sail__metrics_get(m, name);
    if (isnan(v))
        return;
    sail__buf_str(b, b->len ? " · " : "");
    sail__buf_str(b, label);
    sail__buf_printf(b, format, v);
}

/* Win rates of a comparison, a line each. */
static void win_rates(const progress *p, const sail__metrics *m)
{
    for (size_t i = 0; i < m->n; i++) {
        const char *name = m->items[i].name;
        char side[2][220];
        if (strncmp(name, "win_rate/", 9) != 0 || strchr(name + 9, '/'))
            continue;
        snprintf(side[0], sizeof side[0], "%s/low", name);
        snprintf(side[1], sizeof side[1], "%s/high", name);
        sail__cli_line(p->c, "win rate %-24s %.3f  [%.3f, %.3f]", name + 9, sail__metric_value(&m->items[i]), sail__metrics_get(m, side[0]),
                       sail__metrics_get(m, side[1]));
    }
}

/* SAIL's surrogate has terms whose value says nothing, only their gradient does: minus the log-likelihood of the labels is
 * what compares with other losses. */
static void losses(sail_buf *b, const sail__metrics *m)
{
    double f = sail__metrics_get(m, "sail/F");
    if (isnan(f)) {
        value(b, m, "loss", "loss ", "%.4f");
        return;
    }
    sail__buf_printf(b, "%snll %.4f", b->len ? " · " : "", -f);
    value(b, m, "loss", "surrogate ", "%.4f");
}

static void on_step(void *user, int64_t step, int64_t steps, const sail__metrics *m)
{
    progress *p = user;
    sail_buf b = {0};
    bool eval = !isnan(sail__metrics_get(m, "time/evaluation"));
    if (steps == 0) {
        win_rates(p, m);
        return;
    }
    if (eval) {
        sail__buf_printf(&b, "%s: evaluation at step %lld", p->stage, (long long)step);
        value(&b, m, "eval_loss", "loss ", "%.4f");
        value(&b, m, "eval_rewards/accuracies", "accuracy ", "%.3f");
        value(&b, m, "eval_rewards/margins", "margin ", "%.4f");
        value(&b, m, "eval_calibration/error", "calibration error ", "%.3f");
        value(&b, m, "eval_objective/kl", "kl ", "%.3f");
        value(&b, m, "eval_completions/mean_length", "length ", "%.1f");
        value(&b, m, "eval_win_rate", "win rate ", "%.3f");
    } else {
        losses(&b, m);
        value(&b, m, "rewards/accuracies", "accuracy ", "%.2f");
        value(&b, m, "rewards/margins", "margin ", "%.3f");
        value(&b, m, "grad_norm", "grad ", "%.3g");
        value(&b, m, "time/tokens_per_second", "", "%.0f tokens/s");
    }
    if (b.oom || !b.data)
        ;
    else if (eval)
        sail__cli_line(p->c, "%s", b.data);
    else if (p->c->terminal)
        sail__cli_status(p->c, b.data);
    else if (p->every < 2 || step % p->every == 0 || step == steps)
        sail__cli_line(p->c, "step %lld/%lld · %s", (long long)step, (long long)steps, b.data);
    sail__buf_free(&b);
}

static void on_profile(void *user, const sail__profile *profile)
{
    const progress *p = user;
    sail__cli_profile(p->c, profile);
}

static sail_code tell(sail__cli *c, const sail_problems *p, sail_err *err)
{
    if (err->code != SAIL_E_NOMEM)
        sail__cli_problems(c, SAIL_LOG_ERROR, p, 1); /* the first is the command's error line */
    return err->code;
}

static sail_code run(sail__cli *c, sail_err *err)
{
    const struct run_options *o = c->options;
    sail_problems problems = {.arena = c->arena};
    sail__recipe *r;
    if ((o->dry_run ? sail__recipe_plan : sail__recipe_load)(c->ctx, c->args[0], c->args + 1, c->n_args - 1, &problems, &r, err) != SAIL_OK)
        return tell(c, &problems, err);
    if (o->dry_run) {
        sail_buf b = {0};
        sail__recipe_print(r, true, &b);
        sail_code code = sail__estimate(c, r, &b, err);
        for (size_t i = 0; i < r->absent.n; i++)
            sail__buf_printf(&b, "# to be fetched: %s\n", r->absent.items[i].message);
        sail__recipe_missing(r, &problems);
        sail__cli_problems(c, SAIL_LOG_WARN, &problems, 0);
        if (code == SAIL_OK)
            code = b.oom ? sail_fail(err, SAIL_E_NOMEM, "out of memory") : sail__cli_output(c, NULL, b.data, b.len, err);
        sail__buf_free(&b);
        sail__recipe_free(r);
        return code;
    }
    c->only_progress = true;
    progress p = {.c = c};
    sail__run_options x = {.ctx = c->ctx, .recipe = r, .force = o->force, .missing = &problems, .overrides = c->args + 1, .n_overrides = c->n_args - 1,
                           .on_stage = c->quiet ? NULL : on_stage, .on_step = c->quiet ? NULL : on_step, .user = &p,
                           .on_profile = o->profile ? on_profile : NULL};
    sail_code code = sail__run(&x, NULL, err);
    sail__cli_clear(c);
    if (code == SAIL_OK && !c->quiet)
        sail__cli_line(c, "done: %s", sail__run_dir(r));
    else if (code == SAIL_E_CANCEL || code == SAIL_E_WAIT)
        sail__cli_line(c, "stopped and saved; go on with: sail resume %s", sail__run_dir(r));
    if (problems.n)
        code = tell(c, &problems, err);
    sail__recipe_free(r);
    return code;
}

static sail_code resume(sail__cli *c, sail_err *err)
{
    sail_problems problems = {.arena = c->arena};
    sail__recipe *r;
    bool finished;
    if (sail__run_recipe(c->ctx, c->args[0], &problems, &r, err) != SAIL_OK)
        return tell(c, &problems, err);
    c->only_progress = true;
    progress p = {.c = c};
    sail__run_options x = {.ctx = c->ctx, .recipe = r, .resume = true,
                           .on_stage = c->quiet ? NULL : on_stage, .on_step = c->quiet ? NULL : on_step, .user = &p};
    sail_code code = sail__run(&x, &finished, err);
    sail__cli_clear(c);
    if (code == SAIL_OK && !c->quiet)
        sail__cli_line(c, finished ? "%s is finished: nothing to do" : "done: %s", sail__run_dir(r));
    else if (code == SAIL_E_CANCEL || code == SAIL_E_WAIT)
        sail__cli_line(c, "stopped and saved; go on with: sail resume %s", sail__run_dir(r));
    sail__recipe_free(r);
    return code;
}

static const sail__example run_examples[] = {
    {"sail run recipes/sail-dpp.yaml model.path=SmolLM2-135M-Instruct data.train=pairs.jsonl", "online alignment with LoRA"},
    {"sail run my.lua train.steps=20 name=try", "a Lua recipe, shortened"},
    {NULL, NULL},
};
const sail__command sail__cmd_run = {
    .name = "run",
    .args = "RECIPE [key=value …]",
    .summary = "run a recipe's stages",
    .doc = "The run's directory is RUNS/NAME (recipe keys `runs` and `name`). An existing run is never overwritten without --force. "
           "Files that a stage reads are looked for before the first stage begins. "
           "SIGINT or SIGTERM saves a checkpoint and stops; `sail resume` goes on.",
    .min_args = 1,
    .max_args = -1,
    .flags = SAIL__CLI_SIGNALS,
    .options = run_table,
    .options_size = sizeof(struct run_options),
    .examples = run_examples,
    .run = run,
};

static const sail__example resume_examples[] = {{"sail resume runs/sail-dpp", "go on where it stopped"}, {NULL, NULL}};
const sail__command sail__cmd_resume = {
    .name = "resume",
    .args = "RUN",
    .summary = "go on with a run that was stopped",
    .doc = "From its newest whole checkpoint. On a finished run it says so and exits 0.",
    .min_args = 1,
    .max_args = 1,
    .flags = SAIL__CLI_SIGNALS,
    .examples = resume_examples,
    .run = resume,
};
