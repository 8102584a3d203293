/* ONNX and networks. Reading: a graph is built of the nodes of a file, each by the operation that says it has such a
 * form (struct bl_op, `onnx`), and described in JSON; the file's values go by the names of parameters. Writing: a graph
 * and values as an inference network. io/onnx.h knows the files. */
#ifndef BL_GRAPH_ONNX_H
#define BL_GRAPH_ONNX_H

#include "graph/describe.h"
#include "io/onnx.h"

/* --- a network of a file ---------------------------------------------------------------------- */

struct bl_onnx_network {
    cJSON *json; // its description, with class_names, mean and deviation where the file has them; "folded": its batch
                 // norms were folded into its convolutions
    struct bl_st_tensor *values; // what its parameters and buffers begin with, float32; names and data are owned, too
    int value_count;
};
/* BLANCH_EINPUT: also where nodes cannot be read; the message names all of them. */
int bl_onnx_network_read(struct bl_onnx_network *network, const char *path);
void bl_onnx_network_release(struct bl_onnx_network *network);

/* --- a network to a file ---------------------------------------------------------------------- */

struct bl_onnx_options {
    const char *path;    // of the ONNX file; NULL: none
    const char *weights; // of the folded weights as safetensors; NULL: none
    /* Of the images and of what comes of them; NULL: "images", "logits". The latter are of any size where they have a
     * name; pixels: logits of these, which are written as probabilities. */
    const char *input, *output;
    bool pixels;
    enum bl_type type;                // BL_F32 or BL_F16
    const struct bl_onnx_pair *pairs; // metadata
    int pair_count;
    /* What a parameter or buffer holds, into `to`. */
    int (*values)(void *context, const struct bl_param *param, float *to);
    void *context;
    /* What a layer's input is brought to 8 bits by, and with it the layer's weights; NULL, or false of a layer: not. */
    bool (*input_range)(void *context, const struct bl_node *layer, struct bl_fake_quantize_attrs *range);
    void *range_context;
};
/* Writes the network as it is in evaluation, everything folded; the batch is open. graph is finished, and may be
 * without a device. BLANCH_EUSAGE: an operation has no form in ONNX. */
int bl_onnx_network_write(const struct bl_graph *graph, const struct bl_onnx_options *options);

/* --- for operations: reading ------------------------------------------------------------------ */

/* How a value of the file lies over a tensor (C, H, W) of the network. */
enum bl_onnx_view {
    BL_ONNX_NCHW,
    BL_ONNX_NHWC,
    BL_ONNX_FLAT,     // (N, C), of a tensor of one pixel
    BL_ONNX_GROUPED,  // (N, g, C/g, H, W)
    BL_ONNX_SHUFFLED, // (N, C/g, g, H, W)
    BL_ONNX_ALL,      // (N C H W), in the order of NCHW
    BL_ONNX_TOKENS,   // (N, H W, C)
    BL_ONNX_COLUMNS   // (N, C, H W)
};

struct bl_onnx_reader;
/* A form in which an operation stands in files. read gets a node of that type; what it calls remembers the first
 * failure, so that it needs no checks, and it returns what bl_onnx_add or bl_onnx_other does. Another form may have the
 * same type: the first that takes the node has it. */
struct bl_onnx_form {
    const char *type;
    int (*read)(struct bl_onnx_reader *r, const struct bl_onnx_node *n);
};
int bl_onnx_other(struct bl_onnx_reader *r);                                        // it is of another form
int bl_onnx_refuse(struct bl_onnx_reader *r, const char *why, ...) BL_PRINTF(2, 3); // it cannot be read

int64_t bl_onnx_int(const struct bl_onnx_node *n, const char *name, int64_t otherwise);
float bl_onnx_float(const struct bl_onnx_node *n, const char *name, float otherwise);
const char *bl_onnx_text(const struct bl_onnx_node *n, const char *name, const char *otherwise);
/* `count` whole numbers, each `otherwise` where there is no such attribute. Refused: others, and beyond an int. */
void bl_onnx_ints(struct bl_onnx_reader *r, const struct bl_onnx_node *n, const char *name, int otherwise, int *out,
                  int count);
bool bl_onnx_has(const struct bl_onnx_node *n, int input); // it is given
/* An input that is a tensor of the network, in any view, or in that of images; NULL: it is none (refused). */
struct blanch_tensor *bl_onnx_tensor(struct bl_onnx_reader *r, const struct bl_onnx_node *n, int input);
struct blanch_tensor *bl_onnx_image(struct bl_onnx_reader *r, const struct bl_onnx_node *n, int input);
enum bl_onnx_view bl_onnx_view(struct bl_onnx_reader *r, const struct bl_onnx_node *n, int input);
bool bl_onnx_is_tensor(struct bl_onnx_reader *r, const struct bl_onnx_node *n, int input);
/* An input that is known: one number; a short list of whole numbers. False: it is no such. */
bool bl_onnx_number(struct bl_onnx_reader *r, const struct bl_onnx_node *n, int input, double *value);
enum { BL_ONNX_WHOLE = 16 };
bool bl_onnx_whole(struct bl_onnx_reader *r, const struct bl_onnx_node *n, int input, int64_t out[BL_ONNX_WHOLE],
                   int *count);
/* The same of any numbers. */
bool bl_onnx_numbers(struct bl_onnx_reader *r, const struct bl_onnx_node *n, int input, float out[BL_ONNX_WHOLE],
                     int *count);
/* The sizes of an input that is a tensor of values; their count, or 0: it is none. */
int bl_onnx_sizes(struct bl_onnx_reader *r, const struct bl_onnx_node *n, int input, int64_t sizes[BL_ONNX_DIMS]);
/* An input is known, and all of it is that number. */
bool bl_onnx_all(struct bl_onnx_reader *r, const struct bl_onnx_node *n, int input, float number);
/* An input is zeros, as exporters make a bias where there is none. */
bool bl_onnx_is_zero(struct bl_onnx_reader *r, const struct bl_onnx_node *n, int input);
/* An input that is given is of whole numbers with a sign. */
bool bl_onnx_is_signed(struct bl_onnx_reader *r, const struct bl_onnx_node *n, int input);
/* The node that gives an input; NULL: none does. */
const struct bl_onnx_node *bl_onnx_maker(struct bl_onnx_reader *r, const struct bl_onnx_node *n, int input);
/* The only node that uses what this one gives, but for its type; NULL: there are others, or none. */
const struct bl_onnx_node *bl_onnx_user(struct bl_onnx_reader *r, const struct bl_onnx_node *n);

/* Which input, of which node, a parameter or buffer of the operation is. */
struct bl_onnx_param {
    const char *name; // NULL ends a list
    const struct bl_onnx_node *node;
    int input;
    bool transposed; // of two sizes: the file has it the other way round
};
/* Adds the operation whose form it is. Its name is what the names of its parameters in the file begin with. What it
 * gives is seen as `view`; with more outputs, they follow one another. */
int bl_onnx_add(struct bl_onnx_reader *r, const struct bl_onnx_node *n, const void *attrs,
                struct blanch_tensor *const *in, int count, const struct bl_onnx_param *params, enum bl_onnx_view view);
/* The same of an activation, or another operation of one input that keeps its view; and of a sum or product of two. */
int bl_onnx_add_unary(struct bl_onnx_reader *r, const struct bl_onnx_node *n, int input, const void *attrs);
int bl_onnx_add_binary(struct bl_onnx_reader *r, const struct bl_onnx_node *n);
/* What joins the channels of its inputs, by as many of the operation as that takes. */
int bl_onnx_add_joined(struct bl_onnx_reader *r, const struct bl_onnx_node *n);
/* What the node gives as its output number `output`: of x, in the same view. */
int bl_onnx_add_part(struct bl_onnx_reader *r, const struct bl_onnx_node *n, int output, const void *attrs,
                     struct blanch_tensor *x);

/* The node is part of what an operation says with several: its input in some stage of it, which the operation names and
 * finds again (NULL: the input is in no such stage). */
int bl_onnx_pend(struct bl_onnx_reader *r, const struct bl_onnx_node *n, int input, const char *stage);
struct blanch_tensor *bl_onnx_pending(struct bl_onnx_reader *r, const struct bl_onnx_node *n, int input,
                                      const char *stage);
/* What the node gives is used by a product with the node's own input, and nowhere else. */
bool bl_onnx_gates(struct bl_onnx_reader *r, const struct bl_onnx_node *n);
/* A later node, whose work is done by the operation that was added for n. */
void bl_onnx_absorb(struct bl_onnx_reader *r, const struct bl_onnx_node *n, const struct bl_onnx_node *later);
/* An input is a random mask, 0 or 1 / keep; of each image alone, or of each value. Refused: of channels, of the batch.
 */
bool bl_onnx_mask(struct bl_onnx_reader *r, const struct bl_onnx_node *n, int input, float *keep, bool *by_image);

/* --- for operations: writing ------------------------------------------------------------------ */

/* The weights of a layer in evaluation, as they are folded: (out, each), (out). */
struct bl_onnx_layer {
    double *weight, *bias;
    int64_t out, each;
};
struct bl_onnx_writer; // remembers the first failure
void bl_onnx_failed(struct bl_onnx_writer *w, int code);
const float *bl_onnx_values(struct bl_onnx_writer *w, const struct bl_param *param); // NULL: a failure, remembered
/* The name of what a node's input is, after such views as it has to be given; what the node gives. */
const char *bl_onnx_in(struct bl_onnx_writer *w, const struct bl_node *node, int input, enum bl_onnx_view view);
enum bl_onnx_view bl_onnx_written(const struct bl_onnx_writer *w, const struct bl_node *node, int input);
const char *bl_onnx_out(struct bl_onnx_writer *w, const struct bl_node *node, enum bl_onnx_view view);
const char *bl_onnx_between(struct bl_onnx_writer *w, const struct bl_node *node, const char *what); // a name within it
/* What a node is given that no node makes and that is not the images: a number, or a label, of each, (N). float32
 * whatever the file's type is; what is computed of it goes on in that through bl_onnx_narrow. */
const char *bl_onnx_given(struct bl_onnx_writer *w, const struct bl_node *node, int input); // NULL: a node makes it
const char *bl_onnx_narrow(struct bl_onnx_writer *w, const struct bl_node *node, const char *from);
const char *bl_onnx_put_floats(struct bl_onnx_writer *w, const struct bl_node *node, const char *name,
                               const float *values, int count);
/* Initialisers, NODE.NAME; names. */
const char *bl_onnx_put(struct bl_onnx_writer *w, const struct bl_node *node, const char *name, const double *values,
                        int dims, const int64_t *sizes);
const char *bl_onnx_put_whole(struct bl_onnx_writer *w, const struct bl_node *node, const char *name,
                              const int64_t *values, int count); // count 0: one value, no list
/* The input x of a layer, its weights and its bias into in[0] to in[2]: as they are, or in 8 bits, each between a
 * QuantizeLinear or values of 8 bits (the bias: of 32) and a DequantizeLinear; each output has its own scale. */
void bl_onnx_operands(struct bl_onnx_writer *w, const struct bl_node *node, const char *x,
                      const struct bl_onnx_layer *layer, int dims, const int64_t *sizes, const char *in[4]);
/* x through 8 bits: what a DequantizeLinear gives. */
const char *bl_onnx_quantized(struct bl_onnx_writer *w, const struct bl_node *node, const char *x,
                              const struct bl_fake_quantize_attrs *range);
/* A node of up to 4 inputs, those that are NULL left out at the end, and attributes that end with a NULL name. */
void bl_onnx_emit(struct bl_onnx_writer *w, const char *type, const char *const in[4], const char *out,
                  const struct bl_onnx_attribute *attributes);
void bl_onnx_emit_many(struct bl_onnx_writer *w, const char *type, const char *const *in, int inputs, const char *out,
                       const struct bl_onnx_attribute *attributes);
/* An operation of one input that keeps its view. */
void bl_onnx_write_unary(struct bl_onnx_writer *w, const struct bl_node *node, const char *type,
                         const struct bl_onnx_attribute *attributes);
/* The node gives what is there already. */
void bl_onnx_same(struct bl_onnx_writer *w, const struct bl_node *node, const char *name, enum bl_onnx_view view);
/* Makes a layer's memory, zeroed; false: a failure, remembered. */
bool bl_onnx_layer(struct bl_onnx_writer *w, struct bl_onnx_layer *layer, int64_t out, int64_t each);
/* A layer's weights as they are: the node's first parameter, and its second or zeros. */
void bl_onnx_fold_plain(struct bl_onnx_writer *w, const struct bl_node *node, struct bl_onnx_layer *layer);

/* --- what a table says ------------------------------------------------------------------------ */

struct bl_onnx_op {
    /* An operation of one input without attributes that ONNX has just so; NULL: it is another. */
    const char *type;
    const struct bl_onnx_form *forms; // in which it is read besides; ends with a NULL type
    /* In evaluation. What is neither written nor folded is the identity there. */
    void (*write)(struct bl_onnx_writer *w, const struct bl_node *node);
    /* Of a layer: its weights, memory that is given; then writing them, when what follows is folded into them. */
    void (*fold)(struct bl_onnx_writer *w, const struct bl_node *node, struct bl_onnx_layer *layer);
    void (*write_layer)(struct bl_onnx_writer *w, const struct bl_node *node, const struct bl_onnx_layer *layer);
    /* Of what can be folded into a layer before it: y = x * scale + shift by channel. */
    void (*affine)(struct bl_onnx_writer *w, const struct bl_node *node, double *scale, double *shift);
};

#endif
