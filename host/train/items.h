/* The tensors of a checkpoint's files: which there are, writing them, taking them from a file that fits. */
#ifndef BL_ITEMS_H
#define BL_ITEMS_H

#include "io/safetensors.h"
#include "train/train.h"

enum bl_source {
    BL_VALUE,        // of a parameter or buffer
    BL_OF_OPTIMISER, // its state
    BL_MEMORY,       // of a parameter whose update target runs: what lies where its value (0) or a state would
    BL_FIRST,        // the same where the target began
    BL_NUMBERS,      // of the target
    BL_AVERAGE,      // of values
    BL_SOURCES
};
struct bl_item { // a tensor of a file
    char name[192];
    struct bl_param *param;
    enum bl_source source;
    int which;
    char former[192]; // its name in older files; "": none
};
struct bl_items {
    struct bl_item *item;
    int count;
};
enum { BL_ITEMS_OF_PARAM = 1 + BL_MAX_STATES + 2 * (1 + BL_MAX_STATES) + 2 }; // of a parameter

static const int64_t BL_MOST_STEPS = INT64_C(1) << 53; // what JSON and its like carry exactly

/* Those of a state dict; those beside it. file: to be read; NULL: to be written. The caller frees items->item. */
int bl_items_of_weights(struct bl_items *items, struct bl_graph *graph);
int bl_items_of_state(struct bl_items *items, struct bl_graph *graph, const struct bl_safetensors *file);
/* meta: bl_st_write's. checked: a value that is not finite is BLANCH_EDIVERGED. */
int bl_items_write(const struct bl_items *items, const char *path, const char *const *meta, bool checked);
/* BLANCH_EINPUT: names, shapes, types or values of the file do not fit. */
int bl_items_fit(const struct bl_items *items, const struct bl_safetensors *file, const char *path);
/* Leaves the items that the file has, in their shape, and looks at their types and values. BLANCH_EINPUT: none. */
int bl_items_keep_fitting(struct bl_items *items, const struct bl_safetensors *file, const char *path);
/* Of a file that fits: the parameters' memory is the file's from now on. */
int bl_items_take(struct bl_graph *graph, const struct bl_items *items, const struct bl_safetensors *file,
                  const char *path);

int bl_weights_write(struct bl_graph *graph, const char *path, int64_t step, bool checked);

#endif
