/* What the contract allows beyond the operations that there are: several outputs, no inputs, other types and shapes,
 * each by an operation made here; fusion's limits; what a graph refuses. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>
#include "harness.h"
#include "graph/graph.h"
#include "ops/common.h"
#include "optim/optim.h"

enum { BATCH = 3, CHANNELS = 4, SIDE = 3, HALF = CHANNELS / 2, PIXELS = SIDE * SIDE, IMAGE = HALF * PIXELS };
static struct blanch_device *device;

/* --- the lower and the upper half of the channels ------------------------------------------------ */

static int halves_setup(struct bl_node *node) {
    for (int i = 0; i < 2; i++) bl_node_out(node, node->in[0]->c / 2, node->in[0]->h, node->in[0]->w);
    return 0;
}

static int copy_half(const struct bl_node *node, struct bl_mem *half, int i, struct bl_mem *whole, int n, bool back,
                     bool add) {
    int64_t c = node->out[0]->c, pixels = n * node->out[0]->h * node->out[0]->w;
    struct bl_channels part = {half, c, 0}, all = {whole, 2 * c, i * c};
    return bl_copy_channels(node, back ? part : all, back ? all : part, c, pixels, add);
}

static int halves_forward(struct bl_node *node, const struct bl_run *run) {
    int code = 0;
    for (int i = 0; i < 2 && !code; i++)
        code = copy_half(node, node->out[i]->mem, i, node->in[0]->mem, run->n, false, false);
    return code;
}

static int halves_backward(struct bl_node *node, const struct bl_run *run) {
    int code = 0;
    for (int i = 0; i < 2 && !code; i++)
        code = copy_half(node, node->out[i]->grad->mem, i, node->in[0]->grad->mem, run->n, true, node->accumulate[0]);
    return code;
}

static const struct bl_op halves = {
    .name = "halves",
    .role = BL_ROLE_SHAPE,
    .phase_forward = BL_OTHER,
    .phase_backward = BL_OTHER,
    .setup = halves_setup,
    .forward = halves_forward,
    .backward = halves_backward,
};

/* --- a learned image, the same for all of the batch: no inputs ------------------------------------- */

static int learned_setup(struct bl_node *node) {
    bl_node_out(node, HALF, SIDE, SIDE);
    bl_node_param(node, "image", BL_INIT_ONES, 3, (int64_t[]){HALF, SIDE, SIDE});
    return 0;
}

static int learned_forward(struct bl_node *node, const struct bl_run *run) {
    int code = 0;
    for (int i = 0; i < run->n && !code; i++)
        code = bl_mem_copy(node->param[0]->data.mem, 0, node->out[0]->mem, sizeof(float) * (size_t)(i * IMAGE),
                           sizeof(float) * IMAGE);
    return code;
}

static int learned_backward(struct bl_node *node, const struct bl_run *run) {
    struct bl_kernel *sum;
    int code = bl_kernel_get(node->dev, "nd/linear", "sum_rows", &(struct bl_define){"TREE", 0}, 1, &sum);
    if (code) return code;
    return bl_launch(sum, bl_share(node->dev, IMAGE, 4 * run->n), BL_MEM(node->out[0]->grad->mem), BL_I32(run->n),
                     BL_I32(IMAGE), BL_MEM(node->param[0]->grad.mem));
}

static const struct bl_op learned = {
    .name = "learned",
    .role = BL_ROLE_LAYER,
    .phase_forward = BL_OTHER,
    .phase_backward = BL_OTHER,
    .setup = learned_setup,
    .forward = learned_forward,
    .backward = learned_backward,
};

/* --- whole numbers by pixel ----------------------------------------------------------------------- */

static int numbers_setup(struct bl_node *node) {
    const struct blanch_tensor *x = node->in[0];
    if (x->type != BL_I32) return bl_fail(BLANCH_EINPUT, "%s: takes whole numbers", node->name);
    bl_node_out_as(node, BL_I32, x->c, x->h, x->w);
    return 0;
}

static int numbers_forward(struct bl_node *node, const struct bl_run *run) {
    return bl_mem_copy(node->in[0]->mem, 0, node->out[0]->mem, 0, bl_tensor_bytes(node->out[0]));
}

static const struct bl_op numbers = {
    .name = "numbers",
    .role = BL_ROLE_SHAPE,
    .phase_forward = BL_OTHER,
    .phase_backward = BL_OTHER,
    .setup = numbers_setup,
    .forward = numbers_forward,
};

/* --- the tests ------------------------------------------------------------------------------------ */

static float value(uint64_t stream, uint64_t i) {
    uint32_t word[4];
    bl_philox(5, BL_RANDOM_DATA, i, stream, word);
    return 2 * bl_uniform(word[0]) - 1;
}

static void fill(float *values, int count, uint64_t stream) {
    for (int i = 0; i < count; i++) values[i] = value(stream, (uint64_t)i);
}

static void assert_near(const float *got, const double *want, int count) {
    for (int i = 0; i < count; i++) assert_float_equal(got[i], want[i], 1e-5);
}

/* z = (a + p) b, with a and b the halves of x and p learned. Everything is NCHW. */
static void run_halves(int segments, int n) {
    struct bl_graph *graph;
    check(bl_graph_create(&graph, device, BATCH, false));
    bl_graph_use(graph, &bl_optimiser_sgd);
    bl_graph_recompute(graph, segments);
    bl_graph_want_input_grads(graph);
    struct blanch_tensor *x = bl_graph_input(graph, CHANNELS, SIDE, SIDE);
    struct bl_node *split = bl_graph_add_node(graph, &halves, "split", NULL, &x, 1);
    struct bl_node *image = bl_graph_add_node(graph, &learned, "learned", NULL, NULL, 0);
    assert_non_null(split), assert_non_null(image);
    struct blanch_tensor *sum =
        bl_graph_add(graph, "add", NULL, NULL, (struct blanch_tensor *[]){split->out[0], image->out[0]}, 2);
    struct blanch_tensor *z = bl_graph_add(graph, "mul", NULL, NULL, (struct blanch_tensor *[]){sum, split->out[1]}, 2);
    check(bl_graph_finish(graph, 0));

    float in[BATCH * CHANNELS * PIXELS], g[BATCH * IMAGE], p[IMAGE], got[BATCH * CHANNELS * PIXELS];
    double want_z[BATCH * IMAGE], want_x[BATCH * CHANNELS * PIXELS], want_p[IMAGE] = {0};
    fill(in, BL_COUNT(in), 1), fill(g, BL_COUNT(g), 2), fill(p, IMAGE, 3);
    for (int i = 0; i < n; i++)
        for (int k = 0; k < IMAGE; k++) {
            /* the learned image lies as activations do on the device: channels last */
            double learnt = (double)p[k % PIXELS * HALF + k / PIXELS], a = (double)in[2 * i * IMAGE + k] + learnt;
            double b = (double)in[(2 * i + 1) * IMAGE + k], up = (double)g[i * IMAGE + k];
            want_z[i * IMAGE + k] = a * b;
            want_x[2 * i * IMAGE + k] = up * b, want_x[(2 * i + 1) * IMAGE + k] = up * a;
            want_p[k % PIXELS * HALF + k / PIXELS] += up * b;
        }
    check(bl_tensor_write(graph, x, n, in));
    check(bl_param_write(image->param[0], p));
    check(bl_graph_forward(graph, n, true));
    check(bl_tensor_read(graph, z, n, got));
    assert_near(got, want_z, n * IMAGE);
    check(bl_tensor_write(graph, z->grad, n, g));
    check(bl_graph_backward(graph, n));
    check(bl_tensor_read(graph, x->grad, n, got));
    assert_near(got, want_x, n * CHANNELS * PIXELS);
    check(bl_mem_read(image->param[0]->grad.mem, 0, sizeof p, got));
    assert_near(got, want_p, IMAGE);
    bl_graph_free(graph);
}

static void test_outputs_and_no_inputs(void **state) {
    if (!device) skip();
    for (int segments = 1; segments <= 3; segments++)
        for (int n = 1; n <= BATCH; n += 2) run_halves(segments, n);
}

static void test_whole_numbers(void **state) {
    if (!device) skip();
    struct bl_graph *graph;
    int32_t in[BATCH * PIXELS], got[BATCH * PIXELS];
    check(bl_graph_create(&graph, device, BATCH, true));
    struct blanch_tensor *labels = bl_graph_input_as(graph, BL_I32, 1, SIDE, SIDE);
    struct bl_node *node = bl_graph_add_node(graph, &numbers, "labels", NULL, &labels, 1);
    check(bl_graph_finish(graph, 0));
    assert_ptr_equal(bl_graph_labels(graph), labels);
    for (int i = 0; i < BL_COUNT(in); i++) in[i] = 1 << (i % 31);
    check(bl_mem_write(labels->mem, 0, sizeof in, in));
    check(bl_graph_forward(graph, BATCH, false));
    check(bl_mem_read(node->out[0]->mem, 0, sizeof got, got));
    assert_memory_equal(got, in, sizeof in);
    bl_graph_free(graph);
    check(bl_graph_create(&graph, device, BATCH, true));
    struct blanch_tensor *x = bl_graph_input(graph, 1, SIDE, SIDE);
    assert_null(bl_graph_add_node(graph, &numbers, "labels", NULL, &x, 1));
    assert_int_equal(bl_graph_finish(graph, 0), BLANCH_EINPUT);
    assert_non_null(strstr(blanch_error_message(), "labels"));
    bl_graph_free(graph);
}

/* An output that nothing uses has no gradient to give back: refused, with the layer's name. */
static void test_unused_output(void **state) {
    struct bl_graph *graph;
    check(bl_graph_create(&graph, NULL, BATCH, false));
    bl_graph_want_input_grads(graph);
    struct blanch_tensor *x = bl_graph_input(graph, CHANNELS, SIDE, SIDE);
    struct bl_node *split = bl_graph_add_node(graph, &halves, "split", NULL, &x, 1);
    bl_graph_add(graph, "relu", NULL, NULL, &split->out[1], 1);
    assert_int_equal(bl_graph_finish(graph, 0), BLANCH_EINPUT);
    assert_non_null(strstr(blanch_error_message(), "split: nothing uses its output"));
    bl_graph_free(graph);
}

/* A batch norm takes one activation along, not the two that follow it. */
static void test_fusion_takes_one(void **state) {
    struct bl_graph *graph;
    check(bl_graph_create(&graph, NULL, BATCH, false));
    const struct bl_batchnorm_attrs attrs = {CHANNELS, 1e-5f, 0.1f};
    struct blanch_tensor *x = bl_graph_input(graph, CHANNELS, SIDE, SIDE);
    x = bl_graph_add(graph, "batchnorm2d", "norm", &attrs, &x, 1);
    x = bl_graph_add(graph, "relu6", NULL, NULL, &x, 1);
    bl_graph_add(graph, "relu", NULL, NULL, &x, 1);
    check(bl_graph_finish(graph, 0));
    const struct bl_node *norm = bl_graph_node(graph, 0);
    assert_int_equal(norm->fused, 1);
    assert_string_equal(norm->fusion[0]->op->name, "relu6");
    assert_ptr_equal(bl_graph_node(graph, 1)->fused_into, norm);
    assert_null(bl_graph_node(graph, 2)->fused_into);
    bl_graph_free(graph);
}

/* What training takes of the device where so many pixels see one another. */
static uint64_t attention_bytes(int side) {
    struct bl_graph *graph;
    const struct bl_conv_attrs attrs = {.in_channels = CHANNELS,
                                        .out_channels = 3 * 64,
                                        .kernel = {1, 1},
                                        .stride = {1, 1},
                                        .dilation = {1, 1},
                                        .groups = 1};
    check(bl_graph_create(&graph, device, 1, false));
    struct blanch_tensor *x = bl_graph_input(graph, CHANNELS, side, side);
    x = bl_graph_add(graph, "conv2d", "qkv", &attrs, &x, 1);
    bl_graph_add(graph, "attention", NULL, &(struct bl_attention_attrs){4, false}, &x, 1);
    check(bl_graph_finish(graph, 0));
    const uint64_t bytes = bl_graph_plan(graph)->total;
    bl_graph_free(graph);
    return bytes;
}

/* No matrix of T x T is in memory: four times the tokens, four times the bytes. */
static void test_attention_is_linear(void **state) {
    const uint64_t few = attention_bytes(32), many = attention_bytes(64);
    if (many > 4 * few + few / 10) fail_msg("1,024 tokens take %.0f bytes, 4,096 %.0f", (double)few, (double)many);
}

static void test_types(void **state) {
    struct blanch_tensor tensor = {.count = 6};
    static const struct {
        const char *safetensors;
        size_t bytes;
    } want[BL_TYPES] = {
        [BL_F32] = {"F32", 24},  [BL_F16] = {"F16", 12}, [BL_BF16] = {"BF16", 12}, [BL_I32] = {"I32", 24},
        [BL_F64] = {"F64", 48},  [BL_I64] = {"I64", 48}, [BL_U64] = {"U64", 48},   [BL_U32] = {"U32", 24},
        [BL_I16] = {"I16", 12},  [BL_U16] = {"U16", 12}, [BL_I8] = {"I8", 6},      [BL_U8] = {"U8", 6},
        [BL_BOOL] = {"BOOL", 6},
    };
    for (int type = 0; type < BL_TYPES; type++) {
        tensor.type = (enum bl_type)type;
        assert_int_equal(bl_tensor_bytes(&tensor), want[type].bytes);
        assert_string_equal(bl_type_traits[type].safetensors, want[type].safetensors);
    }
}

/* Floats whose bits are given, rounded to 16 bits. */
static void check_rounding(enum bl_type type, const uint32_t (*cases)[2], int count) {
    for (int i = 0; i < count; i++) {
        float value, back;
        uint16_t got;
        memcpy(&value, &cases[i][0], sizeof value);
        bl_type_narrow(type, &value, &got, 1);
        if (got != cases[i][1])
            fail_msg("%s of 0x%08x: 0x%04x, expected 0x%04x", bl_type_traits[type].name, cases[i][0], got, cases[i][1]);
        bl_type_widen(type, &got, &back, 1);
        if (isnan(value)) assert_true(isnan(back));
        if (isnormal(value) && !isinf(back)) assert_true(fabsf(back - value) <= ldexpf(fabsf(value), -8) + 0x1p-25f);
    }
}

static void test_rounding(void **state) {
    static const uint32_t half[][2] = {
        {0x3f800000, 0x3c00}, {0xbf800000, 0xbc00}, {0, 0},
        {0x80000000, 0x8000}, {0x3f801000, 0x3c00}, {0x3f803000, 0x3c02},
        {0x3f801001, 0x3c01}, // half way goes to the even one
        {0x3f7ff000, 0x3c00}, {0x477fe000, 0x7bff}, {0x477fefff, 0x7bff},
        {0x477ff000, 0x7c00}, {0x7f800000, 0x7c00}, {0xff800000, 0xfc00},
        {0x7f800001, 0x7e00}, {0xffc00000, 0xfe00}, {0x38800000, 0x0400},
        {0x387fe000, 0x0400}, {0x387fc000, 0x03ff}, {0x33800000, 0x0001},
        {0x33000000, 0x0000}, {0x33000001, 0x0001}, {0x33c00000, 0x0002},
        {0xb3800000, 0x8001},
    };
    static const uint32_t bfloat[][2] = {
        {0x3f800000, 0x3f80}, {0x3f808000, 0x3f80}, {0x3f818000, 0x3f82}, {0x3f808001, 0x3f81}, {0x3fff8000, 0x4000},
        {0x7f7f7fff, 0x7f7f}, {0x7f7f8000, 0x7f80}, {0x7f800000, 0x7f80}, {0x7f800001, 0x7fc0}, {0xffc00000, 0xffc0},
        {0x80000000, 0x8000}, {0x00008000, 0x0000}, {0x00018000, 0x0002},
    };
    check_rounding(BL_F16, half, BL_COUNT(half));
    check_rounding(BL_BF16, bfloat, BL_COUNT(bfloat));
}

int main(int argc, char **argv) {
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_outputs_and_no_inputs),
        cmocka_unit_test(test_whole_numbers),
        cmocka_unit_test(test_unused_output),
        cmocka_unit_test(test_fusion_takes_one),
        cmocka_unit_test(test_attention_is_linear),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_rounding),
    };
    int failed = open_test_device(&device);
    failed += cmocka_run_group_tests(tests, NULL, NULL);
    return failed + close_test_device(device);
}
