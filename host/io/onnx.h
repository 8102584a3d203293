/* ONNX files to plain structs and back: nodes, initialisers, inputs and outputs, metadata. What they mean is
 * graph/onnx's to say. Opsets 17 to 22 are read, 17 is written. */
#ifndef BL_IO_ONNX_H
#define BL_IO_ONNX_H

#include "io/safetensors.h"

enum { BL_ONNX_OLDEST = 17, BL_ONNX_NEWEST = 22, BL_ONNX_WRITTEN = 17, BL_ONNX_DIMS = 8 };
enum { BL_ONNX_TYPE_F32 = 1, BL_ONNX_TYPE_F16 = 10 }; // the format's numbers

enum bl_onnx_kind {
    BL_ONNX_FLOAT,
    BL_ONNX_INT,
    BL_ONNX_TEXT,
    BL_ONNX_FLOATS,
    BL_ONNX_INTS,
    BL_ONNX_TENSOR,
    BL_ONNX_OTHER
};
struct bl_onnx_attribute {
    const char *name;
    enum bl_onnx_kind kind;
    float f;
    int64_t i;
    const char *text;
    int count; // of a list
    const float *floats;
    const int64_t *ints;
    const struct bl_st_tensor *tensor;
};
struct bl_onnx_node { // an input that is left out is ""
    const char *name, *type, *domain;
    int inputs, outputs, attributes;
    const char *const *input, *const *output;
    const struct bl_onnx_attribute *attribute;
};
struct bl_onnx_value {
    const char *name;
    enum bl_type type;
    int dims;                    // -1: unknown
    int64_t shape[BL_ONNX_DIMS]; // -1: free
};
struct bl_onnx_pair {
    const char *key, *value;
};
struct bl_onnx_model {
    const char *path; // for messages
    const char *producer;
    int64_t opset;
    int nodes, initialisers, inputs, outputs, pairs;
    const struct bl_onnx_node *node; // in an order of execution
    const struct bl_st_tensor *initialiser;
    const struct bl_onnx_value *input, *output;
    const struct bl_onnx_pair *pair; // metadata
};

int bl_onnx_check(void); // BLANCH_EUSAGE: this build has no protobuf-c

/* Reads the whole file, and what it keeps in others: files beside it, no links, by their bare names. BLANCH_EINPUT
 * names the file and what is wrong: no ONNX, another opset, sizes that do not agree, more than 2 GiB (without such
 * files). */
struct bl_onnx_file;
int bl_onnx_open(struct bl_onnx_file **file, const char *path);
const struct bl_onnx_model *bl_onnx_model(const struct bl_onnx_file *file);
void bl_onnx_close(struct bl_onnx_file *file);

/* As bl_replace: an existing file survives any failure (BLANCH_EIO). BLANCH_ELIMIT: more than 2 GiB. */
int bl_onnx_write(const char *path, const struct bl_onnx_model *model);

#endif
