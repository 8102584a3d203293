/* The format of networks in JSON: what docs/network-format.md and its schema say is what operations' tables say; what
 * may be left out, what is refused and how, what follows from other images and classes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "graph/describe.h"
#include "harness.h"
#include "io/files.h"
#include "io/safetensors.h"
#include "train/open.h"
#include "train/train.h"

#define GRAPH(nodes) "{\"input\": [3, 8, 8], \"graph\": [" nodes "]}"
#define CONV "{\"op\": \"conv2d\", \"name\": \"conv\", \"attrs\": {\"out_channels\": 4, \"kernel\": 3}}, "
#define POOL "{\"op\": \"global_avgpool2d\"}"
#define RELU "{\"op\": \"relu\"}"
#define LINEAR ", {\"op\": \"linear\", \"name\": \"fc\", \"attrs\": {\"out_features\": 5}}"

static struct blanch_device *device;

static struct blanch_model *read_model(const char *text) {
    struct blanch_model *model;
    if (bl_model_from_json(&model, text, strlen(text))) fail_msg("%s: %s", text, blanch_error_message());
    return model;
}

/* NULL: it failed. */
static struct bl_graph *build(const struct blanch_model *model, struct bl_network_options options) {
    struct bl_graph *graph = NULL;
    options.inference = true;
    assert_int_equal(bl_graph_create(&graph, NULL, 2, true), 0);
    if (!bl_model_build(graph, model, &options) && !bl_graph_finish(graph, 1)) return graph;
    bl_graph_free(graph);
    return NULL;
}

/* --- the schema and the document -------------------------------------------------------------- */

static cJSON *read_json(const char *name) {
    char *path = bl_format("%s/%s", DOCS_DIR, name);
    cJSON *json = NULL;
    if (bl_json_read(path, &json)) fail_msg("%s", blanch_error_message());
    free(path);
    return json;
}

static cJSON *ref(const char *name) {
    char path[120];
    cJSON *json = cJSON_CreateObject();
    snprintf(path, sizeof path, "#/$defs/%s", name);
    cJSON_AddStringToObject(json, "$ref", path);
    return json;
}

static cJSON *field_schema(const struct bl_field *f) {
    cJSON *json;
    if (f->kind == BL_FIELD_INT || f->kind == BL_FIELD_INT2)
        json = ref(f->kind == BL_FIELD_INT ? "whole" : "pair");
    else
        cJSON_AddStringToObject(json = cJSON_CreateObject(), "type", f->kind == BL_FIELD_BOOL ? "boolean" : "number");
    if (f->otherwise && f->kind == BL_FIELD_BOOL) cJSON_AddTrueToObject(json, "default");
    if (f->otherwise && f->kind != BL_FIELD_BOOL) cJSON_AddNumberToObject(json, "default", f->otherwise);
    return json;
}

static cJSON *attrs_schema(const struct bl_op *op) {
    cJSON *json = cJSON_CreateObject(), *properties, *required;
    cJSON_AddStringToObject(json, "type", "object");
    properties = cJSON_AddObjectToObject(json, "properties");
    required = cJSON_AddArrayToObject(json, "required");
    for (const struct bl_field *f = op->fields; f && f->name; f++) {
        cJSON_AddItemToObject(properties, f->name, field_schema(f));
        if (!f->optional) cJSON_AddItemToArray(required, cJSON_CreateString(f->name));
    }
    cJSON_AddFalseToObject(json, "additionalProperties");
    return json;
}

/* {"if": the operation is this one, "then": its attributes are of that schema}. */
static cJSON *choice_schema(const struct bl_op *op) {
    cJSON *json = cJSON_CreateObject(), *is = cJSON_AddObjectToObject(json, "if"),
          *then = cJSON_AddObjectToObject(json, "then");
    bool needs = false;
    for (const struct bl_field *f = op->fields; f && f->name; f++) needs |= !f->optional;
    cJSON_AddStringToObject(cJSON_AddObjectToObject(cJSON_AddObjectToObject(is, "properties"), "op"), "const",
                            op->name);
    cJSON_AddItemToObject(cJSON_AddObjectToObject(then, "properties"), "attrs", ref(op->name));
    if (needs) cJSON_AddItemToArray(cJSON_AddArrayToObject(then, "required"), cJSON_CreateString("attrs"));
    return json;
}

static const cJSON *at(const cJSON *json, const char *const *keys) {
    for (; json && *keys; keys++) json = cJSON_GetObjectItemCaseSensitive(json, *keys);
    return json;
}

static void check_equal(const char *what, const cJSON *got, cJSON *want) {
    char *text = cJSON_PrintUnformatted(want);
    if (!cJSON_Compare(got, want, true)) fail_msg("schemas/network.schema.json, %s: it must be %s", what, text);
    cJSON_free(text);
    cJSON_Delete(want);
}

/* A classifier ends in its logits; what generates in its loss. */
static bool is_described(const struct bl_op *op) {
    return op != bl_op_find("softmax_cross_entropy");
}

static void test_schema(void **state) {
    cJSON *json = read_json("schemas/network.schema.json"), *names = cJSON_CreateArray(),
          *choices = cJSON_CreateArray();
    cJSON_AddItemToArray(names, cJSON_CreateString("input"));
    for (int i = 0; bl_op_list[i]; i++) {
        const struct bl_op *op = bl_op_list[i];
        if (!is_described(op)) continue;
        cJSON_AddItemToArray(names, cJSON_CreateString(op->name));
        cJSON_AddItemToArray(choices, choice_schema(op));
        check_equal(op->name, at(json, (const char *const[]){"$defs", op->name, NULL}), attrs_schema(op));
    }
    check_equal("op", at(json, (const char *const[]){"$defs", "node", "properties", "op", "enum", NULL}), names);
    check_equal("node", at(json, (const char *const[]){"$defs", "node", "allOf", NULL}), choices);
    cJSON_Delete(json);
}

/* "| `conv2d` | `in_channels` (the input's), `kernel` | ...": every attribute, and what may be left out with what it is
 * then. */
static void check_row(const struct bl_op *op, const char *row) {
    char cell[1024], name[80];
    const char *end = strchr(row, '|');
    int count = 0, quotes = 0;
    assert_non_null(end);
    snprintf(cell, sizeof cell, "%.*s", (int)(end - row), row);
    for (const char *c = cell; *c; c++) quotes += *c == '`';
    for (const struct bl_field *f = op->fields; f && f->name; f++, count++) {
        snprintf(name, sizeof name, "`%s`", f->name);
        const char *found = strstr(cell, name);
        if (!found) fail_msg("network-format.md: %s lacks the attribute %s", op->name, f->name);
        if (!strncmp(found + strlen(name), " (", 2) != f->optional)
            fail_msg("network-format.md: %s: %s may %sbe left out", op->name, f->name, f->optional ? "" : "not ");
        snprintf(name, sizeof name, "`%s` (%.6g)", f->name, f->otherwise);
        if (f->otherwise && f->kind != BL_FIELD_BOOL && !strstr(cell, name))
            fail_msg("network-format.md: %s: it must be %s", op->name, name);
    }
    if (quotes != 2 * count) fail_msg("network-format.md: %s has %d attributes", op->name, count);
}

static void test_document(void **state) {
    char *path = bl_format("%s/network-format.md", DOCS_DIR), *text, start[80];
    size_t size;
    assert_int_equal(bl_file_read(path, &text, &size), 0);
    for (int i = 0; bl_op_list[i]; i++) {
        if (!is_described(bl_op_list[i])) continue;
        snprintf(start, sizeof start, "\n| `%s` |", bl_op_list[i]->name);
        const char *row = strstr(text, start);
        if (!row) fail_msg("network-format.md has no row of %s", bl_op_list[i]->name);
        check_row(bl_op_list[i], row + strlen(start));
    }
    free(text), free(path);
}

/* --- what is left out ------------------------------------------------------------------------- */

static void test_defaults(void **state) {
    struct blanch_model *model =
        read_model(GRAPH(CONV RELU ", {\"op\": \"add\", \"inputs\": [\"1\", \"conv\"]}, " POOL LINEAR));
    struct bl_graph *graph = build(model, (struct bl_network_options){.norm = BLANCH_OWN});
    assert_non_null(graph);
    const struct bl_conv_attrs want = {3, 4, {3, 3}, {1, 1}, {0, 0}, {1, 1}, 1, 1};
    assert_memory_equal(bl_graph_node(graph, 0)->attrs, &want, sizeof want);
    assert_string_equal(bl_graph_node(graph, 1)->name, "1");
    assert_ptr_equal(bl_graph_node(graph, 1)->in[0], bl_graph_node(graph, 0)->out[0]);
    assert_ptr_equal(bl_graph_node(graph, 2)->in[1], bl_graph_node(graph, 0)->out[0]);
    assert_int_equal(model->classes, 5);
    bl_graph_free(graph);
    bl_model_free(model);
}

/* Any number of inputs; what goes on from a list before extends it. */
static void test_cat(void **state) {
    char text[2000] = "{\"input\": [2, 1, 1], \"graph\": [{\"op\": \"input\", \"id\": \"x\"}", list[400] = "\"x\"";
    for (int i = 1; i <= 12; i++) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, ", {\"op\": \"cat\", \"id\": \"c%d\", \"inputs\": [%s]}", i, list);
        strcat(list, ", \"x\"");
    }
    strcat(text, "]}");
    struct blanch_model *model = read_model(text);
    assert_int_equal(model->classes, 24);
    struct bl_graph *graph = build(model, (struct bl_network_options){.norm = BLANCH_OWN});
    assert_non_null(graph);
    assert_int_equal(bl_graph_nodes(graph), 11);
    for (int i = 1; i < 11; i++) assert_int_equal(bl_graph_node(graph, i)->inputs, 2);
    bl_graph_free(graph);
    bl_model_free(model);
    snprintf(text, sizeof text, "{\"input\": [2, 1, 1], \"graph\": [{\"op\": \"cat\", \"inputs\": [%s]}]}",
             "\"input\", \"input\", \"input\", \"input\", \"input\", \"input\", \"input\", \"input\", \"input\"");
    model = read_model(text);
    assert_int_equal(model->classes, 18);
    bl_model_free(model);
}

/* --- what is refused -------------------------------------------------------------------------- */

static void test_refused(void **state) {
    static const char *const wrong[][2] = {
        {"", "no JSON"},
        {"[]", "\"input\""},
        {"{}", "\"input\""},
        {"{\"input\": [3, 8, 8]}", "\"graph\""},
        {"{\"input\": [3, 8, 8], \"graph\": []}", "\"graph\""},
        {"{\"input\": [3, 0, 8], \"graph\": [" RELU "]}", "\"input\""},
        {"{\"input\": [3, 1e30, 8], \"graph\": [" RELU "]}", "\"input\""},
        {GRAPH("{\"op\": \"input\"}"), "logits"},
        {GRAPH("{\"op\": \"maxpool2d\", \"attrs\": {\"kernel\": 2}}"),
         "3 x 4 x 4; they must be N x 1 x 1, or N x 8 x 8"},
        {GRAPH("1"), "node 0: it is no JSON object"},
        {GRAPH("{}"), "node '0': \"op\""},
        {GRAPH("{\"op\": 3}"), "node 0: \"op\" is not a text"},
        {GRAPH("{\"op\": \"rely\"}"), "node '0': there is no operation 'rely', did you mean 'relu'?"},
        {GRAPH("{\"ops\": \"relu\"}"), "node '0': there is no key 'ops', did you mean 'op'?"},
        {GRAPH("{\"op\": \"softmax_cross_entropy\"}"), "is a loss"},
        {GRAPH(RELU ", {\"op\": \"input\"}"), "node '1': an input"},
        {GRAPH("{\"op\": \"relu\", \"inputs\": [\"b\"]}"), "node '0': no node before it is called 'b'"},
        {GRAPH("{\"op\": \"relu\", \"inputs\": [\"input:1\"]}"), "node '0': node 'input' has no output 1"},
        {GRAPH("{\"op\": \"relu\", \"inputs\": \"input\"}"), "\"inputs\" is no list"},
        {GRAPH("{\"op\": \"relu\", \"id\": \"a\"}, {\"op\": \"relu\", \"id\": \"a\"}"),
         "node 1: its id, 'a', is that of"},
        {GRAPH("{\"op\": \"relu\", \"id\": \"input\"}"), "node 0: its id, 'input', is that of"},
        {GRAPH("{\"op\": \"relu\", \"out\": [3, 8, 9]}"),
         "node '0': its output is 3 x 8 x 8, where \"out\" says 3 x 8 x 9"},
        {GRAPH("{\"op\": \"conv2d\", \"attrs\": {\"out_channels\": 4, \"kernel\": 3, \"strid\": 1}}"),
         "node '0': conv2d: there is no attribute 'strid', did you mean 'stride'?"},
        {GRAPH("{\"op\": \"conv2d\", \"attrs\": {\"out_channels\": 4}}"), "node '0': conv2d: the attribute 'kernel'"},
        {GRAPH("{\"op\": \"conv2d\", \"attrs\": {\"out_channels\": 4, \"kernel\": 9}}"), "smaller than its kernel"},
        {GRAPH("{\"op\": \"conv2d\", \"attrs\": {\"in_channels\": 4, \"out_channels\": 4, \"kernel\": 1}}"), "takes 4"},
        {GRAPH("{\"op\": \"conv2d\", \"attrs\": {\"out_channels\": 4, \"kernel\": 3, \"groups\": 2}}"), "groups"},
        {GRAPH("{\"op\": \"batchnorm2d\", \"attrs\": {\"eps\": -1}}, " POOL), "0: eps is -1"},
        {GRAPH("{\"op\": \"batchnorm2d\", \"attrs\": {\"momentum\": 2}}, " POOL), "0: momentum is 2"},
        {GRAPH("{\"op\": \"batchnorm2d\", \"attrs\": {\"momentum\": -1}}, " POOL), "0: momentum is -1"},
        {GRAPH("{\"op\": \"relu\", \"id\": \"a\\u001b[2Jb\"}, " POOL), "node 0: \"id\", 'a\\x1B[2Jb', has characters"},
        {GRAPH("{\"op\": \"linear\", \"name\": \"a\\nb\", \"attrs\": {\"out_features\": 4}}"), "node 0: \"name\""},
        {GRAPH("{\"op\": \"linear\", \"attrs\": {\"out_features\": 4}, \"nd\": {\"name\": \"a\\u0085\"}}"),
         "\"nd\": \"name\""},
        {GRAPH("{\"op\": \"reul\"}"), "did you mean 'relu'?"},
        {GRAPH("{\"op\": \"conv2d\", \"attrs\": {\"out_channels\": 1099511627776, \"kernel\": 1}}"),
         "'out_channels' must be a whole number below 2147483648"},
        {GRAPH("{\"op\": \"relu\", \"keep\": true}"), "node '0': \"keep\""},
        {GRAPH("{\"op\": \"relu\", \"nd\": {}}"), "node '0': \"nd\""},
        {GRAPH("{\"op\": \"linear\", \"attrs\": {\"out_features\": 4}, \"nd\": {\"freeze\": true}}"), "\"freeze\""},
        {GRAPH("{\"op\": \"linear\", \"attrs\": {\"out_features\": 4}, \"nd\": {\"blok\": 3}}"),
         "did you mean 'block'?"},
        {GRAPH("{\"op\": \"linear\", \"attrs\": {\"out_features\": 4}, \"nd\": {\"block\": 0}}"), "\"block\""},
        {GRAPH(CONV POOL LINEAR LINEAR), "node 3: its id, 'fc', is that of"},
        {GRAPH(CONV POOL LINEAR
               ", {\"op\": \"linear\", \"id\": \"a\", \"name\": \"fc\", \"attrs\": {\"out_features\": 5}}"),
         "node 'a': node 'fc' has parameters of the same name, 'fc'"},
        {GRAPH(CONV POOL ", {\"op\": \"relu\", \"unused\": true}"), "the last node gives the logits: it cannot"},
        {GRAPH("{\"op\": \"relu\", \"id\": \"a\", \"unused\": true}, {\"op\": \"relu\", \"id\": \"b\"}, "
               "{\"op\": \"add\", \"inputs\": [\"b\", \"a\"]}, " POOL),
         "node '2': its input 'a' is \"unused\""},
        {GRAPH("{\"op\": \"input\", \"id\": \"x\", \"unused\": true}, " POOL),
         "node 'x': the image cannot be \"unused\""},
        {GRAPH("{\"op\": \"relu\", \"unused\": 1}, " POOL), "node '0': \"unused\" is not true or false"},
        {"{\"input\": [3], \"num_classes\": 4, \"graph\": [" RELU "]}", "\"num_classes\""},
        {"{\"input\": [3], \"trainable\": 4, \"graph\": [" RELU "]}", "\"trainable\""},
        {"{\"input\": [3], \"nd\": {\"block_f\": 4}, \"graph\": [" RELU "]}", "block_fc"},
        {"{\"input\": [3], \"parameters\": [[\"0.weight\", [3]]], \"graph\": [" RELU "]}", "'0.weight'"},
        {"{\"input\": [3], \"parameters\": [], \"graph\": [{\"op\": \"linear\", \"attrs\": {\"out_features\": 4}}]}",
         "\"parameters\" lists 0, and the nodes have 2"},
    };
    for (int i = 0; i < BL_COUNT(wrong); i++) {
        struct blanch_model *model;
        int code = bl_model_from_json(&model, wrong[i][0], strlen(wrong[i][0]));
        if (!code) fail_msg("%s is taken", wrong[i][0]);
        if (code != BLANCH_EINPUT || !strstr(blanch_error_message(), wrong[i][1]))
            fail_msg("%s: %s", wrong[i][1], blanch_error_message());
        assert_null(model);
    }
}

/* Of layers that are deconvolution's already, other norms and what they state themselves. */
static void test_nd_file(void **state) {
    static const char text[] =
        GRAPH("{\"op\": \"nd_linear\", \"attrs\": {\"in_features\": 3, \"out_features\": 4, \"bias\": true, "
              "\"block\": 3, \"n_iter\": 5, \"eps\": 1e-5, \"momentum\": 0.1}}, " POOL);
    struct blanch_model *model = read_model(text);
    const struct bl_network_options refused[] = {
        {.norm = BLANCH_BN}, {.norm = BLANCH_NONE}, {.norm = BLANCH_ND, .nd = {.block_fc = 2}}};
    assert_true(model->nd);
    for (int i = 0; i < BL_COUNT(refused); i++) assert_null(build(model, refused[i]));
    struct bl_graph *graph = build(model, (struct bl_network_options){.norm = BLANCH_OWN, .nd = {.refresh = 7}});
    assert_non_null(graph);
    assert_int_equal(bl_node_nd(bl_graph_node(graph, 0))->refresh, 7);
    bl_graph_free(graph);
    bl_model_free(model);
}

/* Under ND one whose pixels do not meet is a linear layer of pixels and a shuffle of 4 channels each; one whose pixels
 * do is a convolution, and the same shuffle; what leaves gaps, or is dilated and strides, stays. */
static void test_transposed(void **state) {
#define SETTINGS ", \"nd\": {\"block\": 1, \"n_iter\": 3}"
    static const char *const kinds[][3] = {
        {"\"stride\": 2, \"kernel\": 2}" SETTINGS, "nd_linear", "pixel_shuffle"},
        {"\"stride\": 2, \"kernel\": 2}, \"keep\": true", "conv_transpose2d", NULL},
        {"\"stride\": 2, \"kernel\": 3, \"padding\": 1, \"output_padding\": 1}" SETTINGS, "nd_conv2d", "pixel_shuffle"},
        {"\"stride\": 2, \"kernel\": 4, \"padding\": 1}" SETTINGS, "nd_conv2d", "pixel_shuffle"},
        {"\"stride\": 2, \"kernel\": 4, \"padding\": 1}, \"keep\": true", "conv_transpose2d", NULL},
        {"\"stride\": 2, \"kernel\": 1, \"output_padding\": 1}", "conv_transpose2d", NULL},
        {"\"stride\": 2, \"kernel\": 2, \"dilation\": 3, \"padding\": 1}", "conv_transpose2d", NULL},
        {"\"stride\": [2, 1], \"kernel\": [2, 9]}", "conv_transpose2d", NULL},
    };
    for (int i = 0; i < BL_COUNT(kinds); i++) {
        char *text = bl_format(GRAPH("{\"op\": \"conv_transpose2d\", \"name\": \"up\", \"out\": [5, 16, 16], "
                                     "\"attrs\": {\"out_channels\": 5, %s}, " POOL),
                               kinds[i][0]);
        struct blanch_model *model = read_model(text);
        struct bl_graph *graph = build(model, (struct bl_network_options){.norm = BLANCH_ND});
        assert_non_null(graph);
        const struct bl_node *node = bl_graph_node(graph, 0);
        assert_string_equal(node->op->name, kinds[i][1]);
        assert_string_equal(node->name, "up");
        const struct bl_nd_attrs *nd = bl_node_nd(node);
        if (nd) assert_true(nd->block == 1 && nd->n_iter == 3 && node->out[0]->c == 20);
        // samples of 2x2 side by side; of single pixels every ninth
        if (nd) assert_int_equal(nd->cov_sampling_stride[0], strcmp(node->op->name, "nd_conv2d") ? 3 : 2);
        if (kinds[i][2]) assert_string_equal(bl_graph_node(graph, 1)->op->name, kinds[i][2]);
        bl_graph_free(graph);
        bl_model_free(model);
        free(text);
    }
}

/* --- other images and classes ----------------------------------------------------------------- */

static void test_other_data(void **state) {
    struct blanch_model *model = read_model(GRAPH(CONV RELU ", " POOL LINEAR));
    struct bl_graph *graph = build(
        model, (struct bl_network_options){.norm = BLANCH_ND, .classes = 7, .channels = 1, .height = 9, .width = 4});
    assert_non_null(graph);
    const struct bl_nd_conv_attrs *conv = bl_graph_node(graph, 0)->attrs;
    assert_int_equal(conv->conv.in_channels, 1);
    assert_int_equal(conv->nd.block, 1);
    assert_int_equal(bl_graph_out(graph)->c, 7);
    bl_graph_free(graph);
    bl_model_free(model);
}

/* A convolution of 1x1 is a classifier too; a sum is not, nor are groups that do not divide the channels. */
static void test_what_follows(void **state) {
    struct blanch_model *model = read_model(
        GRAPH(CONV "{\"op\": \"conv2d\", \"attrs\": {\"out_channels\": 5, \"kernel\": 1}}, " RELU ", " POOL));
    struct bl_graph *graph = build(model, (struct bl_network_options){.norm = BLANCH_BN, .classes = 2});
    assert_non_null(graph);
    assert_int_equal(bl_graph_out(graph)->c, 2);
    bl_graph_free(graph);
    bl_model_free(model);
    model = read_model(GRAPH(POOL ", {\"op\": \"add\", \"id\": \"sum\", \"inputs\": [\"0\", \"0\"]}"));
    assert_null(build(model, (struct bl_network_options){.norm = BLANCH_BN, .classes = 2}));
    assert_non_null(strstr(blanch_error_message(), "node 'sum': 3 classes cannot become 2"));
    bl_model_free(model);
    model = read_model(GRAPH("{\"op\": \"conv2d\", \"name\": \"deep\", \"attrs\": {\"out_channels\": 6, \"kernel\": 3, "
                             "\"groups\": 3}}, " POOL));
    assert_null(build(model, (struct bl_network_options){.norm = BLANCH_BN, .channels = 1}));
    assert_non_null(strstr(blanch_error_message(), "deep: groups 3"));
    bl_model_free(model);
}

/* --- initial values ---------------------------------------------------------------------------- */

/* Those that fit by name and shape are taken, the others begin at random. */
static void check_values(struct blanch_model *model, int classes, int taken) {
    const struct bl_network_options options = {.definition = model,
                                               .norm = BLANCH_OWN,
                                               .nd = {.eps = NAN, .momentum = NAN},
                                               .classes = classes,
                                               .batch = 2,
                                               .seed = 3};
    struct blanch_network *net = NULL;
    const float image[3 * 8 * 8] = {0};
    float bias[4], logits[3], shift[3];
    check(bl_network_create(&net, device, &options));
    assert_int_equal(net->taken, taken);
    check(bl_param_read(bl_graph_find_param(net->graph, "conv.bias"), bias));
    for (int i = 0; i < 4; i++) assert_true(bias[i] == (float)i);
    check(bl_param_read(bl_graph_find_param(net->graph, "fc.bias"), shift));
    check(blanch_network_predict(net, image, 1, logits));
    for (int c = 0; classes == 2 && c < classes; c++)
        assert_true(fabsf(logits[c] - 7 * (0 + 1 + 2 + 3) - shift[c]) < 1e-4f);
    blanch_network_free(net);
}

static void test_initial_values(void **state) {
    const struct {
        const char *name;
        int dims;
        int64_t shape[2];
        float values[8];
    } given[] = {{"conv.bias", 1, {4}, {0, 1, 2, 3}},
                 {"fc.weight", 2, {2, 4}, {7, 7, 7, 7, 7, 7, 7, 7}},
                 {"other.weight", 1, {4}, {0}},
                 {"fc.bias", 1, {4}, {0}}};
    if (!device) skip();
    struct blanch_model *model =
        read_model(GRAPH(CONV POOL ", {\"op\": \"linear\", \"name\": \"fc\", \"attrs\": {\"out_features\": 2}}"));
    model->values = calloc(BL_COUNT(given), sizeof *model->values);
    model->value_count = BL_COUNT(given);
    for (int i = 0; i < BL_COUNT(given); i++) {
        struct bl_st_tensor *value = &model->values[i];
        *value = (struct bl_st_tensor){
            bl_strdup(given[i].name), BL_F32, given[i].dims, {given[i].shape[0], given[i].shape[1]}};
        value->bytes = sizeof(float);
        for (int k = 0; k < value->dims; k++) value->bytes *= (size_t)value->shape[k];
        value->data = memcpy(malloc(value->bytes), given[i].values, value->bytes);
    }
    check_values(model, 2, 2);
    check_values(model, 3, 1);
    bl_model_free(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_schema),     cmocka_unit_test(test_document),     cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_cat),        cmocka_unit_test(test_refused),      cmocka_unit_test(test_nd_file),
        cmocka_unit_test(test_other_data), cmocka_unit_test(test_what_follows), cmocka_unit_test(test_initial_values),
        cmocka_unit_test(test_transposed),
    };
    int failed = open_test_device(&device);
    failed += cmocka_run_group_tests_name("described", tests, NULL, NULL);
    return failed + close_test_device(device);
}
