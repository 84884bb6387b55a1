/* fallback.h - one op on the ref backend for a device that lacks it.
 *
 * Floor: backend. Slow: everything the op reads goes down and up again, and the device is waited for. */
#ifndef SAIL_FALLBACK_H
#define SAIL_FALLBACK_H

#include "exec.h"

/* SAIL_E_DTYPE, with what is missing, when the runtime has no fallback. */
sail_code sail__fallback_run(sail_runtime *rt, const sail_call *call, sail_err *err);

#endif
