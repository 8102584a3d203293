/* A diffusion (Ho, Jain and Abbeel, NeurIPS 2020): y = sqrt(A_t) x + sqrt(1 - A_t) e, A_t the product of 1 - beta_s for
 * s up to t, beta linear over `steps` steps from `first` to `last`, e normal and t uniform of each image. Outputs: y,
 * e, and t, one float32 of each image, from 0. Both are Philox's, keyed by seed, step and node and counted by image and
 * position; in evaluation the step counts as 0, so that each batch has the same. No gradient passes. */
#include "ops/diffuse.h"
#include "graph/reference.h"
#include "ops/common.h"
#include <math.h>
#include <stdlib.h>

struct state {
    struct bl_kernel *diffuse;
    struct blanch_tensor *table; // (steps, 2)
};

double bl_diffuse_beta(const struct bl_diffuse_attrs *a, int t) {
    const double first = (double)a->first, last = (double)a->last;
    return a->steps > 1 ? first + (last - first) * t / (a->steps - 1) : first;
}

static int setup(struct bl_node *node) {
    const struct bl_diffuse_attrs *a = node->attrs;
    int code = bl_check_inputs(node, 1, 1);
    if (code) return code;
    const struct blanch_tensor *x = node->in[0];
    if (a->steps < 1 || a->steps > BL_MOST_DIFFUSED || !(a->first > 0 && a->first < 1 && a->last > 0 && a->last < 1))
        return bl_fail(BLANCH_EINPUT, "%s: %d steps of variances from %g to %g: 1 to %d, and between 0 and 1",
                       node->name, a->steps, (double)a->first, (double)a->last, BL_MOST_DIFFUSED);
    bl_node_out(node, x->c, x->h, x->w);
    bl_node_out(node, x->c, x->h, x->w);
    bl_node_out_as(node, BL_F32, 1, 1, 1);
    struct state *state = node->state = bl_calloc(1, sizeof *state);
    if (!state) return BLANCH_ENOMEM;
    state->table = bl_node_workspace(node, BL_LIFE_KEPT, 2 * a->steps);
    return 0;
}

static int prepare(struct bl_node *node) {
    const struct bl_diffuse_attrs *a = node->attrs;
    struct state *state = node->state;
    const struct bl_define defines[] = {{"VEC", 1}, BL_ACT(node)};
    const size_t steps = (size_t)a->steps;
    float *table = bl_calloc(2 * steps, sizeof *table);
    double left = 1;
    if (!table) return BLANCH_ENOMEM;
    for (size_t t = 0; t < steps; t++) {
        left *= 1 - bl_diffuse_beta(a, (int)t);
        table[2 * t] = (float)sqrt(left), table[2 * t + 1] = (float)sqrt(1 - left);
    }
    int code = bl_mem_write(state->table->mem, 0, 2 * steps * sizeof *table, table);
    free(table);
    return code ? code : bl_kernel_get(node->dev, "diffuse", "diffuse", defines, 2, &state->diffuse);
}

static uint64_t stream_of(bool training, uint64_t step, int index) {
    return (training ? step : 0) << 16 | (uint64_t)index;
}

static int forward(struct bl_node *node, const struct bl_run *run) {
    const struct bl_diffuse_attrs *a = node->attrs;
    const struct state *state = node->state;
    const int64_t features = bl_features(node->in[0]);
    return bl_launch(state->diffuse, bl_share_rows(node->dev, (features + 3) / 4, run->n, 64 * features),
                     BL_MEM(node->in[0]->mem), BL_MEM(state->table->mem), BL_MEM(node->out[0]->mem),
                     BL_MEM(node->out[1]->mem), BL_MEM(node->out[2]->mem), BL_I32(run->n), BL_I32(features),
                     BL_I32(a->steps), BL_I64(run->first_image), BL_I64(run->seed), BL_I32(BL_RANDOM_NOISE),
                     BL_I32(BL_RANDOM_TIME), BL_I64(stream_of(run->training, run->step, node->index)));
}

static void release(struct bl_node *node) {
    free(node->state);
    node->state = NULL;
}

static int definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    const struct bl_diffuse_attrs *a = l->attrs;
    const size_t plane = (size_t)x->h * x->w, channels = (size_t)x->c, blocks = (plane * channels + 3) / 4;
    const uint64_t stream = stream_of(l->training, l->step, l->index);
    int code = bl_ref_new(y, x->n, x->c, x->h, x->w);
    for (size_t i = 0; i < bl_ref_count(x) && !code; i++) {
        const size_t image = i / (plane * channels), at = i % plane * channels + i / plane % channels;
        uint32_t word[4];
        double e[4], left = 1;
        bl_philox(l->seed, BL_RANDOM_TIME, image, stream, word);
        for (int t = (int)((uint64_t)word[0] * (uint32_t)a->steps >> 32); t >= 0; t--)
            left *= 1 - bl_diffuse_beta(a, t);
        bl_normals(l->seed, BL_RANDOM_NOISE, image * blocks + at / 4, stream, e);
        y->v[i] = sqrt(left) * x->v[i] + sqrt(1 - left) * e[at % 4];
    }
    return code;
}

static const struct bl_field fields[] = {
    {"steps", BL_FIELD_INT, offsetof(struct bl_diffuse_attrs, steps)},
    {"first", BL_FIELD_FLOAT, offsetof(struct bl_diffuse_attrs, first)},
    {"last", BL_FIELD_FLOAT, offsetof(struct bl_diffuse_attrs, last)},
    {NULL},
};

const struct bl_op bl_op_diffuse = {
    .name = "diffuse",
    .role = BL_ROLE_ELEMENTWISE,
    .tolerance = 1e-3,
    .types = BL_ACTIVATION_TYPES,
    .attrs_size = sizeof(struct bl_diffuse_attrs),
    .fields = fields,
    .phase_forward = BL_ACTIVATION,
    .phase_backward = BL_ACTIVATION,
    .setup = setup,
    .prepare = prepare,
    .forward = forward,
    .definition = definition,
    .release = release,
};
