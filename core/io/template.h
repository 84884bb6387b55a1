/* template.h - chat templates: messages to the text a model was trained on.
 *
 * Floor: io. A template is Jinja text: the model's own, a file's, or one of the named ones here for models without. What cannot
 * be rendered is an error with the template's line: never a silent substitute. Threads: constant after it is made. Ownership: a
 * template owns its strings. */
#ifndef SAIL_TEMPLATE_H
#define SAIL_TEMPLATE_H

#include "jinja.h"
#include "tokenizer.h"

typedef struct sail__message {
    const char *role, *content; /* NUL-terminated; content may hold NULs inside */
    size_t content_len;
} sail__message;

typedef struct sail__template sail__template;

/* chatml, llama3, phi3, gemma, zephyr, mistral, llama2, vicuna, hh, beaver, plain. system: the system message where the
 * conversation has none (NULL: the template's own, mostly none; "": none). bos and eos tokens are the tokenizer's (t may be NULL:
 * the template's usual). */
sail_code sail__template_named(const char *name, const char *system, const sail__tokenizer *t, sail__template **out,
                               sail_err *err);
/* From Jinja text, `origin` for messages. system as above, but a text that has a system message of its own keeps it for "". */
sail_code sail__template_from_jinja(const char *text, const char *origin, const char *system, const sail__tokenizer *t,
                                    sail__template **out, sail_err *err);
/* What a model uses: `name` where given (a recipe's model.template: a name, or a file that ends in .jinja), else the tokenizer's
 * own Jinja text, else `plain`. */
sail_code sail__template_for(const sail__tokenizer *t, const char *name, const char *system, sail__template **out, sail_err *err);
void sail__template_free(sail__template *t);
const char *sail__template_name(const sail__template *t); /* a named one's, or the file's it comes from */

/* The id of the token that ends an assistant's message ("<|im_end|>"), or the tokenizer's eos; -1: it has neither. */
int32_t sail__template_end_id(const sail__template *t, const sail__tokenizer *tok);
/* Is rendered text encoded with SAIL__ADD_SPECIAL? Forms that are plain text (hh, vicuna, beaver, plain) are; the others write
 * their own bos, or have none. */
bool sail__template_add_special(const sail__template *t);

/* Appends the text. `plain` (may be NULL) gets the spans of what the messages say, for sail__encode_spans; free plain->items.
 * A conversation that the template refuses (an unknown role) is an error. */
sail_code sail__template_render(const sail__template *t, const sail__message *messages, size_t n, bool add_generation_prompt,
                                sail_buf *out, sail__spans *plain, sail_err *err);
/* The same of parsed messages, with whatever members they have; `more` (may be NULL) is a map of further variables (tools,
 * documents, enable_thinking …). Free with sail__jinja_result_free. */
sail_code sail__template_render_nodes(const sail__template *t, const sail_node *messages, const sail_node *more,
                                      bool add_generation_prompt, sail__jinja_result *out, sail_err *err);

/* A response as the template writes it behind the generation prompt of these messages, without the end token: the
 * conversation is rendered with and without it, and what is new is the response. `rendered` is the text of the messages
 * with the generation prompt, where the caller has it (NULL: it is rendered here). */
sail_code sail__template_response(const sail__template *t, const sail__message *messages, size_t n, const sail_buf *rendered,
                                  const char *content, size_t len, sail_buf *out, sail__spans *plain, sail_err *err);
/* Where that response stands in the text of a whole conversation, in bytes; `prompt` is the text of the messages before it with the
 * generation prompt. */
void sail__template_answer(const sail__template *t, const sail__jinja_result *whole, const sail_buf *prompt, size_t *begin,
                           size_t *end);

/* The named ones (template_named.c). */
typedef struct sail__template_form {
    const char *name, *text;
    const char *usual_bos, *usual_eos; /* where there is no tokenizer */
    bool add_special;
} sail__template_form;
extern const sail__template_form sail__template_forms[]; /* ends with a NULL name */

#endif
