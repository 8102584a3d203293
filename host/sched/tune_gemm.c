/* Measuring the ways to compute a matrix product. */
#include "sched/tune_internal.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLES = 48 };

struct data {
    struct bl_gemm product; // dense, on the buffers below
    size_t a, b, c;         // elements
    float *host_a, *host_b, *result, *reference;
    bool have_reference;
    struct blanch_device *dev;
};

static int64_t batch_of(const struct bl_gemm *g) {
    return g->batch > 0 ? g->batch : 1;
}

/* A symmetric product is one of a matrix with its own transpose, or of a symmetric matrix with itself. */
static void fill(struct data *d) {
    const struct bl_gemm *g = &d->product;
    bl_tune_fill(d->host_a, d->a, 1);
    if (!g->symmetric) {
        bl_tune_fill(d->host_b, d->b, 2);
        return;
    }
    if (g->trans_a == g->trans_b)
        for (int64_t m = 0; m < batch_of(g); m++)
            for (int64_t i = 0; i < g->m; i++)
                for (int64_t j = 0; j < i; j++)
                    d->host_a[m * g->stride_a + i * g->k + j] = d->host_a[m * g->stride_a + j * g->k + i];
    memcpy(d->host_b, d->host_a, sizeof(float) * d->b);
}

static int make_data(struct data *d, struct blanch_device *dev, const struct bl_tune_item *item) {
    struct bl_gemm *g = &d->product;
    *g = item->gemm;
    int64_t batch = batch_of(g);
    *g = (struct bl_gemm){.trans_a = g->trans_a,
                          .trans_b = g->trans_b,
                          .symmetric = g->symmetric,
                          .m = g->m,
                          .n = g->n,
                          .k = g->k,
                          .alpha = 1,
                          .rounds = g->rounds,
                          .batch = g->batch,
                          .lda = g->trans_a ? g->m : g->k,
                          .ldb = g->trans_b ? g->k : g->n,
                          .ldc = g->n,
                          .stride_a = g->m * g->k,
                          .stride_b = g->k * g->n,
                          .stride_c = g->m * g->n};
    d->dev = dev;
    d->a = (size_t)(batch * g->stride_a), d->b = (size_t)(batch * g->stride_b), d->c = (size_t)(batch * g->stride_c);
    d->host_a = bl_calloc(d->a, 4), d->host_b = bl_calloc(d->b, 4);
    d->result = bl_calloc(d->c, 4), d->reference = bl_calloc(d->c, 4);
    if (!d->host_a || !d->host_b || !d->result || !d->reference) return BLANCH_ENOMEM;
    fill(d);
    int code = bl_mem_alloc(dev, sizeof(float) * d->a, &g->a);
    if (!code) code = bl_mem_alloc(dev, sizeof(float) * d->b, &g->b);
    if (!code) code = bl_mem_alloc(dev, sizeof(float) * d->c, &g->c);
    if (!code) code = bl_mem_write(g->a, 0, sizeof(float) * d->a, d->host_a);
    return code ? code : bl_mem_write(g->b, 0, sizeof(float) * d->b, d->host_b);
}

static void release(struct data *d) {
    bl_mem_free(d->product.a), bl_mem_free(d->product.b), bl_mem_free(d->product.c);
    free(d->host_a), free(d->host_b), free(d->result), free(d->reference);
}

static double plain(const struct data *d, int64_t at) {
    const struct bl_gemm *g = &d->product;
    const int64_t column = at % g->n, row = at / g->n % g->m, matrix = at / g->n / g->m;
    const float *a = d->host_a + matrix * g->stride_a, *b = d->host_b + matrix * g->stride_b;
    double sum = 0;
    for (int64_t k = 0; k < g->k; k++)
        sum += (double)(g->trans_a ? a[k * g->m + row] : a[row * g->k + k]) *
               (double)(g->trans_b ? b[column * g->k + k] : b[k * g->n + column]);
    return sum;
}

static int judge(struct data *d, bool *right) {
    float found[SAMPLES], sums[SAMPLES];
    int code = bl_mem_read(d->product.c, 0, sizeof(float) * d->c, d->result);
    if (code) return code;
    for (int i = 0; i < SAMPLES; i++) {
        int64_t at = (int64_t)((double)(d->c - 1) * i / (SAMPLES - 1));
        found[i] = d->result[at], sums[i] = (float)plain(d, at);
    }
    const enum bl_type type = d->product.rounds;
    *right = bl_tune_close(type, found, sums, SAMPLES) &&
             (!d->have_reference || bl_tune_close(type, d->result, d->reference, d->c));
    if (*right && !d->have_reference) {
        memcpy(d->reference, d->result, sizeof(float) * d->c);
        d->have_reference = true;
    }
    return 0;
}

/* A sixteenth of the depth. */
static int64_t small_part(const struct data *d) {
    return (d->product.k + 15) / 16;
}

static int multiply(void *context, bool small) {
    const struct data *d = context;
    struct bl_gemm part = d->product;
    if (small) part.k = small_part(d);
    int code = bl_gemm(d->dev, &part);
    return code ? code : bl_finish(d->dev);
}

static int try_route(struct bl_tuner *tuner, enum bl_gemm_route route, const struct bl_tune_item *item, struct data *d,
                     struct bl_tune_trials *trials) {
    const struct bl_tune_candidate candidate = {
        .call = multiply, .context = d, .share = (double)small_part(d) / (double)d->product.k};
    struct bl_tune_timing timing = {BL_TUNE_RIGHT, INFINITY};
    bool right = false;
    tuner->route = route, tuner->gemm_chooser.exact = true;
    int code = bl_mem_fill(d->product.c, 0, sizeof(float) * d->c, NAN);
    if (!code) code = bl_tune_time(&candidate, &tuner->bounds, bl_tune_best(trials), &timing);
    tuner->route = BL_GEMM_RULE, tuner->gemm_chooser.exact = false;
    if (!code && timing.result == BL_TUNE_RIGHT) {
        code = judge(d, &right);
        if (!right) timing.result = BL_TUNE_WRONG;
    }
    if (bl_tune_beyond(code)) return code;
    if (code) timing.result = BL_TUNE_FAILED;
    bl_tune_add(trials, bl_gemm_route_names[route], &timing);
    bl_tune_refuse(tuner, item, &(struct bl_tune_trial){bl_gemm_route_names[route], timing.result, 0});
    return 0;
}

/* On CPUs the own kernel is 3 to 10 times as fast as CLBlast, whose kernels take seconds to build; packing is for
 * them alone. */
static bool is_tried(const struct bl_tuner *tuner, const struct bl_tune_item *item, int route) {
    const bool cpu = blanch_device_info(tuner->dev)->kind == BLANCH_CPU;
    if (tuner->clblast_alone) return route == BL_GEMM_CLBLAST;
    if (route == BL_GEMM_MATRIX) return bl_matrix_product_serves(tuner->dev, &item->gemm);
    if (route == BL_GEMM_PACKED) return cpu && !item->gemm.trans_a; // which packs always
    return route != BL_GEMM_CLBLAST || (!cpu && bl_clblast_available());
}

int bl_tune_gemm(struct bl_tuner *tuner, const struct bl_tune_item *item, struct bl_tune_trials *trials) {
    struct data d = {0};
    int code = make_data(&d, tuner->dev, item);
    for (int i = BL_GEMM_RULE + 1; i < BL_GEMM_ROUTES && !code; i++)
        if (is_tried(tuner, item, i) && !(code = bl_check_interrupted()))
            code = try_route(tuner, (enum bl_gemm_route)i, item, &d, trials);
    release(&d);
    return code;
}
