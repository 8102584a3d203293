/* blanch devices: what OpenCL offers here; with --check, whether it does what Blanch relies on. */
#include "blas/blas.h"
#include "cli.h"
#include <cjson/cJSON.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const kinds[] = {[BLANCH_CPU] = "CPU", [BLANCH_GPU] = "GPU", [BLANCH_ACCELERATOR] = "accelerator"};

/* --- listing ---------------------------------------------------------------------------------- */

static double mib(uint64_t bytes) { return (double)bytes / 1048576; }

static void print_device(const struct blanch_device_info *d) {
    printf("%d:%d  %s%s\n", d->platform, d->device, d->name, d->is_default ? "  (the default)" : "");
    printf("     %s, %s; %s; driver %s\n", kinds[d->kind], d->platform_name, d->version, d->driver);
    printf("     %d compute units at %d MHz; float vectors of %u; work-groups of up to %zu\n", d->compute_units, d->clock_mhz, d->float_width,
           d->max_work_group);
    printf("     memory %.0f MiB, at most %.0f MiB in one buffer; local %.0f KiB%s\n", mib(d->global_memory), mib(d->max_alloc),
           (double)d->local_memory / 1024, d->local_is_real ? "" : " (in plain memory)");
}

static void add_limits(cJSON *json, const struct blanch_device_info *d) {
    cJSON *items = cJSON_AddArrayToObject(json, "max_work_item");
    for (int i = 0; i < 3; i++) cJSON_AddItemToArray(items, cJSON_CreateNumber((double)d->max_work_item[i]));
    const struct { const char *name; double value; } numbers[] = {
        {"compute_units", d->compute_units}, {"clock_mhz", d->clock_mhz}, {"max_work_group", (double)d->max_work_group},
        {"max_alloc", (double)d->max_alloc}, {"global_memory", (double)d->global_memory}, {"local_memory", (double)d->local_memory},
        {"constant_memory", (double)d->constant_memory}, {"base_align", d->base_align}, {"float_width", d->float_width}};
    const struct { const char *name; bool value; } flags[] = {
        {"local_is_real", d->local_is_real}, {"fp16", d->fp16}, {"fp64", d->fp64}, {"subgroups", d->subgroups},
        {"out_of_order", d->out_of_order}, {"partition", d->partition}, {"default", d->is_default}};
    for (int i = 0; i < BL_COUNT(numbers); i++) cJSON_AddNumberToObject(json, numbers[i].name, numbers[i].value);
    for (int i = 0; i < BL_COUNT(flags); i++) cJSON_AddBoolToObject(json, flags[i].name, flags[i].value);
}

static cJSON *device_json(const struct blanch_device_info *d) {
    cJSON *json = cJSON_CreateObject();
    char spec[32];
    snprintf(spec, sizeof spec, "%d:%d", d->platform, d->device);
    const char *const texts[][2] = {{"device", spec}, {"name", d->name}, {"kind", kinds[d->kind]}, {"platform", d->platform_name},
                                    {"vendor", d->vendor}, {"version", d->version}, {"driver", d->driver}, {"c_version", d->c_version}};
    for (int i = 0; i < BL_COUNT(texts); i++) cJSON_AddStringToObject(json, texts[i][0], texts[i][1]);
    add_limits(json, d);
    return json;
}

/* --- the doctor ------------------------------------------------------------------------------- */

struct doctor {
    struct blanch_device *dev;
    const struct blanch_device_info *info;
    char value[512];                        // what a probe found
};
enum verdict { AVAILABLE, MISSING, FAILED };    // MISSING: Blanch does without
static const char *const verdicts[] = {"available", "missing", "FAILED"};

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
static enum verdict refused(struct doctor *d) { return say(d, FAILED, "%s", blanch_error_message()); }

static enum verdict run_probe(struct doctor *d, struct bl_range range, const char *what) {
    enum { N = 1000 };
    float x[N], y[N];
    struct bl_mem *mx = NULL, *my = NULL;
    struct bl_kernel *kernel;
    enum verdict verdict = FAILED;
    for (int i = 0; i < N; i++) x[i] = (float)i;
    if (bl_mem_alloc(d->dev, sizeof x, &mx) || bl_mem_alloc(d->dev, sizeof y, &my) || bl_mem_write(mx, 0, sizeof x, x) ||
        bl_kernel_get(d->dev, "probe", "probe", NULL, 0, &kernel) || bl_launch(kernel, range, BL_MEM(mx), BL_MEM(my), BL_I32(N)) ||
        bl_mem_read(my, 0, sizeof y, y)) {
        refused(d);
        goto done;
    }
    for (int i = 0; i < N; i++)
        if (y[i] != 2.0f * x[i] + 1.0f) {
            say(d, FAILED, "element %d is %g, not %g", i, (double)y[i], 2.0 * x[i] + 1);
            goto done;
        }
    verdict = say(d, AVAILABLE, "%s", what);
done:
    bl_mem_free(mx), bl_mem_free(my);
    return verdict;
}

static enum verdict probe_compile(struct doctor *d) {
    return run_probe(d, BL_ITEMS(1000), d->info->c_version[0] ? d->info->c_version : "compiles and computes");
}
static enum verdict probe_group_of_one(struct doctor *d) { return run_probe(d, BL_GROUPS1(1000), "work-groups of one item"); }

/* Event times are believed only if they agree with the wall. */
static enum verdict probe_events(struct doctor *d) {
    enum { N = 4096 };
    struct bl_mem *y = NULL;
    struct bl_kernel *kernel;
    const struct bl_span *spans;
    int count = 0;
    enum verdict verdict = FAILED;
    if (bl_mem_alloc(d->dev, N * sizeof(float), &y) || bl_mem_fill(y, 0, N * sizeof(float), 1.0f) ||
        bl_kernel_get(d->dev, "probe", "probe_time", NULL, 0, &kernel) ||
        bl_launch(kernel, BL_ITEMS(N), BL_MEM(y), BL_I32(N), BL_I32(10)) || bl_finish(d->dev)) goto failed;
    bl_record(d->dev, true);
    double start = bl_now();
    for (int i = 0; i < 4; i++)
        if (bl_launch(kernel, BL_ITEMS(N), BL_MEM(y), BL_I32(N), BL_I32(4000))) goto failed;
    if (bl_record_take(d->dev, &spans, &count)) goto failed;
    double wall = bl_now() - start, busy = 0;
    for (int i = 0; i < count; i++) busy += 1e-9 * (double)(spans[i].end - spans[i].start);
    if (!count || busy == 0) verdict = say(d, MISSING, "the driver gives no event times: layers cannot be timed");
    else if (busy > 1.05 * wall || busy < 0.3 * wall)
        verdict = say(d, MISSING, "events say %.2f ms where the clock says %.2f ms: layer times are not to be believed", busy * 1e3, wall * 1e3);
    else verdict = say(d, AVAILABLE, "events %.2f ms of %.2f ms on the clock", busy * 1e3, wall * 1e3);
    goto done;
failed:
    refused(d);
done:
    bl_record(d->dev, false);
    bl_mem_free(y);
    return verdict;
}

static enum verdict probe_parts(struct doctor *d) {
    size_t align = bl_mem_align(d->dev);
    struct bl_mem *whole = NULL, *part = NULL;
    float value = 0;
    enum verdict verdict;
    if (bl_mem_alloc(d->dev, 4 * align, &whole) || bl_mem_fill(whole, 0, 4 * align, 1.0f) || bl_mem_part(whole, align, align, &part) ||
        bl_mem_fill(part, 0, sizeof value, 7.0f) || bl_mem_read(whole, align, sizeof value, &value)) verdict = refused(d);
    else if (value != 7.0f) verdict = say(d, FAILED, "a part of a buffer does not share its memory");
    else verdict = say(d, AVAILABLE, "parts of buffers at multiples of %zu bytes", align);
    bl_mem_free(part), bl_mem_free(whole);
    return verdict;
}

static enum verdict probe_memory(struct doctor *d) {
    uint64_t bytes = d->info->max_alloc < (256u << 20) ? d->info->max_alloc : 256u << 20;
    struct bl_mem *mem = NULL;
    float value = 3;
    enum verdict verdict;
    bytes &= ~(uint64_t)63;
    if (bl_mem_alloc(d->dev, bytes, &mem) || bl_mem_write(mem, bytes - sizeof value, sizeof value, &value) ||
        bl_mem_read(mem, bytes - sizeof value, sizeof value, &value)) verdict = refused(d);
    else verdict = say(d, AVAILABLE, "%.0f MiB at once tried, %.0f MiB allowed, %.0f MiB in all", mib(bytes), mib(d->info->max_alloc), mib(d->info->global_memory));
    bl_mem_free(mem);
    return verdict;
}

static enum verdict probe_gemm(struct doctor *d) {
    enum { N = 37 };
    float a[N * N], c[N * N];
    struct bl_mem *ma = NULL, *mc = NULL;
    enum verdict verdict = FAILED;
    for (int i = 0; i < N * N; i++) a[i] = (float)((i * 7) % 11) - 5.0f;
    struct bl_gemm gemm = {.m = N, .n = N, .k = N, .alpha = 1, .lda = N, .ldb = N, .ldc = N};
    if (bl_mem_alloc(d->dev, sizeof a, &ma) || bl_mem_alloc(d->dev, sizeof c, &mc) || bl_mem_write(ma, 0, sizeof a, a)) goto failed;
    gemm.a = gemm.b = ma, gemm.c = mc;
    if (bl_gemm(d->dev, &gemm) || bl_mem_read(mc, 0, sizeof c, c)) goto failed;
    verdict = say(d, AVAILABLE, "a product of two 37 x 37 matrices is right");
    for (int i = 0; i < N * N; i++) {
        float want = 0;
        for (int k = 0; k < N; k++) want += a[i / N * N + k] * a[k * N + i % N];
        if (fabsf(c[i] - want) > 1e-3f) verdict = say(d, FAILED, "element %d of a matrix product is %g, not %g", i, (double)c[i], (double)want);
    }
    goto done;
failed:
    refused(d);
done:
    bl_mem_free(ma), bl_mem_free(mc);
    return verdict;
}

static enum verdict probe_local(struct doctor *d) {
    return say(d, d->info->local_memory >= 32768 ? AVAILABLE : MISSING, "%.0f KiB%s", (double)d->info->local_memory / 1024,
               d->info->local_is_real ? "" : ", in plain memory");
}
static enum verdict probe_fp16(struct doctor *d) {
    return say(d, d->info->fp16 ? AVAILABLE : MISSING, d->info->fp16 ? "cl_khr_fp16" : "not used: storage and arithmetic are float32");
}
static enum verdict probe_subgroups(struct doctor *d) {
    return say(d, d->info->subgroups ? AVAILABLE : MISSING, d->info->subgroups ? "an extension" : "not needed");
}
static enum verdict probe_partition(struct doctor *d) {
    return say(d, d->info->partition ? AVAILABLE : MISSING, d->info->partition ? "--device %d:%d/CORES works" : "--device %d:%d/CORES does not work",
               d->info->platform, d->info->device);
}

static const struct { const char *name; enum verdict (*probe)(struct doctor *); } probes[] = {
    {"OpenCL C 1.2", probe_compile}, {"groups of one", probe_group_of_one}, {"parts of buffers", probe_parts}, {"memory", probe_memory},
    {"matrix products", probe_gemm}, {"event times", probe_events}, {"local memory", probe_local}, {"sub-devices", probe_partition},
    {"fp16", probe_fp16}, {"subgroups", probe_subgroups}};

/* 0, or BLANCH_EDEVICE where something that Blanch cannot do without fails. */
static int check_device(const char *spec, cJSON *json) {
    struct doctor doctor = {0};
    int code = blanch_device_open(&doctor.dev, spec, 0), failed = 0;
    if (code) return code;
    doctor.info = blanch_device_info(doctor.dev);
    if (!json) printf("%d:%d  %s\n", doctor.info->platform, doctor.info->device, doctor.info->name);
    for (int i = 0; i < BL_COUNT(probes); i++) {
        enum verdict verdict = probes[i].probe(&doctor);
        failed += verdict == FAILED;
        if (!json) {
            printf("     %-18s %-10s %s\n", probes[i].name, verdicts[verdict], doctor.value);
            continue;
        }
        cJSON *entry = cJSON_CreateObject();
        cJSON_AddStringToObject(entry, "probe", probes[i].name);
        cJSON_AddStringToObject(entry, "verdict", verdicts[verdict]);
        cJSON_AddStringToObject(entry, "detail", doctor.value);
        cJSON_AddItemToArray(json, entry);
    }
    if (failed) code = bl_fail(BLANCH_EDEVICE, "%s: %d of what Blanch relies on failed", doctor.info->name, failed);
    blanch_device_close(doctor.dev);
    return code;
}

/* --- the subcommand --------------------------------------------------------------------------- */

static int list_devices(bool check, cJSON *json) {
    struct blanch_device_info *infos = NULL;
    int count, result = 0, code = blanch_devices_list(&infos, &count);
    for (int i = 0; i < count && !code; i++) {
        char spec[32];
        snprintf(spec, sizeof spec, "%d:%d", infos[i].platform, infos[i].device);
        cJSON *entry = json ? device_json(&infos[i]) : NULL;
        if (entry) cJSON_AddItemToArray(json, entry);
        else if (!check) print_device(&infos[i]);
        if (!check) continue;
        int found = check_device(spec, entry ? cJSON_AddArrayToObject(entry, "checks") : NULL);
        if (found) result = found;
    }
    free(infos);
    return code ? code : result;
}

static int run(int argc, char **argv) {
    bool help, json_wanted = false, check = false;
    const char *device = NULL;
    int rest = 0;
    const struct bl_option options[] = {
        {"check", BL_OPT_FLAG, &check, 0, 0, NULL, "probe everything that Blanch relies on"},
        {"device", BL_OPT_TEXT, &device, 0, 0, "DEVICE", "check this one alone"},
        {"json", BL_OPT_FLAG, &json_wanted, 0, 0, NULL, "one JSON document on standard output"},
        {0},
    };
    char **names = bl_calloc((size_t)argc + 1, sizeof *names);
    if (!names) return BLANCH_ENOMEM;
    int code = bl_options_parse(&bl_command_devices, options, argc, argv, names, &rest, &help);
    if (!code && rest) code = bl_fail(BLANCH_EUSAGE, "devices takes no argument '%s'", names[0]);
    free(names);
    if (code || help) return code;
    cJSON *json = json_wanted ? cJSON_CreateArray() : NULL;
    code = device ? check_device(device, json) : list_devices(check, json);
    char *text = json && code != BLANCH_EUSAGE ? cJSON_Print(json) : NULL;
    if (text) puts(text);
    cJSON_free(text);
    cJSON_Delete(json);
    return code;
}

const struct bl_command bl_command_devices = {
    .name = "devices",
    .summary = "lists the OpenCL devices; checks what they can do",
    .usage = "usage: blanch devices [--check [--device DEVICE]] [--json]\n"
             "\n"
             "Lists every OpenCL platform's devices with their limits and the default choice. With --check, opens each and\n"
             "tries what Blanch relies on; exit status 3 when something it cannot do without fails.\n",
    .run = run,
};
