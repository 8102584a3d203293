/* Operations with any attributes on any shapes, as a case or a network file may state them: setup, choice of engines,
 * memory plan, without a device. Every byte picks a number at which arithmetic turns over. */
#include "fuzz.h"
#include "graph/describe.h"
#include <stdlib.h>
#include <string.h>

enum { MOST_VALUES = 1 << 26 }; // of an input: a file holds them
static const double values[] = {
    0,     1,     2,      3,        4,       5,       7,          8,          15,          16,         17,   31,
    32,    64,    100,    127,      255,     256,     1000,       4096,       -1,          -2,         -3,   -64,
    32767, 32768, 46340,  46341,    65535,   65536,   92682,      131072,     1 << 20,     0.5,        1e-9, -0.5,
    1e30,  1e300, -65536, 16777216, 1 << 28, 1 << 30, 2147483646, 2147483647, -2147483647, -2147483648};

static struct part rest;

static int byte(void) {
    if (!rest.size) return 1;
    return rest.size--, *rest.data++;
}

static double value(void) {
    return values[byte() % BL_COUNT(values)];
}

/* What must agree with the input does. */
static double number(const char *field, const int64_t dim[4]) {
    if (!strcmp(field, "in_channels") || !strcmp(field, "channels")) return (double)dim[1];
    if (!strcmp(field, "in_features")) return (double)(dim[1] * dim[2] * dim[3]);
    return value();
}

static cJSON *attributes(const struct bl_op *op, const int64_t dim[4]) {
    cJSON *json = cJSON_CreateObject();
    for (const struct bl_field *f = op->fields; f && f->name; f++) {
        int how = byte();
        if (how % 16 == 15 && f->optional) continue;
        if (f->kind == BL_FIELD_BOOL)
            cJSON_AddBoolToObject(json, f->name, how & 1);
        else if (f->kind == BL_FIELD_INT2 && how & 1)
            cJSON_AddItemToObject(json, f->name, cJSON_CreateDoubleArray((double[]){value(), value()}, 2));
        else
            cJSON_AddNumberToObject(json, f->name, number(f->name, dim));
    }
    return json;
}

static void check_counts(const struct bl_node *node) {
    const struct blanch_tensor *out = node->out[0];
    if (out->c < 1 || out->h < 1 || out->w < 1 || out->count < 1) abort();
    for (int i = 0; i < node->params; i++)
        if (node->param[i]->data.count < 1) abort();
}

static void build(const struct bl_op *op, const void *attrs, int64_t dim[2][4], int inputs) {
    struct bl_graph *graph = NULL;
    struct blanch_tensor *in[2];
    expect(bl_graph_create(&graph, NULL, (int)dim[0][0], byte() & 1));
    for (int i = 0; i < inputs; i++) in[i] = bl_graph_input(graph, dim[i][1], dim[i][2], dim[i][3]);
    bl_graph_want_input_grads(graph);
    bl_graph_add(graph, op->name, "layer", attrs, in, inputs);
    int code = bl_graph_finish(graph, 0);
    expect_read(code);
    if (!code) check_counts(bl_graph_node(graph, 0));
    bl_graph_free(graph);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const ops[] = {
#define X(name) #name,
#include "ops/operations.h"
#undef X
    };
    rest = (struct part){data, size};
    const struct bl_op *op = bl_op_find(ops[byte() % BL_COUNT(ops)]);
    if (!op || op->role == BL_ROLE_LOSS) return 0;
    int inputs = 1 + byte() % 2, same = byte() & 1;
    int64_t dim[2][4];
    for (int i = 0; i < 2; i++) {
        double all = 1;
        for (int k = 0; k < 4; k++) {
            double v = value();
            dim[i][k] = i && same ? dim[0][k] : v >= 1 && v <= 1 << 24 ? (int64_t)v : 1;
            all *= (double)dim[i][k];
        }
        if (all > MOST_VALUES) return 0;
    }
    cJSON *json = attributes(op, dim[0]);
    void *attrs = calloc(1, op->attrs_size + 1);
    if (!json || !attrs) abort();
    int code = bl_attrs_from_json(op, json, attrs);
    expect(code);
    if (!code) build(op, attrs, dim, inputs);
    cJSON_Delete(json);
    free(attrs);
    return 0;
}
