/* What the losses of images beside others share (kernels/image_loss.cl): logits or images, what they are to be, and
 * perhaps one further value of each image, which is added to its loss. */
#ifndef BL_IMAGE_LOSS_H
#define BL_IMAGE_LOSS_H

#include "graph/reference.h"
#include "ops/common.h"

enum bl_image_loss { BL_SQUARED, BL_ABSOLUTE, BL_CROSS_ENTROPY };

int bl_image_loss_setup(struct bl_node *node);
int bl_image_loss_prepare(struct bl_node *node, enum bl_image_loss kind);
int bl_image_loss_forward(struct bl_node *node, const struct bl_run *run);
int bl_image_loss_backward(struct bl_node *node, const struct bl_run *run);
/* of: the loss of a value and what it is to be. */
int bl_image_loss_definition(const struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs,
                             double (*of)(double x, double t), struct bl_ref_tensor *y);
void bl_image_loss_release(struct bl_node *node);
extern const struct bl_field bl_image_loss_fields[];

#define BL_IMAGE_LOSS                                                                                                  \
    .role = BL_ROLE_LOSS, .tolerance = 1e-3, .types = BL_ACTIVATION_TYPES,                                             \
    .attrs_size = sizeof(struct bl_image_loss_attrs), .fields = bl_image_loss_fields, .reads = BL_IN(0) | BL_IN(1),    \
    .phase_forward = BL_LOSS, .phase_backward = BL_LOSS, .setup = bl_image_loss_setup,                                 \
    .forward = bl_image_loss_forward, .backward = bl_image_loss_backward, .release = bl_image_loss_release

#endif
