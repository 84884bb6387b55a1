/* loader.c - finding libOpenCL and its functions. */
#include "loader.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

sail_code ocl_api_open(ocl_api *out, sail_err *err)
{
    const char *named = getenv("SAIL_OPENCL_LIBRARY"), *name = named && *named ? named : "libOpenCL.so.1";
    memset(out, 0, sizeof *out);
    /* It stays: drivers leave threads behind that run its code. */
    out->library = dlopen(name, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!out->library) {
        const char *why = dlerror();
        return sail_fail(err, SAIL_E_NOTFOUND, "opencl: no loader (%s): install ocl-icd-libopencl1 (Debian, Ubuntu) or ocl-icd "
                         "(Fedora), and your device's driver", why ? why : name);
    }
#define F(function)                                                                                                    \
    *(void **)&out->function = dlsym(out->library, #function);                                                         \
    if (!out->function) {                                                                                              \
        ocl_api_close(out);                                                                                            \
        return sail_fail(err, SAIL_E_NOTFOUND, "opencl: %s has no %s: it is older than OpenCL 1.2", name, #function);  \
    }
    OCL_FUNCTIONS(F)
#undef F
    return SAIL_OK;
}

void ocl_api_close(ocl_api *api)
{
    if (api->library)
        dlclose(api->library);
    memset(api, 0, sizeof *api);
}
