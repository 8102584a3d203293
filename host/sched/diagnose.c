/* Diagnosis from S and D read back, by products of matrices with vectors alone: some 120 F^2 multiply-adds a matrix. */
#include "sched/diagnose.h"
#include "io/files.h"
#include "ops/nd/schedule.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMNS = 16, MATRICES = 8, STOP = 1 };
static const double much_eps = 0.5, overshoot = 1.5, ill = 1e6; // thresholds of a warning

struct matrices {
    int64_t f;
    const float *s, *d;
    double *work;
}; // work: (BL_EIGENVALUES + 3, F)

/* --- products --------------------------------------------------------------------------------- */

static void multiply(const float *a, int64_t f, const double *x, double *y) {
    for (int64_t i = 0; i < f; i++) {
        double sum = 0;
        for (int64_t j = 0; j < f; j++) sum += (double)a[i * f + j] * x[j];
        y[i] = sum;
    }
}

static void covariance_times(const struct matrices *m, const double *x, double *y) {
    multiply(m->s, m->f, x, y);
}

static void whitened_times(const struct matrices *m, const double *x, double *y) {
    double *between = m->work + (BL_EIGENVALUES + 2) * m->f;
    multiply(m->d, m->f, x, y);
    multiply(m->s, m->f, y, between);
    multiply(m->d, m->f, between, y);
}

static double dot(const double *x, const double *y, int64_t f) {
    double sum = 0;
    for (int64_t i = 0; i < f; i++) sum += x[i] * y[i];
    return sum;
}

/* --- eigenvalues ------------------------------------------------------------------------------ */

/* How many eigenvalues of the tridiagonal matrix lie below x (Sturm's sequence). */
static int below(const double *a, const double *b, int count, double x) {
    double q = 1;
    int negative = 0;
    for (int i = 0; i < count; i++) {
        q = a[i] - x - (i ? b[i - 1] * b[i - 1] / q : 0);
        if (fabs(q) < 1e-300) q = -1e-300;
        negative += q < 0;
    }
    return negative;
}

static void tridiagonal_eigenvalues(const double *a, const double *b, int count, double *values) {
    double bound = 0;
    for (int i = 0; i < count; i++)
        bound = fmax(bound, fabs(a[i]) + (i ? fabs(b[i - 1]) : 0) + (i + 1 < count ? fabs(b[i]) : 0));
    for (int k = 0; k < count; k++) {
        double low = -bound, high = bound;
        for (int i = 0; i < 80; i++) {
            double middle = 0.5 * (low + high);
            if (below(a, b, count, middle) > k)
                high = middle;
            else
                low = middle;
        }
        values[k] = high;
    }
}

/* Lanczos with full reorthogonalisation from a fixed start; values rise. Returns how many. */
static int eigenvalues_of(const struct matrices *m, void (*times)(const struct matrices *, const double *, double *),
                          double *values) {
    double a[BL_EIGENVALUES], b[BL_EIGENVALUES], *v = m->work;
    int64_t f = m->f;
    int most = f < BL_EIGENVALUES ? (int)f : BL_EIGENVALUES, count = 0;
    uint32_t word[4];
    for (int64_t i = 0; i < f; i++) {
        bl_philox(0, BL_RANDOM_DATA, (uint64_t)i, 0, word);
        v[i] = 2.0 * (double)bl_uniform(word[0]) - 1.0;
    }
    double norm = sqrt(dot(v, v, f));
    for (int64_t i = 0; i < f; i++) v[i] /= norm;
    while (count < most) {
        double *now = v + count * f, *next = now + f;
        times(m, now, next);
        a[count] = dot(now, next, f);
        for (int twice = 0; twice < 2; twice++)
            for (int k = 0; k <= count; k++) {
                double part = dot(v + k * f, next, f);
                for (int64_t i = 0; i < f; i++) next[i] -= part * v[k * f + i];
            }
        b[count] = sqrt(dot(next, next, f));
        count++;
        if (!(b[count - 1] > 1e-12 * fabs(a[0]))) break;
        for (int64_t i = 0; i < f; i++) next[i] /= b[count - 1];
    }
    tridiagonal_eigenvalues(a, b, count, values);
    return count;
}

static double residual_of(const struct matrices *m) {
    double largest = 0, *unit = m->work, *column = m->work + m->f;
    int64_t columns = m->f < COLUMNS ? m->f : COLUMNS;
    for (int64_t k = 0; k < columns; k++) {
        int64_t at = k * m->f / columns;
        memset(unit, 0, sizeof *unit * (size_t)m->f);
        unit[at] = 1;
        whitened_times(m, unit, column);
        column[at] -= 1;
        for (int64_t i = 0; i < m->f; i++) largest = fmax(largest, fabs(column[i]));
    }
    return largest;
}

/* --- a layer ---------------------------------------------------------------------------------- */

static bool all_finite(const float *values, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        if (!isfinite(values[i])) return false;
    return true;
}

/* Takes a matrix in where it is worse than those before. */
static void diagnose_matrix(const struct matrices *m, double eps, struct bl_diagnosis *to) {
    double values[BL_EIGENVALUES], trace = 0;
    to->finite &= all_finite(m->s, m->f * m->f) && all_finite(m->d, m->f * m->f);
    if (!to->finite) return;
    for (int64_t i = 0; i < m->f; i++) trace += (double)m->s[i * m->f + i];
    double residual = residual_of(m);
    int count = eigenvalues_of(m, covariance_times, values);
    double smallest = fmax(values[0], 1e-9 * values[count - 1]); // float32 resolves no more
    to->condition = fmax(to->condition, smallest > 0 ? values[count - 1] / smallest : 0);
    to->eps_share = fmax(to->eps_share, trace > 0 ? fmin(eps * (double)m->f / trace, 1) : 1);
    if (residual < to->residual) return;
    to->residual = residual;
    to->eigenvalue_count = eigenvalues_of(m, whitened_times, to->eigenvalue);
    if (smallest > 0 && to->eigenvalue[0] > 0)
        to->gain = sqrt(to->eigenvalue[0] / to->eigenvalue[to->eigenvalue_count - 1] * values[count - 1] / smallest);
}

static bool remark(struct bl_diagnosis *d, bool holds, const char *trouble, const char *remedy) {
    if (holds) d->trouble = trouble, d->remedy = remedy;
    return holds;
}

/* The first that holds. */
static void judge(struct bl_diagnosis *d, const struct bl_whitening_facts *facts) {
    const double eps = facts->eps;
    bool linear = d->node->param[0]->dims == 2;
    double largest = d->eigenvalue_count ? d->eigenvalue[d->eigenvalue_count - 1] : 0;
    (void)(remark(d, !d->finite, "its covariance or D is not finite",
                  "a larger --nd-eps, a smaller --lr or fewer --nd-iter") ||
           remark(d, largest > overshoot, "D overshoots, which makes training unstable",
                  "fewer --nd-iter or a larger --nd-eps") ||
           remark(d, d->samples < d->features, "fewer samples than features: eps alone carries some directions",
                  facts->capped ? "a larger --cov-samples, or none"
                  : linear      ? "a larger --batch or a smaller --block-fc"
                                : "a larger --batch, a smaller --block or --sampling-stride 1") ||
           remark(d, d->eps_share > much_eps, "eps is most of the variance, its input is hardly whitened",
                  "a smaller --nd-eps") ||
           remark(d, d->condition > ill && d->gain > 0.1 * sqrt(d->condition) && eps > 0,
                  "directions that hold hardly anything are raised to full size: noise is amplified",
                  "a larger --nd-eps, fewer --nd-iter or a smaller --block"));
}

static int diagnose_layer(const struct bl_node *node, const struct bl_whitening_facts *facts, struct bl_diagnosis *to) {
    size_t f = (size_t)facts->features, count = f * f;
    float *s = bl_calloc(2 * count, sizeof *s);
    double *work = bl_calloc((BL_EIGENVALUES + 3) * f, sizeof *work);
    int looked = facts->matrices < MATRICES ? facts->matrices : MATRICES, code = s && work ? 0 : BLANCH_ENOMEM;
    *to = (struct bl_diagnosis){.node = node, .features = facts->features, .samples = facts->samples, .finite = true};
    for (int i = 0; i < looked && !code; i++) {
        struct matrices m = {facts->features, s, s + count, work};
        code = bl_whitening_read(node->whitening, (int)((int64_t)i * facts->matrices / looked), s, s + count);
        if (!code) diagnose_matrix(&m, facts->eps, to);
    }
    if (!code) judge(to, facts);
    free(s);
    free(work);
    return code;
}

/* --- the network ------------------------------------------------------------------------------ */

struct diagnoser {
    struct bl_diagnosis *diagnosis;
    int count, left;
    enum bl_nd_action order; // of the node that runs
};

/* Layers that would reuse D in this step are whitened exactly for once. */
static int before(void *context, struct bl_node *node, const struct bl_run *run, enum bl_action_kind kind) {
    struct diagnoser *d = context;
    if (kind != BL_DO_FORWARD) return STOP;
    if (node->whitening) d->order = bl_whitening_order(node->whitening, BL_ND_EXACT);
    return 0;
}

static int after(void *context, struct bl_node *node, const struct bl_run *run, enum bl_action_kind kind) {
    struct diagnoser *d = context;
    if (!node->whitening) return 0;
    bl_whitening_order(node->whitening, d->order);
    struct bl_whitening_facts facts = bl_whitening_look(node->whitening, run->n);
    bool exact = facts.last == BL_ND_EXACT;
    int code = exact ? diagnose_layer(node, &facts, &d->diagnosis[d->count]) : 0;
    if (code) return code;
    d->count += exact;
    return --d->left ? 0 : STOP;
}

int bl_diagnose(struct bl_graph *graph, int n, struct bl_diagnosis **diagnoses, int *count) {
    struct diagnoser d = {0};
    const struct bl_visitor visitor = {&d, before, after};
    for (int i = 0; i < bl_graph_nodes(graph); i++) d.left += bl_graph_node(graph, i)->whitening != NULL;
    *diagnoses = d.diagnosis = bl_calloc((size_t)d.left + 1, sizeof *d.diagnosis);
    if (!d.diagnosis) return BLANCH_ENOMEM;
    int code = d.left ? bl_graph_walk(graph, n, &visitor) : 0;
    *count = d.count;
    return code == STOP ? 0 : code;
}

cJSON *bl_diagnoses_json(const struct bl_diagnosis *diagnoses, int count) {
    cJSON *layers = cJSON_CreateArray();
    for (int i = 0; i < count; i++) {
        const struct bl_diagnosis *d = &diagnoses[i];
        cJSON *layer = cJSON_CreateObject();
        cJSON_AddStringToObject(layer, "name", d->node->name);
        cJSON_AddNumberToObject(layer, "features", (double)d->features);
        cJSON_AddNumberToObject(layer, "samples", (double)d->samples);
        cJSON_AddBoolToObject(layer, "finite", d->finite);
        cJSON_AddItemToObject(layer, "residual", bl_json_number(d->residual, 4));
        cJSON_AddItemToObject(layer, "condition", bl_json_number(d->condition, 4));
        cJSON_AddItemToObject(layer, "eps_share", bl_json_number(d->eps_share, 4));
        cJSON_AddItemToObject(layer, "gain", bl_json_number(d->gain, 4));
        cJSON *spread = cJSON_AddArrayToObject(layer, "spread");
        for (int k = 0; k < d->eigenvalue_count; k++) cJSON_AddItemToArray(spread, bl_json_number(d->eigenvalue[k], 4));
        if (d->trouble) cJSON_AddStringToObject(layer, "trouble", d->trouble);
        cJSON_AddItemToArray(layers, layer);
    }
    return layers;
}
