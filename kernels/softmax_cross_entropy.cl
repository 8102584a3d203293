/* Per image: loss = L - z[label] with L = m + log(sum_j exp(z[j] - m)), m = max z; rank = how many classes lie before
 * the label's: those whose logit is larger, or equal with a lower index. logits (N, C), labels int (N),
 * out (N, 3): loss, rank, L. A label outside the classes, or a logit that is not finite, gives a NaN loss and an
 * infinite rank: such an image is never right.
 * With `smoothing` s and weights w of classes, which are 1 unless `weighted`, and whose mean is `mean`, the target of
 * class j is t[j] = w[j] ((1 - s) (share (j == label) + (1 - share) (j == other)) + s / classes), and the loss the sum
 * of t[j] (L - z[j]). Others are read where share is not 1. backward: dz[j] = (exp(z[j] - L) sum(t) - t[j]) / total,
 * times the loss's scale where it is `scaled`.
 * forward: an item takes some images; where the loss is `judged`, one that is not finite sets *skip. backward: an item
 * takes some classes (dimension 0) of some images (1). `add` other than 0 adds to what dz holds.
 *   VEC   1; required, for vec.h */
#include "loss_scale.h"
#include "vec.h"

#define BEGIN(d, total) (get_global_id(d) * (((size_t)(total) + get_global_size(d) - 1) / get_global_size(d)))
#define END(d, total)                                                                                                  \
    min(BEGIN(d, total) + ((size_t)(total) + get_global_size(d) - 1) / get_global_size(d), (size_t)(total))

kernel void forward(global const ACT *logits, global const int *labels, global float *out, int images, int classes,
                    float smoothing, global const float *weights, int weighted, float mean, global const int *others,
                    float share, volatile global int *skip, int judged) {
    const size_t end = END(0, images);
    for (size_t n = BEGIN(0, images); n < end; n++) {
        global const ACT *z = logits + n * classes;
        const int label = labels[n];
        const bool known = label >= 0 && label < classes;
        const float right = known ? LOAD_ACT1(z + label) : NAN;
        float largest = LOAD_ACT1(z), sum = 0.0f, below = 0.0f; // below: by how much logits are below the largest
        int rank = 0;
        bool finite = known;
        for (int j = 1; j < classes; j++) largest = fmax(largest, LOAD_ACT1(z + j));
        for (int j = 0; j < classes; j++) {
            const float logit = LOAD_ACT1(z + j);
            sum += exp(logit - largest);
            below += (weighted ? weights[j] : 1.0f) * (largest - logit);
            finite &= isfinite(logit) != 0;
            rank += j != label && (!(logit <= right) || (logit == right && j < label));
        }
        const float total = log(sum);
        const float own = (1.0f - smoothing) * (weighted && known ? weights[label] : 1.0f);
        float loss = own * ((largest - right) + total);
        if (share < 1.0f) {
            const int other = clamp(others[n], 0, classes - 1);
            const float part = (1.0f - smoothing) * (weighted ? weights[other] : 1.0f);
            loss = share * loss + (1.0f - share) * part * ((largest - LOAD_ACT1(z + other)) + total);
        }
        if (smoothing > 0.0f) loss += smoothing * (below / (float)classes + mean * total);
        out[n * 3] = finite ? loss : NAN;
        if (judged && !(finite && isfinite(loss))) atomic_xchg(skip, 1);
        out[n * 3 + 1] = finite ? (float)rank : INFINITY;
        out[n * 3 + 2] = largest + total;
    }
}

kernel void backward(global const ACT *logits, global const int *labels, global const float *out, global ACT *dz,
                     int images, float total, int classes, float smoothing, global const float *weights, int weighted,
                     float mean, global const int *others, float share, global const int *state, int scaled, int add) {
    const size_t end = END(1, images), last = END(0, classes);
    const float by = scaled ? as_float(state[SCALE]) : 1.0f;
    for (size_t n = BEGIN(1, images); n < end; n++) {
        const float largest = out[n * 3 + 2];
        const int label = labels[n];
        const bool known = label >= 0 && label < classes;
        const int other = share < 1.0f ? clamp(others[n], 0, classes - 1) : -1;
        const float hard = 1.0f - smoothing, own = hard * share, rest = hard - own, all = smoothing / (float)classes;
        const float sum = own * (weighted && known ? weights[label] : 1.0f) +
                          rest * (weighted && other >= 0 ? weights[other] : 1.0f) + smoothing * mean;
        for (size_t j = BEGIN(0, classes); j < last; j++) {
            const size_t at = n * classes + j;
            const float t = (weighted ? weights[j] : 1.0f) *
                            (((int)j == label ? own : 0.0f) + ((int)j == other ? rest : 0.0f) + all);
            const float g = (exp(LOAD_ACT1(logits + at) - largest) * sum - t) / total * by;
            STORE_ACT1(add ? LOAD_ACT1(dz + at) + g : g, dz + at);
        }
    }
}
