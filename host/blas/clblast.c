/* Matrix products through CLBlast. */
#include "blas/internal.h"
#include "cl/cl_raw.h"
#include <clblast_c.h>
#include <pthread.h>
#include <stdlib.h>

/* Elements from a matrix's first to behind its last. */
static size_t extent(int64_t rows, int64_t columns, int64_t ld, int64_t stride, int64_t batch) {
    return (size_t)((batch - 1) * stride + (rows - 1) * ld + columns);
}

static int copy_init(const struct bl_gemm *g, int64_t batch) {
    if (g->ldc != g->n || (batch > 1 && g->stride_c != g->m * g->n))
        return bl_fail(BLANCH_EUSAGE, "a matrix product that starts from another matrix needs a dense result");
    return bl_mem_copy(g->init, sizeof(float) * g->offset_init, g->c, sizeof(float) * g->offset_c,
                       sizeof(float) * extent(g->m, g->n, g->ldc, g->stride_c, batch));
}

/* CLBlast computes some offsets in 32 bits. */
static int check_offsets(const struct bl_gemm *g, int64_t batch) {
    size_t a = g->offset_a + extent(g->trans_a ? g->k : g->m, g->trans_a ? g->m : g->k, g->lda, g->stride_a, batch);
    size_t b = g->offset_b + extent(g->trans_b ? g->n : g->k, g->trans_b ? g->k : g->n, g->ldb, g->stride_b, batch);
    size_t c = g->offset_c + extent(g->m, g->n, g->ldc, g->stride_c, batch);
    if (a <= INT32_MAX && b <= INT32_MAX && c <= INT32_MAX) return 0;
    return bl_fail(BLANCH_ELIMIT,
                   "a matrix product of %lld x %lld x %lld is too large for CLBlast: use a smaller batch",
                   (long long)g->m, (long long)g->n, (long long)g->k);
}

/* CLBlast's own statuses, those that a product can have. */
static const struct {
    CLBlastStatusCode status;
    const char *name;
} statuses[] = {
#define N(x)                                                                                                           \
    { x, #x }
    N(CLBlastNotImplemented),
    N(CLBlastInvalidMatrixA),
    N(CLBlastInvalidMatrixB),
    N(CLBlastInvalidMatrixC),
    N(CLBlastInvalidDimension),
    N(CLBlastInvalidLeadDimA),
    N(CLBlastInvalidLeadDimB),
    N(CLBlastInvalidLeadDimC),
    N(CLBlastInvalidBatchCount),
    N(CLBlastInvalidOverrideKernel),
    N(CLBlastMissingOverrideParameter),
    N(CLBlastInvalidLocalMemUsage),
    N(CLBlastNoHalfPrecision),
    N(CLBlastNoDoublePrecision),
    N(CLBlastInsufficientMemoryTemp),
    N(CLBlastInsufficientMemoryA),
    N(CLBlastInsufficientMemoryB),
    N(CLBlastInsufficientMemoryC),
    N(CLBlastDatabaseError),
    N(CLBlastUnknownError),
    N(CLBlastUnexpectedError),
#undef N
};

static const char *status_name(CLBlastStatusCode status) {
    for (int i = 0; i < BL_COUNT(statuses); i++)
        if (statuses[i].status == status) return statuses[i].name;
    return "a status that it does not document";
}

/* CLBlast passes OpenCL's errors on; its own lie between. */
static int fail(CLBlastStatusCode status, const struct bl_gemm *g) {
    const int number = (int)status;
    const char *format = "CLBlast, a product of %lld x %lld x %lld";
    if (number > -1000 || number < -3000)
        return bl_cl_fail(number, format, (long long)g->m, (long long)g->n, (long long)g->k);
    return bl_fail(BLANCH_EDEVICE, "CLBlast refuses a product of %lld x %lld x %lld: %s (%d)", (long long)g->m,
                   (long long)g->n, (long long)g->k, status_name(status), number);
}

/* CLBlast keeps programs by context for the life of the process, which must not outlive the context. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int users; // devices that have computed with it; its address is the key

/* Of a device: room for CLBlast's copies of the matrices, grown as products ask for it. Where CLBlast itself is refused
 * memory, it ends the process. */
struct scratch {
    struct bl_mem *mem;
    bool refused; // a product, which the device survives
};

static void leave(void *what) {
    struct scratch *scratch = what;
    bl_mem_free(scratch->mem);
    free(scratch);
    pthread_mutex_lock(&lock);
    if (!--users) CLBlastClearCache();
    pthread_mutex_unlock(&lock);
}

static int join(struct blanch_device *dev, struct scratch **scratch) {
    if ((*scratch = bl_attached(dev, &users))) return 0;
    if (!(*scratch = bl_calloc(1, sizeof **scratch))) return BLANCH_ENOMEM;
    int code = bl_attach(dev, &users, *scratch, leave);
    if (code) return free(*scratch), code;
    pthread_mutex_lock(&lock);
    users++;
    pthread_mutex_unlock(&lock);
    return 0;
}

/* What is queued keeps the room that it was given. */
static int grow(struct blanch_device *dev, struct scratch *scratch, size_t bytes) {
    if (!bytes || (scratch->mem && bl_mem_size(scratch->mem) >= bytes)) return 0;
    bl_mem_free(scratch->mem);
    scratch->mem = NULL;
    return bl_mem_alloc(dev, bytes, &scratch->mem);
}

bool bl_clblast_available(void) {
    return true;
}

bool bl_clblast_refused(const struct blanch_device *dev) {
    const struct scratch *scratch = bl_attached(dev, &users);
    return scratch && scratch->refused;
}

static CLBlastTranspose way(bool transposed) {
    return transposed ? CLBlastTransposeYes : CLBlastTransposeNo;
}

static int single(struct blanch_device *dev, const struct bl_gemm *g, struct scratch *scratch, cl_event *event) {
    cl_command_queue queue = bl_raw_queue(dev);
    const size_t m = (size_t)g->m, n = (size_t)g->n, k = (size_t)g->k;
    const size_t lda = (size_t)g->lda, ldb = (size_t)g->ldb, ldc = (size_t)g->ldc;
    size_t bytes = 0;
    CLBlastStatusCode status =
        CLBlastSGemmTempBufferSize(CLBlastLayoutRowMajor, way(g->trans_a), way(g->trans_b), m, n, k, g->offset_a, lda,
                                   g->offset_b, ldb, g->offset_c, ldc, &queue, &bytes);
    if (status != CLBlastSuccess) return fail(status, g);
    int code = grow(dev, scratch, bytes);
    if (code) return code;
    bl_gemm_work(dev, g, g->k);
    status = CLBlastSgemmWithTempBuffer(CLBlastLayoutRowMajor, way(g->trans_a), way(g->trans_b), m, n, k, g->alpha,
                                        bl_raw_mem(g->a), g->offset_a, lda, bl_raw_mem(g->b), g->offset_b, ldb, g->beta,
                                        bl_raw_mem(g->c), g->offset_c, ldc, &queue, event,
                                        bytes ? bl_raw_mem(scratch->mem) : NULL);
    return status == CLBlastSuccess ? 0 : fail(status, g);
}

static int batched(struct blanch_device *dev, const struct bl_gemm *g, cl_event *event) {
    cl_command_queue queue = bl_raw_queue(dev);
    bl_gemm_work(dev, g, g->k);
    CLBlastStatusCode status = CLBlastSgemmStridedBatched(
        CLBlastLayoutRowMajor, way(g->trans_a), way(g->trans_b), (size_t)g->m, (size_t)g->n, (size_t)g->k, g->alpha,
        bl_raw_mem(g->a), g->offset_a, (size_t)g->lda, (size_t)g->stride_a, bl_raw_mem(g->b), g->offset_b,
        (size_t)g->ldb, (size_t)g->stride_b, g->beta, bl_raw_mem(g->c), g->offset_c, (size_t)g->ldc,
        (size_t)g->stride_c, (size_t)g->batch, &queue, event);
    return status == CLBlastSuccess ? 0 : fail(status, g);
}

int bl_clblast_gemm(struct blanch_device *dev, const struct bl_gemm *g) {
    int64_t batch = g->batch > 0 ? g->batch : 1;
    struct scratch *scratch;
    cl_event event = NULL, *want = bl_recording(dev) ? &event : NULL;
    int code = check_offsets(g, batch), recorded = 0;
    if (!code) code = bl_clblast_tune(dev);
    if (!code) code = join(dev, &scratch);
    if (!code && g->init && g->beta != 0) code = copy_init(g, batch);
    if (code || bl_is_dry(dev)) return code;
    code = batch == 1 ? single(dev, g, scratch, want) : batched(dev, g, want);
    scratch->refused = code == BLANCH_EDEVICE && bl_device_refused();
    if (code) return code;
    code = bl_count_launch(dev);
    if (event) recorded = bl_record_event(dev, "clblast_gemm", event, 0);
    return code ? code : recorded;
}
