/* What reading a description and building from it share. */
#ifndef BL_DESCRIBED_INTERNAL_H
#define BL_DESCRIBED_INTERNAL_H

#include "graph/describe.h"
#include "graph/internal.h"

enum { BL_LONGEST_NAME = 100, BL_WHERE = BL_LONGEST_NAME + 16 };

struct link {
    int row, output; // its first, 0, or another one
};
enum { BL_LABELS = -2 }; // a link's row: the labels of the images, which a network that generates may be told

/* A node of the description. */
struct row {
    const cJSON *json; // NULL: an input that the description does not list
    const char *id, *name;
    char place[12];         // both, where nothing else is said
    const struct bl_op *op; // NULL: the input
    int inputs;
    struct link *in;
    bool unused;
    struct blanch_tensor *value; // its first output; of a batch norm that goes, its input
    struct bl_node *node;        // NULL: it has none
    /* Of a network that generates, where not all of it is built: what the wanted part is made of, and what cannot be.
     */
    bool needed, left_out;
    struct blanch_tensor *given; // of a diffusion that is stood in for: its time
};

struct described {
    const struct bl_description *description;
    struct blanch_builder *b;
    struct row *row;
    int rows;
    int head;    // the row whose outputs become the classes; -1: they stay
    bool fits;   // sizes may be others than the description's
    bool turned; // layers may be others
    /* Of a network that generates, one that ends in a loss: the row that brings noise in, and, of a part, the row that
     * it ends in; 0: there is none. */
    int source, result;
};

int bl_described_rows(struct described *d); // row and rows, the first of which is the input
void bl_described_free(struct described *d);

/* Of a network that generates: finds source and checks it; of a part (builder: samples, encodes) sets result, needed
 * and left_out. */
int bl_described_part(struct described *d);
int bl_described_give(struct described *d, struct blanch_tensor *x); // the part's values of the image and the source
int bl_described_parts(struct described *d);                         // of the whole, built: whether parts can be
void bl_described_noise(const struct bl_graph *graph, struct bl_description *description);

const cJSON *bl_described_item(const cJSON *object, const char *key);
/* One to three numbers; those left out are 1. */
int bl_described_sizes(const cJSON *list, const char *where, const char *key, int size[3]);
void bl_described_where(const struct row *row, char where[BL_WHERE]); // "node 'conv1'"

#endif
