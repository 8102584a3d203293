/* Reading ONNX: protobuf's messages, unpacked by protobuf-c, as the plain structs of onnx.h, and the values that are
 * kept in files beside it. */
#include "io/files.h"
#include "io/onnx.h"
#include "io/onnx.pb-c.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_DEPTH = 24, MOST_FIELDS = 1 << 21 };

struct external { // a file beside
    const char *name;
    char *data;
    size_t size;
};

struct bl_onnx_file {
    struct bl_onnx_model model;
    Onnx__ModelProto *proto; // owns names and values
    char *path;
    void **owned; // what else is
    size_t owned_count, owned_capacity;
    struct external *external;
    size_t external_count, external_capacity;
};

int bl_onnx_check(void) {
    return 0;
}

/* --- before unpacking ------------------------------------------------------------------------- */

struct bytes {
    const uint8_t *at, *end;
};

static bool take_number(struct bytes *b, uint64_t *value) {
    *value = 0;
    for (int shift = 0; shift < 70 && b->at < b->end; shift += 7) {
        uint8_t byte = *b->at++;
        if (shift < 64) *value |= (uint64_t)(byte & 127) << shift;
        if (!(byte & 128)) return true;
    }
    return false;
}

static bool pass(struct bytes *b, uint64_t count) {
    if (count > (uint64_t)(b->end - b->at)) return false;
    b->at += count;
    return true;
}

/* protobuf-c unpacks without bounds of its own: of how deep messages lie in each other, by recursion, and of what it
 * allocates for each. So both are bounded beforehand, over the same fields. */
static bool is_bounded(const ProtobufCMessageDescriptor *type, struct bytes b, int depth, int *fields) {
    while (b.at < b.end) {
        uint64_t key, value;
        if (++*fields > MOST_FIELDS || !take_number(&b, &key) || key >> 3 > INT_MAX) return false;
        const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field(type, (unsigned)(key >> 3));
        const uint8_t *from;
        switch (key & 7) {
        case 0:
            if (!take_number(&b, &value)) return false;
            break;
        case 1:
            if (!pass(&b, 8)) return false;
            break;
        case 2:
            if (!take_number(&b, &value)) return false;
            from = b.at;
            if (!pass(&b, value)) return false;
            if (field && field->type == PROTOBUF_C_TYPE_MESSAGE &&
                (depth == MOST_DEPTH || !is_bounded(field->descriptor, (struct bytes){from, b.at}, depth + 1, fields)))
                return false;
            break;
        case 5:
            if (!pass(&b, 4)) return false;
            break;
        default:
            return false;
        }
    }
    return true;
}

static void *allocate(void *unused, size_t size) {
    return bl_malloc(size);
}
static void release(void *unused, void *memory) {
    free(memory);
}
static ProtobufCAllocator allocator = {.alloc = allocate, .free = release};

static int unpack(struct bl_onnx_file *file, const char *data, size_t size) {
    const uint8_t *bytes = (const uint8_t *)data;
    int fields = 0;
    if (size > INT_MAX) return bl_fail(BLANCH_EINPUT, "%s: more than 2 GiB; an ONNX file has no more", file->path);
    if (is_bounded(&onnx__model_proto__descriptor, (struct bytes){bytes, bytes + size}, 0, &fields))
        file->proto = onnx__model_proto__unpack(&allocator, size, bytes);
    else if (fields > MOST_FIELDS)
        return bl_fail(BLANCH_EINPUT, "%s: more than %d fields; that is not read", file->path, MOST_FIELDS);
    if (!file->proto && bl_memory_lacked()) return BLANCH_ENOMEM;
    if (!file->proto || !file->proto->graph)
        return bl_fail(BLANCH_EINPUT, "%s: damaged, or not an ONNX file", file->path);
    return 0;
}

/* --- values ----------------------------------------------------------------------------------- */

static void *own(struct bl_onnx_file *file, size_t count, size_t size) {
    if (bl_grow((void **)&file->owned, &file->owned_capacity, file->owned_count + 1, sizeof *file->owned)) return NULL;
    void *memory = bl_calloc(count + 1, size);
    if (memory) file->owned[file->owned_count++] = memory;
    return memory;
}

static const char *or_empty(const char *text) {
    return text ? text : "";
}

/* By their numbers in the format; BL_TYPES: not read. */
static enum bl_type type_of(int number) {
    static const enum bl_type types[] = {
        [0] = BL_TYPES,
        [ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT] = BL_F32,
        [ONNX__TENSOR_PROTO__DATA_TYPE__UINT8] = BL_U8,
        [ONNX__TENSOR_PROTO__DATA_TYPE__INT8] = BL_I8,
        [ONNX__TENSOR_PROTO__DATA_TYPE__UINT16] = BL_U16,
        [ONNX__TENSOR_PROTO__DATA_TYPE__INT16] = BL_I16,
        [ONNX__TENSOR_PROTO__DATA_TYPE__INT32] = BL_I32,
        [ONNX__TENSOR_PROTO__DATA_TYPE__INT64] = BL_I64,
        [ONNX__TENSOR_PROTO__DATA_TYPE__STRING] = BL_TYPES,
        [ONNX__TENSOR_PROTO__DATA_TYPE__BOOL] = BL_BOOL,
        [ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16] = BL_F16,
        [ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE] = BL_F64,
        [ONNX__TENSOR_PROTO__DATA_TYPE__UINT32] = BL_U32,
        [ONNX__TENSOR_PROTO__DATA_TYPE__UINT64] = BL_U64,
        [ONNX__TENSOR_PROTO__DATA_TYPE__COMPLEX64] = BL_TYPES,
        [ONNX__TENSOR_PROTO__DATA_TYPE__COMPLEX128] = BL_TYPES,
        [ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16] = BL_BF16,
    };
    return number > 0 && number < BL_COUNT(types) ? types[number] : BL_TYPES;
}

static int read_shape(const struct bl_onnx_file *file, const Onnx__TensorProto *from, struct bl_st_tensor *to) {
    uint64_t bytes = bl_type_bytes(to->dtype);
    bool good = from->n_dims <= BL_ONNX_DIMS;
    for (size_t i = 0; good && i < from->n_dims; i++) {
        to->shape[to->dims++] = from->dims[i];
        good =
            from->dims[i] >= 0 && !__builtin_mul_overflow(bytes, (uint64_t)from->dims[i], &bytes) && bytes <= INT64_MAX;
    }
    to->bytes = (size_t)bytes;
    return good ? 0
                : bl_fail(BLANCH_EINPUT, "%s: tensor '%s': its sizes are not up to %d counts", file->path, to->name,
                          BL_ONNX_DIMS);
}

/* The first `bytes` of each element: the format has small whole numbers, and halves, in larger ones. */
static const void *narrowed(struct bl_onnx_file *file, const void *from, size_t element, size_t count, size_t bytes) {
    if (element == bytes) return from;
    char *to = own(file, count, bytes);
    for (size_t i = 0; to && i < count; i++) memcpy(to + i * bytes, (const char *)from + i * element, bytes);
    return to;
}

/* A whole number in decimal digits. */
static bool read_number(const char *text, uint64_t *value) {
    char *end;
    *value = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end && *value <= INT64_MAX;
}

static int open_external(struct bl_onnx_file *file, const char *name, const struct external **found) {
    for (size_t i = 0; i < file->external_count; i++)
        if (!strcmp(file->external[i].name, name)) return *found = &file->external[i], 0;
    int code =
        bl_grow((void **)&file->external, &file->external_capacity, file->external_count + 1, sizeof *file->external);
    struct external *new = code ? NULL : &file->external[file->external_count];
    if (!code) code = bl_file_read_beside(file->path, name, &new->data, &new->size);
    if (code) return code;
    new->name = name;
    file->external_count++;
    return *found = new, 0;
}

static int read_external(struct bl_onnx_file *file, const Onnx__TensorProto *from, struct bl_st_tensor *to) {
    const char *location = NULL;
    const struct external *external;
    uint64_t offset = 0, length = to->bytes;
    bool good = true;
    for (size_t i = 0; i < from->n_external_data; i++) {
        const char *key = or_empty(from->external_data[i]->key), *value = or_empty(from->external_data[i]->value);
        if (!strcmp(key, "location")) location = value;
        if (!strcmp(key, "offset")) good = good && read_number(value, &offset);
        if (!strcmp(key, "length")) good = good && read_number(value, &length);
    }
    if (!location || !good || length != to->bytes)
        return bl_fail(BLANCH_EINPUT, "%s: tensor '%s': where its values lie is not a file, an offset and %zu bytes",
                       file->path, to->name, to->bytes);
    int code = open_external(file, location, &external);
    if (code) return code;
    if (offset > external->size || to->bytes > external->size - offset)
        return bl_fail(BLANCH_EINPUT, "%s: tensor '%s' ends behind the end of %s: that file is truncated, or another",
                       file->path, to->name, location);
    to->data = external->data + offset;
    return 0;
}

/* One of the fields that can hold them. */
static int read_inline(struct bl_onnx_file *file, const Onnx__TensorProto *from, struct bl_st_tensor *to) {
    const size_t element = bl_type_bytes(to->dtype);
    const struct {
        const void *data;
        size_t count, element;
        unsigned types;
    } fields[] = {
        {from->float_data, from->n_float_data, 4, BL_TYPE_BIT(BL_F32)},
        {from->double_data, from->n_double_data, 8, BL_TYPE_BIT(BL_F64)},
        {from->int64_data, from->n_int64_data, 8, BL_TYPE_BIT(BL_I64)},
        {from->uint64_data, from->n_uint64_data, 8, BL_TYPE_BIT(BL_U64) | BL_TYPE_BIT(BL_U32)},
        {from->int32_data, from->n_int32_data, 4,
         BL_TYPE_BIT(BL_I32) | BL_TYPE_BIT(BL_I16) | BL_TYPE_BIT(BL_I8) | BL_TYPE_BIT(BL_U16) | BL_TYPE_BIT(BL_U8) |
             BL_TYPE_BIT(BL_BOOL) | BL_TYPE_BIT(BL_F16) | BL_TYPE_BIT(BL_BF16)},
    };
    size_t bytes = from->raw_data.len;
    to->data = from->raw_data.data;
    for (int i = 0; !from->has_raw_data && i < BL_COUNT(fields); i++) {
        if (!(fields[i].types & BL_TYPE_BIT(to->dtype))) continue;
        bytes = fields[i].count * element;
        if (bytes == to->bytes) to->data = narrowed(file, fields[i].data, fields[i].element, fields[i].count, element);
    }
    if (bytes != to->bytes)
        return bl_fail(BLANCH_EINPUT, "%s: tensor '%s' has %zu bytes of values, by its sizes %zu", file->path, to->name,
                       bytes, to->bytes);
    return to->bytes && !to->data ? BLANCH_ENOMEM : 0;
}

static int read_tensor(struct bl_onnx_file *file, const Onnx__TensorProto *from, struct bl_st_tensor *to) {
    *to = (struct bl_st_tensor){.name = or_empty(from->name), .path = file->path, .dtype = type_of(from->data_type)};
    if (to->dtype == BL_TYPES)
        return bl_fail(BLANCH_EINPUT, "%s: tensor '%s': values of the format's type %d are not read", file->path,
                       to->name, (int)from->data_type);
    if (from->segment) return bl_fail(BLANCH_EINPUT, "%s: tensor '%s' is in segments", file->path, to->name);
    int code = read_shape(file, from, to);
    if (code) return code;
    if (from->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL) return read_external(file, from, to);
    return read_inline(file, from, to);
}

/* --- nodes ------------------------------------------------------------------------------------ */

static int read_text(struct bl_onnx_file *file, const ProtobufCBinaryData *from, const char **text) {
    char *copy = own(file, from->len, 1);
    *text = copy;
    if (copy && from->len) memcpy(copy, from->data, from->len);
    return copy ? 0 : BLANCH_ENOMEM;
}

/* What it holds is told by its type; files before that field existed are older than the opsets read. */
static int read_attribute(struct bl_onnx_file *file, const Onnx__AttributeProto *from, struct bl_onnx_attribute *to) {
    struct bl_st_tensor *tensor;
    *to = (struct bl_onnx_attribute){.name = or_empty(from->name), .kind = BL_ONNX_OTHER};
    switch (from->type) {
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT:
        return to->kind = BL_ONNX_FLOAT, to->f = from->f, 0;
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT:
        return to->kind = BL_ONNX_INT, to->i = from->i, 0;
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING:
        return to->kind = BL_ONNX_TEXT, read_text(file, &from->s, &to->text);
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS:
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS:
        to->kind = from->type == ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS ? BL_ONNX_INTS : BL_ONNX_FLOATS;
        to->count = (int)(to->kind == BL_ONNX_INTS ? from->n_ints : from->n_floats);
        to->ints = from->ints;
        to->floats = from->floats;
        return 0;
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR:
        if (!from->t) return 0;
        to->kind = BL_ONNX_TENSOR;
        to->tensor = tensor = own(file, 1, sizeof *tensor);
        return tensor ? read_tensor(file, from->t, tensor) : BLANCH_ENOMEM;
    default:
        return 0;
    }
}

static int read_nodes(struct bl_onnx_file *file, const Onnx__GraphProto *graph) {
    struct bl_onnx_node *nodes = own(file, graph->n_node, sizeof *nodes);
    if (!nodes) return BLANCH_ENOMEM;
    file->model.node = nodes;
    for (size_t i = 0; i < graph->n_node; i++) {
        const Onnx__NodeProto *from = graph->node[i];
        struct bl_onnx_attribute *attributes = own(file, from->n_attribute, sizeof *attributes);
        if (!attributes) return BLANCH_ENOMEM;
        nodes[i] = (struct bl_onnx_node){.name = or_empty(from->name),
                                         .type = or_empty(from->op_type),
                                         .domain = or_empty(from->domain),
                                         .inputs = (int)from->n_input,
                                         .outputs = (int)from->n_output,
                                         .attributes = (int)from->n_attribute,
                                         .input = (const char *const *)from->input,
                                         .output = (const char *const *)from->output,
                                         .attribute = attributes};
        for (size_t k = 0; k < from->n_attribute; k++) {
            int code = read_attribute(file, from->attribute[k], &attributes[k]);
            if (code) return code;
        }
        file->model.nodes++;
    }
    return 0;
}

/* --- the rest --------------------------------------------------------------------------------- */

static int read_initialisers(struct bl_onnx_file *file, const Onnx__GraphProto *graph) {
    struct bl_st_tensor *tensors = own(file, graph->n_initializer, sizeof *tensors);
    int code = tensors ? 0 : BLANCH_ENOMEM;
    file->model.initialiser = tensors;
    for (size_t i = 0; !code && i < graph->n_initializer; i++) {
        code = read_tensor(file, graph->initializer[i], &tensors[i]);
        file->model.initialisers++;
    }
    if (!code && graph->n_sparse_initializer)
        code = bl_fail(BLANCH_EINPUT, "%s: it has sparse initialisers, which are not read", file->path);
    return code;
}

static const struct bl_onnx_value *read_values(struct bl_onnx_file *file, Onnx__ValueInfoProto *const *from,
                                               size_t count) {
    struct bl_onnx_value *values = own(file, count, sizeof *values);
    for (size_t i = 0; values && i < count; i++) {
        struct bl_onnx_value *to = &values[i];
        const Onnx__TypeProto *type = from[i]->type;
        const bool tensor = type && type->value_case == ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE && type->tensor_type;
        const Onnx__TensorShapeProto *shape = tensor ? type->tensor_type->shape : NULL;
        *to = (struct bl_onnx_value){.name = or_empty(from[i]->name),
                                     .type = tensor ? type_of(type->tensor_type->elem_type) : BL_TYPES,
                                     .dims = -1};
        if (!shape || shape->n_dim > BL_ONNX_DIMS) continue;
        to->dims = (int)shape->n_dim;
        for (int d = 0; d < to->dims; d++) {
            const Onnx__TensorShapeProto__Dimension *size = shape->dim[d];
            to->shape[d] =
                size->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE ? size->dim_value : -1;
        }
    }
    return values;
}

static int read_opset(struct bl_onnx_file *file) {
    const Onnx__ModelProto *proto = file->proto;
    for (size_t i = 0; i < proto->n_opset_import; i++) {
        const char *domain = or_empty(proto->opset_import[i]->domain);
        if (!*domain || !strcmp(domain, "ai.onnx")) file->model.opset = proto->opset_import[i]->version;
    }
    if (file->model.opset >= BL_ONNX_OLDEST && file->model.opset <= BL_ONNX_NEWEST) return 0;
    return bl_fail(BLANCH_EINPUT, "%s: it is of opset %lld, read are %d to %d; export it with opset_version=%d",
                   file->path, (long long)file->model.opset, BL_ONNX_OLDEST, BL_ONNX_NEWEST, BL_ONNX_OLDEST);
}

static int read_pairs(struct bl_onnx_file *file) {
    const Onnx__ModelProto *proto = file->proto;
    struct bl_onnx_pair *pairs = own(file, proto->n_metadata_props, sizeof *pairs);
    if (!pairs) return BLANCH_ENOMEM;
    for (size_t i = 0; i < proto->n_metadata_props; i++)
        pairs[i] =
            (struct bl_onnx_pair){or_empty(proto->metadata_props[i]->key), or_empty(proto->metadata_props[i]->value)};
    file->model.pair = pairs;
    file->model.pairs = (int)proto->n_metadata_props;
    return 0;
}

static int read_model(struct bl_onnx_file *file) {
    const Onnx__GraphProto *graph = file->proto->graph;
    struct bl_onnx_model *model = &file->model;
    model->path = file->path;
    model->producer = or_empty(file->proto->producer_name);
    int code = read_opset(file);
    if (!code) code = read_pairs(file);
    if (!code) code = read_initialisers(file, graph);
    if (!code) code = read_nodes(file, graph);
    if (code) return code;
    model->inputs = (int)graph->n_input;
    model->outputs = (int)graph->n_output;
    model->input = read_values(file, graph->input, graph->n_input);
    model->output = read_values(file, graph->output, graph->n_output);
    return model->input && model->output ? 0 : BLANCH_ENOMEM;
}

int bl_onnx_open(struct bl_onnx_file **out, const char *path) {
    struct bl_onnx_file *file = bl_calloc(1, sizeof *file);
    char *data = NULL;
    size_t size = 0;
    *out = NULL;
    if (!file) return BLANCH_ENOMEM;
    int code = (file->path = bl_strdup(path)) ? bl_file_read(path, &data, &size) : BLANCH_ENOMEM;
    if (!code) code = unpack(file, data, size);
    free(data);
    if (!code) code = read_model(file);
    if (code)
        bl_onnx_close(file);
    else
        *out = file;
    return code;
}

const struct bl_onnx_model *bl_onnx_model(const struct bl_onnx_file *file) {
    return &file->model;
}

void bl_onnx_close(struct bl_onnx_file *file) {
    if (!file) return;
    if (file->proto) onnx__model_proto__free_unpacked(file->proto, &allocator);
    for (size_t i = 0; i < file->owned_count; i++) free(file->owned[i]);
    for (size_t i = 0; i < file->external_count; i++) free(file->external[i].data);
    free(file->owned);
    free(file->external);
    free(file->path);
    free(file);
}
