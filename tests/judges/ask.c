/* ask.c - N pairs to a judge over HTTP, as a run asks it, with the verdicts in a run store: what test_http kills and starts again.
 *
 * usage: judge_ask STORE N OPTION=VALUE …   (options of judge llm; `shown=1`: both orders as an evaluation asks them)
 * Pair i has two responses whose qualities follow from i; "pair=i" stands in all its texts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "align/judges.h"
#include "align/judging.h"
#include "recipe/recipe.h"

static int quality(int i, int k) { return 1 + (i * 7 + k * (3 + i / 11)) % 10; }

static sail_code ask(sail_ctx *ctx, sail_arena *a, int argc, char **argv, sail_err *err)
{
    int n = atoi(argv[2]), shown = 0, judged = 0;
    sail_buf yaml = {0};
    sail_node *node;
    sail__buf_str(&yaml, "kind: llm\n");
    for (int i = 3; i < argc; i++) {
        char *value = strchr(argv[i], '=');
        if (!strcmp(argv[i], "shown=1"))
            shown = 1;
        else if (value)
            sail__buf_printf(&yaml, "%.*s: %s\n", (int)(value - argv[i]), argv[i], value + 1);
    }
    sail_code code = sail__yaml_parse(a, yaml.data, yaml.len, "command line", &node, err);
    sail__buf_free(&yaml);
    SAIL_TRY(code);
    sail_problems problems = {.arena = a};
    sail_slot slot;
    if (!sail__slot_parse(ctx, a, SAIL_KIND_JUDGE, node, "judge", NULL, NULL, &slot, &problems))
        return sail__problems_fail(&problems, SAIL_E_RECIPE, err);
    sail_judge_item *items = sail__arena_array(a, (size_t)n, sizeof *items);
    sail_verdict *out = sail__arena_array(a, (size_t)n, sizeof *out);
    for (int i = 0; i < n; i++) {
        int id = shown ? i / 2 : i, turned = shown ? i & 1 : 0;
        const char **response = sail__arena_array(a, 2, sizeof *response);
        int64_t *tokens = sail__arena_array(a, 2, sizeof *tokens);
        for (int k = 0; k < 2; k++) {
            response[k] = sail__arena_printf(a, "response %d of pair=%d, quality=%d", k ^ turned, id, quality(id, k ^ turned));
            tokens[k] = 5;
        }
        const char *text = sail__arena_printf(a, "user: pair=%d, please", id);
        items[i] = (sail_judge_item){.prompt = text, .conversation = text, .k = 2, .response = response, .tokens = tokens, .id = (uint64_t)id};
    }
    sail__store *store;
    SAIL_TRY(sail__store_open(argv[1], sail__file_exists(argv[1]) ? SAIL__STORE_WRITE : SAIL__STORE_CREATE, &store, err));
    sail__judging j = {.ctx = ctx, .store = store};
    double start = sail__now();
    code = shown ? sail__judging_ask_as_shown(&j, &slot, items, n, out, err) : sail__judging_ask(&j, &slot, items, n, out, err);
    for (int i = 0; code == SAIL_OK && i < n; i++) {
        int id = shown ? i / 2 : i, turned = shown ? i & 1 : 0, q0 = quality(id, turned), q1 = quality(id, !turned);
        judged += out[i].outcome != SAIL_ABSTAIN;
        printf("%d %d %d\n", i, (int)out[i].outcome, q0 == q1 ? SAIL_TIE : q0 > q1 ? 0 : 1);
    }
    fprintf(stderr, "%d of %d judged in %.2f s\n", judged, n, sail__now() - start);
    sail__judging_close(&j);
    sail__store_close(store);
    return code;
}

int main(int argc, char **argv)
{
    sail_err err = {0};
    sail_ctx *ctx = sail_ctx_new();
    sail_arena *a = sail__arena_new();
    sail_code code = argc < 3 ? sail_fail(&err, SAIL_E_USAGE, "usage: judge_ask STORE N OPTION=VALUE …") : sail__judges_install(ctx, &err);
    if (code == SAIL_OK)
        code = ask(ctx, a, argc, argv, &err);
    if (code != SAIL_OK)
        fprintf(stderr, "%s\n", err.message);
    sail__arena_free(a);
    sail_ctx_free(ctx);
    return sail_code_status(code);
}
