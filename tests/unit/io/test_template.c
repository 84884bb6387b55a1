/* Chat templates: the named ones, a model's own, responses, refusals. */
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
    expect_named("phi3", "S", m, 2, true,
                 "<|system|>\nS<|end|>\n<|user|>\nHi<|end|>\n<|assistant|>\nHello.<|end|>\n<|assistant|>\n");
    expect_named("gemma", NULL, m, 3, true,
                 "<bos><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\nHello.<end_of_turn>\n"
                 "<start_of_turn>user\nAnd?<end_of_turn>\n<start_of_turn>model\n");
    expect_named("gemma", "S", m, 1, false, "<bos><start_of_turn>user\nS\n\nHi<end_of_turn>\n");
    expect_named("mistral", "S", m, 3, true, "<s>[INST] S\n\nHi [/INST] Hello.</s>[INST]  And?  [/INST]");
    expect_named("llama2", "S", m, 3, true,
                 "<s>[INST] <<SYS>>\nS\n<</SYS>>\n\nHi [/INST] Hello. </s><s>[INST] And? [/INST]");
    expect_named("beaver", NULL, m, 3, true,
                 "BEGINNING OF CONVERSATION: USER: Hi ASSISTANT:Hello.</s>USER:  And?  ASSISTANT:");
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

static sail__template *jinja(const char *text)
{
    sail__template *t;
    sail_err err = {0};
    if (sail__template_from_jinja(text, "model", NULL, NULL, &t, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    return t;
}

static void what_cannot_be_rendered_is_an_error_with_its_line(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } faults[] = {{"one\n{% for m in messages %}\n{{ m.content }}", "model:3: Unexpected end of template"},
                  {"one\n{{ messages[0].content | shout }}", "model:2: No filter named 'shout'"},
                  {"{{ x }}\n\n{{ messages[0].content + 1 }}", "model:3: can only concatenate str"},
                  {"a\n{{ raise_exception('Only user and assistant!') }}", "model:2: Only user and assistant!"},
                  {"{{ bos_token + 'x' }}", "model:1: 'bos_token' is undefined"}};
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        sail__template *t;
        sail_err err = {0};
        sail_buf out = {0};
        sail__message m = message("user", "Hi");
        sail_code code = sail__template_from_jinja(faults[i].text, "model", NULL, NULL, &t, &err);
        if (!code)
            code = sail__template_render(t, &m, 1, true, &out, NULL, &err);
        assert_int_equal(code, SAIL_E_FORMAT);
        if (!strstr(err.message, faults[i].says))
            fail_msg("'%s' does not say '%s'", err.message, faults[i].says);
        sail__buf_free(&out);
        sail__template_free(t);
    }
}

static void a_file_of_jinja_is_a_template(void **state)
{
    (void)state;
    char dir[] = "/tmp/sail_template_XXXXXX", path[64];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/own.jinja", dir);
    static const char text[] = "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}";
    sail__template *t;
    sail_err err = {0};
    sail_buf out = {0};
    sail__message m = message("user", "Hi");
    assert_int_equal(sail__file_write(path, text, sizeof text - 1, &err), SAIL_OK);
    sail__tokenizer *none = NULL;
    assert_int_equal(sail__template_for(none, path, "Be brief.", &t, &err), SAIL_OK);
    assert_int_equal(sail__template_render(t, &m, 1, true, &out, NULL, &err), SAIL_OK);
    assert_string_equal(out.data, "[system] Be brief.\n[user] Hi\n");
    sail__buf_free(&out);
    sail__template_free(t);
    assert_int_equal(sail__template_for(none, "/nowhere/own.jinja", NULL, &t, &err), SAIL_E_NOTFOUND);
    assert_null(t);
    sail__remove_tree(dir, &err);
}

/* Prompt and response as they are trained on: what the template writes, up to the end token. */
static void expect_response(sail__template *t, const char *answer, const char *prompt, const char *response, const char *foreign)
{
    sail_err err = {0};
    sail_buf out = {0}, got = {0};
    sail__spans spans = {0};
    sail__message m[] = {message("user", "Q")};
    if (sail__template_render(t, m, 1, true, &out, NULL, &err) != SAIL_OK ||
        sail__template_response(t, m, 1, &out, answer, strlen(answer), &got, &spans, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    assert_string_equal(out.data, prompt);
    assert_string_equal(got.data ? got.data : "", response);
    assert_int_equal(spans.n, *foreign ? 1 : 0);
    if (*foreign) {
        assert_int_equal(spans.items[0].end - spans.items[0].begin, strlen(foreign));
        assert_memory_equal(got.data + spans.items[0].begin, foreign, strlen(foreign));
    }
    got.len = 0; /* and without the rendered prompt at hand */
    assert_int_equal(sail__template_response(t, m, 1, NULL, answer, strlen(answer), &got, NULL, &err), SAIL_OK);
    assert_string_equal(got.data ? got.data : "", response);
    sail__buf_free(&out);
    sail__buf_free(&got);
    sail__free(spans.items);
    sail__template_free(t);
}

static sail__template *named(const char *name)
{
    sail__template *t;
    sail_err err = {0};
    assert_int_equal(sail__template_named(name, "", NULL, &t, &err), SAIL_OK);
    return t;
}

static void a_response_is_what_the_template_writes_behind_the_prompt(void **state)
{
    (void)state;
    expect_response(named("chatml"), " A\n", "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n", " A\n", " A\n");
    expect_response(named("hh"), "A", "\n\nHuman: Q\n\nAssistant:", " A", "A");
    expect_response(named("beaver"), "A", "BEGINNING OF CONVERSATION: USER: Q ASSISTANT:", "A", "A");
    expect_response(named("mistral"), "A", "<s>[INST] Q [/INST]", " A", "A");
    expect_response(named("llama3"), " A ",
                    "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nQ<|eot_id|>"
                    "<|start_header_id|>assistant<|end_header_id|>\n\n",
                    "A", "A");
    expect_response(named("plain"), "A", "Q\n", "A", "A");
    expect_response(named("chatml"), "", "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n", "", "");
    /* an empty reasoning goes before the answer: it is what the model is to write */
    expect_response(jinja("{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' %}<think></think>{% endif %}"
                          "{{ m.content }}<end>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"),
                    "A", "<user>Q<end><assistant>", "<think></think>A", "A");
    /* a prompt that begins a reasoning, which earlier answers do not have */
    expect_response(jinja("{% for m in messages %}<{{ m.role }}>{{ m.content.split('</think>')[-1] }}<end>{% endfor %}"
                          "{% if add_generation_prompt %}<assistant><think>{% endif %}"),
                    "x</think>A", "<user>Q<end><assistant><think>", "A", "A");
}

static void strings_of_marks_in_messages_stay_marked_through_filters(void **state)
{
    (void)state;
    sail__template *t = jinja("{% for m in messages %}{{ ('<s>' ~ m.content | trim | replace('b', 'B') | upper)[0:9] ~ m.role }}{% endfor %}");
    sail__message m = message("user", "  <s>ab  ");
    sail_err err = {0};
    sail_buf out = {0};
    sail__spans spans = {0};
    assert_int_equal(sail__template_render(t, &m, 1, true, &out, &spans, &err), SAIL_OK);
    assert_string_equal(out.data, "<s><S>ABuser");
    assert_int_equal(spans.n, 1);
    assert_int_equal(spans.items[0].begin, 3);
    assert_int_equal(spans.items[0].end, 7); /* the B is the template's */
    sail__buf_free(&out);
    sail__free(spans.items);
    sail__template_free(t);
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
        print_message("skipped: no shared %s\n", name + strlen("../"));
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
        cmocka_unit_test(what_cannot_be_rendered_is_an_error_with_its_line),
        cmocka_unit_test(a_file_of_jinja_is_a_template),
        cmocka_unit_test(a_response_is_what_the_template_writes_behind_the_prompt),
        cmocka_unit_test(strings_of_marks_in_messages_stay_marked_through_filters),
        cmocka_unit_test(smollm2_conversation_has_the_recorded_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
