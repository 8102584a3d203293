/* Devices: listing, choosing, opening. */
#include "cl/found.h"
#include "cl/hint.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#ifndef CL_PLATFORM_NOT_FOUND_KHR
#define CL_PLATFORM_NOT_FOUND_KHR (-1001)
#endif

/* --- listing ---------------------------------------------------------------------------------- */

#define INSTALL "install the driver of your GPU, or PoCL for the CPU (Debian and Ubuntu: apt install pocl-opencl-icd)"
#define POCL "Portable Computing Language" // how PoCL calls its platform

static bool answered(struct bl_found *f, cl_int error) {
    if (error && !f->error) f->error = error;
    return !error;
}

/* What came with OpenCL 1.1 or 1.2, and may have gone since: a driver that does not know the question is no failure. */
static bool is_newer(cl_device_info what) {
    return what == CL_DEVICE_OPENCL_C_VERSION || what == CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT ||
           what == CL_DEVICE_HOST_UNIFIED_MEMORY || what == CL_DEVICE_PARTITION_MAX_SUB_DEVICES ||
           what == CL_DEVICE_PARTITION_PROPERTIES;
}

static bool ask(struct bl_found *f, cl_device_info what, size_t size, void *value) {
    cl_int error = clGetDeviceInfo(f->id, what, size, value, NULL);
    return error == CL_INVALID_VALUE && is_newer(what) ? false : answered(f, error);
}

static void copy_trimmed(char *out, size_t size, const char *text) {
    while (isspace((unsigned char)*text)) text++;
    snprintf(out, size, "%s", text);
    for (size_t n = strlen(out); n && isspace((unsigned char)out[n - 1]); n--) out[n - 1] = 0;
}

static void text_of(struct bl_found *f, cl_device_info what, char *out, size_t size) {
    char text[1024] = "";
    copy_trimmed(out, size, ask(f, what, sizeof text - 1, text) ? text : "");
}

static void platform_text(struct bl_found *f, cl_platform_info what, char *out, size_t size) {
    char text[1024] = "";
    bool told = answered(f, clGetPlatformInfo(f->platform, what, sizeof text - 1, text, NULL));
    copy_trimmed(out, size, told ? text : "");
}

/* A value that the device does not know reads as zero. */
static void query(struct bl_found *f, cl_device_info what, void *value, size_t size) {
    memset(value, 0, size);
    if (!ask(f, what, size, value)) memset(value, 0, size);
}
#define GET(found, what, value) query((found), (what), &(value), sizeof(value))

static void describe_limits(struct bl_found *f, struct blanch_device_info *info) {
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
static bool can_divide(struct bl_found *f) {
    cl_uint parts;
    cl_device_partition_property how[16] = {0};
    GET(f, CL_DEVICE_PARTITION_MAX_SUB_DEVICES, parts);
    if (parts < 2) return false;
    GET(f, CL_DEVICE_PARTITION_PROPERTIES, how);
    for (int i = 0; i < BL_COUNT(how); i++)
        if (how[i] == CL_DEVICE_PARTITION_BY_COUNTS) return true;
    return false;
}

static int describe_features(struct bl_found *f, struct blanch_device_info *info) {
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
    char vendor[128];
    platform_text(f, CL_PLATFORM_VENDOR, vendor, sizeof vendor);
    bl_found_rank(f, extensions, vendor);
    free(extensions);
    return 0;
}

static int describe(struct bl_found *f, int platform, int device) {
    struct blanch_device_info *info = &f->info;
    cl_device_type type;
    cl_bool available, compiler, unified;
    *info = (struct blanch_device_info){.platform = platform, .device = device};
    GET(f, CL_DEVICE_TYPE, type);
    info->kind = type & CL_DEVICE_TYPE_GPU ? BLANCH_GPU : type & CL_DEVICE_TYPE_CPU ? BLANCH_CPU : BLANCH_ACCELERATOR;
    GET(f, CL_DEVICE_AVAILABLE, available), GET(f, CL_DEVICE_COMPILER_AVAILABLE, compiler);
    f->usable = available && compiler;
    GET(f, CL_DEVICE_HOST_UNIFIED_MEMORY, unified), info->unified_memory = unified;
    text_of(f, CL_DEVICE_NAME, info->name, sizeof info->name);
    text_of(f, CL_DEVICE_VENDOR, info->vendor, sizeof info->vendor);
    text_of(f, CL_DEVICE_VERSION, info->version, sizeof info->version);
    text_of(f, CL_DRIVER_VERSION, info->driver, sizeof info->driver);
    text_of(f, CL_DEVICE_OPENCL_C_VERSION, info->c_version, sizeof info->c_version);
    platform_text(f, CL_PLATFORM_NAME, info->platform_name, sizeof info->platform_name);
    platform_text(f, CL_PLATFORM_VERSION, f->platform_version, sizeof f->platform_version);
    describe_limits(f, info);
    return describe_features(f, info);
}

static void mark_default(struct bl_found *list, int count) {
    struct bl_found *best = NULL;
    bl_found_rates(list, count);
    for (struct bl_found *f = list; f < list + count; f++)
        if (!f->error && (!best || bl_found_better(f, best))) best = f;
    if (best) best->info.is_default = true;
}

/* Names what does not answer; OpenCL's error of the first, 0 where everything does. */
static cl_int name_silent(const struct bl_found *list, int count, char *text, size_t size) {
    cl_int first = 0;
    *text = 0;
    for (const struct bl_found *f = list; f < list + count; f++) {
        size_t used = strlen(text);
        char place[32];
        if (!f->error) continue;
        if (f->info.device < 0)
            snprintf(place, sizeof place, "platform %d", f->info.platform);
        else
            snprintf(place, sizeof place, "device %d:%d", f->info.platform, f->info.device);
        const char *name = f->info.device < 0 ? f->info.platform_name : f->info.name;
        snprintf(text + used, size - used, "%s%s%s%s", used ? ", " : "", place, *name ? " " : "", name);
        if (!first) first = f->error;
    }
    return first;
}

/* 0 where everything answers. */
static int fail_silent(const struct bl_found *list, int count) {
    char names[768];
    cl_int error = name_silent(list, count, names, sizeof names);
    return error ? bl_cl_fail(error, "no answer from %s", names) : 0;
}

/* Drivers that are installed and silent say more than that one could be installed. */
static int fail_without_devices(const char *what) {
    char *hints = bl_hints(), *text = hints ? bl_format("%s", what) : NULL;
    const char *between = ": ";
    for (char *end, *line = hints; text && (end = strchr(line, '\n')); line = end + 1, between = "; ") {
        char *longer = bl_format("%s%s%.*s", text, between, (int)(end - line), line);
        free(text), text = longer;
    }
    int code = !text ? BLANCH_ENOMEM : bl_fail(BLANCH_EDEVICE, "%s%s", text, *hints ? "" : ": " INSTALL);
    free(hints), free(text);
    return code;
}

/* A platform whose driver cannot start says no more than "not found". */
static int no_devices(const cl_platform_id *platforms, cl_uint count) {
    char names[512] = "", what[768];
    bool pocl = false;
    for (cl_uint i = 0; i < count; i++) {
        char name[128] = "";
        size_t used = strlen(names);
        if (clGetPlatformInfo(platforms[i], CL_PLATFORM_NAME, sizeof name - 1, name, NULL)) name[0] = 0;
        snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "", *name ? name : "unnamed");
        pocl |= !strcmp(name, POCL);
    }
    snprintf(what, sizeof what, "the OpenCL platforms installed (%s) offer no device (%s)%s", names,
             bl_cl_error_name(CL_DEVICE_NOT_FOUND),
             pocl ? "; PoCL offers none where its cache folder, $POCL_CACHE_DIR or $XDG_CACHE_HOME, is not writable"
                  : "");
    return fail_without_devices(what);
}

struct found_list {
    struct bl_found *at;
    size_t count, capacity;
};

static int add_found(struct found_list *list, const struct bl_found *found) {
    if (bl_grow((void **)&list->at, &list->capacity, list->count + 1, sizeof *list->at)) return BLANCH_ENOMEM;
    list->at[list->count++] = *found;
    return 0;
}

/* A platform without a device, or whose driver finds none, adds nothing. */
static int find_of_platform(struct found_list *list, cl_platform_id platform, int position) {
    cl_device_id ids[64];
    cl_uint devices = 0;
    struct bl_found found = {.platform = platform};
    cl_int error = clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, BL_COUNT(ids), ids, &devices);
    if (error == CL_DEVICE_NOT_FOUND) return 0;
    if (error) {
        found.info = (struct blanch_device_info){.platform = position, .device = -1};
        platform_text(&found, CL_PLATFORM_NAME, found.info.platform_name, sizeof found.info.platform_name);
        found.error = error;
        return add_found(list, &found);
    }
    for (cl_uint d = 0; d < devices && d < BL_COUNT(ids); d++) {
        found = (struct bl_found){.platform = platform, .id = ids[d]};
        if (describe(&found, position, (int)d) || add_found(list, &found)) return BLANCH_ENOMEM;
    }
    return 0;
}

/* One that answers, at least, is among them. */
static int find_devices(struct bl_found **out, int *count) {
    cl_platform_id platforms[32];
    cl_uint platform_count = 0;
    cl_int error = clGetPlatformIDs(BL_COUNT(platforms), platforms, &platform_count);
    if (error == CL_PLATFORM_NOT_FOUND_KHR || (!error && !platform_count))
        return fail_without_devices("no OpenCL platform is installed");
    if (error) return bl_cl_fail(error, "listing the OpenCL platforms");
    struct found_list list = {0};
    int code = 0, answering = 0;
    if (platform_count > BL_COUNT(platforms)) platform_count = BL_COUNT(platforms);
    for (cl_uint p = 0; p < platform_count && !code; p++) code = find_of_platform(&list, platforms[p], (int)p);
    for (size_t i = 0; i < list.count; i++) answering += !list.at[i].error;
    if (!code && !list.count) code = no_devices(platforms, platform_count);
    if (!code && !answering) code = fail_silent(list.at, (int)list.count);
    if (code) return free(list.at), code;
    mark_default(list.at, (int)list.count);
    *out = list.at, *count = (int)list.count;
    return 0;
}

/* The pointers, then what they point to: one block, and nobody counts on the size of an info. */
static int hand_out(const struct bl_found *list, int found, struct blanch_device_info ***infos, int *count) {
    struct blanch_device_info **to = bl_calloc((size_t)found, sizeof *to + sizeof **to);
    if (!to) return BLANCH_ENOMEM;
    struct blanch_device_info *info = (struct blanch_device_info *)(to + found);
    for (int i = 0; i < found; i++)
        if (!list[i].error) *info = list[i].info, to[(*count)++] = info++;
    *infos = to;
    return fail_silent(list, found);
}

int blanch_devices_list(struct blanch_device_info ***infos, int *count) {
    struct bl_found *list = NULL;
    int found = 0;
    if (!infos || !count) return bl_fail(BLANCH_EUSAGE, "blanch_devices_list: NULL is given");
    *infos = NULL, *count = 0;
    int code = find_devices(&list, &found);
    if (!code) code = hand_out(list, found, infos, count);
    free(list);
    return code;
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
static int no_such_device(const struct bl_found *list, int count, const bool *marked, const char *spec,
                          const char *why) {
    char names[2048] = "";
    for (int i = 0; i < count; i++) {
        size_t used = strlen(names);
        const struct blanch_device_info *info = &list[i].info;
        if (list[i].error || (marked && !marked[i])) continue;
        snprintf(names + used, sizeof names - used, "%s%d:%d %s (%s)", used ? ", " : "", info->platform, info->device,
                 info->name, info->platform_name);
    }
    return bl_fail(BLANCH_EUSAGE, "device '%s': %s: %s", spec, why, names);
}

/* Digits alone, up to 9; the text after them, NULL where there are none. */
static const char *read_count(const char *text, int *value) {
    int digits = 0;
    for (*value = 0; isdigit((unsigned char)text[digits]); digits++) {
        if (digits == 9) return NULL;
        *value = *value * 10 + text[digits] - '0';
    }
    return digits ? text + digits : NULL;
}

/* A part of a device: the part-th of so many cores each, from 0. cores 0: the whole. */
struct share {
    int cores, part;
};

/* P:D, P:D/CORES or P:D/CORES:PART; *taken tells whether the spec has this form. */
static int choose_position(const struct bl_found *list, int count, const char *spec, int *chosen, struct share *share,
                           bool *taken) {
    int platform, device = 0;
    const char *rest = read_count(spec, &platform);
    rest = rest && *rest == ':' ? read_count(rest + 1, &device) : NULL;
    *taken = rest && (!*rest || *rest == '/');
    if (!*taken) return 0;
    if (*rest) rest = read_count(rest + 1, &share->cores);
    if (rest && *rest == ':') rest = read_count(rest + 1, &share->part);
    if (!rest || *rest || (strchr(spec, '/') && share->cores < 1))
        return bl_fail(BLANCH_EUSAGE,
                       "device '%s': after the slash comes a number of cores, as in 0:0/1, and which of "
                       "the parts of so many, from 0, as in 0:0/1:0",
                       spec);
    for (int i = 0; i < count; i++) {
        const struct blanch_device_info *info = &list[i].info;
        if (info->platform != platform || (info->device != device && info->device >= 0)) continue;
        if (list[i].error) return fail_silent(&list[i], 1);
        *chosen = i;
    }
    return *chosen < 0 ? no_such_device(list, count, NULL, spec, "there is none at this place; there are") : 0;
}

/* What does not answer might have been chosen. */
static void warn_of_silent(const struct bl_found *list, int count, const struct bl_found *chosen) {
    char names[768];
    cl_int error = name_silent(list, count, names, sizeof names);
    if (error)
        bl_warn("no answer from %s: %s (%d); goes on with device %d:%d %s", names, bl_cl_error_name(error), error,
                chosen->info.platform, chosen->info.device, chosen->info.name);
}

/* Of one card under two platforms the default is one. */
static void warn_of_twin(const struct bl_found *list, int count, const struct bl_found *chosen) {
    for (const struct bl_found *f = list; f < list + count; f++)
        if (f != chosen && !f->error && bl_found_same_card(f, chosen))
            bl_warn("%d:%d %s and %d:%d %s are one card: takes %d:%d, of %s", f->info.platform, f->info.device,
                    f->info.name, chosen->info.platform, chosen->info.device, chosen->info.name, chosen->info.platform,
                    chosen->info.device, chosen->info.platform_name);
}

/* By a part of its name, or where no device's has it, of its platform's name or version, in which PoCL calls itself so.
 */
static bool is_called(const struct bl_found *f, const char *spec, bool by_platform) {
    if (f->error) return false;
    return by_platform ? contains(f->info.platform_name, spec) || contains(f->platform_version, spec)
                       : contains(f->info.name, spec);
}

static int choose(const struct bl_found *list, int count, const char *spec, int *chosen, struct share *share) {
    bool cpu = !strcasecmp(spec, "cpu"), gpu = !strcasecmp(spec, "gpu"), taken;
    bool by_platform = true;
    int matches = 0, whole = 0;
    *share = (struct share){0}, *chosen = -1;
    int code = choose_position(list, count, spec, chosen, share, &taken);
    if (code || taken) return code;
    bool *marked = bl_calloc((size_t)count, sizeof *marked);
    if (!marked) return BLANCH_ENOMEM;
    for (int i = 0; i < count; i++) by_platform &= !is_called(&list[i], spec, false);
    for (int i = 0; i < count; i++) {
        const struct blanch_device_info *info = &list[i].info;
        if (list[i].error) continue;
        marked[i] = cpu     ? info->kind == BLANCH_CPU
                    : gpu   ? info->kind == BLANCH_GPU
                    : *spec ? is_called(&list[i], spec, by_platform)
                            : info->is_default;
        if (marked[i] && (!matches++ || bl_found_better(&list[i], &list[*chosen]))) *chosen = i;
    }
    for (int i = 0; i < count; i++) whole += !list[i].error && !strcasecmp(list[i].info.name, spec);
    for (int i = 0; i < count && whole == 1; i++) // a whole name may be part of another
        if (!list[i].error && !strcasecmp(list[i].info.name, spec)) matches = 1, *chosen = i;
    if (!matches && !(code = fail_silent(list, count)))
        code = no_such_device(list, count, NULL, spec,
                              cpu   ? "there is no CPU device; there are"
                              : gpu ? "there is no GPU; there are"
                                    : "no device's or platform's name contains this; there are");
    else if (matches > 1 && !cpu && !gpu)
        code = no_such_device(list, count, marked, spec, "several devices match, say which by its position");
    if (!code) warn_of_silent(list, count, &list[*chosen]);
    if (!code && !*spec) warn_of_twin(list, count, &list[*chosen]);
    free(marked);
    return code;
}

/* --- opening ---------------------------------------------------------------------------------- */

/* Parts lie one behind the other; those before the wanted one are let go again. */
static int make_sub_device(struct blanch_device *dev, struct share share) {
    enum { MOST = 256 };
    cl_device_partition_property how[MOST + 3] = {CL_DEVICE_PARTITION_BY_COUNTS};
    cl_device_id parts[MOST] = {NULL};
    const int units = dev->info.compute_units, made = share.part + 1;
    if (share.cores > units)
        return bl_fail(BLANCH_EUSAGE, "device %s has %d compute units, not %d", dev->info.name, units, share.cores);
    if (made > MOST || made > units / share.cores)
        return bl_fail(BLANCH_EUSAGE, "device %s has %d compute units: %d of them %d times, the last of them number %d",
                       dev->info.name, units, share.cores, units / share.cores, units / share.cores - 1);
    for (int i = 0; i < made; i++) how[1 + i] = share.cores;
    how[made + 1] = CL_DEVICE_PARTITION_BY_COUNTS_LIST_END;
    cl_uint count = 0;
    cl_int error = clCreateSubDevices(dev->id, how, (cl_uint)made, parts, &count);
    if (error)
        return bl_cl_fail(error, "device %s cannot be divided into %d compute units", dev->info.name, share.cores);
    for (int i = 0; i < share.part; i++) bl_cl_release(clReleaseDevice, parts[i], "a sub-device");
    dev->id = parts[share.part], dev->sub_device = true;
    dev->info.compute_units = share.cores;
    return 0;
}

int bl_queue_open(struct blanch_device *dev, cl_command_queue_properties properties, cl_command_queue *queue) {
    cl_int error;
    *queue = clCreateCommandQueue(dev->context, dev->id, properties, &error);
    return error ? bl_cl_fail(error, "a command queue on %s", dev->info.name) : 0;
}

static int open_queue(struct blanch_device *dev) {
    cl_int error;
    const cl_context_properties properties[] = {CL_CONTEXT_PLATFORM, (cl_context_properties)dev->platform, 0};
    dev->context = clCreateContext(properties, 1, &dev->id, NULL, NULL, &error);
    if (error) return bl_cl_fail(error, "a context on %s", dev->info.name);
    int code = bl_queue_open(dev, 0, &dev->plain);
    dev->queue = dev->plain;
    return code;
}

/* BLANCH_KIND=cpu or gpu: kernels and uploads in that style whatever the device calls itself, for a device that
 * calls itself wrongly and to try on one device what runs on another. The choice of a device is not touched. */
static int decide_kind(struct blanch_device_info *info) {
    const char *kind = getenv("BLANCH_KIND");
    if (!kind || !*kind) return 0;
    if (strcasecmp(kind, "cpu") && strcasecmp(kind, "gpu"))
        return bl_fail(BLANCH_EUSAGE, "BLANCH_KIND=%s: it is cpu or gpu", kind);
    const enum blanch_device_kind own = info->kind;
    info->kind = strcasecmp(kind, "cpu") ? BLANCH_GPU : BLANCH_CPU;
    if (own == BLANCH_CPU && info->kind == BLANCH_GPU) info->unified_memory = false; // as most that it is tried for
    return 0;
}

int64_t bl_device_items(const struct blanch_device *dev) {
    return 4 * (int64_t)dev->info.compute_units * dev->lanes;
}

int bl_device_sums(const struct blanch_device *dev) {
    return dev->sums;
}

int bl_tile_rows(const struct blanch_device *dev) {
    return dev && dev->info.float_width >= 16 ? 12 : 6;
}

int blanch_device_open(struct blanch_device **device, const char *spec, uint64_t max_alloc) {
    struct bl_found *list = NULL;
    int count = 0, chosen;
    struct share share;
    if (!device) return bl_fail(BLANCH_EUSAGE, "blanch_device_open: NULL is given");
    *device = NULL;
    if (!spec || !*spec) spec = getenv("BLANCH_DEVICE");
    if (!spec) spec = "";
    int code = find_devices(&list, &count);
    if (code) return code;
    struct blanch_device *dev = bl_calloc(1, sizeof *dev);
    if (!dev) code = BLANCH_ENOMEM;
    if (!code) dev->users = 1;
    if (code || (code = choose(list, count, spec, &chosen, &share))) goto done;
    dev->info = list[chosen].info, dev->platform = list[chosen].platform, dev->id = list[chosen].id;
    memcpy(dev->platform_version, list[chosen].platform_version, sizeof dev->platform_version);
    dev->layer = -1, dev->memory_limit = max_alloc;
    dev->saves_late = !strcmp(dev->info.platform_name, POCL), dev->opened = bl_now();
    if (max_alloc && max_alloc < dev->info.max_alloc) dev->info.max_alloc = max_alloc;
    if (max_alloc && max_alloc < dev->info.global_memory) dev->info.global_memory = max_alloc;
    if ((code = decide_kind(&dev->info))) goto done;
    dev->lanes = dev->info.kind == list[chosen].info.kind ? list[chosen].lanes : 64; // as of a GPU of unknown maker
    dev->sums = list[chosen].sums;
    const char *poison = getenv("BLANCH_POISON");
    dev->poison = poison && *poison && *poison != '0';
    if (share.cores && (code = make_sub_device(dev, share))) goto done;
    if ((code = open_queue(dev))) goto done;
    bl_cache_open(&dev->cache, "programs");
    code = bl_check_known(dev);
done:
    free(list);
    if (code)
        blanch_device_close(dev);
    else
        *device = dev;
    return code;
}

/* PoCL's threads let go of a command's event, and look at its queue's device then, after clFinish has returned (seen
 * with 3.1, on a busy machine): a sub-device freed by then ends the process. Events hold their queue; a second is
 * waited at most, also for a queue that does not answer. */
static void await_events(cl_command_queue queue) {
    for (int i = 0; i < 1000; i++) {
        cl_uint holders = 1;
        cl_int error = clGetCommandQueueInfo(queue, CL_QUEUE_REFERENCE_COUNT, sizeof holders, &holders, NULL);
        if (!error && holders <= 1) break;
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
}

void bl_device_hold(struct blanch_device *dev) {
    dev->users++;
}

void blanch_device_close(struct blanch_device *dev) {
    if (!dev || --dev->users > 0) return;
    const cl_command_queue queues[] = {dev->plain, dev->timed, dev->uploads};
    for (int i = 0; i < BL_COUNT(queues); i++)
        if (queues[i]) bl_cl_released(clFinish(queues[i]), "a command queue");
    while (dev->attachment_count) { // a release may detach others
        const struct attachment last = dev->attachments[--dev->attachment_count];
        if (last.release) last.release(last.what);
    }
    for (size_t i = 0; i < dev->record_count; i++) bl_record_free(&dev->records[i]);
    if (dev->since) bl_cl_release(clReleaseEvent, dev->since, "an event");
    bl_programs_free(dev);
    for (int i = 0; i < BL_COUNT(queues); i++) {
        if (queues[i] && dev->sub_device) await_events(queues[i]);
        if (queues[i]) bl_cl_release(clReleaseCommandQueue, queues[i], "a command queue");
    }
    if (dev->context) bl_cl_release(clReleaseContext, dev->context, "a context");
    if (dev->sub_device) bl_cl_release(clReleaseDevice, dev->id, "a sub-device");
    free(dev->records), free(dev->spans), free(dev->attachments);
    bl_cache_close(&dev->cache);
    free(dev);
}

const struct blanch_device_info *blanch_device_info(const struct blanch_device *dev) {
    return dev ? &dev->info : NULL;
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
