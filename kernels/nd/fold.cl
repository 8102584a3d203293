/* Folding of whitening into weights, what is not a matrix product: W'_g = W_g D, b' = b - sum_g W'_g m, and back.
 * Weights in rows: (O, G, F), row o*G + g; as parameters: (O, F, G), flat feature f*G + g. m, dm: (matrices, F); the
 * rows are divided evenly among the matrices. Between refreshes: fold.h.
 *
 * A work-item takes a share of the outputs or rows (dimension 1), and vectors of features in turn (dimension 0; one
 * item does a whole row where it is summed).
 *
 *  VEC   features at once: 1, 2, 4, 8, 16; divides F
 *  TREE  items of a group that sums an output's rows (tree.h); 0: an item sums some alone
 */
#include "vec.h"
#include "fma.h"
#include "tree.h"

float total(vec v) {
#if VEC == 1
    return v;
#else
    float part[VEC], sum = 0.0f;
    STORE(v, part);
    for (int i = 0; i < VEC; i++) sum += part[i];
    return sum;
#endif
}

/* The outputs first..end whose rows are summed: by this item, or by this group, whose items take vectors in turn. */
#if TREE
TREE_SUM(tree_sum, float)
#define OUTPUTS(count)                                                                                                 \
    local float room[TREE];                                                                                            \
    const int first = get_group_id(1), end = first + 1
#define FROM (get_local_id(0) * VEC)
#define STEP (TREE * VEC)
#define SUM_UP(v) tree_sum(total(v), room)
#define LEADS (get_local_id(0) == 0)
#else
#define OUTPUTS(count) SHARE(count)
#define FROM 0
#define STEP VEC
#define SUM_UP(v) total(v)
#define LEADS true
#endif

/* This item's share first..end of count. */
#define SHARE(count)                                                                                                   \
    const int each = ((count) + (int)get_global_size(1) - 1) / (int)get_global_size(1);                                \
    const int first = get_global_id(1) * each, end = min(first + each, count)
#define LANES const int lane = get_global_id(0) * VEC, lanes = get_global_size(0) * VEC

/* Parameter order to rows, of so many outputs from the begin-th on. */
kernel void to_rows(global const float *weight, int begin, int outputs, int interleave, int features,
                    global float *rows) {
    SHARE(outputs);
    for (int o = first; o < end; o++) {
        const size_t at = (size_t)(begin + o) * interleave * features;
        for (int g = 0; g < interleave; g++)
            for (int f = get_global_id(0); f < features; f += get_global_size(0))
                rows[at + (size_t)g * features + f] = weight[at + (size_t)f * interleave + g];
    }
}

/* The same of the weights of many layers (ahead.h), which have `values` each. */
struct rows_job {
    long block, from, to, values;
    int interleave, features;
};
#define TABLED rows_job
#include "ahead.h"

kernel void to_rows_ahead(global const float *weights, global float *rows, global const struct rows_job *table,
                          int first, int count) {
    const struct rows_job job = table[find_entry(table, first, count, THIS_BLOCK)];
    const long each = (long)job.interleave * job.features, end = min(AHEAD_END(job), job.values);
    for (long i = AHEAD_BEGIN(job); i < end; i += 64) {
        const int in = (int)(i % each), g = in / job.features, f = in - g * job.features;
        rows[job.to + i] = weights[job.from + i - in + (long)f * job.interleave + g];
    }
}

/* Rows to parameter order, of so many outputs from the begin-th on. */
kernel void from_rows(global const float *rows, int begin, int outputs, int interleave, int features,
                      global float *weight) {
    SHARE(outputs);
    for (int o = first; o < end; o++) {
        const size_t at = (size_t)(begin + o) * interleave * features;
        for (int f = get_global_id(0); f < features; f += get_global_size(0))
            for (int g = 0; g < interleave; g++)
                weight[at + (size_t)f * interleave + g] = rows[at + (size_t)g * features + f];
    }
}

/* b' = b - sum_g W'_g m. */
kernel void fold_bias(global const float *folded, global const float *mean, global const float *bias, int outputs,
                      int interleave, int features, int matrices, global float *out) {
    OUTPUTS(outputs);
    for (int o = first; o < end; o++) {
        global const float *m = mean + (size_t)(o / (outputs / matrices)) * features;
        vec sum = (vec)(0.0f);
        for (int g = 0; g < interleave; g++) {
            global const float *row = folded + ((size_t)o * interleave + g) * features;
            for (int f = FROM; f < features; f += STEP) sum = FMA(LOAD(row + f), LOAD(m + f), sum);
        }
        const float by = SUM_UP(sum);
        if (LEADS) out[o] = bias[o] - by;
    }
}

/* Between refreshes, W' = c (folded + a U_0 + b M_0), and b'; c is every first one of factors (matrices, 2). */
kernel void fold_target(global float *folded, global const float *weight, global const float *velocity, float a,
                        float b, global const float *factors, global const float *mean, global const float *bias,
                        int outputs, int interleave, int features, int matrices, global float *out) {
    OUTPUTS(outputs);
    for (int o = first; o < end; o++) {
        const int matrix = o / (outputs / matrices);
        global const float *m = mean + (size_t)matrix * features;
        const float c = factors[2 * matrix];
        vec sum = (vec)(0.0f);
        for (int g = 0; g < interleave; g++) {
            const size_t at = ((size_t)o * interleave + g) * features;
            for (int f = FROM; f < features; f += STEP) {
                const vec w = c * (LOAD(folded + at + f) + a * LOAD(weight + at + f) + b * LOAD(velocity + at + f));
                STORE(w, folded + at + f);
                sum = FMA(w, LOAD(m + f), sum);
            }
        }
        const float by = SUM_UP(sum);
        if (LEADS) out[o] = bias[o] - by;
    }
}

/* Rows to parameter order, added to a W_0 + b V_0 in that order. */
kernel void resolve(global const float *rows, global const float *weight, global const float *velocity, float a,
                    float b, int outputs, int interleave, int features, global float *out) {
    SHARE(outputs);
    for (int o = first; o < end; o++) {
        const size_t at = (size_t)o * interleave * features;
        for (int f = get_global_id(0); f < features; f += get_global_size(0))
            for (int g = 0; g < interleave; g++) {
                const size_t to = at + (size_t)f * interleave + g;
                out[to] = rows[at + (size_t)g * features + f] + a * weight[to] + b * velocity[to];
            }
    }
}

/* In one pass over dW' and W', in `parts` shares of a matrix's outputs (dimension 1 counts matrices * parts):
 *   dW' -= db (outer product) m, to `out`; where `scaled`, times every first one of factors (matrices, 2)
 *   partial: -sum over o, g of db[o] W'_g[o], which is dm, of each share: (parts, matrices, F)
 *   dots: what <dW', W'> = <dD, D> gathers in each share and lane: (matrices, parts, across) */
kernel void weight_gradient(global const float *folded, global const float *dbias, global const float *mean,
                            int outputs, int interleave, int features, int matrices, int parts, int across,
                            global const float *gradient, int scaled, global const float *factors, global float *out,
                            global float *partial, global float *dots) {
    SHARE(matrices * parts);
    LANES;
    const int count = outputs / matrices, share = (count + parts - 1) / parts;
    for (int unit = first; unit < end; unit++) {
        const int matrix = unit / parts, from = unit % parts * share, to = min(from + share, count);
        global const float *m = mean + (size_t)matrix * features;
        const float by = scaled ? factors[2 * matrix] : 1.0f;
        global float *sums = partial + ((size_t)(unit % parts) * matrices + matrix) * features;
        for (int f = lane; f < features; f += lanes) STORE((vec)(0.0f), sums + f);
        float dot = 0.0f;
        for (int o = matrix * count + from; o < matrix * count + to; o++) {
            const vec scale = (vec)(-dbias[o]);
            vec both = (vec)(0.0f);
            for (int g = 0; g < interleave; g++) {
                const size_t at = ((size_t)o * interleave + g) * features;
                for (int f = lane; f < features; f += lanes) {
                    const vec w = LOAD(folded + at + f), dw = FMA(scale, LOAD(m + f), LOAD(gradient + at + f));
                    STORE(by * dw, out + at + f);
                    STORE(FMA(scale, w, LOAD(sums + f)), sums + f);
                    both = FMA(dw, w, both);
                }
            }
            dot += total(both);
        }
        if (get_global_id(0) < across) dots[(size_t)unit * across + get_global_id(0)] = dot;
    }
}

/* dm: the sum of the shares. */
kernel void sum_parts(global const float *partial, int parts, int count, global float *dmean) {
    SHARE(count);
    for (int f = first; f < end; f++) {
        float sum = 0.0f;
        for (int p = 0; p < parts; p++) sum += partial[(size_t)p * count + f];
        dmean[f] = sum;
    }
}
