/* An OpenCL 1.2 implementation that computes nothing and writes down what is asked of it: what the recorder's files
 * share. The loader finds it as an installable client driver (tests/gpu/record.py writes the .icd file).
 *
 *   RECORDER_DEVICES   files with commas between them, one device each; `name = value` lines, see devices/
 *   RECORDER_FOLDER    gets log.jsonl, one command a line, and N.cl, the source of program N
 *
 * Buffers have no memory: what is written is dropped, what is read is zeros, so that a network of any size is looked at
 * in a second. Times are made up, a microsecond a command. One thread at a time, as host/cl promises. Only what
 * Blanch, CLBlast and clFFT call is here. */
#ifndef RECORDER_H
#define RECORDER_H

#include <CL/cl_icd.h>
#include <stdbool.h>
#include <stddef.h>

#define DISPATCH const struct _cl_icd_dispatch *dispatch // every object's first member, for the loader

enum { MAX_DEVICES = 8, MAX_SETTINGS = 64, MAX_ARGS = 64 };

struct setting {
    char name[32], value[512];
};
struct _cl_platform_id {
    DISPATCH;
    cl_device_id first; // its first device, which answers for it
};
struct _cl_device_id {
    DISPATCH;
    int index; // in RECORDER_DEVICES
    cl_platform_id platform;
    struct setting settings[MAX_SETTINGS];
    int count;
};
struct _cl_context {
    DISPATCH;
    int references;
    cl_device_id device;
    size_t used; // bytes of live buffers
};
struct _cl_command_queue {
    DISPATCH;
    int references, id;
    cl_context context;
    cl_command_queue_properties properties;
};
struct _cl_mem {
    DISPATCH;
    int references, id;
    cl_context context;
    cl_mem parent; // of a part, else NULL
    size_t size;
    void *host;  // of what was ever mapped
    bool mapped; // until it is unmapped, no command may use it
};
struct _cl_program {
    DISPATCH;
    int references, id;
    cl_context context;
    char *source, *options;
    char *text; // behind the preprocessor; NULL before it is built
};
enum arg_kind { ARG_BUFFER, ARG_LOCAL, ARG_VALUE };
struct arg {
    enum arg_kind kind; // as declared
    size_t size;        // of the declared type, 0 where it is not known; of a value that is set, or of local memory
    cl_mem mem;
    bool set;
};
struct _cl_kernel {
    DISPATCH;
    int references;
    cl_program program;
    char *name;
    struct arg args[MAX_ARGS];
    int count;
};
struct _cl_event {
    DISPATCH;
    int references;
    long long command; // its number in the log
    bool timed;        // the queue keeps times
    cl_ulong start, end;
};

/* --- descriptions (devices.c) -------------------------------------------------------------------- */

void recorder_read_devices(const char *files); // names with commas between them; ends the process on error
const char *recorder_text(cl_device_id d, const char *name); // "" where the description has no such line
unsigned long long recorder_number(cl_device_id d, const char *name);

/* --- the log (recorder.c) ------------------------------------------------------------------------ */

extern const struct _cl_icd_dispatch recorder_dispatch;
_Noreturn void recorder_stop(const char *format, ...); // a message, and the end: this is a tool
/* printf, but %q is a string in quotes, as JSON has it. A line of the log. */
void recorder_note(const char *format, ...);
/* A line {"op": "error"}: a call that OpenCL refuses. Returns code. */
cl_int recorder_refuse(cl_int code, const char *format, ...) __attribute__((format(printf, 2, 3)));
void recorder_program_path(int id, char *path, size_t size); // of the source of program id
/* The next command's number for the log; *event gets its event, where event is not NULL. */
long long recorder_command(cl_command_queue queue, cl_event *event);
void *recorder_new(size_t size); // zeros, with the dispatch table at its start
char *recorder_copy(const char *text, size_t length);

/* clGet...Info's way to answer. */
cl_int recorder_answer(const void *from, size_t bytes, size_t size, void *value, size_t *size_ret);
cl_int recorder_answer_text(const char *text, size_t size, void *value, size_t *size_ret);
#define ANSWER(type, x) return recorder_answer(&(type){x}, sizeof(type), size, value, size_ret)

/* --- OpenCL -------------------------------------------------------------------------------------- */

#define RECORDER_FUNCTIONS(X)                                                                                          \
    X(clGetPlatformIDs)                                                                                                \
    X(clGetPlatformInfo)                                                                                               \
    X(clGetExtensionFunctionAddressForPlatform)                                                                        \
    X(clGetDeviceIDs)                                                                                                  \
    X(clGetDeviceInfo)                                                                                                 \
    X(clCreateSubDevices)                                                                                              \
    X(clRetainDevice)                                                                                                  \
    X(clReleaseDevice)                                                                                                 \
    X(clCreateContext)                                                                                                 \
    X(clRetainContext)                                                                                                 \
    X(clReleaseContext)                                                                                                \
    X(clGetContextInfo)                                                                                                \
    X(clCreateCommandQueue)                                                                                            \
    X(clRetainCommandQueue)                                                                                            \
    X(clReleaseCommandQueue)                                                                                           \
    X(clGetCommandQueueInfo)                                                                                           \
    X(clCreateBuffer)                                                                                                  \
    X(clCreateSubBuffer)                                                                                               \
    X(clRetainMemObject)                                                                                               \
    X(clReleaseMemObject)                                                                                              \
    X(clGetMemObjectInfo)                                                                                              \
    X(clCreateProgramWithSource)                                                                                       \
    X(clCreateProgramWithBinary)                                                                                       \
    X(clRetainProgram)                                                                                                 \
    X(clReleaseProgram)                                                                                                \
    X(clBuildProgram)                                                                                                  \
    X(clGetProgramInfo)                                                                                                \
    X(clGetProgramBuildInfo)                                                                                           \
    X(clCreateKernel)                                                                                                  \
    X(clRetainKernel)                                                                                                  \
    X(clReleaseKernel)                                                                                                 \
    X(clGetKernelInfo)                                                                                                 \
    X(clGetKernelWorkGroupInfo)                                                                                        \
    X(clSetKernelArg)                                                                                                  \
    X(clEnqueueNDRangeKernel)                                                                                          \
    X(clEnqueueReadBuffer)                                                                                             \
    X(clEnqueueWriteBuffer)                                                                                            \
    X(clEnqueueFillBuffer)                                                                                             \
    X(clEnqueueMapBuffer)                                                                                              \
    X(clEnqueueUnmapMemObject)                                                                                         \
    X(clEnqueueCopyBuffer)                                                                                             \
    X(clEnqueueMarkerWithWaitList)                                                                                     \
    X(clFlush)                                                                                                         \
    X(clFinish)                                                                                                        \
    X(clWaitForEvents)                                                                                                 \
    X(clRetainEvent)                                                                                                   \
    X(clReleaseEvent)                                                                                                  \
    X(clGetEventInfo)                                                                                                  \
    X(clGetEventProfilingInfo)

#define DECLARE(function) __typeof__(function) recorder_##function; // recorder_clCreateBuffer, ...
RECORDER_FUNCTIONS(DECLARE)
#undef DECLARE

#endif
