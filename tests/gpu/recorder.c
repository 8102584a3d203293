/* The log, the table of functions and events. */
#include "recorder.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static FILE *out;
static const char *folder;

void recorder_stop(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("recorder: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(3);
}

void *recorder_new(size_t size) {
    void *object = calloc(1, size);
    if (!object) recorder_stop("no memory");
    *(const struct _cl_icd_dispatch **)object = &recorder_dispatch;
    return object;
}

char *recorder_copy(const char *text, size_t length) {
    char *copy = malloc(length + 1);
    if (!copy) recorder_stop("no memory");
    memcpy(copy, text, length);
    copy[length] = 0;
    return copy;
}

static void start(void) {
    if (out) return;
    const char *files = getenv("RECORDER_DEVICES");
    char path[4096];
    if (!(folder = getenv("RECORDER_FOLDER"))) recorder_stop("RECORDER_FOLDER is not set");
    snprintf(path, sizeof path, "%s/log.jsonl", folder);
    if (!(out = fopen(path, "w"))) recorder_stop("%s cannot be written", path);
    recorder_read_devices(files ? files : "");
}

void recorder_program_path(int id, char *path, size_t size) {
    snprintf(path, size, "%s/%d.cl", folder, id);
}

/* --- the log ------------------------------------------------------------------------------------- */

static void put_quoted(const char *text) {
    fputc('"', out);
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else if (c < 32)
            fprintf(out, "\\u%04x", c);
        else
            fputc(c, out);
    }
    fputc('"', out);
}

/* %q, %d, %zu and %lld are all that the files use. */
void recorder_note(const char *format, ...) {
    va_list args;
    va_start(args, format);
    for (const char *at = format; *at; at++) {
        if (*at != '%')
            fputc(*at, out);
        else if (!strncmp(at, "%q", 2))
            put_quoted(va_arg(args, const char *)), at += 1;
        else if (!strncmp(at, "%d", 2))
            fprintf(out, "%d", va_arg(args, int)), at += 1;
        else if (!strncmp(at, "%zu", 3))
            fprintf(out, "%zu", va_arg(args, size_t)), at += 2;
        else if (!strncmp(at, "%lld", 4))
            fprintf(out, "%lld", va_arg(args, long long)), at += 3;
        else
            recorder_stop("a format that the log does not know: %s", at);
    }
    va_end(args);
    fputc('\n', out);
    if (fflush(out)) recorder_stop("%s/log.jsonl cannot be written", folder);
}

cl_int recorder_refuse(cl_int code, const char *format, ...) {
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    recorder_note("{\"op\": \"error\", \"code\": %d, \"what\": %q}", code, text);
    return code;
}

cl_int recorder_answer(const void *from, size_t bytes, size_t size, void *value, size_t *size_ret) {
    if (size_ret) *size_ret = bytes;
    if (!value) return CL_SUCCESS;
    if (size < bytes) return CL_INVALID_VALUE;
    memcpy(value, from, bytes);
    return CL_SUCCESS;
}

cl_int recorder_answer_text(const char *text, size_t size, void *value, size_t *size_ret) {
    return recorder_answer(text, strlen(text) + 1, size, value, size_ret);
}

/* --- events -------------------------------------------------------------------------------------- */

long long recorder_command(cl_command_queue queue, cl_event *event) {
    static long long number;
    static cl_ulong now = 1000;
    now += 1000;
    if (event) {
        *event = recorder_new(sizeof **event);
        (*event)->references = 1, (*event)->command = number;
        (*event)->timed = queue->properties & CL_QUEUE_PROFILING_ENABLE;
        (*event)->start = now, (*event)->end = now + 900;
    }
    return number++;
}

cl_int recorder_clWaitForEvents(cl_uint count, const cl_event *events) {
    long long last = -1;
    for (cl_uint i = 0; events && i < count; i++) last = events[i]->command > last ? events[i]->command : last;
    recorder_note("{\"op\": \"wait\", \"events\": %d, \"first\": %lld, \"last\": %lld}", (int)count,
                  count && events ? events[0]->command : -1LL, last);
    return count && events ? CL_SUCCESS : CL_INVALID_VALUE;
}

cl_int recorder_clRetainEvent(cl_event event) {
    event->references++;
    return CL_SUCCESS;
}

cl_int recorder_clReleaseEvent(cl_event event) {
    if (!--event->references) free(event);
    return CL_SUCCESS;
}

cl_int recorder_clGetEventInfo(cl_event event, cl_event_info what, size_t size, void *value, size_t *size_ret) {
    if (what == CL_EVENT_COMMAND_EXECUTION_STATUS) ANSWER(cl_int, CL_COMPLETE);
    if (what == CL_EVENT_REFERENCE_COUNT) ANSWER(cl_uint, (cl_uint)event->references);
    return CL_INVALID_VALUE;
}

/* Who asks for a command's end keeps its time: the line tells which commands are in the ledger. */
cl_int recorder_clGetEventProfilingInfo(cl_event event, cl_profiling_info what, size_t size, void *value,
                                        size_t *size_ret) {
    if (!event->timed) return CL_PROFILING_INFO_NOT_AVAILABLE;
    if (what == CL_PROFILING_COMMAND_END) recorder_note("{\"op\": \"timed\", \"command\": %lld}", event->command);
    ANSWER(cl_ulong, what == CL_PROFILING_COMMAND_END ? event->end : event->start);
}

/* --- the driver ---------------------------------------------------------------------------------- */

#define ENTRY(function) .function = recorder_##function,
const struct _cl_icd_dispatch recorder_dispatch = {RECORDER_FUNCTIONS(ENTRY).clGetExtensionFunctionAddress =
                                                       clGetExtensionFunctionAddress};
#undef ENTRY

/* The two functions that the loader looks up by name in the library. */
__attribute__((visibility("default"))) cl_int CL_API_CALL clIcdGetPlatformIDsKHR(cl_uint count, cl_platform_id *ids,
                                                                                 cl_uint *found);
__attribute__((visibility("default"))) void *CL_API_CALL clGetExtensionFunctionAddress(const char *name);

cl_int clIcdGetPlatformIDsKHR(cl_uint count, cl_platform_id *ids, cl_uint *found) {
    start();
    return recorder_clGetPlatformIDs(count, ids, found);
}

/* A loader needs these two before it has a platform, and with it the table. */
void *clGetExtensionFunctionAddress(const char *name) {
    void *address = NULL;
    cl_api_clGetPlatformIDs ids = clIcdGetPlatformIDsKHR;
    cl_api_clGetPlatformInfo info = recorder_clGetPlatformInfo;
    if (!strcmp(name, "clIcdGetPlatformIDsKHR")) memcpy(&address, &ids, sizeof address);
    if (!strcmp(name, "clGetPlatformInfo")) memcpy(&address, &info, sizeof address);
    return address;
}

void *recorder_clGetExtensionFunctionAddressForPlatform(cl_platform_id platform, const char *name) {
    return clGetExtensionFunctionAddress(name);
}
