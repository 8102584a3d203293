/* A preloaded library that makes call N of an OpenCL, allocation, thread or file function fail, cuts it short, or ends
 * the process there, and counts what is made and released. docs/faults.md says how it is used.
 *
 *   FAULT=NAME:N:CODE[:COUNT]  call N (from 1) of NAME fails with CODE, as do the COUNT - 1 calls after it (default 1;
 * 0: all from N on). CODE is a cl_int for cl*, an errno for what concerns files, ignored for what allocates. A write or
 * fwrite with CODE 0 is short: half of it is done. With CODE -9 a function of files ends the process by SIGKILL
 * instead, a write when half is done. FAULT_LATE=US lets PoCL's own threads wait for so many microseconds before each
 * event they let go of, as a busy machine does. FAULT_REPORT=FILE at exit: a line "NAME calls" for each function
 * called, and "live KIND created retained released" for kinds of OpenCL objects and for blocks of memory.
 *
 * Only calls of the program itself and of cJSON count for memory, threads and files; for OpenCL those of CLBlast and
 * clFFT do too. What PoCL calls within itself does not come by here. */
#undef _FILE_OFFSET_BITS // open and open64 are two functions here
#define _GNU_SOURCE
#include <CL/cl.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAMES = 128, RANGES = 8, KILLS = -9 };
enum kind { CONTEXT, QUEUE, BUFFER, PROGRAM, KERNEL, EVENT, DEVICE, BLOCK, KINDS };
static const char *const kind_names[KINDS] = {"contexts", "queues", "buffers", "programs",
                                              "kernels",  "events", "devices", "blocks"};
static atomic_long created[KINDS], retained[KINDS], released[KINDS];

struct entry {
    const char *name;
    atomic_long calls;
};
static struct entry entries[NAMES];
static int entry_count;

/* Functions that fail together where a device is lost, or memory or a disk is full. */
enum group { NONE, OPENCL, MEMORY, DISK, GROUPS };
static struct entry groups[GROUPS] = {[NONE] = {"none"}, [OPENCL] = {"cl"}, [MEMORY] = {"memory"}, [DISK] = {"disk"}};

static struct { uintptr_t from, to; } own[RANGES]; // code of the program and of cJSON
static int own_count;

static struct {
    char name[64];
    long at, count;
    int code;
} fault = {.count = 1};
static const char *report_path;
static useconds_t late;
static bool ready;

/* --- whose call it is, and whether it fails --------------------------------------------------- */

static int add_range(struct dl_phdr_info *info, size_t size, void *seen) {
    const bool is_program = !(*(int *)seen)++;
    if (!is_program && !strstr(info->dlpi_name, "libcjson")) return 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        if (part->p_type != PT_LOAD || !(part->p_flags & PF_X) || own_count == RANGES) continue;
        own[own_count].from = info->dlpi_addr + part->p_vaddr;
        own[own_count].to = own[own_count].from + part->p_memsz;
        own_count++;
    }
    return 0;
}

static bool is_own(const void *caller) {
    for (int i = 0; i < own_count; i++)
        if ((uintptr_t)caller >= own[i].from && (uintptr_t)caller < own[i].to) return true;
    return false;
}

/* Each function keeps its entry in a static of its own. */
static struct entry *entry_of(struct entry **slot, const char *name) {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    if (*slot) return *slot;
    pthread_mutex_lock(&lock);
    if (!*slot && entry_count < NAMES) {
        entries[entry_count].name = name;
        *slot = &entries[entry_count++];
    }
    pthread_mutex_unlock(&lock);
    return *slot;
}

static bool falls_on(struct entry *entry) {
    long n = atomic_fetch_add(&entry->calls, 1) + 1;
    return !strcmp(fault.name, entry->name) && n >= fault.at && (!fault.count || n < fault.at + fault.count);
}

static bool hit(struct entry **slot, const char *name, enum group group) {
    struct entry *entry = ready ? entry_of(slot, name) : NULL;
    const bool alone = entry && falls_on(entry);
    return (ready && falls_on(&groups[group])) || alone;
}

static bool hit_own(struct entry **slot, const char *name, enum group group, const void *caller) {
    return ready && is_own(caller) && hit(slot, name, group);
}

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

#define CALLER __builtin_return_address(0)
#define REAL(name)                                                                                                     \
    static __typeof__(name) *real;                                                                                     \
    if (!real) real = (__typeof__(real))dlsym(RTLD_NEXT, #name)

/* --- beginning and end ------------------------------------------------------------------------ */

__attribute__((constructor)) static void start(void) {
    const char *spec = getenv("FAULT"), *colon = spec ? strchr(spec, ':') : NULL;
    int seen = 0;
    dl_iterate_phdr(add_range, &seen);
    report_path = getenv("FAULT_REPORT");
    if (getenv("FAULT_LATE")) late = (useconds_t)strtoul(getenv("FAULT_LATE"), NULL, 10);
    if (colon && (size_t)(colon - spec) < sizeof fault.name) {
        char *end;
        memcpy(fault.name, spec, (size_t)(colon - spec));
        fault.at = strtol(colon + 1, &end, 10);
        if (*end == ':') fault.code = (int)strtol(end + 1, &end, 10);
        if (*end == ':') fault.count = strtol(end + 1, &end, 10);
    }
    ready = true;
}

__attribute__((destructor)) static void report(void) {
    ready = false;
    int descriptor = report_path ? open(report_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644) : -1;
    if (descriptor < 0) return;
    for (int i = 1; i < GROUPS; i++) dprintf(descriptor, "%s %ld\n", groups[i].name, (long)groups[i].calls);
    for (int i = 0; i < entry_count; i++) dprintf(descriptor, "%s %ld\n", entries[i].name, (long)entries[i].calls);
    for (int k = 0; k < KINDS; k++)
        dprintf(descriptor, "live %s %ld %ld %ld\n", kind_names[k], (long)created[k], (long)retained[k],
                (long)released[k]);
    close(descriptor);
}

/* --- OpenCL ----------------------------------------------------------------------------------- */

/* Any that gives a status. */
#define STATUS(name, params, args)                                                                                     \
    CL_API_ENTRY cl_int CL_API_CALL name params {                                                                      \
        static struct entry *slot;                                                                                     \
        REAL(name);                                                                                                    \
        return hit(&slot, #name, OPENCL) ? fault.code : real args;                                                     \
    }
/* Gives an object, and the error through errcode. */
#define OBJECT(type, name, kind, params, args)                                                                         \
    CL_API_ENTRY type CL_API_CALL name params {                                                                        \
        static struct entry *slot;                                                                                     \
        REAL(name);                                                                                                    \
        if (hit(&slot, #name, OPENCL)) {                                                                               \
            if (errcode) *errcode = fault.code;                                                                        \
            return NULL;                                                                                               \
        }                                                                                                              \
        type object = real args;                                                                                       \
        if (object) created[kind]++;                                                                                   \
        return object;                                                                                                 \
    }
#define COUNTED(name, type, counter)                                                                                   \
    CL_API_ENTRY cl_int CL_API_CALL name(type object) {                                                                \
        static struct entry *slot;                                                                                     \
        REAL(name);                                                                                                    \
        cl_int code = hit(&slot, #name, OPENCL) ? fault.code : real(object);                                           \
        if (!code) counter++;                                                                                          \
        return code;                                                                                                   \
    }
/* An event that is asked for is an object. */
#define COMMAND(name, params, args)                                                                                    \
    CL_API_ENTRY cl_int CL_API_CALL name params {                                                                      \
        static struct entry *slot;                                                                                     \
        REAL(name);                                                                                                    \
        if (hit(&slot, #name, OPENCL)) return fault.code;                                                              \
        cl_int code = real args;                                                                                       \
        if (!code && event) created[EVENT]++;                                                                          \
        return code;                                                                                                   \
    }
#define WHAT size_t size, void *value, size_t *length

STATUS(clGetPlatformIDs, (cl_uint n, cl_platform_id *list, cl_uint *count), (n, list, count))
STATUS(clGetPlatformInfo, (cl_platform_id p, cl_platform_info what, WHAT), (p, what, size, value, length))
STATUS(clGetDeviceIDs, (cl_platform_id p, cl_device_type t, cl_uint n, cl_device_id *list, cl_uint *count),
       (p, t, n, list, count))
STATUS(clGetDeviceInfo, (cl_device_id d, cl_device_info what, WHAT), (d, what, size, value, length))
STATUS(clGetContextInfo, (cl_context c, cl_context_info what, WHAT), (c, what, size, value, length))
STATUS(clGetCommandQueueInfo, (cl_command_queue q, cl_command_queue_info what, WHAT), (q, what, size, value, length))
STATUS(clGetMemObjectInfo, (cl_mem m, cl_mem_info what, WHAT), (m, what, size, value, length))
STATUS(clGetProgramInfo, (cl_program p, cl_program_info what, WHAT), (p, what, size, value, length))
STATUS(clGetProgramBuildInfo, (cl_program p, cl_device_id d, cl_program_build_info what, WHAT),
       (p, d, what, size, value, length))
STATUS(clGetKernelInfo, (cl_kernel k, cl_kernel_info what, WHAT), (k, what, size, value, length))
STATUS(clGetKernelWorkGroupInfo, (cl_kernel k, cl_device_id d, cl_kernel_work_group_info what, WHAT),
       (k, d, what, size, value, length))
STATUS(clGetEventInfo, (cl_event e, cl_event_info what, WHAT), (e, what, size, value, length))
STATUS(clGetEventProfilingInfo, (cl_event e, cl_profiling_info what, WHAT), (e, what, size, value, length))
STATUS(clBuildProgram,
       (cl_program p, cl_uint n, const cl_device_id *d, const char *o, void(CL_CALLBACK *f)(cl_program, void *),
        void *u),
       (p, n, d, o, f, u))
STATUS(clSetKernelArg, (cl_kernel k, cl_uint i, size_t size, const void *value), (k, i, size, value))
STATUS(clFinish, (cl_command_queue q), (q))
STATUS(clFlush, (cl_command_queue q), (q))
STATUS(clWaitForEvents, (cl_uint n, const cl_event *e), (n, e))

OBJECT(cl_context, clCreateContext, CONTEXT,
       (const cl_context_properties *p, cl_uint n, const cl_device_id *d,
        void(CL_CALLBACK *f)(const char *, const void *, size_t, void *), void *u, cl_int *errcode),
       (p, n, d, f, u, errcode))
OBJECT(cl_command_queue, clCreateCommandQueue, QUEUE,
       (cl_context c, cl_device_id d, cl_command_queue_properties p, cl_int *errcode), (c, d, p, errcode))
OBJECT(cl_mem, clCreateBuffer, BUFFER, (cl_context c, cl_mem_flags f, size_t s, void *h, cl_int *errcode),
       (c, f, s, h, errcode))
OBJECT(cl_mem, clCreateSubBuffer, BUFFER,
       (cl_mem m, cl_mem_flags f, cl_buffer_create_type t, const void *i, cl_int *errcode), (m, f, t, i, errcode))
OBJECT(cl_program, clCreateProgramWithSource, PROGRAM,
       (cl_context c, cl_uint n, const char **t, const size_t *l, cl_int *errcode), (c, n, t, l, errcode))
OBJECT(cl_program, clCreateProgramWithBinary, PROGRAM,
       (cl_context c, cl_uint n, const cl_device_id *d, const size_t *l, const unsigned char **b, cl_int *s,
        cl_int *errcode),
       (c, n, d, l, b, s, errcode))
OBJECT(cl_kernel, clCreateKernel, KERNEL, (cl_program p, const char *n, cl_int *errcode), (p, n, errcode))

CL_API_ENTRY cl_int CL_API_CALL clCreateSubDevices(cl_device_id d, const cl_device_partition_property *p, cl_uint n,
                                                   cl_device_id *list, cl_uint *count) {
    static struct entry *slot;
    REAL(clCreateSubDevices);
    if (hit(&slot, "clCreateSubDevices", OPENCL)) return fault.code;
    cl_int code = real(d, p, n, list, count);
    if (!code && list) created[DEVICE]++;
    return code;
}

COUNTED(clReleaseContext, cl_context, released[CONTEXT])
COUNTED(clReleaseCommandQueue, cl_command_queue, released[QUEUE])
COUNTED(clReleaseMemObject, cl_mem, released[BUFFER])
COUNTED(clReleaseProgram, cl_program, released[PROGRAM])
COUNTED(clReleaseKernel, cl_kernel, released[KERNEL])
COUNTED(clReleaseEvent, cl_event, released[EVENT])
COUNTED(clReleaseDevice, cl_device_id, released[DEVICE])
COUNTED(clRetainContext, cl_context, retained[CONTEXT])
COUNTED(clRetainCommandQueue, cl_command_queue, retained[QUEUE])
COUNTED(clRetainMemObject, cl_mem, retained[BUFFER])
COUNTED(clRetainProgram, cl_program, retained[PROGRAM])
COUNTED(clRetainKernel, cl_kernel, retained[KERNEL])
COUNTED(clRetainEvent, cl_event, retained[EVENT])

#define WAITS cl_uint waits, const cl_event *list, cl_event *event
COMMAND(clEnqueueNDRangeKernel,
        (cl_command_queue q, cl_kernel k, cl_uint n, const size_t *o, const size_t *g, const size_t *l, WAITS),
        (q, k, n, o, g, l, waits, list, event))
COMMAND(clEnqueueReadBuffer, (cl_command_queue q, cl_mem m, cl_bool b, size_t o, size_t s, void *p, WAITS),
        (q, m, b, o, s, p, waits, list, event))
COMMAND(clEnqueueWriteBuffer, (cl_command_queue q, cl_mem m, cl_bool b, size_t o, size_t s, const void *p, WAITS),
        (q, m, b, o, s, p, waits, list, event))
COMMAND(clEnqueueCopyBuffer, (cl_command_queue q, cl_mem a, cl_mem b, size_t x, size_t y, size_t s, WAITS),
        (q, a, b, x, y, s, waits, list, event))
COMMAND(clEnqueueFillBuffer, (cl_command_queue q, cl_mem m, const void *p, size_t n, size_t o, size_t s, WAITS),
        (q, m, p, n, o, s, waits, list, event))
COMMAND(clEnqueueUnmapMemObject, (cl_command_queue q, cl_mem m, void *p, WAITS), (q, m, p, waits, list, event))

CL_API_ENTRY void *CL_API_CALL clEnqueueMapBuffer(cl_command_queue q, cl_mem m, cl_bool b, cl_map_flags f, size_t o,
                                                  size_t s, WAITS, cl_int *errcode) {
    static struct entry *slot;
    REAL(clEnqueueMapBuffer);
    if (hit(&slot, "clEnqueueMapBuffer", OPENCL)) {
        if (errcode) *errcode = fault.code;
        return NULL;
    }
    void *host = real(q, m, b, f, o, s, waits, list, event, errcode);
    if (host && event) created[EVENT]++;
    return host;
}
COMMAND(clEnqueueMarkerWithWaitList, (cl_command_queue q, WAITS), (q, waits, list, event))

/* --- memory and threads ----------------------------------------------------------------------- */

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void __libc_free(void *);

/* Blocks of the program that live: a table of their addresses by open addressing. */
enum { SLOTS = 1 << 18 };
static uintptr_t blocks[SLOTS];
static pthread_mutex_t block_lock = PTHREAD_MUTEX_INITIALIZER;

static size_t home_of(uintptr_t block) {
    return (size_t)(block * 0x9e3779b97f4a7c15ull >> 32) % SLOTS;
}

static void *keep(void *block) {
    if (!block || created[BLOCK] - released[BLOCK] >= SLOTS / 2) return block;
    pthread_mutex_lock(&block_lock);
    size_t at = home_of((uintptr_t)block);
    while (blocks[at]) at = (at + 1) % SLOTS;
    blocks[at] = (uintptr_t)block;
    created[BLOCK]++;
    pthread_mutex_unlock(&block_lock);
    return block;
}

/* Those behind move up, so that a search may end at the first empty slot. */
static bool drop(void *block) {
    if (!block || created[BLOCK] == released[BLOCK]) return false;
    pthread_mutex_lock(&block_lock);
    size_t at = home_of((uintptr_t)block);
    while (blocks[at] && blocks[at] != (uintptr_t)block) at = (at + 1) % SLOTS;
    const bool found = blocks[at];
    if (found) released[BLOCK]++;
    for (size_t next = at; found; at = next) {
        blocks[at] = 0;
        do next = (next + 1) % SLOTS;
        while (blocks[next] && (next - home_of(blocks[next])) % SLOTS < (next - at) % SLOTS);
        if (!blocks[next]) break;
        blocks[at] = blocks[next];
    }
    pthread_mutex_unlock(&block_lock);
    return found;
}

void *malloc(size_t size) {
    static struct entry *slot;
    if (!ready || !is_own(CALLER)) return __libc_malloc(size);
    return hit(&slot, "malloc", MEMORY) ? errno = ENOMEM, NULL : keep(__libc_malloc(size));
}

void *calloc(size_t count, size_t size) {
    static struct entry *slot;
    if (!ready || !is_own(CALLER)) return __libc_calloc(count, size);
    return hit(&slot, "calloc", MEMORY) ? errno = ENOMEM, NULL : keep(__libc_calloc(count, size));
}

void *realloc(void *block, size_t size) {
    static struct entry *slot;
    if (!ready || !is_own(CALLER)) return __libc_realloc(block, size);
    if (hit(&slot, "realloc", MEMORY)) return errno = ENOMEM, NULL;
    const bool known = drop(block);
    void *moved = __libc_realloc(block, size);
    return !block || known ? keep(moved ? moved : block) : moved;
}

void free(void *block) {
    drop(block);
    __libc_free(block);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *context) {
    static struct entry *slot;
    REAL(pthread_create);
    return hit_own(&slot, "pthread_create", NONE, CALLER) ? EAGAIN : real(thread, attributes, run, context);
}

int pthread_mutex_lock(pthread_mutex_t *mutex) {
    Dl_info at;
    REAL(pthread_mutex_lock);
    if (late && getpid() != gettid() && dladdr(CALLER, &at) && at.dli_sname &&
        !strcmp(at.dli_sname, "POclReleaseEvent"))
        usleep(late);
    return real(mutex);
}

/* --- files ------------------------------------------------------------------------------------ */

static bool fails(struct entry **slot, const char *name, enum group group, const void *caller) {
    if (!hit_own(slot, name, group, caller)) return false;
    if (fault.code == KILLS) die();
    errno = fault.code;
    return true;
}

#define FILES(type, name, bad, params, args)                                                                           \
    type name params {                                                                                                 \
        static struct entry *slot;                                                                                     \
        REAL(name);                                                                                                    \
        return fails(&slot, #name, NONE, CALLER) ? bad : real args;                                                    \
    }
FILES(int, fsync, -1, (int fd), (fd))
FILES(int, ftruncate64, -1, (int fd, off64_t size), (fd, size))
FILES(int, flock, -1, (int fd, int what), (fd, what))
FILES(int, rename, -1, (const char *from, const char *to), (from, to))
FILES(int, unlink, -1, (const char *path), (path))
FILES(int, remove, -1, (const char *path), (path))
FILES(int, mkdir, -1, (const char *path, mode_t mode), (path, mode))
FILES(int, mkdirat, -1, (int at, const char *path, mode_t mode), (at, path, mode))
FILES(int, renameat, -1, (int at, const char *from, int there, const char *to), (at, from, there, to))
FILES(int, unlinkat, -1, (int at, const char *path, int flags), (at, path, flags))
FILES(int, fchmod, -1, (int fd, mode_t mode), (fd, mode))
FILES(ssize_t, pwrite64, -1, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at))
FILES(DIR *, fdopendir, NULL, (int fd), (fd))
FILES(int, mkstemp64, -1, (char *path), (path))
FILES(int, stat64, -1, (const char *path, struct stat64 *status), (path, status))
FILES(int, fstat64, -1, (int fd, struct stat64 *status), (fd, status))
FILES(FILE *, fopen64, NULL, (const char *path, const char *mode), (path, mode))
FILES(FILE *, fdopen, NULL, (int fd, const char *mode), (fd, mode))
FILES(int, fseek, -1, (FILE * file, long at, int from), (file, at, from))
FILES(long, ftell, -1, (FILE * file), (file))
FILES(DIR *, opendir, NULL, (const char *path), (path))
FILES(struct dirent64 *, readdir64, NULL, (DIR * dir), (dir))
FILES(int, scandir64, -1,
      (const char *path, struct dirent64 ***list, int (*wanted)(const struct dirent64 *),
       int (*before)(const struct dirent64 **, const struct dirent64 **)),
      (path, list, wanted, before))

/* A close that fails closes nonetheless, as Linux's does. */
int close(int fd) {
    static struct entry *slot;
    REAL(close);
    const bool bad = fails(&slot, "close", NONE, CALLER);
    const int code = real(fd);
    return bad ? errno = fault.code, -1 : code;
}

int fclose(FILE *file) {
    static struct entry *slot;
    REAL(fclose);
    const bool bad = fails(&slot, "fclose", NONE, CALLER);
    const int code = real(file);
    return bad ? errno = fault.code, EOF : code;
}

static int opened(struct entry **slot, const char *name, const void *caller, const char *path, int flags, mode_t mode) {
    static int (*real)(const char *, int, ...);
    if (!real) real = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open64");
    return fails(slot, name, NONE, caller) ? -1 : real(path, flags, mode);
}

#define OPEN(name)                                                                                                     \
    int name(const char *path, int flags, ...) {                                                                       \
        static struct entry *slot;                                                                                     \
        va_list more;                                                                                                  \
        va_start(more, flags);                                                                                         \
        mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(more, mode_t) : 0;                                      \
        va_end(more);                                                                                                  \
        return opened(&slot, #name, CALLER, path, flags, mode);                                                        \
    }
OPEN(open)
OPEN(open64)

int openat64(int at, const char *path, int flags, ...) {
    static struct entry *slot;
    static int (*real)(int, const char *, int, ...);
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(more, mode_t) : 0;
    va_end(more);
    if (!real) real = (int (*)(int, const char *, int, ...))dlsym(RTLD_NEXT, "openat64");
    return fails(&slot, "openat64", NONE, CALLER) ? -1 : real(at, path, flags, mode);
}

ssize_t write(int fd, const void *data, size_t size) {
    static struct entry *slot;
    REAL(write);
    if (!hit_own(&slot, "write", DISK, CALLER)) return real(fd, data, size);
    if (!fault.code || fault.code == KILLS) {
        ssize_t half = real(fd, data, size > 1 ? size / 2 : size);
        if (fault.code == KILLS) die();
        return half;
    }
    return errno = fault.code, -1;
}

/* --- streams ---------------------------------------------------------------------------------- */

/* What fails leaves the stream's mark of an error, as in the C library. Diagnostics have nobody to tell that they are
 * lost, so standard error never fails. */
static bool stream_fails(struct entry **slot, const char *name, const void *caller, FILE *file) {
    if (file == stderr || !fails(slot, name, strcmp(name, "fread") ? DISK : NONE, caller)) return false;
    if (fault.code) file->_flags |= 0x20; // glibc's _IO_ERR_SEEN
    return true;
}

size_t fwrite(const void *data, size_t size, size_t count, FILE *file) {
    static struct entry *slot;
    REAL(fwrite);
    if (!stream_fails(&slot, "fwrite", CALLER, file)) return real(data, size, count, file);
    return fault.code ? 0 : real(data, size, count / 2, file);
}

size_t fread(void *data, size_t size, size_t count, FILE *file) {
    static struct entry *slot;
    REAL(fread);
    return stream_fails(&slot, "fread", CALLER, file) ? 0 : real(data, size, count, file);
}

int fputs(const char *text, FILE *file) {
    static struct entry *slot;
    REAL(fputs);
    return stream_fails(&slot, "fputs", CALLER, file) ? EOF : real(text, file);
}

int fputc(int c, FILE *file) {
    static struct entry *slot;
    REAL(fputc);
    return stream_fails(&slot, "fputc", CALLER, file) ? EOF : real(c, file);
}

int putc(int c, FILE *file) {
    static struct entry *slot;
    REAL(putc);
    return stream_fails(&slot, "putc", CALLER, file) ? EOF : real(c, file);
}

int puts(const char *text) {
    static struct entry *slot;
    REAL(puts);
    return stream_fails(&slot, "puts", CALLER, stdout) ? EOF : real(text);
}

int fflush(FILE *file) {
    static struct entry *slot;
    REAL(fflush);
    return stream_fails(&slot, "fflush", CALLER, file ? file : stdout) ? EOF : real(file);
}

int vfprintf(FILE *file, const char *format, va_list values) {
    static struct entry *slot;
    REAL(vfprintf);
    return stream_fails(&slot, "vfprintf", CALLER, file) ? -1 : real(file, format, values);
}

int fprintf(FILE *file, const char *format, ...) {
    static struct entry *slot;
    if (stream_fails(&slot, "fprintf", CALLER, file)) return -1;
    va_list values;
    va_start(values, format);
    int length = vfprintf(file, format, values);
    va_end(values);
    return length;
}

int printf(const char *format, ...) {
    static struct entry *slot;
    if (stream_fails(&slot, "printf", CALLER, stdout)) return -1;
    va_list values;
    va_start(values, format);
    int length = vfprintf(stdout, format, values);
    va_end(values);
    return length;
}
