/* help.c - `sail help lua`: every function a recipe in Lua can use, from the tables that make them. */
#include "sail_lua.h"

#include <stdio.h>

#include "bind_tape.h"

static void row(sail_buf *out, const char *usage, const char *doc) { sail__buf_printf(out, "  %-38s %s\n", usage, doc); }

#define UNARY_ROW(name, doc) row(out, "v:" #name "()", doc);
#define BINARY_ROW(name, doc) row(out, "a:" #name "(b)", doc);
#define NO_ROW(name, doc)

static void operators(sail_buf *out)
{
    sail__buf_str(out, "Values\n"
                       "  A value is a vector with a domain: scalar, pair, response, token or any. Operands have the same\n"
                       "  domain, or one is a scalar or a number. + - * / ^ and unary - work; #v is the length. Values live\n"
                       "  for one call: they cannot be kept.\n\n");
#define TAPE_UNARY UNARY_ROW
#define TAPE_BINARY NO_ROW
#define TAPE_REDUCE NO_ROW
#include "sail/tape_ops.def"
#undef TAPE_UNARY
#undef TAPE_BINARY
#define TAPE_UNARY NO_ROW
#define TAPE_BINARY BINARY_ROW
#include "sail/tape_ops.def"
#undef TAPE_BINARY
#undef TAPE_REDUCE
#define TAPE_BINARY NO_ROW
#define TAPE_REDUCE UNARY_ROW
#include "sail/tape_ops.def"
#undef TAPE_UNARY
#undef TAPE_BINARY
#undef TAPE_REDUCE
    row(out, "v:log()", "the same as v:ln()");
    for (const sail__lua_method *m = sail__lua_methods; m->name; m++)
        row(out, m->usage, m->doc);
}

typedef struct entry {
    const char *usage, *doc;
} entry;

static void entries(sail_buf *out, const char *title, const entry *e)
{
    sail__buf_printf(out, "\n%s\n", title);
    for (; e->usage; e++)
        row(out, e->usage, e->doc);
}

static const entry module[] = {
    {"sail.recipe(FILE)", "another recipe (YAML or Lua, relative to this file) as a table to change and return"},
    {"sail.ramp{from, to, steps [, start]}", "a number that goes from one value to another in a straight line"},
    {"sail.cosine{from, to, steps [, start]}", "the same along half a cosine"},
    {"sail.piecewise{{step, value}, …}", "a number given at some steps, straight lines between"},
    {"sail.objective{loss [, name, needs, takes]}", "loss = function(b); needs = {\"entropy\", \"lss\"}: per-token inputs beside log p; \"prompt\": b.prompt_logp; \"mismatched\": b.mismatched_rho; \"step\": all pairs at once (found out where it is left out)"},
    {"  takes = {…}", "\"f_divergence_type\", \"ld_alpha\", \"use_weighting\": modifiers of the method that mean something with it; \"single\": single responses with labels"},
    {"sail.preference{logprob [, name, outcomes]}", "logprob = function(s, outcome, k); outcomes: a number, or function(k); 2"},
    {"sail.judge{label [, name]}", "label = function(item): scores, the winner (1 or 2), \"tie\", or nil to abstain"},
    {"sail.reader{row [, name]}", "row = function(record): a row of r.data.reader, or nil and a reason to leave the record out"},
    {"sail.strategy{plan, prompts, responses [, name]}", "which prompts and responses are learned from; a function alone is `responses`"},
    {"sail.constant({…} [, domain])", "numbers as a value without derivative"},
    {"sail.log(…), print(…)", "a line to the user"},
    {"sail.null", "a key that is to be deleted where a recipe is extended"},
    {NULL, NULL},
};

static const entry batch[] = {
    {"b.logp, b.ref, b.rho, b.scores, b.length", "response: log p, the reference's, their difference, implicit reward (beta * rho), tokens"},
    {"b.whole_logp", "response: log p of all tokens alike, where ld_alpha weighs those of b.logp"},
    {"b.by_policy, b.by_rival", "response: 1 where the policy, or the rollout's rival (reference, mixture), wrote it"},
    {"b.judge_scores", "response: the judge's scores; of one that ranks only, the share of the others each beat; 0 where no judge was asked"},
    {"b.prompt_logp, b.mismatched_rho", "pair: what needs asked for: log p of the prompt's tokens; log-ratio of another prompt's response"},
    {"b.chosen.logp …, b.rejected.logp …", "pair: logp, ref, rho, score, length of slots 1 and 2 (pairs of two)"},
    {"winner, loser, decided = b.sides()", "the same by the label, and 1 where somebody won, else 0"},
    {"b.margin", "pair: score_chosen - score_rejected of the data, 0 where unknown; in stage reward b.scores are the head's, and there are no log p"},
    {"b.tokens.logp, .ref, .old [, .entropy, .lss]", "token: what the head gives; old: when the response was written"},
    {"b.drawn, b.tokens.drawn", "response, token: log p under the distribution that was drawn from (temperature, filters, an earlier policy); exp(b.logp - b.drawn): importance weights"},
    {"b.outcome, b.reversed", "outcomes, counted from 1: b.outcome[i], #b.outcome, b.outcome:is(k) (pair, 1 or 0)"},
    {"b.preference:logprob(scores, outcome)", "pair: log q(outcome); outcome: b.outcome, b.reversed or a number"},
    {"b.preference:entropy(scores)", "pair: entropy over the outcomes"},
    {"b.baseline(F)", "pair: mean of F over the other pairs of the step that the policy wrote; where there are none, of earlier steps; once"},
    {"b.coef_written, b.coef_labelled", "pair: the route's coefficient where the policy wrote, or labelled; else 0"},
    {"b.written, b.labelled, b.judged", "pair: 1 where the policy wrote, the policy labelled, a judge labelled"},
    {"b.n, b.first, b.step, b.beta, b.max_margin", "numbers: pairs here, the first one's index in the step, step from 0, …"},
    {"return loss [, {name = value}]", "a scalar to be minimised; metrics; per_pair = the loss of each pair"},
    {NULL, NULL},
};

static const entry preference[] = {
    {"s[1] … s[k]", "values of one domain: the scores of the slots"},
    {"outcome", "k = 2: 1 slot 1 wins, 2 slot 2 wins, 3 tie; k > 2: rankings in lexicographic order"},
    {"return log_q", "as long as a slot"},
    {NULL, NULL},
};

static const entry judge[] = {
    {"item.prompt, item.conversation", "text: the last user turn; the whole with roles"},
    {"item.responses[i], item.tokens[i]", "text and length of each response"},
    {NULL, NULL},
};

static const entry reader[] = {
    {"record.field", "what the file's record has, as tables, strings, numbers"},
    {"return {prompt, chosen, rejected}", "texts or lists of {role, content}; also messages, completion, label, score_chosen, score_rejected; or responses with scores or ranking"},
    {"return nil, \"reason\"", "the record is left out, and counted under the reason"},
    {NULL, NULL},
};

static const entry strategy[] = {
    {"plan = function(step)", "{responses = written to a prompt, pool = prompts looked at for each one used, judged = true: ask the judge about all, replay = share, keep = prompts, age = steps}"},
    {"prompts = function(list, want)", "a list of `want` numbers; list[i].tokens, .visits, .margin (at the last visit, or nil), .gap (of the data's scores, or nil); list.random()"},
    {"responses = function(c)", "a list of two or more of 1 … c.k; what is left aside counts in T1"},
    {"c.reward[i], c.logp[i], c.tokens[i]", "implicit reward, log p, length"},
    {"c.score[i], c.place[i]", "the judge's score and place (1 the best), or nil where it was not asked or has none"},
    {"c.entropy(i, j), c.random()", "of the policy's preference between two, nats; a number in (0, 1), the same when a run is resumed"},
    {"c.route, c.judged, c.step", "name; whether a judge labels; step from 0"},
    {NULL, NULL},
};

static const entry tables[] = {
    {"run:metric(STAGE, NAME)", "the last value of a metric of an earlier stage; nil where that stage has no such metric"},
    {"run:series(STAGE, NAME)", "two lists: steps, and values"},
    {"title, note", "text above and below; columns and rows must be there, a cell is a number, text, true or false, or sail.null"},
    {"shade = {COLUMN, …}", "cells coloured from the least of the column to the largest"},
    {"plot = {x = COLUMN, y = {COLUMN, …}, log = \"x\" | \"y\" | \"xy\"}", "a picture of it on the report's page"},
    {NULL, NULL},
};
static const entry hooks[] = {
    {"r.on.step = function(s)", "after each step: s.step, s.steps, s.metrics[\"objective/kl\"] (nan where the policy wrote nothing) …"},
    {"s:backoff(f)", "multiply the extra coefficients by f in (0, 1] from now on"},
    {"s:stop()", "end the stage after this step"},
    {"r.on.checkpoint = function(s)", "s.step, s.path; it looks on: what it writes into s.state is dropped"},
    {"r.on.rollout = function(s)", "s.step, s.prompt, s.response"},
    {"s.state", "a table kept in checkpoints; nothing else may be remembered from step to step"},
    {NULL, NULL},
};

void sail__lua_help(sail_buf *out)
{
    sail__buf_str(out, "A recipe in Lua is the table that a YAML recipe is, with functions in it:\n\n"
                       "  local sail = require \"sail\"\n"
                       "  local r = sail.recipe \"sail-dpp.yaml\"\n"
                       "  r.train.lr = function(step) return 1e-5 / (1 + step / 100) end  -- any schedulable number\n"
                       "  r.method.objective = function(b) return -b.preference:logprob(b.scores, b.outcome):mean() end\n"
                       "  return r\n\n");
    operators(out);
    entries(out, "Module sail (require \"sail\")", module);
    entries(out, "Objectives: r.method.objective = function(b) … end", batch);
    entries(out, "Preference models: r.method.preference = sail.preference { logprob = function(s, outcome, k) … end }",
            preference);
    entries(out, "Judges: r.method.judge = sail.judge { label = function(item) … end }", judge);
    entries(out, "Readers: r.data.reader = function(record) … end", reader);
    entries(out, "Strategies: r.method.strategy = sail.strategy { responses = function(c) … end }", strategy);
    entries(out, "Hooks", hooks);
    entries(out, "Stage tables: tables = { make = function(run) return { title = …, columns = {…}, rows = {{…}, …} } end }", tables);
    sail__buf_printf(out, "\nLimits\n"
                          "  math, string, table and utf8 are there; files, clocks, random numbers, coroutines, finalisers and\n"
                          "  compiled code are not. require finds \"sail\" and modules in the recipe's directory. One call may take\n"
                          "  %g s of processor time and %zu MB, values on the tape included. Functions are pure: what must be\n"
                          "  remembered goes into s.state. sail check --gradients RECIPE compares derivatives with differences.\n",
                     SAIL__LUA_SECONDS, SAIL__LUA_BYTES >> 20);
}
