/* Writing ONNX: the plain structs of onnx.h as protobuf's messages, packed by protobuf-c. */
#include "io/files.h"
#include "io/onnx.h"
#include "io/onnx.pb-c.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { IR_VERSION = 8 }; // that goes with opset 17

/* Everything that the messages point to; the texts and values are the model's. */
struct memory {
    void **block;
    size_t count, capacity;
    bool lacked;
};

static void *take(struct memory *m, size_t count, size_t size) {
    void *block = NULL;
    if (!bl_grow((void **)&m->block, &m->capacity, m->count + 1, sizeof *m->block)) block = bl_calloc(count + 1, size);
    if (block)
        m->block[m->count++] = block;
    else
        m->lacked = true;
    return block;
}

static void release(struct memory *m) {
    for (size_t i = 0; i < m->count; i++) free(m->block[i]);
    free(m->block);
}

/* `count` messages and the list that points to them; NULL: no memory. */
static void *take_list(struct memory *m, size_t count, size_t size, void ***list) {
    char *messages = take(m, count, size);
    *list = take(m, count, sizeof **list);
    for (size_t i = 0; messages && *list && i < count; i++) (*list)[i] = messages + i * size;
    return *list ? messages : NULL;
}
#define TAKE(m, count, type, list) ((type *)take_list(m, (size_t)(count), sizeof(type), (void ***)(list)))

static int type_number(enum bl_type type) {
    static const int numbers[BL_TYPES] = {
        [BL_F32] = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT,     [BL_F16] = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16,
        [BL_BF16] = ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16, [BL_F64] = ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE,
        [BL_I64] = ONNX__TENSOR_PROTO__DATA_TYPE__INT64,     [BL_I32] = ONNX__TENSOR_PROTO__DATA_TYPE__INT32,
        [BL_BOOL] = ONNX__TENSOR_PROTO__DATA_TYPE__BOOL,     [BL_I8] = ONNX__TENSOR_PROTO__DATA_TYPE__INT8,
        [BL_U8] = ONNX__TENSOR_PROTO__DATA_TYPE__UINT8,
    };
    return numbers[type];
}

static void write_tensor(const struct bl_st_tensor *from, Onnx__TensorProto *to) {
    onnx__tensor_proto__init(to);
    to->name = (char *)from->name;
    to->n_dims = (size_t)from->dims;
    to->dims = (int64_t *)from->shape;
    to->has_data_type = to->has_raw_data = 1;
    to->data_type = type_number(from->dtype);
    to->raw_data = (ProtobufCBinaryData){from->bytes, (uint8_t *)from->data};
}

static void write_attribute(struct memory *m, const struct bl_onnx_attribute *from, Onnx__AttributeProto *to) {
    static const Onnx__AttributeProto__AttributeType types[] = {
        [BL_ONNX_FLOAT] = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT,
        [BL_ONNX_INT] = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT,
        [BL_ONNX_TEXT] = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING,
        [BL_ONNX_FLOATS] = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS,
        [BL_ONNX_INTS] = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS,
        [BL_ONNX_TENSOR] = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR,
    };
    onnx__attribute_proto__init(to);
    to->name = (char *)from->name;
    to->has_type = 1;
    to->type = types[from->kind];
    to->has_f = from->kind == BL_ONNX_FLOAT, to->f = from->f;
    to->has_i = from->kind == BL_ONNX_INT, to->i = from->i;
    if (from->kind == BL_ONNX_TEXT)
        to->has_s = 1, to->s = (ProtobufCBinaryData){strlen(from->text), (void *)from->text};
    if (from->kind == BL_ONNX_FLOATS) to->n_floats = (size_t)from->count, to->floats = (float *)from->floats;
    if (from->kind == BL_ONNX_INTS) to->n_ints = (size_t)from->count, to->ints = (int64_t *)from->ints;
    if (from->kind == BL_ONNX_TENSOR && (to->t = take(m, 1, sizeof *to->t))) write_tensor(from->tensor, to->t);
}

static void write_node(struct memory *m, const struct bl_onnx_node *from, Onnx__NodeProto *to) {
    onnx__node_proto__init(to);
    to->name = (char *)from->name;
    to->op_type = (char *)from->type;
    to->n_input = (size_t)from->inputs, to->input = (char **)from->input;
    to->n_output = (size_t)from->outputs, to->output = (char **)from->output;
    Onnx__AttributeProto *attributes = TAKE(m, from->attributes, Onnx__AttributeProto, &to->attribute);
    to->n_attribute = attributes ? (size_t)from->attributes : 0;
    for (size_t i = 0; i < to->n_attribute; i++) write_attribute(m, &from->attribute[i], &attributes[i]);
}

/* A free size is a named one: the batch. */
static void write_value(struct memory *m, const struct bl_onnx_value *from, Onnx__ValueInfoProto *to) {
    Onnx__TypeProto *type = take(m, 1, sizeof *type);
    Onnx__TypeProto__Tensor *tensor = take(m, 1, sizeof *tensor);
    Onnx__TensorShapeProto *shape = take(m, 1, sizeof *shape);
    onnx__value_info_proto__init(to);
    to->name = (char *)from->name;
    if (!type || !tensor || !shape) return;
    onnx__type_proto__init(type), onnx__type_proto__tensor__init(tensor), onnx__tensor_shape_proto__init(shape);
    to->type = type;
    type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    type->tensor_type = tensor;
    tensor->has_elem_type = 1;
    tensor->elem_type = type_number(from->type);
    tensor->shape = shape;
    Onnx__TensorShapeProto__Dimension *sizes = TAKE(m, from->dims, Onnx__TensorShapeProto__Dimension, &shape->dim);
    shape->n_dim = sizes ? (size_t)from->dims : 0;
    for (size_t i = 0; i < shape->n_dim; i++) {
        onnx__tensor_shape_proto__dimension__init(&sizes[i]);
        if (from->shape[i] < 0) {
            sizes[i].value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
            sizes[i].dim_param = (char *)"batch";
        } else {
            sizes[i].value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
            sizes[i].dim_value = from->shape[i];
        }
    }
}

static void write_graph(struct memory *m, const struct bl_onnx_model *model, Onnx__GraphProto *graph) {
    onnx__graph_proto__init(graph);
    graph->name = (char *)"blanch";
    Onnx__NodeProto *nodes = TAKE(m, model->nodes, Onnx__NodeProto, &graph->node);
    Onnx__TensorProto *tensors = TAKE(m, model->initialisers, Onnx__TensorProto, &graph->initializer);
    Onnx__ValueInfoProto *inputs = TAKE(m, model->inputs, Onnx__ValueInfoProto, &graph->input);
    Onnx__ValueInfoProto *outputs = TAKE(m, model->outputs, Onnx__ValueInfoProto, &graph->output);
    if (m->lacked) return;
    graph->n_node = (size_t)model->nodes;
    graph->n_initializer = (size_t)model->initialisers;
    graph->n_input = (size_t)model->inputs;
    graph->n_output = (size_t)model->outputs;
    for (int i = 0; i < model->nodes; i++) write_node(m, &model->node[i], &nodes[i]);
    for (int i = 0; i < model->initialisers; i++) write_tensor(&model->initialiser[i], &tensors[i]);
    for (int i = 0; i < model->inputs; i++) write_value(m, &model->input[i], &inputs[i]);
    for (int i = 0; i < model->outputs; i++) write_value(m, &model->output[i], &outputs[i]);
}

static void write_head(struct memory *m, const struct bl_onnx_model *model, Onnx__ModelProto *proto) {
    Onnx__OperatorSetIdProto *opset = TAKE(m, 1, Onnx__OperatorSetIdProto, &proto->opset_import);
    Onnx__StringStringEntryProto *pairs = TAKE(m, model->pairs, Onnx__StringStringEntryProto, &proto->metadata_props);
    proto->has_ir_version = 1;
    proto->ir_version = IR_VERSION;
    proto->producer_name = (char *)model->producer;
    proto->producer_version = (char *)BLANCH_VERSION;
    if (m->lacked) return;
    onnx__operator_set_id_proto__init(opset);
    opset->has_version = 1;
    opset->version = model->opset;
    opset->domain = (char *)"";
    proto->n_opset_import = 1;
    proto->n_metadata_props = (size_t)model->pairs;
    for (int i = 0; i < model->pairs; i++) {
        onnx__string_string_entry_proto__init(&pairs[i]);
        pairs[i].key = (char *)model->pair[i].key;
        pairs[i].value = (char *)model->pair[i].value;
    }
}

int bl_onnx_write(const char *path, const struct bl_onnx_model *model) {
    struct memory memory = {0};
    Onnx__ModelProto proto = ONNX__MODEL_PROTO__INIT;
    Onnx__GraphProto graph;
    uint8_t *bytes = NULL;
    int code = 0;
    proto.graph = &graph;
    write_graph(&memory, model, &graph);
    write_head(&memory, model, &proto);
    size_t size = memory.lacked ? 0 : onnx__model_proto__get_packed_size(&proto);
    if (size > INT_MAX)
        code = bl_fail(BLANCH_ELIMIT, "%s: %zu bytes; an ONNX file has at most 2 GiB", path, size);
    else if (memory.lacked || !(bytes = bl_malloc(size)))
        code = BLANCH_ENOMEM;
    else
        code = bl_file_write(path, bytes, onnx__model_proto__pack(&proto, bytes));
    free(bytes);
    release(&memory);
    return code;
}
