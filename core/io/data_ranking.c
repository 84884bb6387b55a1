/* data_ranking.c - several responses to a prompt, each with its worth: pairs of them, or one ranking. */
#include <math.h>

#include "data_impl.h"

enum { MOST = 64 }; /* responses of a record */

const char *const sail__data_pairings[] = {"best_worst", "neighbours", "all", "ranking", NULL};

sail_row *sail_row_response(sail_row *row, double worth, bool is_score, sail_err *err)
{
    int n = 1;
    sail_row **end = &row->responses;
    for (; *end; end = &(*end)->next)
        n++;
    if (!isfinite(worth)) {
        sail_fail(err, SAIL_E_PARSE, "response %d has %s that is no finite number", n, is_score ? "a score" : "a place");
        return NULL;
    }
    if (n > MOST) {
        sail_fail(err, SAIL_E_PARSE, "a record ranks more than %d responses; %d are possible", MOST, MOST);
        return NULL;
    }
    *end = sail__arena_alloc(row->arena, sizeof **end);
    if (!*end)
        sail_fail(err, SAIL_E_NOMEM, "out of memory");
    else
        **end = (sail_row){.arena = row->arena, .score = {worth, NAN}, .scored = is_score, .line = row->line, .file = row->file};
    return *end;
}

sail_code sail_row_responses(sail_row *row, const sail_json *responses, const char *field, const sail_json *worth, const char *worth_field,
                             bool scores, sail_err *err)
{
    const size_t n = sail_json_size(responses), given = sail_json_size(worth);
    if (sail_json_kind_of(responses) != SAIL_JSON_LIST || n < 2)
        return sail_fail(err, SAIL_E_PARSE, "'%s' must be a list of two responses or more", field);
    if (sail_json_kind_of(worth) != SAIL_JSON_LIST)
        return sail_fail(err, SAIL_E_PARSE, "'%s' must be a list of numbers, one a response", worth_field);
    if (given != n)
        return sail_fail(err, SAIL_E_PARSE, "'%s' has %zu numbers for %zu responses; it must have one for each", worth_field, given, n);
    for (size_t i = 0; i < n; i++) {
        const sail_json *response = sail_json_at(responses, i);
        const double x = sail_json_number(sail_json_at(worth, i), NAN);
        if (isnan(x))
            return sail_fail(err, SAIL_E_PARSE, "'%s': item %zu must be a number", worth_field, i + 1);
        sail_row *to = sail_row_response(row, scores ? x : -x, scores, err);
        if (!to)
            return err->code;
        const bool ids = sail_json_kind_of(sail_json_at(response, 0)) == SAIL_JSON_NUMBER;
        SAIL_TRY((ids ? sail_row_id_list : sail_row_value)(to, SAIL_PART_CHOSEN, response, field, err));
    }
    return SAIL_OK;
}

/* The best first; of equals in the record's order. */
static int sorted(sail_row *responses, const sail_row *order[MOST])
{
    int n = 0;
    for (sail_row *r = responses; r; r = r->next, n++) {
        int at = n;
        for (; at > 0 && order[at - 1]->score[0] < r->score[0]; at--)
            order[at] = order[at - 1];
        order[at] = r;
        r->part[SAIL_PART_CHOSEN].cap_messages = 0; /* several rows will share the list */
    }
    return n;
}

static double score_of(const sail_row *response) { return response->scored ? response->score[0] : NAN; }

static void fill(sail_row *row, const sail_row *better, const sail_row *worse)
{
    row->part[SAIL_PART_CHOSEN] = better->part[SAIL_PART_CHOSEN];
    row->part[SAIL_PART_REJECTED] = worse->part[SAIL_PART_CHOSEN];
    sail_row_scores(row, score_of(better), score_of(worse));
}

static sail_code ranking(sail_row *row, const sail_row *const *order, int n, sail_err *err)
{
    if (n > SAIL__MOST_RANKED)
        return sail_fail(err, SAIL_E_PARSE, "%d responses are too many for data.pairing: ranking, which takes %d; best_worst, neighbours and all "
                         "make pairs of any number", n, SAIL__MOST_RANKED);
    for (int i = 1; i < n; i++)
        if (order[i]->score[0] == order[i - 1]->score[0]) {
            sail_row_drop(row, "two responses share a place, which no ranking has (data.pairing: all uses the other pairs)");
            return SAIL_OK;
        }
    fill(row, order[0], order[1]);
    row->n_behind = (size_t)n - 2;
    row->behind = sail__arena_array(row->arena, (size_t)n, sizeof *row->behind);
    if (!row->behind)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    for (int i = 2; i < n; i++)
        row->behind[i - 2] = (sail__ranked){order[i]->part[SAIL_PART_CHOSEN], score_of(order[i])};
    return SAIL_OK;
}

sail_code sail__row_pair(sail_row *row, int pairing, sail_err *err)
{
    const sail_row *order[MOST];
    const int n = sorted(row->responses, order);
    int worst = n - 1, used = 0;
    if (n < 2)
        return sail_fail(err, SAIL_E_PARSE, "there is one response to rank; it must be two or more");
    while (worst > 0 && order[worst - 1]->score[0] == order[n - 1]->score[0])
        worst--;
    if (worst == 0) {
        sail_row_drop(row, "all responses have the same place or score");
        return SAIL_OK;
    }
    if (pairing == SAIL__DATA_RANKING)
        return ranking(row, order, n, err);
    for (int i = 0; i < n; i++)
        for (int j = i + 1; j < n; j++) {
            if (order[i]->score[0] == order[j]->score[0] || (pairing == SAIL__DATA_BEST_WORST && (i > 0 || j != worst)) ||
                (pairing == SAIL__DATA_NEIGHBOURS && j > i + 1))
                continue;
            sail_row *to = used++ ? sail_row_another(row, err) : row;
            if (!to)
                return err->code;
            fill(to, order[i], order[j]);
        }
    return SAIL_OK;
}
