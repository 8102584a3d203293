/* What the files of graph/ that read ONNX share. */
#ifndef BL_ONNX_INTERNAL_H
#define BL_ONNX_INTERNAL_H

#include "graph/onnx.h"

enum { FREE = -1 }; // the size of a batch that the file leaves open; no other size is negative

enum known {
    UNKNOWN, // not given yet, or by a node that cannot be read
    TENSOR,  // of the network
    VALUES,  // a tensor of values
    WHOLE,   // a few whole numbers, of one size or none
    SPLAT,   // one number everywhere
    RANDOM,  // uniform between 0 and 1
    MASK,    // 0 or 1, 1 with probability `number`, divided by it where `scaled`
    PENDING, // TENSOR in some stage of an operation
    SEQUENCE // TENSOR in parts of its channels
};

struct value {
    const char *name;
    enum known known;
    int dims;
    int64_t shape[BL_ONNX_DIMS]; // but of SEQUENCE
    struct blanch_tensor *tensor;
    enum bl_onnx_view view;
    int groups; // of GROUPED and SHUFFLED
    const struct bl_st_tensor *values;
    const char *called; // VALUES: by what name
    bool parameter;     // VALUES: computed of a parameter, which they stand for
    bool transposed;    // VALUES: of two sizes, which `shape` has turned already
    int64_t whole[BL_ONNX_WHOLE];
    int64_t part; // of SEQUENCE: channels of each, or 0: `whole` has those of `parts`
    int parts;
    double number;
    bool scaled;
    const char *stage;
    int uses, user; // by live nodes, the network's output included; the first of them, or -1
};

struct cat { // one that was added, by all that it joins
    struct blanch_tensor **in, *out;
    int count;
};

struct bl_onnx_memory { // of the reader
    void *block;
    struct bl_onnx_memory *next;
};

struct bl_onnx_reader {
    const struct bl_onnx_model *model;
    struct bl_graph *graph;
    struct value *values; // a table by hash, of a power of two
    size_t slots;
    int64_t batch;          // the file's, or FREE
    bool *live;             // by node
    int *absorbed;          // by node: the node that does its work, or -1
    const struct bl_op *op; // whose form is tried: what is added
    int code;               // of the node that is read: the first failure, its reason being the message
    bool other;             // it is of another form
    char *refused;          // nodes that cannot be read, with reasons
    int refusals;
    struct bl_onnx_network *out;
    struct bl_onnx_memory *memory;
    size_t value_capacity;
    struct cat *cats;
    size_t cat_count, cat_capacity;
};

struct value *bl_onnx_find(struct bl_onnx_reader *r, const char *name); // NULL: there is none
const struct value *bl_onnx_input(struct bl_onnx_reader *r, const struct bl_onnx_node *n, int input); // or UNKNOWN's
void *bl_onnx_take(struct bl_onnx_reader *r, size_t count, size_t size); // zeroed, the reader's; NULL: no memory
/* What the node gives first. 0, or the reader's code. */
int bl_onnx_give(struct bl_onnx_reader *r, const struct bl_onnx_node *n, int output, const struct value *value);
int bl_onnx_give_tensor(struct bl_onnx_reader *r, const struct bl_onnx_node *n, int output,
                        struct blanch_tensor *tensor, enum bl_onnx_view view, int groups);
bool bl_onnx_whole_of(const struct value *value, int64_t out[BL_ONNX_WHOLE], int *count);
bool bl_onnx_number_of(const struct value *value, double *number);
bool bl_onnx_is_parameter(const struct bl_onnx_reader *r,
                          const struct value *value); // a tensor of the file, no constant
/* Sizes as Reshape takes them, the batch first: zeros copy x's, one -1 is what is left. False: it changes how many
 * values an image has. */
bool bl_onnx_resolve(struct bl_onnx_reader *r, const struct bl_onnx_node *n, const struct value *x,
                     int64_t sizes[BL_ONNX_WHOLE], int *count);
int bl_onnx_index(const struct bl_onnx_reader *r, const struct bl_onnx_node *n);

/* Forms that are no operation's: constants and what is computed of them, how values lie, and the parts of attention.
 * End with a NULL type. */
extern const struct bl_onnx_form bl_onnx_fold_forms[], bl_onnx_view_forms[], bl_onnx_attention_forms[];

#endif
