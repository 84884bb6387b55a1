/* template.h - chat templates: messages to the text a model was trained on.
 *
 * Floor: io. Named templates are tables; a model's own Jinja text is recognised when it is, to the letter but for its
 * default system message, one of the forms known here, and refused otherwise: never a silent substitute.
 * Threads: constant after it is made. Ownership: a template owns its strings. */
#ifndef SAIL_TEMPLATE_H
#define SAIL_TEMPLATE_H

#include "tokenizer.h"

typedef struct sail__message {
    const char *role, *content; /* NUL-terminated; content may hold NULs inside */
    size_t content_len;
} sail__message;

typedef struct sail__template sail__template;

/* chatml, llama3, zephyr, vicuna, hh, plain. system: the system message where the conversation has none (NULL: the
 * template's own, mostly none; "": none). bos and eos tokens are the tokenizer's (t may be NULL: the template's usual).
 */
sail_code sail__template_named(const char *name, const char *system, const sail__tokenizer *t, sail__template **out,
                               sail_err *err);
/* From Jinja text, `origin` for messages. The error names the `template:` values that can be given instead. */
sail_code sail__template_from_jinja(const char *text, const char *origin, const char *system, const sail__tokenizer *t,
                                    sail__template **out, sail_err *err);
/* What a model uses: `name` where given (a recipe's model.template), else the tokenizer's own Jinja text, else `plain`.
 */
sail_code sail__template_for(const sail__tokenizer *t, const char *name, const char *system, sail__template **out,
                             sail_err *err);
void sail__template_free(sail__template *t);
const char *sail__template_name(const sail__template *t);

/* The id of the token that ends an assistant's message ("<|im_end|>"), or the tokenizer's eos; -1: it has neither. */
int32_t sail__template_end_id(const sail__template *t, const sail__tokenizer *tok);
/* What stands between the generation prompt and the response in rendered text: " " in hh and vicuna, else "". */
const char *sail__template_response_prefix(const sail__template *t);
/* Is rendered text encoded with SAIL__ADD_SPECIAL? Forms that are plain text (hh, vicuna, plain) are; the others write
 * their own bos, or have none. */
bool sail__template_add_special(const sail__template *t);

/* Appends the text. `plain` (may be NULL) gets the spans of the contents, for sail__encode_spans; free plain->items.
 * A conversation that the template has no form for (an unknown role) is an error. */
typedef struct sail__spans {
    sail__span *items;
    size_t n, cap;
} sail__spans;
sail_code sail__template_render(const sail__template *t, const sail__message *messages, size_t n,
                                bool add_generation_prompt, sail_buf *out, sail__spans *plain, sail_err *err);

/* A response as it follows the generation prompt: prefix and content (llama3: trimmed), without the end token. */
sail_code sail__template_response(const sail__template *t, const char *content, size_t len, sail_buf *out,
                                  sail__spans *plain, sail_err *err);

#endif
