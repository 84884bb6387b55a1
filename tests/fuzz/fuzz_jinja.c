/* fuzz_jinja.c - any bytes as a chat template: an error that names its line, or text that is valid UTF-8, whose marks lie inside
 * it, within the limits. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/jinja.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char context[] = "{\"messages\": [{\"role\": \"system\", \"content\": \"Be brief.\"}, {\"role\": \"user\", "
                              "\"content\": \" <b>n\\u00e4\\u00efve</b> \\ud83d\\ude00 {{ x }}\\n\"},"
                              " {\"role\": \"assistant\", \"content\": \"<think>a</think>b\", \"tool_calls\": [{\"function\": "
                              "{\"name\": \"f\", \"arguments\": {\"a\": 1, \"b\": [true, null, 2.5]}}}]},"
                              " {\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"part\"}]}],"
                              " \"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"f\", \"parameters\": {\"type\": "
                              "\"object\", \"properties\": {\"a\": {\"type\": \"integer\"}}}}}],"
                              " \"add_generation_prompt\": true, \"bos_token\": \"<s>\", \"eos_token\": \"</s>\", \"n\": 7, "
                              "\"f\": 2.5, \"words\": [\"b\", \"A\", \"c\"], \"d\": {\"b\": 1, \"a\": 2}}";

static void check(const sail__spans *s, size_t n, bool apart)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->items[i].begin > s->items[i].end ||
            (apart && (s->items[i].end > n || (i && s->items[i - 1].end >= s->items[i].begin))))
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const foreign[] = {"messages", "tools", NULL};
    sail_err err = {0};
    sail__jinja_fault fault;
    sail__jinja *t;
    sail_arena *a = sail__arena_new();
    sail_node *variables;
    if (!a || sail__json_parse(a, context, sizeof context - 1, "fuzz", 1, &variables, &err) != SAIL_OK)
        abort();
    const sail__jinja_options o = {
        .variables = variables, .foreign = foreign, .now = 0, .steps = 200000, .memory = 8 << 20, .output = 1 << 20};
    if (sail__jinja_parse((const char *)data, size, "fuzz", &t, &fault, &err) == SAIL_OK) {
        sail__jinja_result r;
        if (sail__jinja_render(t, &o, &r, &fault, &err) == SAIL_OK) {
            if (r.text.len > o.output || !sail__utf8_valid(r.text.data ? r.text.data : "", r.text.len))
                abort();
            check(&r.foreign, r.text.len, true);
            check(&r.generation, r.text.len, false);
        } else if (!err.message[0] || fault.kind == SAIL__JINJA_NONE || fault.line < 1) {
            abort();
        }
        sail__jinja_result_free(&r);
        sail__jinja_free(t);
    } else if (!err.message[0]) {
        abort();
    }
    sail__arena_free(a);
    return 0;
}
