/* The convolution engine: forward, data gradient and weight gradient behind one interface, used by conv2d, linear and
 * their deconvolved forms. Several engines stand in one list, engines.h; an engine is one file ending in a const table.
 * Each of the three passes has an engine of its own.
 *
 * Weights are given in the layout [O][G][F]: the flat feature j = c*kh*kw + tap of an output channel lies at g*F + f,
 * where j = f*G + g, F = C/groups*kh*kw/G. G = 1 is OIHW. */
#ifndef BL_CONV_H
#define BL_CONV_H

#include "graph/op.h"

struct bl_conv;

void bl_conv_out_size(const struct bl_conv_attrs *attrs, int64_t h, int64_t w, int64_t *out_h, int64_t *out_w);

/* --- engines ---------------------------------------------------------------------------------- */

enum bl_conv_pass { BL_CONV_FORWARD, BL_CONV_DATA, BL_CONV_WEIGHTS, BL_CONV_PASSES };
extern const char *const bl_conv_pass_names[BL_CONV_PASSES]; // "forward", "backward_data", "backward_weights"

/* What the choice of an engine may depend on. */
struct bl_conv_shape {
    struct bl_conv_attrs attrs;
    int interleave;    // G
    int64_t n, h, w;   // images planned; the input's size
    enum bl_type type; // of activations and their gradients
    bool inference;    // weights are packed once for many passes
};
/* Asked for every pass of every convolution that is set up on a device: the name of the engine that shall compute it,
 * or NULL where the rule shall choose, as it does where the named one does not suit. It takes precedence over the rule,
 * BLANCH_CONV over both. For one that has measured. */
struct bl_conv_chooser {
    const char *(*engine)(void *context, const struct bl_conv_shape *shape, enum bl_conv_pass pass);
    void *context;
    const enum bl_conv_pass *only; // this pass alone is set up, as it is measured; NULL: all
};
/* The chooser, the caller's, must outlive the device or be replaced; NULL: the rule, which cannot fail. */
int bl_conv_choose_by(struct blanch_device *dev, struct bl_conv_chooser *chooser);
const char *bl_conv_engine_name(int index); // NULL beyond the last
/* Whether the engine could compute this pass of a convolution that is set up. */
bool bl_conv_suits(const struct bl_conv *conv, const char *engine, enum bl_conv_pass pass);
/* Whether it is worth measuring there: it suits, and its preference does not rule it out. */
bool bl_conv_worth_measuring(const struct bl_conv *conv, const char *engine, enum bl_conv_pass pass);

/* --- a convolution ---------------------------------------------------------------------------- */

/* Whether there is such a convolution (BLANCH_EINPUT): groups divide the channels, a patch's features are 2^30 at most.
 */
int bl_conv_check(const char *name, const struct bl_conv_attrs *attrs);

/* In an operation's setup: checks the attributes against node->in[0] (BLANCH_EINPUT, with the node's name), chooses the
 * engines, names them in node->engine, and declares their workspaces. Sets neither output nor parameters.
 * interleave: G. packed: how long the weights of bl_conv_pack last, BL_LIFE_FORWARD or BL_LIFE_KEPT. */
int bl_conv_setup(struct bl_node *node, const struct bl_conv_attrs *attrs, int interleave, enum bl_life packed,
                  struct bl_conv **conv);
/* The same of the convolution whose data gradient is the node's forward pass, a transposed convolution: it takes the
 * node's output, (in_channels, h, w), and gives its input. bl_conv_adjoint is the forward pass; bl_conv_pack and
 * bl_conv_forward, and bl_conv_backward_weights, are for the backward pass; node->engine is by the node's own passes.
 */
int bl_conv_setup_adjoint(struct bl_node *node, const struct bl_conv_attrs *attrs, int64_t h, int64_t w,
                          struct bl_conv **conv);
void bl_conv_free(struct bl_conv *conv);   // NULL is fine
int bl_conv_prepare(struct bl_conv *conv); // in the operation's prepare

/* In an inference a layer applies the batch norm, the sum and the activation that follow it: its table's fusions and
 * their number, and what its `fused` calls. weights: how many there are. */
extern const struct bl_fusion bl_conv_fusions[];
enum { BL_CONV_CHAIN = 3 };
int bl_conv_fused(struct bl_conv *conv, int64_t weights);
/* Elsewhere than on CPUs, by the engines that are named in the node: whether the forward pass applies a ReLU, and
 * whether the data gradient heeds node->cuts. */
bool bl_conv_applies(const struct bl_node *node);
bool bl_conv_cuts(const struct bl_node *node);

/* For a layer's make_moments. */
int bl_conv_make_moments(struct bl_conv *conv);

/* Brings weights into the form that the forward pass reads, a batch norm that follows folded in; bias (O), or NULL, as
 * the forward pass will have it. */
int bl_conv_pack(struct bl_conv *conv, const struct bl_run *run, struct bl_mem *weight, struct bl_mem *bias);
/* The same of folded weights in a training pass, by engines that do so, elsewhere than on CPUs: in the same launch
 * b' = b - sum over g of W'_g m (nd/fold.h). */
struct bl_conv_bias {
    struct bl_mem *mean, *bias, *to;        // (matrices, F), (O), (O)
    int64_t interleave, features, matrices; // W' (O, interleave, F)
};
bool bl_conv_packs_bias(const struct bl_conv *conv);
int bl_conv_pack_with_bias(struct bl_conv *conv, const struct bl_run *run, struct bl_mem *weight,
                           const struct bl_conv_bias *bias);
int bl_conv_forward(struct bl_conv *conv, const struct bl_run *run, const struct blanch_tensor *x, struct bl_mem *bias,
                    const struct blanch_tensor *y);
/* weight: as the forward pass had it. accumulate: adds to dx instead of overwriting it. */
int bl_conv_backward_data(struct bl_conv *conv, const struct bl_run *run, struct bl_mem *weight,
                          const struct blanch_tensor *dy, const struct blanch_tensor *dx, bool accumulate);
/* y, of the node, from x: with bias (in_channels), or NULL, where the engine adds it. */
int bl_conv_adjoint(struct bl_conv *conv, const struct bl_run *run, struct bl_mem *weight, struct bl_mem *bias,
                    const struct blanch_tensor *x, const struct blanch_tensor *y);
bool bl_conv_adjoint_biases(const struct bl_conv *conv); // whether it does
/* Overwrites dweight, in the layout of the weights, and dbias (O), or NULL. */
int bl_conv_backward_weights(struct bl_conv *conv, const struct bl_run *run, const struct blanch_tensor *x,
                             const struct blanch_tensor *dy, struct bl_mem *dweight, struct bl_mem *dbias);

/* The convolution in double precision (graph/reference.h); y->v is allocated. bias may be NULL. */
int bl_conv_definition(const struct bl_conv_attrs *a, const double *weight, const double *bias,
                       const struct bl_ref_tensor *x, struct bl_ref_tensor *y);

/* Multiply-adds of one image's forward pass. */
double bl_conv_multiply_adds(const struct bl_conv *conv);

#endif
