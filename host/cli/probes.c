/* Whether a device does what Blanch relies on: a probe each. */
#include "probes.h"
#include "blas/blas.h"
#include "cl/cl.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct probe {
    struct blanch_device *dev;
    const struct blanch_device_info *info;
    char value[512]; // what was found
    int ended;       // memory lacked, or a signal came: nothing of the device's
};

static double mib(uint64_t bytes) {
    return (double)bytes / 1048576;
}

static enum bl_verdict say(struct probe *d, enum bl_verdict verdict, const char *format, ...) BL_PRINTF(3, 4);
static enum bl_verdict say(struct probe *d, enum bl_verdict verdict, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(d->value, sizeof d->value, format, args);
    va_end(args);
    for (char *c = d->value; *c; c++)
        if (*c == '\n') *c = ' ';
    return verdict;
}
/* BL_MISSING is only what the device refuses: a device that fails does not lack something. */
static enum bl_verdict refused(struct probe *d, int code, enum bl_verdict verdict) {
    if (code == BLANCH_ENOMEM || code == BLANCH_EINTERRUPTED) d->ended = code;
    if (code == BLANCH_EDEVICE && !bl_device_refused()) verdict = BL_FAILED;
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

static enum bl_verdict probe_compile(struct probe *d) {
    int code = run_probe(d->dev, BL_ITEMS(1000), 0, NULL);
    if (code) return refused(d, code, BL_FAILED);
    return say(d, BL_AVAILABLE, "a kernel computes what it should; the device says %s", d->info->c_version);
}

static enum bl_verdict probe_group_of_one(struct probe *d) {
    int code = run_probe(d->dev, BL_GROUPS1(1000), 0, NULL);
    if (code) return refused(d, code, BL_FAILED);
    return say(d, BL_AVAILABLE, "up to %zu items", d->info->max_work_group);
}

/* On the same device opened anew nothing is left in memory: the program comes from the disk, or the cache is no use. A
 * device that was closed before has written it: PoCL's programs are written then. */
static enum bl_verdict probe_cache(struct probe *d) {
    struct blanch_device *again = NULL;
    char spec[32];
    bool cached = false;
    double first = 0, second = 0;
    snprintf(spec, sizeof spec, "%d:%d", d->info->platform, d->info->device);
    int code = 0;
    for (int opened = 0; opened < 2 && !code; opened++) {
        code = blanch_device_open(&again, spec, 0);
        double start = bl_now();
        if (!code) code = run_probe(again, BL_ITEMS(1000), 1, opened ? &cached : NULL);
        *(opened ? &second : &first) = bl_now() - start;
        blanch_device_close(again);
        again = NULL;
    }
    if (code) return refused(d, code, BL_FAILED);
    if (!cached)
        return say(d, BL_MISSING, "programs are compiled at every start: is $XDG_CACHE_HOME (or ~/.cache) writable?");
    return say(d, BL_AVAILABLE, "a program was read back from the disk, %.0f ms where it took %.0f ms", 1e3 * second,
               1e3 * first);
}

static enum bl_verdict probe_partition(struct probe *d) {
    struct blanch_device *part = NULL;
    char spec[32];
    snprintf(spec, sizeof spec, "%d:%d/1", d->info->platform, d->info->device);
    if (!d->info->partition) return say(d, BL_MISSING, "--device %s does not work", spec);
    int code = blanch_device_open(&part, spec, 0);
    if (!code) code = run_probe(part, BL_ITEMS(1000), 0, NULL);
    blanch_device_close(part);
    return code ? refused(d, code, BL_MISSING) : say(d, BL_AVAILABLE, "--device %s works", spec);
}

enum { TIMED = 4096, LAUNCHES = 4 };

static int launch_timed(struct probe *d, struct bl_kernel *kernel, struct bl_mem *y, int steps, double *seconds) {
    double start = bl_now();
    int code = 0;
    for (int i = 0; i < LAUNCHES && !code; i++)
        code = bl_launch(kernel, BL_ITEMS(TIMED), BL_MEM(y), BL_I32(TIMED), BL_I32(steps));
    if (!code) code = bl_finish(d->dev);
    *seconds = bl_now() - start;
    return code;
}

/* Fills wall and busy: work long enough that a launch's own cost, which is not in its event, does not count. */
static int measure_events(struct probe *d, struct bl_mem *y, double *wall, double *busy) {
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
static enum bl_verdict probe_events(struct probe *d) {
    struct bl_mem *y = NULL;
    double wall = 0, busy = 0;
    bool agree = false;
    int code = bl_mem_alloc(d->dev, TIMED * sizeof(float), &y);
    for (int i = 0; i < 3 && !code && !agree; i++) {
        code = measure_events(d, y, &wall, &busy);
        agree = busy <= 1.05 * wall && busy >= 0.1 * wall;
    }
    bl_mem_free(y);
    if (code) return refused(d, code, BL_FAILED);
    if (busy <= 0) return say(d, BL_MISSING, "the driver gives no event times: layers cannot be timed");
    if (!agree)
        return say(d, BL_MISSING, "events say %.2f ms, the clock %.2f ms: times of layers are not to be believed",
                   busy * 1e3, wall * 1e3);
    return say(d, BL_AVAILABLE, "%.2f ms of %.2f ms on the clock", busy * 1e3, wall * 1e3);
}

static enum bl_verdict probe_parts(struct probe *d) {
    size_t align = bl_mem_align(d->dev);
    struct bl_mem *whole = NULL, *part = NULL;
    float value = 0;
    int code = bl_mem_alloc(d->dev, 4 * align, &whole);
    if (!code) code = bl_mem_fill(whole, 0, 4 * align, 1.0f);
    if (!code) code = bl_mem_part(whole, align, align, &part);
    if (!code) code = bl_mem_fill(part, 0, sizeof value, 7.0f);
    if (!code) code = bl_mem_read(whole, align, sizeof value, &value);
    bl_mem_free(part), bl_mem_free(whole);
    if (code) return refused(d, code, BL_FAILED);
    if (value != 7.0f) return say(d, BL_FAILED, "a part of a buffer does not share its memory");
    return say(d, BL_AVAILABLE, "at multiples of %zu bytes", align);
}

static enum bl_verdict probe_memory(struct probe *d) {
    uint64_t bytes = d->info->max_alloc < (256u << 20) ? d->info->max_alloc & ~(uint64_t)63 : 256u << 20;
    struct bl_mem *mem = NULL;
    float value = 3;
    int code = bl_mem_alloc(d->dev, bytes, &mem);
    if (!code) code = bl_mem_write(mem, bytes - sizeof value, sizeof value, &value);
    value = 0;
    if (!code) code = bl_mem_read(mem, bytes - sizeof value, sizeof value, &value);
    bl_mem_free(mem);
    if (code) return refused(d, code, BL_FAILED);
    if (value != 3.0f) return say(d, BL_FAILED, "the end of a buffer of %.0f MiB does not keep its value", mib(bytes));
    return say(d, BL_AVAILABLE, "%.0f MiB in one buffer tried; the device says %.0f MiB, and %.0f MiB in all",
               mib(bytes), mib(d->info->max_alloc), mib(d->info->global_memory));
}

/* C = A B^T; small integers, so that float32 is exact in any order. */
static int try_gemm(struct probe *d, int n) {
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

static enum bl_verdict probe_gemm(struct probe *d) {
    int code = try_gemm(d, 37);
    if (!code) code = try_gemm(d, 192);
    if (code) return refused(d, code, BL_FAILED);
    return say(d, BL_AVAILABLE, "products of 37 x 37 and 192 x 192 matrices are right");
}

/* A compiler that takes all numbers for finite would let a diverged run go on. */
static enum bl_verdict probe_finite(struct probe *d) {
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
    return code ? refused(d, code, BL_FAILED) : say(d, BL_AVAILABLE, "infinities and NaN are told from numbers");
}

static enum bl_verdict probe_loops(struct probe *d) {
    int code = bl_check_loops(d->dev);
    return code ? refused(d, code, BL_FAILED) : say(d, BL_AVAILABLE, "a long one takes all its turns");
}

static int try_local(struct probe *d, size_t bytes, int *items) {
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

static enum bl_verdict probe_local(struct probe *d) {
    size_t bytes = d->info->local_memory < 32768 ? (size_t)d->info->local_memory : 32768;
    int items;
    int code = try_local(d, bytes, &items);
    if (code) return refused(d, code, BL_MISSING);
    return say(d, BL_AVAILABLE, "%zu KiB shared by %d items across a barrier; the device says %.0f KiB%s", bytes / 1024,
               items, (double)d->info->local_memory / 1024, d->info->local_is_real ? "" : ", in plain memory");
}

static enum bl_verdict probe_fp16(struct probe *d) {
    return d->info->fp16 ? say(d, BL_AVAILABLE, "cl_khr_fp16")
                         : say(d, BL_MISSING, "not needed, everything is float32");
}
static enum bl_verdict probe_subgroups(struct probe *d) {
    return d->info->subgroups ? say(d, BL_AVAILABLE, "an extension") : say(d, BL_MISSING, "not needed");
}

static const struct {
    const char *name;
    enum bl_verdict (*probe)(struct probe *);
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

int bl_probe_device(struct blanch_device *dev, bl_probe_report *report, void *context) {
    struct probe probe = {.dev = dev, .info = blanch_device_info(dev)};
    char failed[512] = "";
    for (int i = 0; i < BL_COUNT(probes); i++) {
        enum bl_verdict verdict = probes[i].probe(&probe);
        if (probe.ended) return bl_fail(probe.ended, "%s", probe.value);
        size_t used = strlen(failed);
        if (verdict == BL_FAILED)
            snprintf(failed + used, sizeof failed - used, "%s%s", used ? ", " : "", probes[i].name);
        report(context, probes[i].name, verdict, probe.value);
    }
    return *failed ? bl_fail(BLANCH_EDEVICE, "%s fails in what Blanch relies on: %s", probe.info->name, failed) : 0;
}
