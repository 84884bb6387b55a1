/* pku_saferlhf.c - PKU-SafeRLHF: a prompt, two responses, which is better (helpful) and which safer (harmless).
 * Source: arXiv 2310.12773, 2406.15513. */

#include <sail/dataset.h>

static const char *const by_names[] = {"better", "safer", NULL}, *const form_names[] = {"messages", "authors", NULL};
enum { BETTER, SAFER };
enum { MESSAGES, AUTHORS };
struct pku {
    int preference, form;
    bool one_safe;
};

static const sail_opt opts[] = {
    SAIL_OPT_CHOICE(struct pku, preference, .choices = by_names, .help = "better_response_id, or safer_response_id"),
    SAIL_OPT_CHOICE(struct pku, form, .choices = form_names,
                    .help = "messages, for the model's template; or text `Human: …\\n\\nAssistant: ` as the authors have it"),
    SAIL_OPT_BOOL(struct pku, one_safe, .help = "only rows of which one response is safe and the other is not"),
    {0},
};

static sail_code read_row(const void *self, const sail_json *record, sail_row *row, sail_err *err)
{
    static const char *const responses[] = {"response_0", "response_1"}, *const safe[] = {"is_response_0_safe",
                                                                                          "is_response_1_safe"};
    const struct pku *o = self;
    const char *key = o->preference == SAFER ? "safer_response_id" : "better_response_id", *text[2], *prompt;
    size_t n[2], n_prompt;
    double id = sail_json_number(sail_json_get(record, key), -1);
    if (!(prompt = sail_json_string(sail_json_get(record, "prompt"), &n_prompt)))
        return sail_fail(err, SAIL_E_PARSE, "'prompt' must be a string");
    for (int i = 0; i < 2; i++)
        if (!(text[i] = sail_json_string(sail_json_get(record, responses[i]), &n[i])))
            return sail_fail(err, SAIL_E_PARSE, "'%s' must be a string", responses[i]);
    if (id != 0 && id != 1)
        return sail_fail(err, SAIL_E_PARSE, "'%s' must be 0 or 1", key);
    double s[2] = {sail_json_number(sail_json_get(record, safe[0]), -1), sail_json_number(sail_json_get(record, safe[1]), -1)};
    if (o->one_safe && (s[0] < 0 || s[1] < 0))
        return sail_fail(err, SAIL_E_PARSE, "'%s' must be true or false", s[0] < 0 ? safe[0] : safe[1]);
    if (o->one_safe && s[0] == s[1])
        sail_row_drop(row, s[0] ? "both responses are safe" : "neither response is safe");
    int best = (int)id;
    bool messages = o->form == MESSAGES;
    sail_code code = messages ? sail_row_message(row, SAIL_PART_PROMPT, "user", prompt, n_prompt, err)
                              : sail_row_text_between(row, SAIL_PART_PROMPT, "Human: ", prompt, n_prompt, "\n\nAssistant: ", err);
    for (int i = 0; i < 2 && code == SAIL_OK; i++) {
        sail_part part = i == best ? SAIL_PART_CHOSEN : SAIL_PART_REJECTED;
        code = messages ? sail_row_message(row, part, "assistant", text[i], n[i], err)
                        : sail_row_text(row, part, text[i], n[i], err);
    }
    return code;
}

static const sail_dataset ops = {.size = sizeof ops, .row = read_row};
SAIL_PLUGIN(SAIL_KIND_DATASET, pku_saferlhf, "PKU-SafeRLHF: two responses, the better or the safer one chosen",
            "arXiv:2310.12773", struct pku, opts, &ops, 0)
