/* assess.c - see assess.h. */
#include "assess.h"

#include <string.h>

typedef struct assessment {
    sail__session *session;
    sail__stream stream;
    sail__learner learner;
    sail__evaluator evaluator;
} assessment;

static sail_code run(assessment *x, sail_ctx *ctx, const sail__stage *stage, const char *reference, sail__metrics *out,
                     sail__assessed *facts, sail_err *err)
{
    sail__session_spec spec = {.model = &stage->model, .backend = &stage->backend, .train = SAIL__TRAIN_NOTHING, .need_tokenizer = stage->eval_judge.loaded != NULL, .reference = true,
                               .reference_path = reference, .fresh_reference = true, .seed = stage->seed};
    SAIL_TRY(sail__session_open(ctx, &spec, &x->session, err));
    SAIL_TRY(sail__learner_init(&x->learner, x->session->model, stage->objective.loaded->plugin.caps, err));
    SAIL_TRY(sail__stream_open(x->session, stage, NULL, &x->stream, err));
    sail__stream_tell_drops(&x->stream, stage);
    *facts = (sail__assessed){x->stream.held_out.n, (size_t)x->stream.held_out.records, !x->session->reference_is_policy};
    if (facts->rows == 0)
        return sail_fail(err, SAIL_E_ARG, "the data have no usable row");
    SAIL_TRY(sail__evaluator_init(&x->evaluator, &x->stream, &x->learner, err));
    return sail__evaluate(&x->evaluator, stage, 0, out, err);
}

sail_code sail__assess(sail_ctx *ctx, const sail__stage *stage, const char *reference, sail__metrics *out, sail__assessed *facts,
                       sail_err *err)
{
    assessment x;
    memset(&x, 0, sizeof x);
    sail_code code = run(&x, ctx, stage, reference, out, facts, err);
    sail__evaluator_free(&x.evaluator);
    if (x.stream.arena)
        sail__stream_close(&x.stream);
    sail__learner_free(&x.learner);
    sail__session_close(x.session);
    return code;
}
