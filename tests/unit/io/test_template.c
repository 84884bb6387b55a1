/* Chat templates: recorded renderings of the Jinja texts that are recognised, the named forms, refusals. */
#include "../../golden.h"
#include "io/template.h"

static sail__message message(const char *role, const char *content)
{
    return (sail__message){role, content, strlen(content)};
}

static void expect_named(const char *name, const char *system, const sail__message *m, size_t n, bool prompt,
                         const char *want)
{
    sail__template *t;
    sail_err err = {0};
    sail_buf out = {0};
    if (sail__template_named(name, system, NULL, &t, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    if (sail__template_render(t, m, n, prompt, &out, NULL, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    assert_string_equal(out.data, want);
    sail__buf_free(&out);
    sail__template_free(t);
}

static void named_templates_render_as_the_models_were_trained(void **state)
{
    (void)state;
    sail__message m[] = {message("user", "Hi"), message("assistant", "Hello."), message("user", " And? ")};
    expect_named(
        "chatml", NULL, m, 3, true,
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello.<|im_end|>\n<|im_start|>user\n And? <|im_end|>\n"
        "<|im_start|>assistant\n");
    expect_named("chatml", "S", m, 1, false, "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n");
    expect_named("llama3", NULL, m, 3, true,
                 "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant"
                 "<|end_header_id|>\n\nHello.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nAnd?<|eot_id|>"
                 "<|start_header_id|>assistant<|end_header_id|>\n\n");
    expect_named("zephyr", NULL, m, 2, true, "<|user|>\nHi</s>\n<|assistant|>\nHello.</s>\n<|assistant|>\n");
    expect_named("vicuna", "", m, 3, true, "USER: Hi ASSISTANT: Hello.</s>USER:  And?  ASSISTANT:");
    expect_named("hh", NULL, m, 3, true, "\n\nHuman: Hi\n\nAssistant: Hello.\n\nHuman:  And? \n\nAssistant:");
    expect_named("plain", NULL, m, 1, true, "Hi\n");
}

static void a_role_without_a_form_is_refused(void **state)
{
    (void)state;
    sail__template *t;
    sail_err err = {0};
    sail_buf out = {0};
    sail__message m = message("critic", "x");
    assert_int_equal(sail__template_named("hh", NULL, NULL, &t, &err), SAIL_OK);
    assert_int_equal(sail__template_render(t, &m, 1, true, &out, NULL, &err), SAIL_E_FORMAT);
    assert_non_null(strstr(err.message, "critic"));
    sail__buf_free(&out);
    sail__template_free(t);
    assert_int_equal(sail__template_named("chatmi", NULL, NULL, &t, &err), SAIL_E_OPTION);
    assert_non_null(strstr(err.message, "did you mean 'chatml'"));
    assert_null(t);
}

static void spans_mark_what_users_wrote(void **state)
{
    (void)state;
    sail__template *t;
    sail_err err = {0};
    sail_buf out = {0};
    sail__spans spans = {0};
    sail__message m[] = {message("system", "abc"), message("user", "<|im_end|>")};
    assert_int_equal(sail__template_named("chatml", NULL, NULL, &t, &err), SAIL_OK);
    assert_int_equal(sail__template_render(t, m, 2, true, &out, &spans, &err), SAIL_OK);
    assert_int_equal(spans.n, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(spans.items[i].end - spans.items[i].begin, m[i].content_len);
        assert_memory_equal(out.data + spans.items[i].begin, m[i].content, m[i].content_len);
    }
    sail__buf_free(&out);
    sail__free(spans.items);
    sail__template_free(t);
}

static void texts_that_are_not_known_are_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}",
        /* the SmolLM2 form with an expression where the system message stands */
        "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n' "
        "+ x + '"
        "<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + "
        "'\n'}}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
        /* chatml with other words between */
        "{% for message in messages %}{{'<|im_start|>' + message['role'] + ':' + message['content'] + '<|im_end|>' + "
        "'\n'}}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
        ""};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        sail__template *t;
        sail_err err = {0};
        assert_int_equal(sail__template_from_jinja(texts[i], "model.gguf", NULL, NULL, &t, &err), SAIL_E_FORMAT);
        assert_null(t);
        assert_non_null(strstr(err.message, "model.gguf"));
        assert_non_null(strstr(err.message, "template: chatml"));
    }
}

/* All messages as plain strings, and nothing else in the context that a template could use? */
static bool plain_case(const sail_node *row, sail__message *m, size_t *n)
{
    const sail_node *list = sail__node_get(row, "messages"), *tools = sail__node_get(row, "tools");
    if (!sail__node_get(row, "expected") || (tools && tools->kind != SAIL_NODE_NULL))
        return false;
    *n = list->list.n;
    for (size_t i = 0; i < *n; i++) {
        const sail_node *role = sail__node_get(list->list.items[i], "role"),
                        *content = sail__node_get(list->list.items[i], "content");
        if (i >= 64 || !content || content->kind != SAIL_NODE_STRING || !role)
            return false;
        m[i] = (sail__message){role->string.data, content->string.data, content->string.len};
    }
    return true;
}

static void recorded_renderings_of_known_texts_agree(void **state)
{
    (void)state;
    GOLDEN_OR_SKIP();
    char path[4096], *data, *text;
    size_t size, compared = 0, smollm = 0, refused = 0, text_size;
    sail_err err = {0};
    snprintf(path, sizeof path, "%s/text/templates/cases.jsonl", golden_dir());
    assert_int_equal(sail__file_read(path, 1 << 28, &data, &size, &err), SAIL_OK);
    sail_arena *a = sail__arena_new();
    for (char *line = data, *end; line < data + size; line = end + 1) {
        end = memchr(line, '\n', (size_t)(data + size - line));
        if (!end)
            break;
        sail__arena_reset(a);
        sail_node *row;
        assert_int_equal(sail__json_parse(a, line, (size_t)(end - line), "cases", 0, &row, &err), SAIL_OK);
        snprintf(path, sizeof path, "%s/text/templates/%s", golden_dir(),
                 sail__node_get(row, "template_file")->string.data);
        assert_int_equal(sail__file_read(path, 1 << 24, &text, &text_size, &err), SAIL_OK);
        sail__template *t;
        sail_code code = sail__template_from_jinja(text, path, NULL, NULL, &t, &err);
        sail__free(text);
        sail__message m[64];
        size_t n;
        if (code) {
            refused++;
        } else if (plain_case(row, m, &n)) {
            sail_buf out = {0};
            assert_int_equal(
                sail__template_render(t, m, n, sail__node_get(row, "add_generation_prompt")->boolean, &out, NULL, &err),
                SAIL_OK);
            const sail_node *want = sail__node_get(row, "expected");
            if (out.len != want->string.len || (out.len && memcmp(out.data, want->string.data, out.len) != 0))
                fail_msg("%s: rendered '%s'", sail__node_get(row, "name")->string.data, out.data ? out.data : "");
            sail__buf_free(&out);
            compared++;
            smollm += strstr(path, "SmolLM2-135M") != NULL;
        }
        sail__template_free(t);
    }
    print_message("%zu renderings agree (%zu of SmolLM2); %zu cases have templates that are refused\n", compared,
                  smollm, refused);
    assert_true(compared > 0 && smollm > 0 && refused > 0);
    sail__arena_free(a);
    sail__free(data);
}

/* The ids of the recorded conversation, by the GGUF's own vocabulary and template. */
static void smollm2_conversation_has_the_recorded_ids(void **state)
{
    (void)state;
    GOLDEN_OR_SKIP();
    sail_arena *a = sail__arena_new();
    sail_err err = {0};
    sail_node *root;
    const char *texts = golden_path("models/smollm2/texts.json");
    assert_non_null(texts);
    assert_int_equal(sail__json_read(a, texts, 1 << 24, &root, &err), SAIL_OK);
    char name[512];
    snprintf(name, sizeof name, "../models/%s", sail__node_get(root, "file")->string.data);
    const char *gguf = golden_path(name);
    if (!gguf) {
        print_message("skipped: no %s\n", name);
        sail__arena_free(a);
        skip();
    }
    sail__tokenizer *tok;
    sail__template *t;
    if (sail__tokenizer_open(gguf, &tok, &err) != SAIL_OK || sail__template_for(tok, NULL, NULL, &t, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    const sail_node *want = sail__node_find(root, "chat.text"), *ids = sail__node_find(root, "chat.ids");
    /* the user's words are what stands in the recorded text between the marks */
    static const char before[] = "<|im_start|>user\n", after[] = "<|im_end|>\n<|im_start|>assistant\n";
    const char *user = strstr(want->string.data, before);
    assert_non_null(user);
    user += sizeof before - 1;
    sail__message m = {"user", user, want->string.len - (size_t)(user - want->string.data) - (sizeof after - 1)};
    sail_buf out = {0};
    sail__spans spans = {0};
    sail__ids got = {0};
    assert_int_equal(sail__template_render(t, &m, 1, true, &out, &spans, &err), SAIL_OK);
    assert_string_equal(out.data, want->string.data);
    assert_int_equal(
        sail__encode_spans(tok, NULL, out.data, out.len, SAIL__PARSE_SPECIAL, spans.items, spans.n, &got, &err),
        SAIL_OK);
    assert_int_equal(got.n, ids->list.n);
    for (size_t i = 0; i < got.n; i++)
        assert_int_equal(got.items[i], ids->list.items[i]->integer);
    assert_int_equal(sail__template_end_id(t, tok), sail__tokenizer_eos(tok));
    sail__buf_free(&out);
    sail__free(spans.items);
    sail__ids_free(&got);
    sail__template_free(t);
    sail__tokenizer_free(tok);
    sail__arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(named_templates_render_as_the_models_were_trained),
        cmocka_unit_test(a_role_without_a_form_is_refused),
        cmocka_unit_test(spans_mark_what_users_wrote),
        cmocka_unit_test(texts_that_are_not_known_are_refused),
        cmocka_unit_test(recorded_renderings_of_known_texts_agree),
        cmocka_unit_test(smollm2_conversation_has_the_recorded_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
