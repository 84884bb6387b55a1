/* err.h - errors as data.
 *
 * Floor: base. Threads: a sail_err belongs to its caller; functions may be called from any thread.
 * A function that can fail returns a sail_code and fills the caller's sail_err (never NULL unless its
 * comment says so). A message says what was wrong, where (file, line, key, tensor) and what would be right. */
#ifndef SAIL_ERR_H
#define SAIL_ERR_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define SAIL_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define SAIL_MUST_USE __attribute__((warn_unused_result))
#else
#define SAIL_PRINTF(fmt, args)
#define SAIL_MUST_USE
#endif

typedef enum sail_code {
    SAIL_OK = 0,
#define ERR(name, status, text) SAIL_E_##name,
#include "errors.def"
#undef ERR
    SAIL_E_COUNT
} sail_code;

typedef struct sail_err {
    sail_code code;
    char message[1024]; /* UTF-8, NUL-terminated, cut at a character; "" when code is SAIL_OK */
} sail_err;

/* Fill *err and return code. Usage: return sail_fail(err, SAIL_E_SHAPE, "…", …); err may be NULL. */
sail_code sail_fail(sail_err *err, sail_code code, const char *fmt, ...) SAIL_PRINTF(3, 4);

/* Put "prefix: " before the message of an error that is passed on; returns err->code. err is not NULL. */
sail_code sail_fail_in(sail_err *err, const char *fmt, ...) SAIL_PRINTF(2, 3);

/* The code's short text ("out of memory"), and the process exit status that goes with it (0, 1 or 2). */
const char *sail_code_text(sail_code code);
int sail_code_status(sail_code code);

/* Leave the calling function with the code of a failed call. */
#define SAIL_TRY(call)                                                                                                 \
    do {                                                                                                               \
        sail_code sail_try_code_ = (call);                                                                             \
        if (sail_try_code_ != SAIL_OK)                                                                                 \
            return sail_try_code_;                                                                                     \
    } while (0)

#ifdef __cplusplus
}
#endif
#endif
