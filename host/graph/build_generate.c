/* The builders of networks that generate, or are told a class or a number. */
#include "graph/graph.h"
#include <stdio.h>

struct blanch_tensor *blanch_shift(struct blanch_builder *b, struct blanch_tensor *x, struct blanch_tensor *s) {
    return bl_graph_add(b->graph, "shift", NULL, NULL, (struct blanch_tensor *[]){x, s}, 2);
}

struct blanch_tensor *blanch_number_embedding(struct blanch_builder *b, struct blanch_tensor *x, int channels) {
    const struct bl_number_embedding_attrs attrs = {.channels = channels};
    return bl_graph_add(b->graph, "number_embedding", NULL, &attrs, &x, 1);
}

/* The labels are those that a loss reads too. */
struct blanch_tensor *blanch_embedding(struct blanch_builder *b, const char *name, int channels) {
    struct blanch_tensor *labels = bl_graph_labels(b->graph);
    const struct bl_embedding_attrs attrs = {b->classes, channels};
    char full[256];
    if (!labels) labels = bl_graph_input_labels(b->graph);
    snprintf(full, sizeof full, "%s%s", b->prefix, name ? name : "");
    return bl_graph_add(b->graph, "embedding", full, &attrs, &labels, 1);
}

struct blanch_tensor *blanch_gaussian_sample(struct blanch_builder *b, struct blanch_tensor *x) {
    return blanch_unary(b, "gaussian_sample", x);
}

struct blanch_tensor *blanch_gaussian_divergence(struct blanch_builder *b, struct blanch_tensor *x) {
    return blanch_unary(b, "gaussian_divergence", x);
}

struct blanch_tensor *blanch_diffuse(struct blanch_builder *b, struct blanch_tensor *x,
                                     const struct bl_diffuse_attrs *attrs, struct blanch_tensor **noise,
                                     struct blanch_tensor **time) {
    const struct bl_op *op = bl_op_find("diffuse");
    struct bl_node *node = bl_graph_add_node(b->graph, op, NULL, attrs, &x, 1);
    *noise = node ? node->out[1] : NULL, *time = node ? node->out[2] : NULL;
    return node ? node->out[0] : NULL;
}

static struct blanch_tensor *add_loss(struct blanch_builder *b, const char *op, struct blanch_tensor *const in[3],
                                      bool sum) {
    const struct bl_image_loss_attrs attrs = {sum};
    return bl_graph_add(b->graph, op, "loss", &attrs, in, in[2] ? 3 : 2);
}

struct blanch_tensor *blanch_binary_cross_entropy(struct blanch_builder *b, struct blanch_tensor *x,
                                                  struct blanch_tensor *t, bool sum, struct blanch_tensor *more) {
    return add_loss(b, "binary_cross_entropy", (struct blanch_tensor *[]){x, t, more}, sum);
}

struct blanch_tensor *blanch_mean_squared_error(struct blanch_builder *b, struct blanch_tensor *x,
                                                struct blanch_tensor *t, bool sum, struct blanch_tensor *more) {
    return add_loss(b, "mean_squared_error", (struct blanch_tensor *[]){x, t, more}, sum);
}
