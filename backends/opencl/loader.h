/* loader.h - the functions of libOpenCL, found at run time: sail is not linked against it and starts where it is missing. */
#ifndef OCL_LOADER_H
#define OCL_LOADER_H

#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>

#include "sail/err.h"

/* Every function the backend calls. */
#define OCL_FUNCTIONS(F)                                                                                               \
    F(clGetPlatformIDs)                                                                                                \
    F(clGetPlatformInfo)                                                                                               \
    F(clGetDeviceIDs)                                                                                                  \
    F(clGetDeviceInfo)                                                                                                 \
    F(clCreateContext)                                                                                                 \
    F(clReleaseContext)                                                                                                \
    F(clCreateCommandQueue)                                                                                            \
    F(clReleaseCommandQueue)                                                                                           \
    F(clCreateBuffer)                                                                                                  \
    F(clReleaseMemObject)                                                                                              \
    F(clCreateProgramWithSource)                                                                                       \
    F(clCreateProgramWithBinary)                                                                                       \
    F(clBuildProgram)                                                                                                  \
    F(clReleaseProgram)                                                                                                \
    F(clGetProgramInfo)                                                                                                \
    F(clGetProgramBuildInfo)                                                                                           \
    F(clCreateKernel)                                                                                                  \
    F(clReleaseKernel)                                                                                                 \
    F(clSetKernelArg)                                                                                                  \
    F(clGetKernelWorkGroupInfo)                                                                                        \
    F(clEnqueueNDRangeKernel)                                                                                          \
    F(clEnqueueReadBuffer)                                                                                             \
    F(clEnqueueWriteBuffer)                                                                                            \
    F(clEnqueueCopyBuffer)                                                                                             \
    F(clFlush)                                                                                                         \
    F(clFinish)                                                                                                        \
    F(clGetEventInfo)                                                                                                  \
    F(clGetEventProfilingInfo)                                                                                         \
    F(clWaitForEvents)                                                                                                 \
    F(clReleaseEvent)

typedef struct ocl_api {
    void *library;
#define F(name) __typeof__(&name) name;
    OCL_FUNCTIONS(F)
#undef F
} ocl_api;

/* The loader that SAIL_OPENCL_LIBRARY names, or libOpenCL.so.1. SAIL_E_NOTFOUND says what to install. */
sail_code ocl_api_open(ocl_api *out, sail_err *err);
void ocl_api_close(ocl_api *api);

#endif
