/* OpenCL's errors: their names, what becomes of them. */
#include "cl/internal.h"
#include <stdarg.h>
#include <stdio.h>

#ifndef CL_PLATFORM_NOT_FOUND_KHR
#define CL_PLATFORM_NOT_FOUND_KHR (-1001)
#endif

static const struct {
    cl_int code;
    const char *name;
} error_names[] = {
#define N(x)                                                                                                           \
    { x, #x }
    N(CL_DEVICE_NOT_FOUND),
    N(CL_DEVICE_NOT_AVAILABLE),
    N(CL_COMPILER_NOT_AVAILABLE),
    N(CL_MEM_OBJECT_ALLOCATION_FAILURE),
    N(CL_OUT_OF_RESOURCES),
    N(CL_OUT_OF_HOST_MEMORY),
    N(CL_PROFILING_INFO_NOT_AVAILABLE),
    N(CL_MEM_COPY_OVERLAP),
    N(CL_BUILD_PROGRAM_FAILURE),
    N(CL_MAP_FAILURE),
    N(CL_MISALIGNED_SUB_BUFFER_OFFSET),
    N(CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST),
    N(CL_COMPILE_PROGRAM_FAILURE),
    N(CL_LINKER_NOT_AVAILABLE),
    N(CL_LINK_PROGRAM_FAILURE),
    N(CL_DEVICE_PARTITION_FAILED),
    N(CL_KERNEL_ARG_INFO_NOT_AVAILABLE),
    N(CL_INVALID_VALUE),
    N(CL_INVALID_DEVICE_TYPE),
    N(CL_INVALID_PLATFORM),
    N(CL_INVALID_DEVICE),
    N(CL_INVALID_CONTEXT),
    N(CL_INVALID_QUEUE_PROPERTIES),
    N(CL_INVALID_COMMAND_QUEUE),
    N(CL_INVALID_HOST_PTR),
    N(CL_INVALID_MEM_OBJECT),
    N(CL_INVALID_BINARY),
    N(CL_INVALID_BUILD_OPTIONS),
    N(CL_INVALID_PROGRAM),
    N(CL_INVALID_PROGRAM_EXECUTABLE),
    N(CL_INVALID_KERNEL_NAME),
    N(CL_INVALID_KERNEL_DEFINITION),
    N(CL_INVALID_KERNEL),
    N(CL_INVALID_ARG_INDEX),
    N(CL_INVALID_ARG_VALUE),
    N(CL_INVALID_ARG_SIZE),
    N(CL_INVALID_KERNEL_ARGS),
    N(CL_INVALID_WORK_DIMENSION),
    N(CL_INVALID_WORK_GROUP_SIZE),
    N(CL_INVALID_WORK_ITEM_SIZE),
    N(CL_INVALID_GLOBAL_OFFSET),
    N(CL_INVALID_EVENT_WAIT_LIST),
    N(CL_INVALID_EVENT),
    N(CL_INVALID_OPERATION),
    N(CL_INVALID_BUFFER_SIZE),
    N(CL_INVALID_GLOBAL_WORK_SIZE),
    N(CL_INVALID_PROPERTY),
    N(CL_PLATFORM_NOT_FOUND_KHR),
#undef N
};

const char *bl_cl_error_name(cl_int error) {
    for (int i = 0; i < BL_COUNT(error_names); i++)
        if (error_names[i].code == error) return error_names[i].name;
    return "an OpenCL error";
}

/* What a request can cause, and a device survives. */
static bool is_refusal(cl_int error) {
    static const cl_int refusals[] = {
        CL_MEM_OBJECT_ALLOCATION_FAILURE,
        CL_OUT_OF_RESOURCES,
        CL_BUILD_PROGRAM_FAILURE,
        CL_MISALIGNED_SUB_BUFFER_OFFSET,
        CL_COMPILE_PROGRAM_FAILURE,
        CL_LINK_PROGRAM_FAILURE,
        CL_DEVICE_PARTITION_FAILED,
        CL_INVALID_BINARY,
        CL_INVALID_BUILD_OPTIONS,
        CL_INVALID_PROGRAM_EXECUTABLE,
        CL_INVALID_KERNEL_NAME,
        CL_INVALID_KERNEL_DEFINITION,
        CL_INVALID_ARG_INDEX,
        CL_INVALID_ARG_VALUE,
        CL_INVALID_ARG_SIZE,
        CL_INVALID_KERNEL_ARGS,
        CL_INVALID_WORK_DIMENSION,
        CL_INVALID_WORK_GROUP_SIZE,
        CL_INVALID_WORK_ITEM_SIZE,
        CL_INVALID_BUFFER_SIZE,
        CL_INVALID_GLOBAL_WORK_SIZE,
    };
    for (int i = 0; i < BL_COUNT(refusals); i++)
        if (refusals[i] == error) return true;
    return false;
}

static _Thread_local cl_int last_error;

bool bl_device_refused(void) {
    return !last_error || is_refusal(last_error);
}

int bl_cl_fail(cl_int error, const char *format, ...) {
    char what[1024];
    va_list args;
    last_error = error;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    return bl_fail(BLANCH_EDEVICE, "%s: %s (%d)", what, bl_cl_error_name(error), error);
}

static _Atomic(const char *) not_released;
static _Atomic cl_int release_error;

void bl_cl_released(cl_int error, const char *what) {
    if (!error) return;
    release_error = error;
    not_released = what;
}

int bl_release_failed(void) {
    return not_released ? bl_cl_fail(release_error, "the work is done, but releasing %s failed", not_released) : 0;
}
