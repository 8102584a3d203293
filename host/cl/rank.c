/* Which device is taken where nobody chose one, and what devices of different makers tell of themselves for that. */
#include "base/cache.h"
#include "cl/cl.h"
#include "cl/found.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- makers ----------------------------------------------------------------------------------- */

enum { SUMS = 64, SUMS_OF_FEW = 16 }; // of few: where an item has 64 registers

/* The begin of CL_DEVICE_VENDOR or CL_PLATFORM_VENDOR; lanes of what the maker calls a compute unit, and what an item
 * of theirs can sum in registers. */
static const struct maker {
    const char *names[2];
    int lanes, sums;
} makers[] = {
    {{"NVIDIA"}, 128, SUMS},     {{"Advanced Micro Devices", "AMD"}, 64, SUMS},
    {{"Intel"}, 8, SUMS_OF_FEW}, {{"Apple"}, 128, SUMS},
    {{"ARM"}, 64, SUMS_OF_FEW},  {{"QUALCOMM"}, 128, SUMS},
    {{"Imagination"}, 32, SUMS},
};

static bool begins(const char *text, const char *with) {
    for (; *with; text++, with++)
        if (tolower((unsigned char)*text) != tolower((unsigned char)*with)) return false;
    return true;
}

static const struct maker *maker_of(const char *vendor) {
    for (int i = 0; i < BL_COUNT(makers); i++)
        for (int j = 0; j < 2; j++)
            if (makers[i].names[j] && begins(vendor, makers[i].names[j])) return &makers[i];
    return NULL;
}

/* Of the makers' own extensions; 0: not answered. */
static cl_uint number(const struct bl_found *f, cl_device_info what) {
    cl_uint value = 0;
    return clGetDeviceInfo(f->id, what, sizeof value, &value, NULL) ? 0 : value;
}

enum { // of cl_nv_device_attribute_query, cl_amd_device_attribute_query, cl_khr_pci_bus_info
    NV_CAPABILITY_MAJOR = 0x4000,
    NV_CAPABILITY_MINOR = 0x4001,
    NV_BUS = 0x4008,
    NV_SLOT = 0x4009,
    AMD_TOPOLOGY = 0x4037,
    AMD_SIMDS = 0x4040, // of a compute unit
    AMD_SIMD_WIDTH = 0x4041,
    KHR_PCI = 0x410F
};
struct amd_topology {
    cl_uint type; // 1: PCI Express
    cl_uchar unused[17], bus, device, function;
};
struct khr_pci {
    cl_uint domain, bus, device, function;
};

static int lanes_of(const struct bl_found *f, const char *extensions) {
    const struct maker *maker = maker_of(f->info.vendor);
    if (strstr(extensions, "cl_amd_device_attribute_query")) {
        const cl_uint lanes = number(f, AMD_SIMDS) * number(f, AMD_SIMD_WIDTH);
        if (lanes) return (int)lanes;
    }
    if (strstr(extensions, "cl_nv_device_attribute_query")) {
        const cl_uint major = number(f, NV_CAPABILITY_MAJOR), minor = number(f, NV_CAPABILITY_MINOR);
        if (major == 7 || ((major == 6 || major == 8) && !minor)) return 64;
    }
    return maker ? maker->lanes : 64;
}

static void find_place(struct bl_found *f, const char *extensions) {
    struct khr_pci pci = {0};
    struct amd_topology topology = {0};
    bool known = false;
    if (strstr(extensions, "cl_khr_pci_bus_info")) {
        known = !clGetDeviceInfo(f->id, KHR_PCI, sizeof pci, &pci, NULL);
    } else if (strstr(extensions, "cl_nv_device_attribute_query")) {
        const cl_uint slot = number(f, NV_SLOT);
        pci = (struct khr_pci){0, number(f, NV_BUS), slot >> 3, slot & 7};
        known = pci.bus;
    } else if (strstr(extensions, "cl_amd_device_attribute_query")) {
        known = !clGetDeviceInfo(f->id, AMD_TOPOLOGY, sizeof topology, &topology, NULL) && topology.type == 1;
        pci = (struct khr_pci){0, topology.bus, topology.device, topology.function};
    }
    if (known)
        snprintf(f->info.pci, sizeof f->info.pci, "%02x:%02x.%x", pci.bus & 0xff, pci.device & 0xff,
                 pci.function & 0xf);
}

void bl_found_rank(struct bl_found *f, const char *extensions, const char *platform_vendor) {
    const struct maker *maker = maker_of(f->info.vendor);
    f->own = maker ? maker == maker_of(platform_vendor) : !strcmp(f->info.vendor, platform_vendor);
    f->lanes = f->info.kind == BLANCH_CPU ? 1 : lanes_of(f, extensions);
    f->sums = maker && f->info.kind != BLANCH_CPU ? maker->sums : SUMS;
    find_place(f, extensions);
}

/* --- the choice ------------------------------------------------------------------------------- */

bool bl_found_same_card(const struct bl_found *a, const struct bl_found *b) {
    return a->info.platform != b->info.platform && *a->info.pci && !strcmp(a->info.pci, b->info.pci);
}

static int class_of(const struct bl_found *f) {
    const bool gpu = f->info.kind == BLANCH_GPU;
    return !f->usable ? 0 : gpu ? 4 - f->info.unified_memory : f->info.kind == BLANCH_CPU ? 2 : 1;
}

static double speed_of(const struct bl_found *f) {
    return (double)f->info.compute_units * f->lanes * (f->info.clock_mhz ? f->info.clock_mhz : 1);
}

bool bl_found_better(const struct bl_found *a, const struct bl_found *b) {
    if (bl_found_same_card(a, b) && a->usable && b->usable && a->own != b->own) return a->own;
    if (class_of(a) != class_of(b)) return class_of(a) > class_of(b);
    return a->rate > 0 && b->rate > 0 ? a->rate > b->rate : speed_of(a) > speed_of(b);
}

/* --- measured rates --------------------------------------------------------------------------- */

enum { NAME = 32 };

static void name_of(const struct blanch_device_info *info, char name[NAME]) {
    const char *const parts[] = {info->platform_name, info->name, info->version, info->driver};
    uint64_t key = bl_hash(BL_HASH_START, &info->compute_units, sizeof info->compute_units);
    for (int i = 0; i < BL_COUNT(parts); i++) key = bl_hash(key, parts[i], strlen(parts[i]) + 1);
    snprintf(name, NAME, "%016llx.rate", (unsigned long long)key);
}

/* The device's name and driver, then the rate, a line each. */
static char *head_of(const struct blanch_device_info *info) {
    return bl_format("%s\n%s\n", info->name, info->driver);
}

void bl_device_keep_rate(const struct blanch_device_info *info, double rate) {
    struct bl_cache cache;
    char name[NAME], *head = head_of(info), *text = head ? bl_format("%s%.6g\n", head, rate) : NULL;
    name_of(info, name);
    bl_cache_open(&cache, "limits");
    if (text) bl_cache_write(&cache, name, &(struct bl_part){text, strlen(text)}, 1);
    bl_cache_close(&cache);
    free(head), free(text);
}

/* 0: not known. No device makes more than 1e18 a second. */
static double read_rate(const struct bl_cache *cache, const struct blanch_device_info *info) {
    char name[NAME];
    size_t size = 0;
    name_of(info, name);
    char *head = head_of(info), *text = bl_cache_read(cache, name, &size);
    const size_t length = head ? strlen(head) : 0;
    double rate = text && head && !strncmp(text, head, length) ? strtod(text + length, NULL) : 0;
    free(head), free(text);
    return rate > 0 && rate < 1e18 ? rate : 0;
}

void bl_found_rates(struct bl_found *list, int count) {
    struct bl_cache cache;
    if (count < 2) return;
    bl_cache_open(&cache, "limits");
    for (int i = 0; i < count; i++)
        if (!list[i].error) list[i].rate = read_rate(&cache, &list[i].info);
    bl_cache_close(&cache);
}
