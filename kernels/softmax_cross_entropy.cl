/* Per image, or per pixel of an image: loss = L - z[label] with L = m + log(sum_j exp(z[j] - m)), m = max z; rank = how
 * many classes lie before the label's: those whose logit is larger, or equal with a lower index. logits (rows, C), a
 * row an image or a pixel, labels int (rows). A label outside the classes, or a logit that is not finite, gives a NaN
 * loss and an infinite rank: such a row is never right. With `smoothing` s and weights w of classes, which are 1 unless
 * `weighted`, and whose mean is `mean`, the target of class j is t[j] = w[j] ((1 - s) (share (j == label) + (1 - share)
 * (j == other)) + s / classes), and the loss the sum of t[j] (L - z[j]). Others are read where share is not 1.
 * backward: dz[j] = (exp(z[j] - L) sum(t) - t[j]) / total, times the loss's scale where it is `scaled`, and 0 of a row
 * whose label is `ignored`. forward: rows are images; out (N, 3): loss, rank, L; an item takes some. Where the loss is
 * `judged`, one that is not finite sets *skip. forward_pixels: levels (rows): L; first (rows): the class of the largest
 * logit, the first among equals; an item takes one chunk of an image's pixels, a unit: partial (units, 3): the sum of
 * losses, how many pixels are right, how many have a label that is not ignored. sum_units: out (N, 3) of an image's
 * units, which an item adds in order. backward: an item takes some classes (dimension 0) of some rows (1); L is
 * levels[row * step + step - 1]. `add` other than 0 adds to what dz holds. VEC   1; required, for vec.h */
#include "loss_scale.h"
#include "vec.h"

#define BEGIN(d, total) (get_global_id(d) * (((size_t)(total) + get_global_size(d) - 1) / get_global_size(d)))
#define END(d, total)                                                                                                  \
    min(BEGIN(d, total) + ((size_t)(total) + get_global_size(d) - 1) / get_global_size(d), (size_t)(total))

struct row {
    float loss, level; // L
    int rank, first;
    bool finite;
};

struct row look(global const ACT *z, int label, int classes, float smoothing, global const float *weights, int weighted,
                float mean) {
    const bool known = label >= 0 && label < classes;
    const float right = known ? LOAD_ACT1(z + label) : NAN;
    float largest = LOAD_ACT1(z), sum = 0.0f, below = 0.0f; // below: by how much logits are below the largest
    struct row row = {0.0f, 0.0f, 0, 0, known};
    for (int j = 1; j < classes; j++) {
        const float logit = LOAD_ACT1(z + j);
        if (logit > largest) row.first = j;
        largest = fmax(largest, logit);
    }
    for (int j = 0; j < classes; j++) {
        const float logit = LOAD_ACT1(z + j);
        sum += exp(logit - largest);
        below += (weighted ? weights[j] : 1.0f) * (largest - logit);
        row.finite &= isfinite(logit) != 0;
        row.rank += j != label && (!(logit <= right) || (logit == right && j < label));
    }
    const float total = log(sum);
    const float own = (1.0f - smoothing) * (weighted && known ? weights[label] : 1.0f);
    row.level = largest + total;
    row.loss = own * ((largest - right) + total);
    if (smoothing > 0.0f) row.loss += smoothing * (below / (float)classes + mean * total);
    return row;
}

/* What the loss gains where a part of the image is of another label. */
float of_other(global const ACT *z, int label, int other, int classes, global const float *weights, int weighted,
               float level) {
    const float own = (weighted ? weights[label] : 1.0f) * (level - LOAD_ACT1(z + label));
    return (weighted ? weights[other] : 1.0f) * (level - LOAD_ACT1(z + other)) - own;
}

kernel void forward(global const ACT *logits, global const int *labels, global float *out, int images, int classes,
                    float smoothing, global const float *weights, int weighted, float mean, global const int *others,
                    float share, volatile global int *skip, int judged) {
    const size_t end = END(0, images);
    for (size_t n = BEGIN(0, images); n < end; n++) {
        global const ACT *z = logits + n * classes;
        struct row row = look(z, labels[n], classes, smoothing, weights, weighted, mean);
        if (share < 1.0f && row.finite)
            row.loss += (1.0f - smoothing) * (1.0f - share) *
                        of_other(z, labels[n], clamp(others[n], 0, classes - 1), classes, weights, weighted, row.level);
        out[n * 3] = row.finite ? row.loss : NAN;
        if (judged && !(row.finite && isfinite(row.loss))) atomic_xchg(skip, 1);
        out[n * 3 + 1] = row.finite ? (float)row.rank : INFINITY;
        out[n * 3 + 2] = row.level;
    }
}

kernel void forward_pixels(global const ACT *logits, global const int *labels, global float *levels, global int *first,
                           global float *partial, int units, int chunks, int chunk, int pixels, int classes,
                           float smoothing, global const float *weights, int weighted, float mean, int ignored,
                           volatile global int *skip, int judged) {
    const size_t end = END(0, units);
    for (size_t unit = BEGIN(0, units); unit < end; unit++) {
        const int begin = (int)(unit % chunks) * chunk, stop = min(begin + chunk, pixels);
        float sum = 0.0f;
        int right = 0, counted = 0;
        for (int p = begin; p < stop; p++) {
            const size_t at = unit / chunks * pixels + p;
            const int label = labels[at];
            const bool counts = label != ignored;
            const struct row row =
                look(logits + at * classes, counts ? label : 0, classes, smoothing, weights, weighted, mean);
            const float loss = row.finite ? row.loss : NAN;
            levels[at] = row.level;
            first[at] = row.first;
            if (!counts) continue;
            sum += loss;
            right += row.finite && row.rank == 0;
            counted++;
        }
        if (judged && !isfinite(sum)) atomic_xchg(skip, 1);
        partial[unit * 3] = sum;
        partial[unit * 3 + 1] = (float)right;
        partial[unit * 3 + 2] = (float)counted;
    }
}

kernel void sum_units(global const float *restrict partial, global float *restrict out, int images, int chunks) {
    const size_t end = END(0, (size_t)images * 3);
    for (size_t i = BEGIN(0, (size_t)images * 3); i < end; i++) {
        float sum = 0.0f;
        for (int k = 0; k < chunks; k++) sum += partial[(i / 3 * chunks + k) * 3 + i % 3];
        out[i] = sum;
    }
}

kernel void backward(global const ACT *logits, global const int *labels, global const float *levels, int step,
                     global ACT *dz, int rows, float total, int classes, int ignored, float smoothing,
                     global const float *weights, int weighted, float mean, global const int *others, float share,
                     global const int *state, int scaled, int add) {
    const size_t end = END(1, rows), last = END(0, classes);
    const float by = scaled ? as_float(state[SCALE]) : 1.0f;
    for (size_t n = BEGIN(1, rows); n < end; n++) {
        const float level = levels[n * step + step - 1];
        const int label = labels[n];
        const bool known = label >= 0 && label < classes, counts = label != ignored;
        const int other = share < 1.0f ? clamp(others[n], 0, classes - 1) : -1;
        const float hard = 1.0f - smoothing, own = hard * share, rest = hard - own, all = smoothing / (float)classes;
        const float sum = own * (weighted && known ? weights[label] : 1.0f) +
                          rest * (weighted && other >= 0 ? weights[other] : 1.0f) + smoothing * mean;
        for (size_t j = BEGIN(0, classes); j < last; j++) {
            const size_t at = n * classes + j;
            const float t = (weighted ? weights[j] : 1.0f) *
                            (((int)j == label ? own : 0.0f) + ((int)j == other ? rest : 0.0f) + all);
            const float g = counts ? (exp(LOAD_ACT1(logits + at) - level) * sum - t) / total * by : 0.0f;
            STORE_ACT1(add ? LOAD_ACT1(dz + at) + g : g, dz + at);
        }
    }
}
