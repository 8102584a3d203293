/* Every network against its table in reference/architectures: names, shapes and order of parameters and buffers, the
 * trainable count, the graph in execution order with attributes, connections and shapes. Needs no device. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "graph/describe.h"
#include "io/files.h"
#include "model.h"
#include "train/open.h"
#include "train/train.h"

enum { MAX_NODES = 600, MAX_LEAVES = 64 };

/* The table's nodes beside the graph's. */
struct match {
    const char *what; // "vgg16-nd", for messages
    cJSON *json;
    struct bl_graph *graph;
    const char *id[MAX_NODES]; // of the table's nodes
    const cJSON *row[MAX_NODES];
    const struct blanch_tensor *value[MAX_NODES]; // what the graph has for it
    int rows;
};

static const cJSON *get(const cJSON *object, const char *key) {
    return cJSON_GetObjectItemCaseSensitive(object, key);
}
static const char *text(const cJSON *object, const char *key) {
    const char *value = cJSON_GetStringValue(get(object, key));
    return value ? value : "";
}

static int row_of(const struct match *m, const char *id) {
    for (int i = 0; i < m->rows; i++)
        if (!strcmp(m->id[i], id)) return i;
    fail_msg("%s: the table names no node %s", m->what, id);
    return -1;
}

/* Its description is of what learns, as its parts follow from that. */
static bool generates(const struct blanch_model *model) {
    return model->task == BL_GENERATE;
}

static struct bl_graph *build(const char *name, enum blanch_norm norm, bool inference) {
    struct bl_network_options options = {.model = name, .norm = norm, .batch = 2, .inference = inference};
    const struct blanch_model *model = bl_model_find(name);
    struct bl_graph *graph = NULL;
    if (!model) fail_msg("no network is called %s", name);
    if (bl_graph_create(&graph, NULL, 2, inference) || bl_model_build(graph, model, &options) ||
        bl_graph_finish(graph, 1))
        fail_msg("%s: %s", name, blanch_error_message());
    return graph;
}

/* --- parameters ------------------------------------------------------------------------------- */

static void check_params(const struct match *m, const char *key, bool trainable) {
    const cJSON *list = get(m->json, key), *entry = list->child;
    for (int i = 0; i < bl_graph_params(m->graph); i++) {
        const struct bl_param *p = bl_graph_param(m->graph, i);
        if (p->trainable != trainable || p->private_state) continue;
        if (!entry) fail_msg("%s: %s is not in the table", m->what, p->name);
        const char *name = cJSON_GetArrayItem(entry, 0)->valuestring;
        const cJSON *shape = cJSON_GetArrayItem(entry, 1);
        if (strcmp(name, p->name)) fail_msg("%s: %s where the table has %s", m->what, p->name, name);
        if (cJSON_GetArraySize(shape) != p->dims) fail_msg("%s: %s has %d dimensions", m->what, name, p->dims);
        for (int k = 0; k < p->dims; k++)
            if (cJSON_GetArrayItem(shape, k)->valuedouble != (double)p->shape[k])
                fail_msg("%s: %s: size %d is %lld", m->what, name, k, (long long)p->shape[k]);
        entry = entry->next;
    }
    if (entry) fail_msg("%s: %s is missing", m->what, cJSON_GetArrayItem(entry, 0)->valuestring);
}

/* --- the graph -------------------------------------------------------------------------------- */

static int leaves_of_table(const struct match *m, int row, const struct blanch_tensor **leaves) {
    const cJSON *id;
    int count = 0;
    if (strcmp(text(m->row[row], "op"), "cat")) return leaves[0] = m->value[row], 1;
    cJSON_ArrayForEach(id, get(m->row[row], "inputs")) count +=
        leaves_of_table(m, row_of(m, id->valuestring), leaves + count);
    return count;
}

static int leaves_of_graph(const struct match *m, const struct blanch_tensor *t, const struct blanch_tensor **leaves) {
    const struct bl_node *node = bl_graph_producer(m->graph, t);
    int count = 0;
    if (!node || strcmp(node->op->name, "cat")) return leaves[0] = t, 1;
    for (int i = 0; i < node->inputs; i++) count += leaves_of_graph(m, node->in[i], leaves + count);
    return count;
}

/* Where the table concatenates all that came before, the graph extends the last concatenation: the same channels. */
static void check_cat(const struct match *m, int row, const struct bl_node *node) {
    const struct blanch_tensor *want[MAX_LEAVES], *got[MAX_LEAVES];
    int count = leaves_of_table(m, row, want);
    if (count != leaves_of_graph(m, node->out[0], got) || memcmp(want, got, sizeof *want * (size_t)count))
        fail_msg("%s: %s joins other channels than the table's", m->what, node->name);
}

/* Of a node's id, a colon and the number of an output, or the labels, too. */
static const struct blanch_tensor *value_of(const struct match *m, const char *id) {
    const char *colon = strrchr(id, ':');
    char maker[128];
    if (!strcmp(id, "labels")) return bl_graph_labels(m->graph);
    if (!colon) return m->value[row_of(m, id)];
    snprintf(maker, sizeof maker, "%.*s", (int)(colon - id), id);
    return bl_graph_producer(m->graph, m->value[row_of(m, maker)])->out[atoi(colon + 1)];
}

static void check_inputs(const struct match *m, int row, const struct bl_node *node) {
    const cJSON *id;
    int k = 0;
    if (!strcmp(node->op->name, "cat")) return check_cat(m, row, node);
    cJSON_ArrayForEach(id, get(m->row[row], "inputs")) {
        if (k >= node->inputs || node->in[k] != value_of(m, id->valuestring))
            fail_msg("%s: input %d of %s is not the table's", m->what, k, node->name);
        k++;
    }
    assert_int_equal(k, node->inputs);
}

static void check_attrs(const struct match *m, const cJSON *row, const struct bl_node *node) {
    char *want = calloc(1, node->op->attrs_size + 1);
    assert_non_null(want);
    if (bl_attrs_from_json(node->op, get(row, "attrs"), want)) fail_msg("%s: %s", m->what, blanch_error_message());
    if (node->op->attrs_size && memcmp(want, node->attrs, node->op->attrs_size)) {
        cJSON *a = bl_attrs_to_json(node->op, want), *b = bl_attrs_to_json(node->op, node->attrs);
        char *expected = cJSON_PrintUnformatted(a), *got = cJSON_PrintUnformatted(b);
        if (strcmp(expected, got)) fail_msg("%s: %s: %s where the table has %s", m->what, node->name, got, expected);
        cJSON_Delete(a), cJSON_Delete(b);
        cJSON_free(expected), cJSON_free(got);
    }
    free(want);
}

static void check_shape(const struct match *m, const cJSON *row, const struct bl_node *node) {
    const cJSON *shape = get(row, "out");
    int64_t got[] = {node->out[0]->c, node->out[0]->h, node->out[0]->w};
    for (int i = 0; i < 3; i++) {
        const cJSON *size = cJSON_GetArrayItem(shape, i);
        if (got[i] != (size ? (int64_t)size->valuedouble : 1)) fail_msg("%s: the shape of %s", m->what, node->name);
    }
}

static void check_graph(struct match *m) {
    const cJSON *row;
    int next = 0;
    cJSON_ArrayForEach(row, get(m->json, "graph")) {
        const char *op = text(row, "op"), *name = text(row, "name");
        int at = m->rows++;
        m->id[at] = text(row, "id"), m->row[at] = row;
        if (!strcmp(op, "input")) {
            m->value[at] = bl_graph_in(m->graph);
            continue;
        }
        if (!strcmp(op, "cat") && cJSON_GetArraySize(get(row, "inputs")) == 1) { // of one tensor: nothing to do
            m->value[at] = m->value[row_of(m, get(row, "inputs")->child->valuestring)];
            continue;
        }
        if (next >= bl_graph_nodes(m->graph)) fail_msg("%s: %s %s is missing", m->what, op, name);
        const struct bl_node *node = bl_graph_node(m->graph, next++);
        m->value[at] = node->out[0];
        assert_int_equal(node->idle, cJSON_IsTrue(get(row, "unused")));
        if (strcmp(node->op->name, op)) fail_msg("%s: %s where the table has %s %s", m->what, node->name, op, name);
        if (node->params && strcmp(node->name, name))
            fail_msg("%s: %s where the table has %s", m->what, node->name, name);
        check_inputs(m, at, node);
        check_attrs(m, row, node);
        check_shape(m, row, node);
    }
    assert_int_equal(next, bl_graph_nodes(m->graph));
}

/* --- two networks ------------------------------------------------------------------------------ */

static char *described(const struct bl_graph *graph, cJSON **json) {
    *json = cJSON_CreateObject();
    bl_graph_describe(graph, *json);
    return cJSON_Print(*json);
}

static struct bl_graph *build_model(const struct blanch_model *model, enum blanch_norm norm, bool inference) {
    struct bl_network_options options = {.norm = norm, .batch = 2, .inference = inference};
    struct bl_graph *graph = NULL;
    if (bl_graph_create(&graph, NULL, 2, inference) || bl_model_build(graph, model, &options) ||
        bl_graph_finish(graph, 1))
        fail_msg("%s-%s: %s", model->name, bl_norm_name(norm), blanch_error_message());
    return graph;
}

/* The same nodes, and the same parameters in the same order; named: nodes without parameters are called the same too.
 */
static void check_same(const char *name, enum blanch_norm norm, const struct bl_graph *want, const struct bl_graph *got,
                       bool named) {
    cJSON *json, *other;
    char *expected = described(want, &json), *text = described(got, &other);
    if (named && strcmp(expected, text)) fail_msg("%s-%s: the descriptions differ", name, bl_norm_name(norm));
    assert_int_equal(bl_graph_nodes(want), bl_graph_nodes(got));
    for (int i = 0; i < bl_graph_nodes(want); i++) {
        const struct bl_node *a = bl_graph_node(want, i), *b = bl_graph_node(got, i);
        if (a->op != b->op || a->inputs != b->inputs || a->idle != b->idle)
            fail_msg("%s-%s: node %d is %s, not %s", name, bl_norm_name(norm), i, b->name, a->name);
        if (a->op->attrs_size && memcmp(a->attrs, b->attrs, a->op->attrs_size))
            fail_msg("%s-%s: the attributes of %s differ", name, bl_norm_name(norm), a->name);
        for (int k = 0; k < a->inputs; k++) {
            const struct bl_node *from = bl_graph_producer(want, a->in[k]), *is = bl_graph_producer(got, b->in[k]);
            assert_int_equal(from ? from->index : -1, is ? is->index : -1);
        }
    }
    assert_int_equal(bl_graph_params(want), bl_graph_params(got));
    for (int i = 0; i < bl_graph_params(want); i++) {
        assert_string_equal(bl_graph_param(want, i)->name, bl_graph_param(got, i)->name);
        assert_int_equal(bl_graph_param(want, i)->data.count, bl_graph_param(got, i)->data.count);
    }
    cJSON_free(expected), cJSON_free(text);
    cJSON_Delete(json), cJSON_Delete(other);
}

/* A graph's description as text, and back. */
static struct blanch_model *reread(const char *name, const struct bl_graph *graph) {
    struct blanch_model *model;
    cJSON *json;
    char *text = described(graph, &json);
    const int block_fc = bl_model_find(name)->block_fc;
    if (generates(bl_model_find(name))) cJSON_AddNumberToObject(json, "num_classes", bl_model_find(name)->classes);
    cJSON_AddNumberToObject(cJSON_AddObjectToObject(json, "nd"), "block_fc", block_fc);
    if (bl_model_from_document(&model, name, json)) fail_msg("%s", blanch_error_message());
    assert_int_equal(model->classes, bl_model_find(name)->classes);
    assert_int_equal(model->block_fc, block_fc);
    cJSON_free(text);
    return model;
}

/* --- tests ------------------------------------------------------------------------------------ */

/* The table is a network that can be read, and the same as the definition. */
static void check_table(struct match *m, const char *name) {
    struct blanch_model *model;
    if (bl_model_from_document(&model, m->what, m->json)) fail_msg("%s", blanch_error_message());
    m->json = NULL; // the model's
    struct bl_graph *graph = build_model(model, BLANCH_OWN, !generates(model));
    check_same(name, model->nd ? BLANCH_ND : BLANCH_BN, m->graph, graph, false);
    bl_model_free(model);
    model = reread(name, graph); // of names that several nodes have, too
    bl_graph_free(graph);
    bl_model_free(model);
}

static void test_network(void **state) {
    const char *what = *state;
    const char *norm = strrchr(what, '-') + 1;
    char path[512], name[64];
    snprintf(path, sizeof path, "%s/architectures/%s.json", REFERENCE_DIR, what);
    snprintf(name, sizeof name, "%.*s", (int)(norm - 1 - what), what);
    struct match *m = calloc(1, sizeof *m);
    assert_non_null(m);
    m->what = what;
    if (bl_json_read(path, &m->json)) fail_msg("%s", blanch_error_message());
    m->graph = build(name, strcmp(norm, "nd") ? BLANCH_BN : BLANCH_ND, !generates(bl_model_find(name)));
    check_params(m, "parameters", true);
    check_params(m, "buffers", false);
    assert_int_equal(bl_graph_trainable(m->graph), get(m->json, "trainable")->valuedouble);
    check_graph(m);
    check_table(m, name);
    bl_graph_free(m->graph);
    cJSON_Delete(m->json);
    free(m);
}

/* Without normalisation: no batch norm, no whitening, a bias in every convolution; the loss is there for training. */
static void test_none(void **state) {
    for (int i = 0; bl_model_list[i]; i++) {
        struct bl_graph *graph = build(bl_model_list[i]->name, BLANCH_NONE, false);
        for (int k = 0; k < bl_graph_nodes(graph); k++) {
            const struct bl_node *node = bl_graph_node(graph, k);
            assert_string_not_equal(node->op->name, "batchnorm2d");
            assert_false(node->buffers);
            if (!strcmp(node->op->name, "conv2d")) assert_int_equal(node->params, 2);
        }
        assert_true(bl_graph_has_loss(graph));
        bl_graph_free(graph);
    }
}

static const struct bl_node *next_running(const struct bl_graph *graph, int *at) {
    while (*at < bl_graph_nodes(graph) && bl_graph_node(graph, *at)->idle) ++*at;
    return *at < bl_graph_nodes(graph) ? bl_graph_node(graph, (*at)++) : NULL;
}

static void check_running(const char *name, const struct bl_graph *want, const struct bl_graph *got) {
    const struct bl_node *a, *b;
    int i = 0, k = 0;
    do {
        a = next_running(want, &i), b = next_running(got, &k);
        if ((a ? a->op : NULL) != (b ? b->op : NULL))
            fail_msg("%s: a part runs %s, not %s", name, b ? b->name : "no more", a ? a->name : "no more");
    } while (a);
}

static void check_params_of(const struct bl_graph *want, const struct bl_graph *got) {
    assert_int_equal(bl_graph_params(want), bl_graph_params(got));
    for (int i = 0; i < bl_graph_params(want); i++)
        assert_string_equal(bl_graph_param(want, i)->name, bl_graph_param(got, i)->name);
}

/* What makes images, and what encodes them, runs the operations of the definition's own, and has the parameters of the
 * whole. */
static void check_parts(const char *name, enum blanch_norm norm, const struct blanch_model *model) {
    struct bl_graph *whole = build(name, norm, false);
    for (int encodes = 0; encodes <= model->encoder; encodes++) {
        struct bl_network_options options = {.norm = norm, .batch = 2, .inference = true, .encodes = encodes};
        struct bl_graph *part[2] = {NULL, NULL};
        for (int i = 0; i < 2; i++) {
            if (i) options.norm = BLANCH_OWN;
            if (bl_graph_create(&part[i], NULL, 2, true) ||
                bl_model_build(part[i], i ? model : bl_model_find(name), &options) || bl_graph_finish(part[i], 1))
                fail_msg("%s-%s: %s", name, bl_norm_name(norm), blanch_error_message());
        }
        check_running(name, part[0], part[1]);
        check_params_of(whole, part[1]);
        bl_graph_free(part[0]), bl_graph_free(part[1]);
    }
    bl_graph_free(whole);
}

/* A description makes the same network again: the same description, and the same parameters in the same order. */
static void check_round_trip(const char *name, enum blanch_norm norm) {
    const bool inference = !generates(bl_model_find(name));
    struct bl_graph *graph = build(name, norm, inference);
    struct blanch_model *model = reread(name, graph);
    struct bl_graph *again = build_model(model, BLANCH_OWN, inference);
    check_same(name, norm, graph, again, true);
    bl_graph_free(graph);
    bl_graph_free(again);
    if (!inference) check_parts(name, norm, model);
    bl_model_free(model);
}

/* The description of the batch norm form becomes, by the rule, what the definition gives under network deconvolution.
 */
static void check_rule(const char *name, enum blanch_norm norm) {
    const bool inference = !generates(bl_model_find(name));
    struct bl_graph *bn = build(name, BLANCH_BN, inference), *want = build(name, norm, inference);
    struct blanch_model *model = reread(name, bn);
    struct bl_graph *got = build_model(model, norm, inference);
    check_same(name, norm, want, got, false);
    bl_graph_free(bn), bl_graph_free(want), bl_graph_free(got);
    bl_model_free(model);
}

/* What is fused is described as it was defined. */
static void check_fused(const char *name, enum blanch_norm norm) {
    cJSON *fused, *plain;
    struct bl_graph *graph = build(name, norm, true);
    char *got = described(graph, &fused);
    bl_graph_free(graph);
    setenv("BLANCH_FUSE", "0", 1);
    graph = build(name, norm, true);
    unsetenv("BLANCH_FUSE");
    char *want = described(graph, &plain);
    if (strcmp(want, got)) fail_msg("%s-%s: fusion shows in the description", name, bl_norm_name(norm));
    bl_graph_free(graph);
    cJSON_free(want), cJSON_free(got);
    cJSON_Delete(fused), cJSON_Delete(plain);
}

static void test_round_trips(void **state) {
    for (int i = 0; bl_model_list[i]; i++)
        for (enum blanch_norm norm = BLANCH_BN; norm <= BLANCH_NONE; norm++) {
            check_round_trip(bl_model_list[i]->name, norm);
            if (!generates(bl_model_list[i])) check_fused(bl_model_list[i]->name, norm);
        }
}

/* What makes images has the state dict of what learns to, in the same order, and takes no labels' loss. */
static void test_generators(void **state) {
    int found = 0;
    for (int i = 0; bl_model_list[i]; i++) {
        if (bl_model_list[i]->task != BL_GENERATE) continue;
        for (enum blanch_norm norm = BLANCH_BN; norm <= BLANCH_NONE; norm++) {
            struct bl_graph *learns = build(bl_model_list[i]->name, norm, false),
                            *makes = build(bl_model_list[i]->name, norm, true);
            const struct blanch_tensor *image = bl_graph_in(learns), *made = bl_graph_out(makes);
            assert_int_equal(bl_graph_params(learns), bl_graph_params(makes));
            for (int k = 0; k < bl_graph_params(learns); k++) {
                const struct bl_param *a = bl_graph_param(learns, k), *b = bl_graph_param(makes, k);
                assert_string_equal(a->name, b->name);
                assert_int_equal(a->data.count, b->data.count);
            }
            assert_true(made->c == image->c && made->h == image->h && made->w == image->w);
            assert_false(bl_graph_has_loss(makes));
            assert_int_equal(bl_graph_pixels(learns), 1);
            bl_graph_free(learns), bl_graph_free(makes);
        }
        found++;
    }
    assert_int_equal(found, 2);
}

static void test_rule(void **state) {
    for (int i = 0; bl_model_list[i]; i++) check_rule(bl_model_list[i]->name, BLANCH_ND);
}

/* Options replace the defaults, not a network's exceptions; other classes change the last layer alone. */
static void test_options(void **state) {
    struct bl_network_options options = {
        .norm = BLANCH_ND, .nd = {.block = 16, .iterations = 3}, .classes = 100, .inference = true};
    struct bl_graph *graph = NULL;
    assert_int_equal(bl_graph_create(&graph, NULL, 1, true), 0);
    assert_int_equal(bl_model_build(graph, bl_model_find("vgg11"), &options), 0);
    assert_int_equal(bl_graph_finish(graph, 1), 0);
    const struct bl_nd_conv_attrs *first = bl_graph_node(graph, 0)->attrs, *second = bl_graph_node(graph, 3)->attrs;
    assert_int_equal(first->nd.block, 3);
    assert_int_equal(first->nd.n_iter, 15);
    assert_int_equal(second->nd.block, 16);
    assert_int_equal(second->nd.n_iter, 3);
    assert_int_equal(bl_graph_out(graph)->c, 100);
    bl_graph_free(graph);
}

/* An image too small for the network is refused with the layer's name. */
static void test_too_small(void **state) {
    struct bl_network_options options = {.height = 8, .width = 8};
    struct bl_graph *graph = NULL;
    assert_int_equal(bl_graph_create(&graph, NULL, 1, false), 0);
    bl_model_build(graph, bl_model_find("vgg16"), &options);
    assert_int_equal(bl_graph_finish(graph, 1), BLANCH_EINPUT);
    assert_non_null(strstr(blanch_error_message(), "maxpool2d"));
    bl_graph_free(graph);
}

static const char *const networks[] = {"vgg11",
                                       "vgg13",
                                       "vgg16",
                                       "vgg19",
                                       "resnet18",
                                       "resnet34",
                                       "resnet50",
                                       "resnet18d",
                                       "preact18",
                                       "densenet121",
                                       "resnext29",
                                       "mobilenetv2",
                                       "dpn92",
                                       "pnasneta",
                                       "senet18",
                                       "efficientnetb0",
                                       "vgg11-imagenet",
                                       "vgg16-imagenet",
                                       "vgg19-imagenet",
                                       "resnet18-imagenet",
                                       "resnet50-imagenet",
                                       "densenet121-imagenet",
                                       "mobilenetv2-imagenet",
                                       "cct-2",
                                       "vit-tiny",
                                       "convnext-tiny",
                                       "unet",
                                       "deeplabv3-resnet50",
                                       "vae",
                                       "ddpm-unet"};

int main(void) {
    static struct CMUnitTest tests[2 * BL_COUNT(networks) + 6];
    int count = 0;
    for (int i = 0; i < 2 * BL_COUNT(networks); i++) {
        char *what = bl_format("%s-%s", networks[i / 2], i % 2 ? "nd" : "bn");
        tests[count++] = (struct CMUnitTest){what, test_network, NULL, NULL, what};
    }
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_none);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_round_trips);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_rule);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_generators);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_options);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_too_small);
    return _cmocka_run_group_tests("models", tests, (size_t)count, NULL, NULL);
}
