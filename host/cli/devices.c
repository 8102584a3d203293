/* blanch devices: what OpenCL offers here; with --check, whether it does what Blanch relies on. */
#include "blas/blas.h"
#include "cl/hint.h"
#include "common.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const kinds[] = {[BLANCH_CPU] = "CPU", [BLANCH_GPU] = "GPU", [BLANCH_ACCELERATOR] = "accelerator"};

/* --- listing ---------------------------------------------------------------------------------- */

static double mib(uint64_t bytes) {
    return (double)bytes / 1048576;
}

static void print_device(const struct blanch_device_info *d) {
    printf("%d:%d  %s%s\n", d->platform, d->device, bl_shown(d->name), d->is_default ? "  (the default)" : "");
    const char *pocl = strstr(d->version, "PoCL") ? "PoCL, " : ""; // as its users call it
    printf("     %s, %s%s; %s; driver %s\n", kinds[d->kind], pocl, bl_shown(d->platform_name), bl_shown(d->version),
           bl_shown(d->driver));
    printf("     %d compute units at %d MHz; float vectors of %u; work-groups of up to %zu\n", d->compute_units,
           d->clock_mhz, d->float_width, d->max_work_group);
    printf("     memory %.0f MiB, at most %.0f MiB in one buffer; local %.0f KiB%s\n", mib(d->global_memory),
           mib(d->max_alloc), (double)d->local_memory / 1024, d->local_is_real ? "" : " (in plain memory)");
    if (*d->pci) printf("     PCI place %s%s\n", d->pci, d->unified_memory ? "; memory shared with the host" : "");
}

static void add_limits(cJSON *json, const struct blanch_device_info *d) {
    cJSON *items = cJSON_AddArrayToObject(json, "max_work_item");
    for (int i = 0; i < 3; i++) cJSON_AddItemToArray(items, cJSON_CreateNumber((double)d->max_work_item[i]));
    const struct {
        const char *name;
        double value;
    } numbers[] = {{"compute_units", d->compute_units},
                   {"clock_mhz", d->clock_mhz},
                   {"max_work_group", (double)d->max_work_group},
                   {"max_alloc", (double)d->max_alloc},
                   {"global_memory", (double)d->global_memory},
                   {"local_memory", (double)d->local_memory},
                   {"constant_memory", (double)d->constant_memory},
                   {"base_align", d->base_align},
                   {"float_width", d->float_width}};
    const struct {
        const char *name;
        bool value;
    } flags[] = {{"local_is_real", d->local_is_real},
                 {"fp16", d->fp16},
                 {"fp64", d->fp64},
                 {"subgroups", d->subgroups},
                 {"out_of_order", d->out_of_order},
                 {"partition", d->partition},
                 {"unified_memory", d->unified_memory},
                 {"default", d->is_default}};
    for (int i = 0; i < BL_COUNT(numbers); i++) cJSON_AddNumberToObject(json, numbers[i].name, numbers[i].value);
    for (int i = 0; i < BL_COUNT(flags); i++) cJSON_AddBoolToObject(json, flags[i].name, flags[i].value);
}

static cJSON *device_json(const struct blanch_device_info *d) {
    cJSON *json = cJSON_CreateObject();
    char spec[32];
    snprintf(spec, sizeof spec, "%d:%d", d->platform, d->device);
    const char *const texts[][2] = {
        {"device", spec},      {"name", d->name},       {"kind", kinds[d->kind]}, {"platform", d->platform_name},
        {"vendor", d->vendor}, {"version", d->version}, {"driver", d->driver},    {"c_version", d->c_version},
        {"pci", d->pci}};
    for (int i = 0; i < BL_COUNT(texts); i++) cJSON_AddStringToObject(json, texts[i][0], texts[i][1]);
    add_limits(json, d);
    return json;
}

/* --- the doctor ------------------------------------------------------------------------------- */

struct doctor {
    struct blanch_device *dev;
    const struct blanch_device_info *info;
    char value[512]; // what a probe found
    int ended;       // memory lacked, or a signal came: nothing of the device's
};
enum verdict { AVAILABLE, MISSING, FAILED }; // MISSING: Blanch does without
static const char *const verdicts[] = {"available", "missing", "failed"};

static enum verdict say(struct doctor *d, enum verdict verdict, const char *format, ...) BL_PRINTF(3, 4);
static enum verdict say(struct doctor *d, enum verdict verdict, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(d->value, sizeof d->value, format, args);
    va_end(args);
    for (char *c = d->value; *c; c++)
        if (*c == '\n') *c = ' ';
    return verdict;
}
/* MISSING is only what the device refuses: a device that fails does not lack something. */
static enum verdict refused(struct doctor *d, int code, enum verdict verdict) {
    if (code == BLANCH_ENOMEM || code == BLANCH_EINTERRUPTED) d->ended = code;
    if (code == BLANCH_EDEVICE && !bl_device_refused()) verdict = FAILED;
    return say(d, verdict, "%s", blanch_error_message());
}

/* Runs `probe` of kernels/probe.cl in a program of its own (variant) and compares; 0 or the error. */
static int run_probe(struct blanch_device *dev, struct bl_range range, long variant, bool *cached) {
    enum { N = 1000 };
    float x[N], y[N];
    struct bl_mem *mx = NULL, *my = NULL;
    struct bl_kernel *kernel;
    const struct bl_define define = {"PROBE_VARIANT", variant};
    for (int i = 0; i < N; i++) x[i] = (float)i;
    int code = bl_mem_alloc(dev, sizeof x, &mx);
    if (!code) code = bl_mem_alloc(dev, sizeof y, &my);
    if (!code) code = bl_mem_write(mx, 0, sizeof x, x);
    if (!code) code = bl_kernel_get(dev, "probe", "probe", &define, 1, &kernel);
    if (!code && cached) *cached = bl_kernel_cached(kernel);
    if (!code) code = bl_launch(kernel, range, BL_MEM(mx), BL_MEM(my), BL_I32(N));
    if (!code) code = bl_mem_read(my, 0, sizeof y, y);
    for (int i = 0; i < N && !code; i++)
        if (y[i] != 2.0f * x[i] + 1.0f)
            code = bl_fail(BLANCH_EMISMATCH, "element %d is %g, not %g", i, (double)y[i], 2.0 * (double)x[i] + 1);
    bl_mem_free(mx), bl_mem_free(my);
    return code;
}

static enum verdict probe_compile(struct doctor *d) {
    int code = run_probe(d->dev, BL_ITEMS(1000), 0, NULL);
    if (code) return refused(d, code, FAILED);
    return say(d, AVAILABLE, "a kernel computes what it should; the device says %s", d->info->c_version);
}

static enum verdict probe_group_of_one(struct doctor *d) {
    int code = run_probe(d->dev, BL_GROUPS1(1000), 0, NULL);
    if (code) return refused(d, code, FAILED);
    return say(d, AVAILABLE, "up to %zu items", d->info->max_work_group);
}

/* On the same device opened anew nothing is left in memory: the program comes from the disk, or the cache is no use. */
static enum verdict probe_cache(struct doctor *d) {
    struct blanch_device *again = NULL;
    char spec[32];
    bool cached = false;
    snprintf(spec, sizeof spec, "%d:%d", d->info->platform, d->info->device);
    double start = bl_now();
    int code = run_probe(d->dev, BL_ITEMS(1000), 1, NULL);
    double first = bl_now() - start;
    if (!code) code = blanch_device_open(&again, spec, 0);
    start = bl_now();
    if (!code) code = run_probe(again, BL_ITEMS(1000), 1, &cached);
    double second = bl_now() - start;
    blanch_device_close(again);
    if (code) return refused(d, code, FAILED);
    if (!cached)
        return say(d, MISSING, "programs are compiled at every start: is $XDG_CACHE_HOME (or ~/.cache) writable?");
    return say(d, AVAILABLE, "a program was read back from the disk, %.0f ms where it took %.0f ms", 1e3 * second,
               1e3 * first);
}

static enum verdict probe_partition(struct doctor *d) {
    struct blanch_device *part = NULL;
    char spec[32];
    snprintf(spec, sizeof spec, "%d:%d/1", d->info->platform, d->info->device);
    if (!d->info->partition) return say(d, MISSING, "--device %s does not work", spec);
    int code = blanch_device_open(&part, spec, 0);
    if (!code) code = run_probe(part, BL_ITEMS(1000), 0, NULL);
    blanch_device_close(part);
    return code ? refused(d, code, MISSING) : say(d, AVAILABLE, "--device %s works", spec);
}

enum { TIMED = 4096, LAUNCHES = 4 };

static int launch_timed(struct doctor *d, struct bl_kernel *kernel, struct bl_mem *y, int steps, double *seconds) {
    double start = bl_now();
    int code = 0;
    for (int i = 0; i < LAUNCHES && !code; i++)
        code = bl_launch(kernel, BL_ITEMS(TIMED), BL_MEM(y), BL_I32(TIMED), BL_I32(steps));
    if (!code) code = bl_finish(d->dev);
    *seconds = bl_now() - start;
    return code;
}

/* Fills wall and busy: work long enough that a launch's own cost, which is not in its event, does not count. */
static int measure_events(struct doctor *d, struct bl_mem *y, double *wall, double *busy) {
    struct bl_kernel *kernel;
    const struct bl_span *spans;
    int count = 0, steps = 64, code = bl_kernel_get(d->dev, "probe", "probe_time", NULL, 0, &kernel);
    if (!code) code = bl_mem_fill(y, 0, bl_mem_size(y), 1.0f);
    if (!code) code = launch_timed(d, kernel, y, steps, wall); // the first compiles
    for (*wall = 0; !code && *wall < 0.1 && steps < 1 << 24; steps *= 2) code = launch_timed(d, kernel, y, steps, wall);
    if (code) return code;
    code = bl_record(d->dev, true);
    if (!code) code = launch_timed(d, kernel, y, steps, wall);
    if (!code) code = bl_record_take(d->dev, &spans, &count);
    const int ended = bl_record(d->dev, false);
    if (!code) code = ended;
    *busy = 0;
    for (int i = 0; i < count; i++) *busy += 1e-9 * (double)(spans[i].end - spans[i].start);
    return code;
}

/* Event times are believed only if they agree with the wall: wrong units are off by 40 or more. A busy machine, whose
 * host waits for a core, is given a wide margin and three tries. */
static enum verdict probe_events(struct doctor *d) {
    struct bl_mem *y = NULL;
    double wall = 0, busy = 0;
    bool agree = false;
    int code = bl_mem_alloc(d->dev, TIMED * sizeof(float), &y);
    for (int i = 0; i < 3 && !code && !agree; i++) {
        code = measure_events(d, y, &wall, &busy);
        agree = busy <= 1.05 * wall && busy >= 0.1 * wall;
    }
    bl_mem_free(y);
    if (code) return refused(d, code, FAILED);
    if (busy <= 0) return say(d, MISSING, "the driver gives no event times: layers cannot be timed");
    if (!agree)
        return say(d, MISSING, "events say %.2f ms, the clock %.2f ms: times of layers are not to be believed",
                   busy * 1e3, wall * 1e3);
    return say(d, AVAILABLE, "%.2f ms of %.2f ms on the clock", busy * 1e3, wall * 1e3);
}

static enum verdict probe_parts(struct doctor *d) {
    size_t align = bl_mem_align(d->dev);
    struct bl_mem *whole = NULL, *part = NULL;
    float value = 0;
    int code = bl_mem_alloc(d->dev, 4 * align, &whole);
    if (!code) code = bl_mem_fill(whole, 0, 4 * align, 1.0f);
    if (!code) code = bl_mem_part(whole, align, align, &part);
    if (!code) code = bl_mem_fill(part, 0, sizeof value, 7.0f);
    if (!code) code = bl_mem_read(whole, align, sizeof value, &value);
    bl_mem_free(part), bl_mem_free(whole);
    if (code) return refused(d, code, FAILED);
    if (value != 7.0f) return say(d, FAILED, "a part of a buffer does not share its memory");
    return say(d, AVAILABLE, "at multiples of %zu bytes", align);
}

static enum verdict probe_memory(struct doctor *d) {
    uint64_t bytes = d->info->max_alloc < (256u << 20) ? d->info->max_alloc & ~(uint64_t)63 : 256u << 20;
    struct bl_mem *mem = NULL;
    float value = 3;
    int code = bl_mem_alloc(d->dev, bytes, &mem);
    if (!code) code = bl_mem_write(mem, bytes - sizeof value, sizeof value, &value);
    value = 0;
    if (!code) code = bl_mem_read(mem, bytes - sizeof value, sizeof value, &value);
    bl_mem_free(mem);
    if (code) return refused(d, code, FAILED);
    if (value != 3.0f) return say(d, FAILED, "the end of a buffer of %.0f MiB does not keep its value", mib(bytes));
    return say(d, AVAILABLE, "%.0f MiB in one buffer tried; the device says %.0f MiB, and %.0f MiB in all", mib(bytes),
               mib(d->info->max_alloc), mib(d->info->global_memory));
}

/* C = A B^T; small integers, so that float32 is exact in any order. */
static int try_gemm(struct doctor *d, int n) {
    size_t bytes = (size_t)n * (size_t)n * sizeof(float);
    float *a = bl_calloc(2, bytes), *c = a ? a + n * n : NULL;
    struct bl_mem *ma = NULL, *mc = NULL;
    if (!a) return BLANCH_ENOMEM;
    for (int i = 0; i < n * n; i++) a[i] = (float)((i * 7 + i / n) % 11) - 5.0f;
    int code = bl_mem_alloc(d->dev, bytes, &ma);
    if (!code) code = bl_mem_alloc(d->dev, bytes, &mc);
    if (!code) code = bl_mem_write(ma, 0, bytes, a);
    const struct bl_gemm gemm = {
        .trans_b = true, .m = n, .n = n, .k = n, .alpha = 1, .a = ma, .b = ma, .c = mc, .lda = n, .ldb = n, .ldc = n};
    if (!code) code = bl_gemm(d->dev, &gemm);
    if (!code) code = bl_mem_read(mc, 0, bytes, c);
    for (int i = 0; i < n * n && !code; i++) {
        float want = 0;
        for (int k = 0; k < n; k++) want += a[i / n * n + k] * a[i % n * n + k];
        if (c[i] != want)
            code = bl_fail(BLANCH_EMISMATCH, "element %d of a product of %d x %d matrices is %g, not %g", i, n, n,
                           (double)c[i], (double)want);
    }
    bl_mem_free(ma), bl_mem_free(mc);
    free(a);
    return code;
}

static enum verdict probe_gemm(struct doctor *d) {
    int code = try_gemm(d, 37);
    if (!code) code = try_gemm(d, 192);
    if (code) return refused(d, code, FAILED);
    return say(d, AVAILABLE, "products of 37 x 37 and 192 x 192 matrices are right");
}

/* A compiler that takes all numbers for finite would let a diverged run go on. */
static enum verdict probe_finite(struct doctor *d) {
    static const float x[] = {0, 1, -1e30f, 1e-40f, INFINITY, -INFINITY, NAN, 3e38f};
    static const struct {
        float scale;
        int want[BL_COUNT(x)];
    } trials[] = {{1, {0, 0, 0, 0, 1, 1, 1, 0}}, {0, {0, 0, 0, 0, 1, 1, 1, 0}}, {1e20f, {0, 0, 1, 0, 1, 1, 1, 1}}};
    int flags[BL_COUNT(x)];
    struct bl_mem *mx = NULL, *mf = NULL;
    struct bl_kernel *kernel;
    int code = bl_mem_alloc(d->dev, sizeof x, &mx);
    if (!code) code = bl_mem_alloc(d->dev, sizeof flags, &mf);
    if (!code) code = bl_mem_write(mx, 0, sizeof x, x);
    if (!code) code = bl_kernel_get(d->dev, "probe", "probe_finite", NULL, 0, &kernel);
    for (int t = 0; t < BL_COUNT(trials) && !code; t++) {
        code = bl_launch(kernel, BL_ITEMS(BL_COUNT(x)), BL_MEM(mx), BL_MEM(mf), BL_I32(BL_COUNT(x)),
                         BL_F32(trials[t].scale));
        if (!code) code = bl_mem_read(mf, 0, sizeof flags, flags);
        for (int i = 0; i < BL_COUNT(x) && !code; i++)
            if (flags[i] != trials[t].want[i])
                code = bl_fail(BLANCH_EMISMATCH, "%g times %g is taken for %s", (double)x[i], (double)trials[t].scale,
                               flags[i] ? "not finite" : "finite");
    }
    bl_mem_free(mx), bl_mem_free(mf);
    return code ? refused(d, code, FAILED) : say(d, AVAILABLE, "infinities and NaN are told from numbers");
}

static enum verdict probe_loops(struct doctor *d) {
    int code = bl_check_loops(d->dev);
    return code ? refused(d, code, FAILED) : say(d, AVAILABLE, "a long one takes all its turns");
}

static int try_local(struct doctor *d, size_t bytes, int *items) {
    enum { N = 1024 };
    float y[N + 1];
    struct bl_mem *my = NULL;
    struct bl_kernel *kernel;
    int code = bl_mem_alloc(d->dev, sizeof y, &my);
    if (!code) code = bl_kernel_get(d->dev, "probe", "probe_local", NULL, 0, &kernel);
    if (!code)
        code = bl_launch(kernel, BL_ITEMS(N), BL_MEM(my), BL_LOCAL(bytes), BL_I32(bytes / sizeof(float)), BL_I32(N));
    if (!code) code = bl_mem_read(my, 0, sizeof y, y);
    *items = code ? 1 : (int)y[N];
    if (!code && (*items < 1 || *items > N)) code = bl_fail(BLANCH_EMISMATCH, "groups of %d items", *items);
    for (int i = 0; i < N && !code; i++) {
        int want = i / *items * *items + (i % *items + 1) % *items;
        if (y[i] != (float)want)
            code = bl_fail(BLANCH_EMISMATCH, "item %d reads %g, not %d, past a barrier", i, (double)y[i], want);
    }
    bl_mem_free(my);
    return code;
}

static enum verdict probe_local(struct doctor *d) {
    size_t bytes = d->info->local_memory < 32768 ? (size_t)d->info->local_memory : 32768;
    int items;
    int code = try_local(d, bytes, &items);
    if (code) return refused(d, code, MISSING);
    return say(d, AVAILABLE, "%zu KiB shared by %d items across a barrier; the device says %.0f KiB%s", bytes / 1024,
               items, (double)d->info->local_memory / 1024, d->info->local_is_real ? "" : ", in plain memory");
}

static enum verdict probe_fp16(struct doctor *d) {
    return d->info->fp16 ? say(d, AVAILABLE, "cl_khr_fp16") : say(d, MISSING, "not needed, everything is float32");
}
static enum verdict probe_subgroups(struct doctor *d) {
    return d->info->subgroups ? say(d, AVAILABLE, "an extension") : say(d, MISSING, "not needed");
}

static const struct {
    const char *name;
    enum verdict (*probe)(struct doctor *);
} probes[] = {
    {"OpenCL C 1.2", probe_compile},
    {"work-groups of one item", probe_group_of_one},
    {"parts of buffers", probe_parts},
    {"memory", probe_memory},
    {"matrix products", probe_gemm},
    {"non-finite values", probe_finite},
    {"loops", probe_loops},
    {"local memory", probe_local},
    {"event times", probe_events},
    {"cache of programs", probe_cache},
    {"sub-devices", probe_partition},
    {"fp16", probe_fp16},
    {"subgroups", probe_subgroups},
};

static void report(cJSON *json, const char *name, enum verdict verdict, const char *value) {
    if (!json) {
        printf("     %s: %s%s%s\n", name, verdicts[verdict], verdict == AVAILABLE ? ", " : " - ", bl_shown(value));
        fflush(stdout); // before a driver ends the process
        return;
    }
    cJSON *entry = cJSON_CreateObject();
    cJSON_AddStringToObject(entry, "probe", name);
    cJSON_AddStringToObject(entry, "verdict", verdicts[verdict]);
    cJSON_AddStringToObject(entry, "detail", value);
    cJSON_AddItemToArray(json, entry);
}

/* 0, or BLANCH_EDEVICE where something that Blanch cannot do without fails. json: the array of checks, or NULL. */
static int check_device(struct blanch_device *dev, cJSON *json) {
    struct doctor doctor = {.dev = dev, .info = blanch_device_info(dev)};
    char failed[512] = "";
    for (int i = 0; i < BL_COUNT(probes); i++) {
        enum verdict verdict = probes[i].probe(&doctor);
        if (doctor.ended) return bl_fail(doctor.ended, "%s", doctor.value);
        size_t used = strlen(failed);
        if (verdict == FAILED) snprintf(failed + used, sizeof failed - used, "%s%s", used ? ", " : "", probes[i].name);
        report(json, probes[i].name, verdict, doctor.value);
    }
    return *failed ? bl_fail(BLANCH_EDEVICE, "%s fails in what Blanch relies on: %s", doctor.info->name, failed) : 0;
}

/* --- the subcommand --------------------------------------------------------------------------- */

/* Lists one device; dev, opened, is checked where given. opened: what opening it returned. */
static int show(const struct blanch_device_info *info, struct blanch_device *dev, int opened, cJSON *json) {
    cJSON *entry = json ? device_json(info) : NULL;
    if (entry)
        cJSON_AddItemToArray(json, entry);
    else
        print_device(info);
    cJSON *checks = entry && (dev || opened) ? cJSON_AddArrayToObject(entry, "checks") : NULL;
    if (opened) report(checks, "opening", FAILED, blanch_error_message());
    return opened || !dev ? opened : check_device(dev, checks);
}

static int show_one(const char *spec, bool check, cJSON *json) {
    struct blanch_device *dev = NULL;
    int code = blanch_device_open(&dev, spec, 0);
    if (code) return code;
    code = show(blanch_device_info(dev), check ? dev : NULL, 0, json);
    blanch_device_close(dev);
    return code;
}

/* A device that cannot be asked or opened does not keep the others from being shown; the first failure is the result.
 */
static int show_all(bool check, cJSON *json) {
    struct blanch_device_info **infos = NULL;
    int count, code = blanch_devices_list(&infos, &count), result = code;
    char message[1024];
    snprintf(message, sizeof message, "%s", blanch_error_message());
    if (!infos) return code;
    for (int i = 0; i < count; i++) {
        struct blanch_device *dev = NULL;
        char spec[32];
        snprintf(spec, sizeof spec, "%d:%d", infos[i]->platform, infos[i]->device);
        code = check ? blanch_device_open(&dev, spec, 0) : 0;
        code = show(infos[i], dev, code, json);
        if (code && !result) result = code, snprintf(message, sizeof message, "%s", blanch_error_message());
        blanch_device_close(dev);
    }
    free(infos);
    return result ? bl_fail(result, "%s", message) : 0;
}

/* Each line of hints: printed, or into an array. */
static void show_hints(char *hints, cJSON *array) {
    for (char *end, *line = hints; (end = strchr(line, '\n')); line = end + 1) {
        *end = 0;
        if (array)
            cJSON_AddItemToArray(array, cJSON_CreateString(line));
        else
            printf("hint: %s\n", bl_shown(line));
    }
}

static int run(int argc, char **argv) {
    bool help, json_wanted = false, check = false;
    const char *device = NULL;
    const struct bl_option options[] = {
        {"check", BL_OPT_FLAG, &check, 0, 0, NULL, "probe everything that Blanch relies on"},
        {"device", BL_OPT_TEXT, &device, 0, 0, "DEVICE", "this one alone"},
        {"json", BL_OPT_FLAG, &json_wanted, 0, 0, NULL, "one JSON document on standard output"},
        {0},
    };
    int code = bl_options_parse(&bl_command_devices, options, argc, argv, NULL, &help);
    if (code || help) return code;
    cJSON *json = json_wanted ? cJSON_CreateArray() : NULL;
    if (json_wanted && !json) return bl_fail(BLANCH_ENOMEM, "out of host memory");
    code = device ? show_one(device, check, json) : show_all(check, json);
    if (code == BLANCH_EUSAGE || (code && !json)) {
        cJSON_Delete(json);
        return code;
    }
    char *hints = device ? bl_format("%s", "") : bl_hints();
    if (!hints) {
        cJSON_Delete(json);
        return BLANCH_ENOMEM;
    }
    cJSON *document = json ? bl_document("devices", 2, NULL, bl_options_json(options)) : NULL;
    if (json) cJSON_AddItemToObject(document, "devices", json);
    show_hints(hints, json ? cJSON_AddArrayToObject(document, "hints") : NULL);
    free(hints);
    if (!json) return 0;
    int printed = bl_print_json(document);
    return code ? code : printed;
}

const struct bl_command bl_command_devices = {
    .name = "devices",
    .summary = "lists the OpenCL devices; checks what they can do",
    .usage = "usage: blanch devices [--check] [--device DEVICE] [--json]\n"
             "\n"
             "Lists every OpenCL platform's devices with their limits and the default choice. With --check, opens\n"
             "each and tries what Blanch relies on; exit status 3 when something it cannot do without fails.\n",
    .run = run,
};
