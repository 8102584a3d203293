/* blanch bench --gemm: the time of one matrix product, by the device's own kernel and by CLBlast with the parameters
 * that it ships and with those set for the device. */
#include "blas/blas.h"
#include "cli/bench.h"
#include "io/files.h"
#include "sched/tune.h"
#include "train/train.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct way {
    const char *name;
    enum bl_gemm_route route;
    double *ms;    // (calls) wall time
    double cpu_ms; // least processor time of a call over the device's compute units
    int calls;
};

struct product {
    struct blanch_device *dev;
    struct bl_gemm gemm;
    int rounds, units;
    enum bl_gemm_route route; // of the call that is timed
    const struct bl_common *common;
};

static int parse(struct bl_gemm *g, const char *text) {
    long long m = 0, n = 0, k = 0;
    char rest = 0;
    int count = sscanf(text, "%9lldx%9lldx%9lld%c", &m, &n, &k, &rest);
    if (count == 1 && !strchr(text, 'x'))
        n = k = m;
    else if (count != 3)
        m = 0;
    if (text[strspn(text, "0123456789x")]) m = 0; // blanks and signs, which sscanf passes over
    if (m < 1 || n < 1 || k < 1 || m > 1 << 20 || n > 1 << 20 || k > 1 << 20)
        return bl_fail(BLANCH_EUSAGE, "--gemm takes MxNxK, as in 1024x1024x1024, not '%s'", text);
    *g = (struct bl_gemm){.m = m, .n = n, .k = k, .alpha = 1, .lda = k, .ldb = n, .ldc = n};
    return 0;
}

/* Uniform between -0.5 and 0.5. */
static int make_matrix(struct blanch_device *dev, size_t count, uint64_t stream, struct bl_mem **mem) {
    float *values = bl_calloc(count, sizeof *values);
    uint32_t word[4];
    int code = values ? bl_mem_alloc(dev, sizeof(float) * count, mem) : BLANCH_ENOMEM;
    for (size_t i = 0; i < count && !code; i++) {
        if (i % 4 == 0) bl_philox(0, BL_RANDOM_DATA, i / 4, stream, word);
        values[i] = bl_uniform(word[i % 4]) - 0.5f;
    }
    if (!code) code = bl_mem_write(*mem, 0, sizeof(float) * count, values);
    free(values);
    return code;
}

static enum bl_gemm_route choose(void *context, const struct bl_gemm *gemm) {
    const struct product *p = context;
    (void)gemm;
    return p->route;
}

static double processor_time(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int multiply(struct product *p, enum bl_gemm_route route) {
    p->route = route;
    int code = bl_check_interrupted();
    if (!code) code = bl_gemm(p->dev, &p->gemm);
    return code ? code : bl_finish(p->dev);
}

static int time_once(struct product *p, struct way *way) {
    double wall = bl_now(), cpu = processor_time();
    int code = multiply(p, way->route);
    way->ms[way->calls] = 1e3 * (bl_now() - wall);
    double used = 1e3 * (processor_time() - cpu) / p->units;
    if (!way->calls || used < way->cpu_ms) way->cpu_ms = used;
    way->calls++;
    return code;
}

/* The ways take turns. The first call of each may build its program and is left out. */
static int time_ways(struct product *p, struct way *ways, int count) {
    int code = 0;
    for (int w = 0; w < count && !code; w++) code = multiply(p, ways[w].route);
    for (int round = 0; round < p->rounds; round++)
        for (int w = 0; w < count && !code; w++) code = time_once(p, &ways[w]);
    return code;
}

/* Of the cache, where a search has found some; else those that stand in the program. */
static int set_parameters(struct blanch_device *dev) {
    const struct bl_clblast_set *seed = bl_clblast_seed(dev);
    int code = seed ? bl_clblast_set(dev, seed) : 0;
    return code ? code : bl_tune_clblast_apply(dev);
}

static double gflops(const struct product *p, double ms) {
    return 2e-6 * (double)p->gemm.m * (double)p->gemm.n * (double)p->gemm.k / ms;
}

static int report_json(const struct product *p, const struct way *ways, int count) {
    cJSON *json = bl_document("product", blanch_device_info(p->dev), bl_options_json(p->common->options));
    cJSON *list = cJSON_CreateArray();
    cJSON_AddNumberToObject(json, "m", (double)p->gemm.m);
    cJSON_AddNumberToObject(json, "n", (double)p->gemm.n);
    cJSON_AddNumberToObject(json, "k", (double)p->gemm.k);
    cJSON_AddNumberToObject(json, "rounds", p->rounds);
    for (int w = 0; w < count; w++) {
        double median = bl_quantile(ways[w].ms, ways[w].calls, 0.5); // sorts
        cJSON *way = cJSON_CreateObject();
        cJSON_AddStringToObject(way, "name", ways[w].name);
        cJSON_AddItemToObject(way, "ms", bl_json_number(median, 5));
        cJSON_AddItemToObject(way, "min_ms", bl_json_number(ways[w].ms[0], 5));
        cJSON_AddItemToObject(way, "cpu_ms", bl_json_number(ways[w].cpu_ms, 5));
        cJSON_AddItemToObject(way, "gflops", bl_json_number(gflops(p, median), 4));
        cJSON_AddItemToArray(list, way);
    }
    cJSON_AddItemToObject(json, "ways", list);
    return bl_print_json(json);
}

static int report(const struct product *p, const struct way *ways, int count) {
    printf("product of %lld x %lld x %lld, %s\n", (long long)p->gemm.m, (long long)p->gemm.n, (long long)p->gemm.k,
           bl_shown(blanch_device_info(p->dev)->name));
    printf("%-16s %10s %10s %10s %20s\n", "", "ms", "least ms", "GFLOP/s", "of processor time");
    for (int w = 0; w < count; w++) {
        double median = bl_quantile(ways[w].ms, ways[w].calls, 0.5);
        printf("%-16s %10.2f %10.2f %10.1f %20.1f\n", ways[w].name, median, ways[w].ms[0], gflops(p, median),
               gflops(p, ways[w].cpu_ms));
    }
    return 0;
}

/* CLBlast's shipped parameters come first, because they cannot be had back. */
static int time_all(struct product *p, struct way *ways, int count) {
    if (!bl_clblast_available()) return time_ways(p, ways, count);
    bl_clblast_ship(p->dev);
    int code = time_ways(p, ways, 1);
    if (!code) code = set_parameters(p->dev);
    return code ? code : time_ways(p, ways + 1, count - 1);
}

int bl_bench_product(const struct bl_common *common, const char *shape, int rounds) {
    struct product p = {.rounds = rounds, .common = common};
    struct way ways[] = {{.name = "CLBlast, shipped", .route = BL_GEMM_CLBLAST},
                         {.name = "own", .route = BL_GEMM_OWN},
                         {.name = "own, packed", .route = BL_GEMM_PACKED},
                         {.name = "CLBlast, tuned", .route = BL_GEMM_CLBLAST},
                         {.name = "by rule", .route = BL_GEMM_RULE}};
    int count = 0, code = parse(&p.gemm, shape);
    struct bl_gemm *g = &p.gemm;
    for (int w = 0; w < BL_COUNT(ways); w++)
        if (ways[w].route != BL_GEMM_CLBLAST || bl_clblast_available()) ways[count++] = ways[w];
    for (int w = 0; w < count && !code; w++)
        if (!(ways[w].ms = bl_calloc((size_t)rounds, sizeof(double)))) code = BLANCH_ENOMEM;
    if (!code) code = blanch_device_open(&p.dev, common->device, common->max_alloc);
    if (!code) code = make_matrix(p.dev, (size_t)(g->m * g->k), 0, &g->a);
    if (!code) code = make_matrix(p.dev, (size_t)(g->k * g->n), 1, &g->b);
    if (!code) code = bl_mem_alloc(p.dev, sizeof(float) * (size_t)(g->m * g->n), &g->c);
    if (!code) {
        p.units = blanch_device_info(p.dev)->compute_units;
        struct bl_gemm_chooser chooser = {choose, &p};
        if (!(code = bl_gemm_choose_by(p.dev, &chooser))) code = time_all(&p, ways, count);
        bl_gemm_choose_by(p.dev, NULL);
    }
    if (!code) code = common->json ? report_json(&p, ways, count) : report(&p, ways, count);
    bl_mem_free(g->a), bl_mem_free(g->b), bl_mem_free(g->c);
    blanch_device_close(p.dev);
    for (int w = 0; w < count; w++) free(ways[w].ms);
    return code;
}
