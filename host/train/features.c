/* How far two sets of images are apart by the features of a network. */
#include "train/sample.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_FEATURES = 1024, MOST_SWEEPS = 60 };

static const struct blanch_tensor *features_of(const struct blanch_network *net) {
    const struct bl_node *head = bl_graph_head(net->graph);
    return head ? head->in[0] : NULL;
}

int bl_features_open(struct bl_features *f, struct blanch_network *net) {
    *f = (struct bl_features){0};
    int code = bl_network_check_kind(net, BL_CLASSIFY);
    if (code) return code;
    const struct blanch_tensor *x = features_of(net);
    if (!x || x->h * x->w != 1 ||
        bl_graph_producer(net->graph, bl_graph_out(net->graph)) != bl_graph_head(net->graph) || x->c > MOST_FEATURES)
        return bl_fail(BLANCH_EUSAGE, "%s: its last layer is not a classifier of up to %d features", net->model->name,
                       MOST_FEATURES);
    f->size = (int)x->c;
    f->sum = bl_calloc((size_t)x->c, sizeof *f->sum);
    f->product = bl_calloc((size_t)(x->c * x->c), sizeof *f->product);
    return f->sum && f->product ? 0 : BLANCH_ENOMEM;
}

void bl_features_close(struct bl_features *f) {
    free(f->sum), free(f->product);
    *f = (struct bl_features){0};
}

int bl_features_add(struct bl_features *f, struct blanch_network *net, const float *images, int count) {
    struct bl_graph *graph = net->graph;
    struct blanch_tensor *in = bl_graph_in(graph), *x = (struct blanch_tensor *)features_of(net);
    const size_t size = (size_t)f->size, image = (size_t)(in->count / in->n);
    float *values = bl_calloc((size_t)in->n * size, sizeof *values);
    int code = values ? 0 : BLANCH_ENOMEM;
    for (int done = 0; done < count && !code; done += (int)in->n) {
        const int here = count - done < (int)in->n ? count - done : (int)in->n;
        code = bl_tensor_write_nhwc(in, here, images + (size_t)done * image);
        if (!code) code = bl_graph_forward(graph, here, false);
        if (!code) code = bl_tensor_read(graph, x, here, values);
        for (int n = 0; n < here && !code; n++)
            for (size_t i = 0; i < size; i++) {
                const double v = (double)values[(size_t)n * size + i];
                f->sum[i] += v;
                for (size_t k = 0; k < size; k++) f->product[i * size + k] += v * (double)values[(size_t)n * size + k];
            }
        f->count += here;
    }
    free(values);
    return code;
}

/* --- matrices ----------------------------------------------------------------------------------- */

/* A symmetric matrix becomes the diagonal one of its eigenvalues, vectors the rows of its eigenvectors (Jacobi). */
static void rotate(double *a, double *vectors, size_t n, size_t p, size_t q) {
    const double apart = (a[q * n + q] - a[p * n + p]) / (2 * a[p * n + q]),
                 t = (apart < 0 ? -1 : 1) / (fabs(apart) + sqrt(apart * apart + 1)), c = 1 / sqrt(t * t + 1), s = t * c;
    for (size_t k = 0; k < n; k++) {
        const double x = a[k * n + p], y = a[k * n + q];
        a[k * n + p] = c * x - s * y, a[k * n + q] = s * x + c * y;
    }
    for (size_t k = 0; k < n; k++) {
        const double x = a[p * n + k], y = a[q * n + k], u = vectors[p * n + k], v = vectors[q * n + k];
        a[p * n + k] = c * x - s * y, a[q * n + k] = s * x + c * y;
        vectors[p * n + k] = c * u - s * v, vectors[q * n + k] = s * u + c * v;
    }
}

static void diagonalise(double *a, double *vectors, size_t n) {
    double all = 0;
    for (size_t i = 0; i < n * n; i++) all += a[i] * a[i], vectors[i] = i / n == i % n;
    for (int sweep = 0; sweep < MOST_SWEEPS; sweep++) {
        double off = 0;
        for (size_t p = 0; p < n; p++)
            for (size_t q = p + 1; q < n; q++) off += a[p * n + q] * a[p * n + q];
        if (!(off > 1e-26 * all)) return;
        for (size_t p = 0; p < n; p++)
            for (size_t q = p + 1; q < n; q++)
                if (a[p * n + q] != 0) rotate(a, vectors, n, p, q);
    }
}

static void multiply(const double *a, const double *b, double *to, size_t n) {
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            double sum = 0;
            for (size_t k = 0; k < n; k++) sum += a[i * n + k] * b[k * n + j];
            to[i * n + j] = sum;
        }
}

static void fill_covariance(const struct bl_features *f, double *to) {
    const size_t n = (size_t)f->size;
    const double count = (double)f->count;
    for (size_t i = 0; i < n * n; i++) to[i] = (f->product[i] - f->sum[i / n] * f->sum[i % n] / count) / (count - 1);
}

/* The trace of the root of S T: that of root(S) T root(S), which is symmetric. s and t are used up. */
static double trace_of_root(double *s, double *t, double *vectors, double *room, size_t n) {
    double trace = 0;
    diagonalise(s, vectors, n);
    for (size_t i = 0; i < n * n; i++) room[i] = 0;
    for (size_t k = 0; k < n; k++)
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j++)
                room[i * n + j] += sqrt(fmax(s[k * n + k], 0)) * vectors[k * n + i] * vectors[k * n + j];
    multiply(room, t, s, n);
    multiply(s, room, t, n);
    diagonalise(t, vectors, n);
    for (size_t k = 0; k < n; k++) trace += sqrt(fmax(t[k * n + k], 0));
    return trace;
}

int bl_features_distance(const struct bl_features *a, const struct bl_features *b, double *distance) {
    const size_t n = (size_t)a->size;
    if (a->size != b->size || a->count < 2 || b->count < 2)
        return bl_fail(BLANCH_EUSAGE, "a distance takes two images or more on both sides, by one network");
    double *room = bl_calloc(4 * n * n, sizeof *room), *s = room, *t = room ? room + n * n : NULL;
    if (!room) return BLANCH_ENOMEM;
    fill_covariance(a, s), fill_covariance(b, t);
    *distance = 0;
    for (size_t i = 0; i < n; i++) {
        const double apart = a->sum[i] / (double)a->count - b->sum[i] / (double)b->count;
        *distance += apart * apart + s[i * n + i] + t[i * n + i];
    }
    *distance -= 2 * trace_of_root(s, t, room + 2 * n * n, room + 3 * n * n, n);
    free(room);
    return 0;
}
