/* Descriptions of networks that generate: they end in a loss of images. What makes images follows from what learns to:
 * behind a gaussian_sample noise takes the sample's place, behind a diffuse the image and the time are given. */
#include "graph/described_internal.h"
#include <string.h>

static bool is_op(const struct row *row, const char *name) {
    return row->op && !strcmp(row->op->name, name);
}

/* The one node that brings noise in. */
static int find_source(struct described *d) {
    for (int i = 1; i < d->rows; i++) {
        if (d->row[i].unused || !(is_op(&d->row[i], "gaussian_sample") || is_op(&d->row[i], "diffuse"))) continue;
        if (d->source)
            return bl_fail(BLANCH_EINPUT, "node '%s': noise comes in at node '%s' already: a network has one such node",
                           d->row[i].id, d->row[d->source].id);
        d->source = i;
    }
    if (d->source) return 0;
    return bl_fail(BLANCH_EINPUT,
                   "node '%s': a loss of images is of a network that generates, which has a gaussian_sample or a "
                   "diffuse",
                   d->row[d->rows - 1].id);
}

static bool takes(const struct row *row, int input, int from, int output) {
    return row->inputs > input && row->in[input].row == from && row->in[input].output == output;
}

/* What sample makes of the network's output rests on what it was taught. */
static int check_loss(const struct described *d) {
    const struct row *loss = &d->row[d->rows - 1], *source = &d->row[d->source];
    if (loss->inputs < 2 || loss->in[0].row <= 0 || loss->in[0].output)
        return bl_fail(BLANCH_EINPUT, "node '%s': its first input is not the first output of a node", loss->id);
    if (source->inputs < 1 || (is_op(source, "gaussian_sample") && (source->in[0].row <= 0 || source->in[0].output)))
        return bl_fail(BLANCH_EINPUT, "node '%s': its input is not the first output of a node", source->id);
    if (is_op(source, "diffuse")) {
        if (!takes(source, 0, 0, 0))
            return bl_fail(BLANCH_EINPUT, "node '%s': what it diffuses is not the image itself", source->id);
        if (!is_op(loss, "binary_cross_entropy") && takes(loss, 1, d->source, 1)) return 0;
        return bl_fail(BLANCH_EINPUT,
                       "node '%s': of a diffusion it is the mean_squared_error or l1_loss of the noise, '%s:1', its "
                       "second input",
                       loss->id, source->id);
    }
    if (is_op(loss, "binary_cross_entropy") && takes(loss, 1, 0, 0)) return 0;
    return bl_fail(BLANCH_EINPUT,
                   "node '%s': of an autoencoder it is the binary_cross_entropy of the image, its second input",
                   loss->id);
}

/* `at` and what it is computed of, back to the nodes `end`. */
static void need(struct described *d, int at, int end) {
    d->row[at].needed = true;
    for (int i = at; i > 0; i--)
        for (int k = 0; k < d->row[i].inputs && d->row[i].needed && i != end; k++)
            if (d->row[i].in[k].row >= 0) d->row[d->row[i].in[k].row].needed = true;
}

/* What is not needed is there for its parameters' names; behind what is needed nothing can be. */
static void leave_out(struct described *d) {
    for (int i = 1; i < d->rows; i++) {
        struct row *row = &d->row[i];
        row->left_out = !row->needed && row->op->role == BL_ROLE_LOSS;
        for (int k = 0; k < row->inputs && !row->needed; k++) {
            const int from = row->in[k].row;
            if (from > 0 && from != d->source) row->left_out |= d->row[from].needed || d->row[from].left_out;
        }
    }
}

/* Returns the row that the part ends in. */
static int choose(struct described *d, bool encoder) {
    const int result = encoder ? d->row[d->source].in[0].row : d->row[d->rows - 1].in[0].row;
    for (int i = 0; i < d->rows; i++) d->row[i].needed = false;
    need(d, result, encoder ? 0 : d->source);
    leave_out(d);
    return result;
}

static int check_maker(const struct described *d) {
    const struct row *source = &d->row[d->source];
    if (!source->needed)
        return bl_fail(BLANCH_EINPUT, "node '%s': what the loss compares does not come of it", source->id);
    for (int i = 1; i < d->rows; i++)
        for (int k = 0; k < d->row[i].inputs && d->row[i].needed && i != d->source; k++)
            if (!d->row[i].in[k].row)
                return bl_fail(BLANCH_EINPUT,
                               "node '%s': it takes the image, and images are made of it besides '%s': there is none "
                               "then",
                               d->row[i].id, source->id);
    return 0;
}

int bl_described_part(struct described *d) {
    int code = find_source(d);
    if (!code) code = check_loss(d);
    if (code) return code;
    const int made = choose(d, false);
    if ((code = check_maker(d)) || !d->b->samples) return code;
    d->result = d->b->encodes ? choose(d, true) : made;
    return 0;
}

/* A part has all parameters of the whole. */
static int check_left_out(const struct described *d) {
    for (int i = 1; i < d->rows; i++) {
        const struct row *row = &d->row[i];
        if (row->left_out && row->node && row->node->params + row->node->buffers)
            return bl_fail(BLANCH_EINPUT, "node '%s': its parameters are neither of what the loss compares nor of '%s'",
                           row->id, d->row[d->source].id);
    }
    return 0;
}

int bl_described_parts(struct described *d) {
    const struct row *source = &d->row[d->source];
    const int *size = d->description->latent;
    int code = 0;
    if (*size && (source->value->c != size[0] || source->value->h != size[1] || source->value->w != size[2]))
        return bl_fail(BLANCH_EINPUT, "node '%s': of images of this size it is %lld x %lld x %lld, not %d x %d x %d",
                       source->id, (long long)source->value->c, (long long)source->value->h,
                       (long long)source->value->w, size[0], size[1], size[2]);
    for (int encoder = 0; encoder <= is_op(source, "gaussian_sample") && !code; encoder++) {
        choose(d, encoder);
        code = check_left_out(d);
    }
    return code;
}

/* Stands in for the source: the noise itself, or the encoder's idle decoder has some; of a diffusion its image and
 * time. */
int bl_described_give(struct described *d, struct blanch_tensor *x) {
    struct row *source = &d->row[d->source], *image = d->row;
    struct bl_graph *graph = d->b->graph;
    const int *size = d->description->latent, *pixels = d->b->image;
    image->value = source->value = x;
    if (is_op(source, "diffuse"))
        source->given = bl_graph_input_as(graph, BL_F32, 1, 1, 1);
    else if (d->b->encodes)
        source->value = bl_graph_input(graph, size[0], size[1], size[2]);
    else
        image->value = bl_graph_input(graph, pixels[0], pixels[1], pixels[2]);
    return graph->error;
}

void bl_described_noise(const struct bl_graph *graph, struct bl_description *description) {
    for (size_t i = 0; i < graph->node_count; i++) {
        const struct bl_node *node = graph->nodes[i];
        const struct blanch_tensor *y = node->out[0];
        if (node->idle) continue;
        if (!strcmp(node->op->name, "diffuse")) description->diffusion = *(const struct bl_diffuse_attrs *)node->attrs;
        if (!strcmp(node->op->name, "gaussian_sample"))
            description->latent[0] = (int)y->c, description->latent[1] = (int)y->h, description->latent[2] = (int)y->w;
        if (!strcmp(node->op->name, "embedding"))
            description->classes = ((const struct bl_embedding_attrs *)node->attrs)->count;
    }
}
