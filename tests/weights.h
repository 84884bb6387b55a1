/* weights.h - for tests on models as they lie on disk: opening one, and its rows for an export.
 *
 * Header only. */
#ifndef SAIL_TEST_WEIGHTS_H
#define SAIL_TEST_WEIGHTS_H

#include "golden.h"
#include "io/export.h"
#include "io/weights.h"

GOLDEN_UNUSED static void ok(sail_code code, const sail_err *err)
{
    if (code != SAIL_OK)
        fail_msg("%s", err->message);
}

GOLDEN_UNUSED static sail__weights *open_ok(const char *path)
{
    sail_err err = {0};
    sail__weights *w;
    assert_non_null(path);
    ok(sail__weights_open(NULL, path, &w, &err), &err);
    return w;
}

/* A sail__export_rows; user: the sail__weights. */
GOLDEN_UNUSED static sail_code from_weights(void *user, const sail__param *p, int64_t first, int64_t count, float *out, sail_err *err)
{
    return sail__weights_read_f32(user, p->name, first, count, out, err);
}

#endif
