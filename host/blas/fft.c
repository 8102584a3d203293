/* Fourier transforms through clFFT: a plan for every size, number of planes and direction, made at its first use and
 * kept for as long as the device is open. */
#include "blas/fft.h"
#include "cl/cl_raw.h"
#include <clFFT.h>
#include <pthread.h>
#include <stdlib.h>

struct plan {
    struct plan *next;
    struct bl_fft fft;
    clfftDirection direction;
    clfftPlanHandle handle;
    struct bl_mem *scratch; // NULL: it needs none
};
struct plans {
    struct plan *first;
}; // of a device

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int users; // devices with plans: clFFT's own state lives as long as one has

bool bl_fft_available(void) {
    return true;
}

int64_t bl_fft_length(int64_t least) {
    for (int64_t length = least < 1 ? 1 : least;; length++) {
        int64_t rest = length;
        for (int prime = 2; prime < 8; prime++)
            while (rest % prime == 0) rest /= prime;
        if (rest == 1) return length;
    }
}

static int fail(clfftStatus status, const char *what, const struct bl_fft *fft) {
    if (status < 0)
        return bl_cl_fail((cl_int)status, "clFFT: %s, %lld planes of %lldx%lld", what, (long long)fft->planes,
                          (long long)fft->h, (long long)fft->w);
    return bl_fail(BLANCH_EDEVICE, "clFFT: %s, %lld planes of %lldx%lld: status %d", what, (long long)fft->planes,
                   (long long)fft->h, (long long)fft->w, (int)status);
}

/* --- plans ------------------------------------------------------------------------------------ */

static void plan_free(struct plan *plan) {
    if (plan->handle) clfftDestroyPlan(&plan->handle);
    bl_mem_free(plan->scratch);
    free(plan);
}

static void stop(void) {
    pthread_mutex_lock(&lock);
    if (!--users) clfftTeardown();
    pthread_mutex_unlock(&lock);
}

static void release(void *what) {
    struct plans *plans = what;
    for (struct plan *p = plans->first, *next; p; p = next) next = p->next, plan_free(p);
    free(plans);
    stop();
}

static int start(const struct bl_fft *fft) {
    clfftSetupData data = {clfftVersionMajor, clfftVersionMinor, clfftVersionPatch, 0};
    pthread_mutex_lock(&lock);
    clfftStatus status = users ? CLFFT_SUCCESS : clfftSetup(&data);
    if (!status) users++;
    pthread_mutex_unlock(&lock);
    return status ? fail(status, "setting up", fft) : 0;
}

static int plans_of(struct blanch_device *dev, const struct bl_fft *fft, struct plans **plans) {
    if ((*plans = bl_attached(dev, &users))) return 0;
    int code = start(fft);
    if (code) return code;
    *plans = bl_calloc(1, sizeof **plans);
    if (*plans && !bl_attach(dev, &users, *plans, release)) return 0;
    free(*plans);
    stop();
    return BLANCH_ENOMEM;
}

/* In place. The layouts are those of the header; distances and strides count what lies there, floats or complex values.
 */
static clfftStatus describe(struct plan *plan, cl_context context) {
    const bool inverse = plan->direction == CLFFT_BACKWARD;
    const size_t w = (size_t)plan->fft.w, h = (size_t)plan->fft.h, half = w / 2 + 1, lengths[2] = {w, h};
    size_t real[2] = {1, 2 * half}, complex[2] = {1, half};
    const clfftLayout from = inverse ? CLFFT_HERMITIAN_INTERLEAVED : CLFFT_REAL;
    const clfftLayout to = inverse ? CLFFT_REAL : CLFFT_HERMITIAN_INTERLEAVED;
    clfftStatus status = clfftCreateDefaultPlan(&plan->handle, context, CLFFT_2D, lengths);
    if (status) return plan->handle = 0, status;
    if ((status = clfftSetPlanPrecision(plan->handle, CLFFT_SINGLE))) return status;
    if ((status = clfftSetLayout(plan->handle, from, to))) return status;
    if ((status = clfftSetResultLocation(plan->handle, CLFFT_INPLACE))) return status;
    if ((status = clfftSetPlanBatchSize(plan->handle, (size_t)plan->fft.planes))) return status;
    if ((status = clfftSetPlanInStride(plan->handle, CLFFT_2D, inverse ? complex : real))) return status;
    if ((status = clfftSetPlanOutStride(plan->handle, CLFFT_2D, inverse ? real : complex))) return status;
    return clfftSetPlanDistance(plan->handle, h * half * (inverse ? 1 : 2), h * half * (inverse ? 2 : 1));
}

static int bake(struct blanch_device *dev, struct plan *plan) {
    cl_command_queue queue = bl_raw_queue(dev);
    size_t scratch = 0;
    clfftStatus status = describe(plan, bl_raw_context(dev));
    if (status) return fail(status, "describing a plan", &plan->fft);
    if ((status = clfftBakePlan(plan->handle, 1, &queue, NULL, NULL)))
        return fail(status, "building a plan", &plan->fft);
    if ((status = clfftGetTmpBufSize(plan->handle, &scratch)))
        return fail(status, "a plan's scratch memory", &plan->fft);
    return scratch ? bl_mem_alloc(dev, scratch, &plan->scratch) : 0;
}

static int plan_get(struct blanch_device *dev, const struct bl_fft *fft, clfftDirection direction, struct plan **out) {
    struct plans *plans;
    int code = plans_of(dev, fft, &plans);
    if (code) return code;
    for (struct plan *p = plans->first; p; p = p->next)
        if (p->direction == direction && p->fft.h == fft->h && p->fft.w == fft->w && p->fft.planes == fft->planes)
            return *out = p, 0;
    struct plan *plan = bl_calloc(1, sizeof *plan);
    if (!plan) return BLANCH_ENOMEM;
    plan->fft = *fft, plan->direction = direction;
    if ((code = bake(dev, plan))) return plan_free(plan), code;
    plan->next = plans->first;
    *out = plans->first = plan;
    return 0;
}

/* --- transforms ------------------------------------------------------------------------------- */

int bl_fft_prepare(struct blanch_device *dev, const struct bl_fft *fft, bool inverse) {
    struct plan *plan;
    return plan_get(dev, fft, inverse ? CLFFT_BACKWARD : CLFFT_FORWARD, &plan);
}

/* clFFT runs several kernels and gives the event of the last. */
static int transform(struct blanch_device *dev, const struct bl_fft *fft, clfftDirection direction,
                     struct bl_mem *planes) {
    struct plan *plan;
    int code = plan_get(dev, fft, direction, &plan);
    if (code || bl_is_dry(dev)) return code;
    cl_command_queue queue = bl_raw_queue(dev);
    cl_mem mem = bl_raw_mem(planes), scratch = plan->scratch ? bl_raw_mem(plan->scratch) : NULL;
    cl_event event = NULL;
    if ((code = bl_record_since(dev))) return code;
    clfftStatus status = clfftEnqueueTransform(plan->handle, direction, 1, &queue, 0, NULL,
                                               bl_recording(dev) ? &event : NULL, &mem, NULL, scratch);
    if (status) return fail(status, "a transform", fft);
    int counted = bl_count_launch(dev), recorded = 0;
    if (event) recorded = bl_record_event(dev, "clfft", event, bl_mem_size(planes));
    return counted ? counted : recorded;
}

int bl_fft_forward(struct blanch_device *dev, const struct bl_fft *fft, struct bl_mem *planes) {
    return transform(dev, fft, CLFFT_FORWARD, planes);
}

int bl_fft_inverse(struct blanch_device *dev, const struct bl_fft *fft, struct bl_mem *planes) {
    return transform(dev, fft, CLFFT_BACKWARD, planes);
}
