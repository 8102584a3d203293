/* Devices as their descriptions say. */
#include "recorder.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct _cl_platform_id platforms[MAX_DEVICES];
static struct _cl_device_id devices[MAX_DEVICES];
static int platform_count, device_count;

/* --- descriptions -------------------------------------------------------------------------------- */

const char *recorder_text(cl_device_id d, const char *name) {
    for (int i = 0; i < d->count; i++)
        if (!strcmp(d->settings[i].name, name)) return d->settings[i].value;
    return "";
}

unsigned long long recorder_number(cl_device_id d, const char *name) {
    return strtoull(recorder_text(d, name), NULL, 0);
}

static void read_line(cl_device_id d, const char *file, int number, char *line) {
    struct setting *setting = &d->settings[d->count];
    line[strcspn(line, "\r\n")] = 0;
    if (!*line || *line == '#') return;
    if (d->count == MAX_SETTINGS) recorder_stop("%s: more than %d lines", file, MAX_SETTINGS);
    if (sscanf(line, "%31[a-z0-9_] =%511[^\n]", setting->name, setting->value) < 1 || !strchr(line, '='))
        recorder_stop("%s:%d: a line is `name = value`, not `%s`", file, number, line);
    size_t spaces = strspn(setting->value, " ");
    memmove(setting->value, setting->value + spaces, strlen(setting->value + spaces) + 1);
    d->count++;
}

/* Devices of one platform are those whose descriptions name the same one. */
static cl_platform_id platform_of(cl_device_id d) {
    for (int i = 0; i < platform_count; i++)
        if (!strcmp(recorder_text(platforms[i].first, "platform"), recorder_text(d, "platform"))) return &platforms[i];
    platforms[platform_count] = (struct _cl_platform_id){&recorder_dispatch, d};
    return &platforms[platform_count++];
}

/* What has no sensible default. */
static void check_description(cl_device_id d, const char *file) {
    static const char *const needed[] = {"platform", "name",   "vendor",    "version",    "compute_units", "work_group",
                                         "wave",     "memory", "max_alloc", "align_bits", "local_memory"};
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (!*recorder_text(d, needed[i])) recorder_stop("%s: a line `%s = ...` is missing", file, needed[i]);
}

static void read_device(const char *file) {
    char line[1024];
    if (device_count == MAX_DEVICES) recorder_stop("RECORDER_DEVICES: more than %d devices", MAX_DEVICES);
    FILE *in = fopen(file, "r");
    if (!in) recorder_stop("RECORDER_DEVICES: %s cannot be read", file);
    cl_device_id d = &devices[device_count];
    d->dispatch = &recorder_dispatch, d->index = device_count++;
    for (int number = 1; fgets(line, sizeof line, in); number++) read_line(d, file, number, line);
    fclose(in);
    check_description(d, file);
    d->platform = platform_of(d);
    recorder_note("{\"op\": \"device\", \"device\": %d, \"name\": %q, \"wave\": %q, \"simds\": %q}", d->index,
                  recorder_text(d, "name"), recorder_text(d, "wave"), recorder_text(d, "simds"));
}

void recorder_read_devices(const char *files) {
    char *list = recorder_copy(files, strlen(files));
    for (char *file = strtok(list, ","); file; file = strtok(NULL, ",")) read_device(file);
    free(list);
    if (!device_count) recorder_stop("RECORDER_DEVICES names no device");
}

/* --- platforms ----------------------------------------------------------------------------------- */

cl_int recorder_clGetPlatformIDs(cl_uint count, cl_platform_id *ids, cl_uint *found) {
    for (int i = 0; ids && i < (int)count && i < platform_count; i++) ids[i] = &platforms[i];
    if (found) *found = (cl_uint)platform_count;
    return CL_SUCCESS;
}

static const char *platform_text(cl_platform_id platform, cl_platform_info what) {
    switch (what) {
    case CL_PLATFORM_NAME:
        return recorder_text(platform->first, "platform");
    case CL_PLATFORM_VERSION:
        return recorder_text(platform->first, "version");
    case CL_PLATFORM_VENDOR:
        if (*recorder_text(platform->first, "platform_vendor"))
            return recorder_text(platform->first, "platform_vendor");
        return recorder_text(platform->first, "vendor");
    case CL_PLATFORM_PROFILE:
        return "FULL_PROFILE";
    case CL_PLATFORM_EXTENSIONS:
        return "cl_khr_icd";
    case CL_PLATFORM_ICD_SUFFIX_KHR:
        return "RECORDER";
    default:
        return NULL;
    }
}

cl_int recorder_clGetPlatformInfo(cl_platform_id platform, cl_platform_info what, size_t size, void *value,
                                  size_t *size_ret) {
    const char *text = platform_text(platform, what);
    return text ? recorder_answer_text(text, size, value, size_ret) : CL_INVALID_VALUE;
}

/* --- devices ------------------------------------------------------------------------------------- */

static bool is_cpu(cl_device_id d) {
    return !strcmp(recorder_text(d, "type"), "cpu");
}

cl_int recorder_clGetDeviceIDs(cl_platform_id platform, cl_device_type type, cl_uint count, cl_device_id *ids,
                               cl_uint *found) {
    cl_uint n = 0;
    for (int i = 0; i < device_count; i++) {
        cl_device_type own = CL_DEVICE_TYPE_DEFAULT | (is_cpu(&devices[i]) ? CL_DEVICE_TYPE_CPU : CL_DEVICE_TYPE_GPU);
        if (devices[i].platform != platform || !(own & type)) continue;
        if (ids && n < count) ids[n] = &devices[i];
        n++;
    }
    if (found) *found = n;
    return n ? CL_SUCCESS : CL_DEVICE_NOT_FOUND;
}

/* What is answered by a line of the description, or, where name is NULL, the same for every device. */
struct fact {
    cl_device_info what;
    const char *name;
    cl_ulong value;
};
static const struct fact texts[] = {
    {CL_DEVICE_NAME, "name"},      {CL_DEVICE_VENDOR, "vendor"},         {CL_DEVICE_VERSION, "version"},
    {CL_DRIVER_VERSION, "driver"}, {CL_DEVICE_EXTENSIONS, "extensions"}, {CL_DEVICE_BOARD_NAME_AMD, "board"},
};
static const struct fact words[] = {
    {CL_DEVICE_MAX_COMPUTE_UNITS, "compute_units"},
    {CL_DEVICE_MAX_CLOCK_FREQUENCY, "clock_mhz"},
    {CL_DEVICE_MEM_BASE_ADDR_ALIGN, "align_bits"},
    {CL_DEVICE_COMPUTE_CAPABILITY_MAJOR_NV, "sm_major"},
    {CL_DEVICE_COMPUTE_CAPABILITY_MINOR_NV, "sm_minor"},
    {CL_DEVICE_SIMD_PER_COMPUTE_UNIT_AMD, "unit_simds"},
    {CL_DEVICE_SIMD_WIDTH_AMD, "simd_lanes"},
    {CL_DEVICE_HOST_UNIFIED_MEMORY, "unified"},
    {CL_DEVICE_AVAILABLE, NULL, CL_TRUE},
    {CL_DEVICE_COMPILER_AVAILABLE, NULL, CL_TRUE},
    {CL_DEVICE_LINKER_AVAILABLE, NULL, CL_TRUE},
    {CL_DEVICE_ENDIAN_LITTLE, NULL, CL_TRUE},
    {CL_DEVICE_MAX_WORK_ITEM_DIMENSIONS, NULL, 3},
    {CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT, NULL, 1},
    {CL_DEVICE_LOCAL_MEM_TYPE, NULL, CL_LOCAL},
    {CL_DEVICE_ADDRESS_BITS, NULL, 64},
    {CL_DEVICE_VENDOR_ID, NULL, 0},
    {CL_DEVICE_PARTITION_MAX_SUB_DEVICES, NULL, 0},
};
static const struct fact longs[] = {
    {CL_DEVICE_MAX_WORK_GROUP_SIZE, "work_group"},
    {CL_DEVICE_MAX_MEM_ALLOC_SIZE, "max_alloc"},
    {CL_DEVICE_GLOBAL_MEM_SIZE, "memory"},
    {CL_DEVICE_LOCAL_MEM_SIZE, "local_memory"},
    {CL_DEVICE_MAX_CONSTANT_BUFFER_SIZE, NULL, 65536},
    {CL_DEVICE_QUEUE_PROPERTIES, NULL, CL_QUEUE_PROFILING_ENABLE},
};

static const struct fact *find_fact(const struct fact *facts, size_t count, cl_device_info what) {
    for (size_t i = 0; i < count; i++)
        if (facts[i].what == what) return &facts[i];
    return NULL;
}
#define FIND(facts, what) find_fact(facts, sizeof facts / sizeof *facts, what)

static cl_ulong value_of(cl_device_id d, const struct fact *fact) {
    return fact->name ? recorder_number(d, fact->name) : fact->value;
}

static cl_int answer_place(cl_device_id d, size_t size, void *value, size_t *size_ret) {
    cl_uint place[4] = {0}; // domain, bus, device, function
    if (sscanf(recorder_text(d, "pci"), "%x:%x.%x", &place[1], &place[2], &place[3]) != 3) return CL_INVALID_VALUE;
    return recorder_answer(place, sizeof place, size, value, size_ret);
}

/* As cl_intel_required_subgroup_size tells them. */
static cl_int answer_sub_groups(cl_device_id d, size_t size, void *value, size_t *size_ret) {
    size_t sizes[8], count = 0;
    const char *from = recorder_text(d, "sub_groups");
    for (char *end; count < 8 && (sizes[count] = strtoul(from, &end, 10)) && end != from; from = end) count++;
    return count ? recorder_answer(sizes, count * sizeof *sizes, size, value, size_ret) : CL_INVALID_VALUE;
}

cl_int recorder_clGetDeviceInfo(cl_device_id d, cl_device_info what, size_t size, void *value, size_t *size_ret) {
    const size_t most = recorder_number(d, "work_group"), items[3] = {most, most, most < 64 ? most : 64};
    const struct fact *fact;
    if ((fact = FIND(texts, what)) && (what != CL_DEVICE_BOARD_NAME_AMD || *recorder_text(d, fact->name)))
        return recorder_answer_text(recorder_text(d, fact->name), size, value, size_ret);
    if ((fact = FIND(words, what))) ANSWER(cl_uint, (cl_uint)value_of(d, fact));
    if ((fact = FIND(longs, what))) ANSWER(cl_ulong, value_of(d, fact));
    switch (what) {
    case CL_DEVICE_PCI_BUS_INFO_KHR:
        return answer_place(d, size, value, size_ret);
    case CL_DEVICE_SUB_GROUP_SIZES_INTEL:
        return answer_sub_groups(d, size, value, size_ret);
    case CL_DEVICE_TYPE:
        ANSWER(cl_device_type, is_cpu(d) ? CL_DEVICE_TYPE_CPU : CL_DEVICE_TYPE_GPU);
    case CL_DEVICE_OPENCL_C_VERSION:
        return recorder_answer_text("OpenCL C 1.2", size, value, size_ret);
    case CL_DEVICE_PROFILE:
        return recorder_answer_text("FULL_PROFILE", size, value, size_ret);
    case CL_DEVICE_MAX_WORK_ITEM_SIZES:
        return recorder_answer(items, sizeof items, size, value, size_ret);
    case CL_DEVICE_PLATFORM:
        ANSWER(cl_platform_id, d->platform);
    default:
        return CL_INVALID_VALUE;
    }
}

cl_int recorder_clCreateSubDevices(cl_device_id d, const cl_device_partition_property *how, cl_uint count,
                                   cl_device_id *parts, cl_uint *made) {
    return CL_DEVICE_PARTITION_FAILED;
}

cl_int recorder_clRetainDevice(cl_device_id d) {
    return CL_SUCCESS;
}
cl_int recorder_clReleaseDevice(cl_device_id d) {
    return CL_SUCCESS;
}
