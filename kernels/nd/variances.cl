/* D = diag(S)^(-1/2) in place of the inverse root (host/ops/nd/root_variances.c): Z = diag(W_0)^(-1/2) of symmetric
 * matrices (matrices, F, F), and its derivative in a direction. A work-item takes `each` of all matrices' rows
 * (dimension 1) and columns in turn (dimension 0). */
#define EACH(count, features)                                                                                          \
    for (int row = get_global_id(1) * each; row < min((int)(get_global_id(1) + 1) * each, count); row++)               \
        for (int j = get_global_id(0); j < features; j += get_global_size(0))

kernel void variances(global const float *w, int count, int features, int each, global float *z) {
    EACH(count, features) {
        const size_t at = (size_t)row * features + j;
        z[at] = row % features == j ? 1.0f / sqrt(w[at]) : 0.0f;
    }
}

kernel void back_variances(global const float *w, global const float *direction, int count, int features, int each,
                           global float *dz) {
    EACH(count, features) {
        const size_t at = (size_t)row * features + j;
        dz[at] = row % features == j ? -0.5f * direction[at] / (w[at] * sqrt(w[at])) : 0.0f;
    }
}
