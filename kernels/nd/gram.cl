/* Sums of products of rows of few features (gram), and with them all that a layer's weights need of the gradient of
 * their folded form (weights_backward).
 *
 * sums = alpha A^T B, over parts of the rows: A, B (rows, n), sums (parts, n, n). Rows come in groups; where A is in
 * parameter order (`strided`), element f of row g of a group lies at f*group + g of the group, else at g*n + f.
 *
 * A work-item sums a part: up to PANEL_ROWS rows at a time are packed into panels (panels.h), of its share of the
 * scratch, and their products added to its sums. Where the result is symmetric, A is B, and tiles below the diagonal
 * are mirrored. Written for work-groups of one item.
 */
#include "nd/panels.h"

/* Rows first..first+count in order. */
void pack_rows(global const float *from, int n, int first, int count, global float *panels) {
    from += (size_t)first * n;
    for (int i = 0; i < count; i++, from += n) {
        global float *to = panels + 16 * i;
        int col = 0;
        for (; col + 16 <= n; col += 16, to += PANEL_STRIP) vstore16(vload16(0, from + col), 0, to);
        for (int j = 0; col < n && j < 16; j++) to[j] = j < n - col ? from[col + j] : 0.0f;
    }
}

/* The same of groups in parameter order: rows of one group that follow each other lie side by side. */
void pack_strided(global const float *from, int n, int group, int first, int count, global float *panels) {
    for (int i = 0; i < count;) {
        const int g = (first + i) % group, together = min(group - g, count - i);
        global const float *in = from + (size_t)(first + i - g) * n + g;
        for (int f = 0; f < (n + 15) / 16 * 16; f++, in += group) {
            global float *to = panels + f / 16 * PANEL_STRIP + 16 * i + f % 16;
            for (int k = 0; k < together; k++) to[16 * k] = f < n ? in[k] : 0.0f;
        }
        i += together;
    }
}

kernel void gram(global const float *a, global const float *b, int n, int rows, int group, int strided, int symmetric,
                 float alpha, global float *scratch, global float *sums) {
    const int parts = get_num_groups(0), part = get_group_id(0), each = (rows + parts - 1) / parts;
    const int first = min(part * each, rows), end = min(first + each, rows), strips = (n + 15) / 16;
    global float *right = scratch + (size_t)part * strips * PANEL_STRIP * (symmetric ? 1 : 2);
    global float *left = symmetric ? right : right + strips * PANEL_STRIP;
    sums += (size_t)part * n * n;
    for (int i = 0; i < n * n; i++) sums[i] = 0.0f;
    for (int from = first; from < end; from += PANEL_ROWS) {
        const int count = min(PANEL_ROWS, end - from);
        pack_rows(b, n, from, count, right);
        if (!symmetric && strided) pack_strided(a, n, group, from, count, left);
        if (!symmetric && !strided) pack_rows(a, n, from, count, left);
        add_panels(left, right, n, count, symmetric, alpha, sums);
    }
    if (symmetric) mirror(sums, n, 0, n, 0, n);
}

/* dW' = gradient less the mean's part, of rows first .. first + count, to a panel; and what they add to the mean's
 * gradient. */
void pack_gradient(global const float *gradient, global const float *folded, global const float *dbias,
                   global const float *mean, int n, int group, int first, int count, global float *panel,
                   global float *dmean) {
    for (int i = 0; i < count; i++) {
        const float by = -dbias[(first + i) / group];
        global const float *from = gradient + (size_t)(first + i) * n, *w = folded + (size_t)(first + i) * n;
        global float *to = panel + 16 * i;
        int col = 0;
        for (; col + 16 <= n; col += 16, to += PANEL_STRIP) {
            vstore16(FMA((float16)(by), vload16(0, mean + col), vload16(0, from + col)), 0, to);
            vstore16(FMA((float16)(by), vload16(0, w + col), vload16(0, dmean + col)), 0, dmean + col);
        }
        for (int j = 0; col < n && j < 16; j++) {
            to[j] = j < n - col ? FMA(by, mean[col + j], from[col + j]) : 0.0f;
            if (j < n - col) dmean[col + j] = FMA(by, w[col + j], dmean[col + j]);
        }
    }
}

/* Rows first .. first + count of a panel to where pack_strided() takes them from, or to rows. */
void unpack(global const float *panel, int n, int group, int strided, int first, int count, global float *to) {
    for (int i = 0; i < count;) {
        const int g = strided ? (first + i) % group : 0, together = strided ? min(group - g, count - i) : 1;
        global float *out = to + (size_t)(first + i - g) * n + g;
        for (int f = 0; f < n; f++, out += strided ? group : 1) {
            global const float *from = panel + f / 16 * PANEL_STRIP + 16 * i + f % 16;
            for (int k = 0; k < together; k++) out[k] = from[16 * k];
        }
        i += together;
    }
}

/* From W, dweight as A above, in groups of an output, W' = folded, its gradient and the bias's (fold.h): dW = dW' D,
 * packed D as multiply_panels() has it; in parts sums of W^T dW' (parts, n, n), and of the mean's gradient,
 * dmean (parts, n). A work-item takes a share of the outputs, and two panels of the scratch. */
kernel void weights_backward(global const float *weight, global const float *folded, global const float *gradient,
                             global const float *dbias, global const float *mean, global const float *packed, int n,
                             int outputs, int group, int strided, global float *scratch, global float *sums,
                             global float *dmean, global float *dweight) {
    const int parts = get_num_groups(0), part = get_group_id(0), each = (outputs + parts - 1) / parts;
    const int first = min(part * each, outputs) * group, end = min((part + 1) * each, outputs) * group;
    const int size = (n + 15) / 16 * PANEL_STRIP;
    global float *left = scratch + (size_t)part * 2 * size, *right = left + size;
    sums += (size_t)part * n * n;
    dmean += (size_t)part * n;
    for (int i = 0; i < n * n; i++) sums[i] = 0.0f;
    for (int i = 0; i < n; i++) dmean[i] = 0.0f;
    for (int from = first; from < end; from += PANEL_ROWS) {
        const int count = min(PANEL_ROWS, end - from);
        pack_gradient(gradient, folded, dbias, mean, n, group, from, count, right, dmean);
        if (strided)
            pack_strided(weight, n, group, from, count, left);
        else
            pack_rows(weight, n, from, count, left);
        add_panels(left, right, n, count, 0, 1.0f, sums);
        multiply_panels(right, packed, n, count, left);
        unpack(left, n, group, strided, from, count, dweight);
    }
}
