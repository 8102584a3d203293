/* Devices: listing, choosing, opening. */
#include "cl/internal.h"
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#ifndef CL_PLATFORM_NOT_FOUND_KHR
#define CL_PLATFORM_NOT_FOUND_KHR (-1001)
#endif

/* --- errors ----------------------------------------------------------------------------------- */

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

/* --- listing ---------------------------------------------------------------------------------- */

struct found {
    cl_platform_id platform;
    cl_device_id id;
    bool usable;  // is there and has a compiler
    cl_int error; // of a question about it
    char platform_version[256];
    struct blanch_device_info info;
};

#define INSTALL "install the driver of your GPU, or PoCL for the CPU (Debian and Ubuntu: apt install pocl-opencl-icd)"

/* A question that the device does not know is answered by nothing; another error is the device's. */
static bool answered(struct found *f, cl_int error) {
    if (error && error != CL_INVALID_VALUE) f->error = error;
    return !error;
}

static void text_of(struct found *f, cl_device_info what, char *out, size_t size) {
    char buffer[1024] = "";
    if (!answered(f, clGetDeviceInfo(f->id, what, sizeof buffer - 1, buffer, NULL))) buffer[0] = 0;
    const char *start = buffer;
    while (isspace((unsigned char)*start)) start++;
    snprintf(out, size, "%s", start);
    for (size_t n = strlen(out); n && isspace((unsigned char)out[n - 1]); n--) out[n - 1] = 0;
}

/* A value that the device does not know reads as zero. */
static void query(struct found *f, cl_device_info what, void *value, size_t size) {
    memset(value, 0, size);
    if (!answered(f, clGetDeviceInfo(f->id, what, size, value, NULL))) memset(value, 0, size);
}
#define GET(found, what, value) query((found), (what), &(value), sizeof(value))

static void describe_limits(struct found *f, struct blanch_device_info *info) {
    cl_uint number;
    cl_ulong bytes;
    cl_device_local_mem_type local;
    GET(f, CL_DEVICE_MAX_COMPUTE_UNITS, number), info->compute_units = (int)number;
    GET(f, CL_DEVICE_MAX_CLOCK_FREQUENCY, number), info->clock_mhz = (int)number;
    GET(f, CL_DEVICE_MAX_WORK_GROUP_SIZE, info->max_work_group);
    size_t items[16] = {0};
    GET(f, CL_DEVICE_MAX_WORK_ITEM_SIZES, items);
    for (int i = 0; i < 3; i++) info->max_work_item[i] = items[i] ? items[i] : 1;
    GET(f, CL_DEVICE_MAX_MEM_ALLOC_SIZE, bytes), info->max_alloc = bytes;
    GET(f, CL_DEVICE_GLOBAL_MEM_SIZE, bytes), info->global_memory = bytes;
    GET(f, CL_DEVICE_LOCAL_MEM_SIZE, bytes), info->local_memory = bytes;
    GET(f, CL_DEVICE_MAX_CONSTANT_BUFFER_SIZE, bytes), info->constant_memory = bytes;
    GET(f, CL_DEVICE_MEM_BASE_ADDR_ALIGN, number), info->base_align = number / 8; // the device answers in bits
    GET(f, CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT, number), info->float_width = number;
    GET(f, CL_DEVICE_LOCAL_MEM_TYPE, local), info->local_is_real = local == CL_LOCAL;
    if (!info->max_work_group) info->max_work_group = 1;
}

/* Blanch divides a device by counts of compute units. */
static bool can_divide(struct found *f) {
    cl_uint parts;
    cl_device_partition_property how[16] = {0};
    GET(f, CL_DEVICE_PARTITION_MAX_SUB_DEVICES, parts);
    if (parts < 2) return false;
    GET(f, CL_DEVICE_PARTITION_PROPERTIES, how);
    for (int i = 0; i < BL_COUNT(how); i++)
        if (how[i] == CL_DEVICE_PARTITION_BY_COUNTS) return true;
    return false;
}

static int describe_features(struct found *f, struct blanch_device_info *info) {
    cl_command_queue_properties queue;
    size_t size = 0;
    GET(f, CL_DEVICE_QUEUE_PROPERTIES, queue), info->out_of_order = queue & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE;
    info->partition = can_divide(f);
    if (!answered(f, clGetDeviceInfo(f->id, CL_DEVICE_EXTENSIONS, 0, NULL, &size))) size = 0;
    char *extensions = bl_calloc(size + 1, 1);
    if (!extensions) return BLANCH_ENOMEM;
    if (size && answered(f, clGetDeviceInfo(f->id, CL_DEVICE_EXTENSIONS, size, extensions, NULL))) {
        info->fp16 = strstr(extensions, "cl_khr_fp16"), info->fp64 = strstr(extensions, "cl_khr_fp64");
        info->subgroups = strstr(extensions, "subgroups");
    }
    free(extensions);
    return 0;
}

static int describe(struct found *f, int platform, int device) {
    struct blanch_device_info *info = &f->info;
    cl_device_type type;
    cl_bool available, compiler;
    *info = (struct blanch_device_info){.platform = platform, .device = device};
    GET(f, CL_DEVICE_TYPE, type);
    info->kind = type & CL_DEVICE_TYPE_GPU ? BLANCH_GPU : type & CL_DEVICE_TYPE_CPU ? BLANCH_CPU : BLANCH_ACCELERATOR;
    GET(f, CL_DEVICE_AVAILABLE, available), GET(f, CL_DEVICE_COMPILER_AVAILABLE, compiler);
    f->usable = available && compiler;
    text_of(f, CL_DEVICE_NAME, info->name, sizeof info->name);
    text_of(f, CL_DEVICE_VENDOR, info->vendor, sizeof info->vendor);
    text_of(f, CL_DEVICE_VERSION, info->version, sizeof info->version);
    text_of(f, CL_DRIVER_VERSION, info->driver, sizeof info->driver);
    text_of(f, CL_DEVICE_OPENCL_C_VERSION, info->c_version, sizeof info->c_version);
    char *name = info->platform_name;
    if (!answered(f, clGetPlatformInfo(f->platform, CL_PLATFORM_NAME, sizeof info->platform_name - 1, name, NULL)))
        name[0] = 0;
    name = f->platform_version;
    if (!answered(f, clGetPlatformInfo(f->platform, CL_PLATFORM_VERSION, sizeof f->platform_version - 1, name, NULL)))
        name[0] = 0;
    describe_limits(f, info);
    return describe_features(f, info);
}

/* By compute units and clock alone; what cannot be used comes after all others. */
static double speed(const struct found *f) {
    double speed = (double)f->info.compute_units * (f->info.clock_mhz ? f->info.clock_mhz : 1);
    return f->usable ? speed : 1e-9 * speed;
}

/* The fastest GPU, else the fastest CPU, else what there is. */
static void mark_default(struct found *list, int count) {
    static const double weights[] = {[BLANCH_CPU] = 1, [BLANCH_GPU] = 1e12, [BLANCH_ACCELERATOR] = 1e-6};
    int best = 0;
    for (int i = 1; i < count; i++)
        if (speed(&list[i]) * weights[list[i].info.kind] > speed(&list[best]) * weights[list[best].info.kind]) best = i;
    list[best].info.is_default = true;
}

/* error: the last that a platform gave. A platform whose driver cannot start says no more than "not found". */
static int no_devices(const cl_platform_id *platforms, cl_uint count, cl_int error) {
    char names[512] = "";
    for (cl_uint i = 0; i < count; i++) {
        char name[128] = "";
        size_t used = strlen(names);
        if (clGetPlatformInfo(platforms[i], CL_PLATFORM_NAME, sizeof name - 1, name, NULL)) name[0] = 0;
        snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "", *name ? name : "unnamed");
    }
    return bl_fail(BLANCH_EDEVICE,
                   "the OpenCL platforms installed (%s) offer no device (%s): " INSTALL
                   "; PoCL offers none where its cache folder, $POCL_CACHE_DIR or $XDG_CACHE_HOME, is not writable",
                   names, bl_cl_error_name(error));
}

static int find_devices(struct found **out, int *count) {
    cl_platform_id platforms[32];
    cl_uint platform_count = 0;
    cl_int error = clGetPlatformIDs(BL_COUNT(platforms), platforms, &platform_count);
    if (error == CL_PLATFORM_NOT_FOUND_KHR || (!error && !platform_count))
        return bl_fail(BLANCH_EDEVICE, "no OpenCL platform is installed: " INSTALL);
    if (error) return bl_cl_fail(error, "listing the OpenCL platforms");
    size_t capacity = 0, n = 0;
    struct found *list = NULL;
    cl_int last = CL_DEVICE_NOT_FOUND;
    if (platform_count > BL_COUNT(platforms)) platform_count = BL_COUNT(platforms);
    for (cl_uint p = 0; p < platform_count; p++) {
        cl_device_id ids[64];
        cl_uint devices = 0;
        error = clGetDeviceIDs(platforms[p], CL_DEVICE_TYPE_ALL, BL_COUNT(ids), ids, &devices);
        if (error) last = error, devices = 0;
        for (cl_uint d = 0; d < devices && d < BL_COUNT(ids); d++) {
            if (bl_grow((void **)&list, &capacity, n + 1, sizeof *list)) return free(list), BLANCH_ENOMEM;
            list[n] = (struct found){.platform = platforms[p], .id = ids[d]};
            if (describe(&list[n++], (int)p, (int)d)) return free(list), BLANCH_ENOMEM;
        }
    }
    if (!n) return free(list), no_devices(platforms, platform_count, last);
    mark_default(list, (int)n);
    *out = list, *count = (int)n;
    return 0;
}

int blanch_devices_list(struct blanch_device_info **infos, int *count) {
    struct found *list = NULL;
    int code = find_devices(&list, count);
    if (code) return code;
    if ((*infos = bl_calloc((size_t)*count, sizeof **infos)))
        for (int i = 0; i < *count; i++) (*infos)[i] = list[i].info;
    free(list);
    return *infos ? 0 : BLANCH_ENOMEM;
}

/* --- choosing --------------------------------------------------------------------------------- */

static bool contains(const char *text, const char *part) {
    size_t length = strlen(part);
    for (; *text; text++) {
        size_t i = 0;
        while (i < length && text[i] && tolower((unsigned char)text[i]) == tolower((unsigned char)part[i])) i++;
        if (i == length) return true;
    }
    return false;
}

/* Fails with the devices to choose from: those marked, or all. */
static int no_such_device(const struct found *list, int count, const bool *marked, const char *spec, const char *why) {
    char names[2048] = "";
    for (int i = 0; i < count; i++) {
        size_t used = strlen(names);
        const struct blanch_device_info *info = &list[i].info;
        if (marked && !marked[i]) continue;
        snprintf(names + used, sizeof names - used, "%s%d:%d %s", used ? ", " : "", info->platform, info->device,
                 info->name);
    }
    return bl_fail(BLANCH_EUSAGE, "device '%s': %s: %s", spec, why, names);
}

/* P:D or P:D/CORES; *taken tells whether the spec has this form. */
static int choose_position(const struct found *list, int count, const char *spec, int *chosen, int *cores,
                           bool *taken) {
    int platform, device, used = 0, end = 0;
    *taken = sscanf(spec, "%d:%d%n", &platform, &device, &used) == 2 && (!spec[used] || spec[used] == '/');
    if (!*taken) return 0;
    if (spec[used] == '/' && (sscanf(spec + used + 1, "%d%n", cores, &end) != 1 || spec[used + 1 + end] || *cores < 1))
        return bl_fail(BLANCH_EUSAGE, "device '%s': after the slash comes a number of cores, as in 0:0/1", spec);
    for (int i = 0; i < count; i++)
        if (list[i].info.platform == platform && list[i].info.device == device) *chosen = i;
    return *chosen < 0 ? no_such_device(list, count, NULL, spec, "there is none at this place; there are") : 0;
}

/* cores: 0 without /CORES. */
static int choose(const struct found *list, int count, const char *spec, int *chosen, int *cores) {
    bool cpu = !strcasecmp(spec, "cpu"), gpu = !strcasecmp(spec, "gpu"), taken;
    int matches = 0, whole = 0;
    *cores = 0, *chosen = -1;
    int code = choose_position(list, count, spec, chosen, cores, &taken);
    if (code || taken) return code;
    bool *marked = bl_calloc((size_t)count, sizeof *marked);
    if (!marked) return BLANCH_ENOMEM;
    for (int i = 0; i < count; i++) {
        const struct blanch_device_info *info = &list[i].info;
        marked[i] = cpu     ? info->kind == BLANCH_CPU
                    : gpu   ? info->kind == BLANCH_GPU
                    : *spec ? contains(info->name, spec)
                            : info->is_default;
        if (marked[i] && (!matches++ || speed(&list[i]) > speed(&list[*chosen]))) *chosen = i;
    }
    for (int i = 0; i < count; i++) whole += !strcasecmp(list[i].info.name, spec);
    for (int i = 0; i < count && whole == 1; i++) // a whole name may be part of another
        if (!strcasecmp(list[i].info.name, spec)) matches = 1, *chosen = i;
    if (!matches)
        code = no_such_device(list, count, NULL, spec,
                              cpu   ? "there is no CPU device; there are"
                              : gpu ? "there is no GPU; there are"
                                    : "no device's name contains this; there are");
    else if (matches > 1 && !cpu && !gpu)
        code = no_such_device(list, count, marked, spec, "several devices match, say which by its position");
    free(marked);
    return code;
}

/* --- opening ---------------------------------------------------------------------------------- */

static int make_sub_device(struct blanch_device *dev, int cores) {
    if (cores > dev->info.compute_units)
        return bl_fail(BLANCH_EUSAGE, "device %s has %d compute units, not %d", dev->info.name, dev->info.compute_units,
                       cores);
    const cl_device_partition_property how[] = {CL_DEVICE_PARTITION_BY_COUNTS, cores,
                                                CL_DEVICE_PARTITION_BY_COUNTS_LIST_END, 0};
    cl_uint count = 0;
    cl_device_id part = NULL;
    cl_int error = clCreateSubDevices(dev->id, how, 1, &part, &count);
    if (error) return bl_cl_fail(error, "device %s cannot be divided into %d compute units", dev->info.name, cores);
    dev->id = part, dev->sub_device = true;
    dev->info.compute_units = cores;
    return 0;
}

static int open_queue(struct blanch_device *dev) {
    cl_int error;
    const cl_context_properties properties[] = {CL_CONTEXT_PLATFORM, (cl_context_properties)dev->platform, 0};
    dev->context = clCreateContext(properties, 1, &dev->id, NULL, NULL, &error);
    if (error) return bl_cl_fail(error, "a context on %s", dev->info.name);
    dev->queue = clCreateCommandQueue(dev->context, dev->id, CL_QUEUE_PROFILING_ENABLE, &error);
    return error ? bl_cl_fail(error, "a command queue on %s", dev->info.name) : 0;
}

/* BLANCH_KIND=cpu or gpu: kernels in that style whatever the device calls itself, for a device that calls itself
 * wrongly and to try on one device what runs on another. The choice of a device is not touched. */
static int decide_kind(struct blanch_device_info *info) {
    const char *kind = getenv("BLANCH_KIND");
    if (!kind || !*kind) return 0;
    if (strcasecmp(kind, "cpu") && strcasecmp(kind, "gpu"))
        return bl_fail(BLANCH_EUSAGE, "BLANCH_KIND=%s: it is cpu or gpu", kind);
    info->kind = strcasecmp(kind, "cpu") ? BLANCH_GPU : BLANCH_CPU;
    return 0;
}

int bl_tile_rows(const struct blanch_device *dev) {
    return dev && dev->info.float_width >= 16 ? 12 : 6;
}

int blanch_device_open(struct blanch_device **device, const char *spec, uint64_t max_alloc) {
    struct found *list = NULL;
    int count = 0, chosen, cores;
    *device = NULL;
    if (!spec || !*spec) spec = getenv("BLANCH_DEVICE");
    if (!spec) spec = "";
    int code = find_devices(&list, &count);
    if (code) return code;
    struct blanch_device *dev = bl_calloc(1, sizeof *dev);
    if (!dev) code = BLANCH_ENOMEM;
    if (code || (code = choose(list, count, spec, &chosen, &cores))) goto done;
    if (list[chosen].error) {
        code = bl_cl_fail(list[chosen].error, "asking device %s what it can do", list[chosen].info.name);
        goto done;
    }
    dev->info = list[chosen].info, dev->platform = list[chosen].platform, dev->id = list[chosen].id;
    memcpy(dev->platform_version, list[chosen].platform_version, sizeof dev->platform_version);
    dev->layer = -1, dev->memory_limit = max_alloc;
    if (max_alloc && max_alloc < dev->info.max_alloc) dev->info.max_alloc = max_alloc;
    if (max_alloc && max_alloc < dev->info.global_memory) dev->info.global_memory = max_alloc;
    if ((code = decide_kind(&dev->info))) goto done;
    const char *poison = getenv("BLANCH_POISON");
    dev->poison = poison && *poison && *poison != '0';
    if (cores && (code = make_sub_device(dev, cores))) goto done;
    if ((code = open_queue(dev))) goto done;
    bl_cache_open(&dev->cache, "programs");
done:
    free(list);
    if (code)
        blanch_device_close(dev);
    else
        *device = dev;
    return code;
}

void blanch_device_close(struct blanch_device *dev) {
    if (!dev) return;
    if (dev->queue) bl_cl_released(clFinish(dev->queue), "a command queue");
    while (dev->attachment_count) { // a release may detach others
        const struct attachment last = dev->attachments[--dev->attachment_count];
        if (last.release) last.release(last.what);
    }
    for (size_t i = 0; i < dev->record_count; i++) bl_record_free(&dev->records[i]);
    if (dev->since) bl_cl_release(clReleaseEvent, dev->since, "an event");
    bl_programs_free(dev);
    if (dev->queue) bl_cl_release(clReleaseCommandQueue, dev->queue, "a command queue");
    if (dev->context) bl_cl_release(clReleaseContext, dev->context, "a context");
    if (dev->sub_device) bl_cl_release(clReleaseDevice, dev->id, "a sub-device");
    free(dev->records), free(dev->spans), free(dev->attachments);
    bl_cache_close(&dev->cache);
    free(dev);
}

const struct blanch_device_info *blanch_device_info(const struct blanch_device *dev) {
    return &dev->info;
}

void *bl_attached(const struct blanch_device *dev, const void *key) {
    for (size_t i = 0; i < dev->attachment_count; i++)
        if (dev->attachments[i].key == key) return dev->attachments[i].what;
    return NULL;
}

int bl_attach(struct blanch_device *dev, const void *key, void *what, void (*release)(void *what)) {
    size_t at = 0;
    while (at < dev->attachment_count && dev->attachments[at].key != key) at++;
    if (at == dev->attachment_count) {
        if (bl_grow((void **)&dev->attachments, &dev->attachment_capacity, at + 1, sizeof *dev->attachments))
            return BLANCH_ENOMEM;
        dev->attachment_count++;
    }
    dev->attachments[at] = (struct attachment){key, what, release};
    return 0;
}

void bl_detach(struct blanch_device *dev, const void *key) {
    for (size_t i = 0; i < dev->attachment_count; i++)
        if (dev->attachments[i].key == key) {
            dev->attachment_count--;
            memmove(&dev->attachments[i], &dev->attachments[i + 1],
                    (dev->attachment_count - i) * sizeof *dev->attachments);
            return;
        }
}

cl_device_id bl_raw_device(const struct blanch_device *dev) {
    return dev->id;
}
cl_context bl_raw_context(const struct blanch_device *dev) {
    return dev->context;
}
cl_command_queue bl_raw_queue(const struct blanch_device *dev) {
    return dev->queue;
}
