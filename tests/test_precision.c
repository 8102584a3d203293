/* Training with activations in 16 bits: what it costs in exactness and saves in memory, and the scale of the loss. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "training.h"

static void compare_precisions(enum blanch_norm norm) {
    double loss[3], start[3];
    uint64_t bytes[3];
    for (int p = BLANCH_FP32; p <= BLANCH_BF16; p++) {
        struct blanch_network *net = make_network_as(norm, 1, 10, (enum blanch_precision)p);
        start[p] = make_steps(net, 1), loss[p] = make_steps(net, 9);
        bytes[p] = bl_graph_bytes_at(net->graph, 256);
        blanch_network_free(net);
    }
    assert_true(loss[0] < 0.7 * start[0]);
    for (int p = BLANCH_FP16; p <= BLANCH_BF16; p++) {
        if (!(fabs(start[p] - start[0]) < 0.02 * start[0] && fabs(loss[p] - loss[0]) < 0.1 * loss[0]))
            fail_msg("%s, %s: losses %g and %g, %g and %g in fp32", bl_norm_name(norm),
                     bl_precision_name((enum blanch_precision)p), start[p], loss[p], start[0], loss[0]);
        if (bytes[p] >= bytes[0])
            fail_msg("%s, %s: %llu bytes, %llu in fp32", bl_norm_name(norm),
                     bl_precision_name((enum blanch_precision)p), (unsigned long long)bytes[p],
                     (unsigned long long)bytes[0]);
    }
    if (norm == BLANCH_BN) assert_true(bytes[BLANCH_FP16] < 0.65 * (double)bytes[0]);
}

static void test_precisions(void **state) {
    if (!device) skip();
    compare_precisions(BLANCH_BN);
    compare_precisions(BLANCH_ND);
}

static struct bl_loss_scale scale_of(struct blanch_network *net) {
    struct bl_loss_scale scale;
    check(bl_graph_loss_scale(net->graph, &scale));
    return scale;
}

/* Parameters and the optimiser's state, one after another; buffers are left out. The caller frees them. */
static float *read_trained(struct blanch_network *net, size_t *count) {
    float *all = NULL;
    *count = 0;
    for (int i = 0; i < bl_graph_params(net->graph); i++) {
        struct bl_param *p = bl_graph_param(net->graph, i);
        if (!p->trainable) continue;
        const size_t each = (size_t)p->data.count;
        all = realloc(all, (*count + 2 * each) * sizeof *all);
        assert_non_null(all);
        check(bl_param_read(p, all + *count));
        check(bl_param_read_state(p, 0, all + *count + each));
        *count += 2 * each;
    }
    return all;
}

/* An update whose gradients overflow is skipped and the scale halved; after so many others it is doubled. */
static void test_loss_scale(void **state) {
    if (!device) skip();
    size_t count;
    struct blanch_network *net = make_network_as(BLANCH_BN, 1, 10, BLANCH_FP16), *other;
    make_steps(net, 1);
    struct bl_loss_scale scale = scale_of(net);
    assert_true(scale.scale == BL_FIRST_LOSS_SCALE && scale.good == 1 && !scale.skipped && !scale.overflow);
    check(bl_graph_set_loss_scale(net->graph, &(struct bl_loss_scale){.scale = 0x1p100f, .good = 7}));
    float *before = read_trained(net, &count);
    make_steps(net, 1);
    float *after = read_trained(net, &count);
    assert_memory_equal(before, after, count * sizeof *after);
    scale = scale_of(net);
    assert_true(scale.scale == 0x1p99f && scale.good == 0 && scale.skipped == 1 && scale.overflow);
    check(bl_graph_set_loss_scale(
        net->graph, &(struct bl_loss_scale){.scale = 1024, .good = BL_GROWTH_INTERVAL - 1, .skipped = 1}));
    make_steps(net, 1);
    scale = scale_of(net);
    assert_true(scale.scale == 2048 && scale.good == 0 && scale.skipped == 1 && !scale.overflow);
    make_steps(net, 3);
    check(blanch_network_save_state(net, in_folder("scaled")));
    other = make_network_as(BLANCH_BN, 2, 10, BLANCH_FP16);
    check(blanch_network_load_state(other, in_folder("scaled")));
    scale = scale_of(other);
    assert_true(scale.scale == 2048 && scale.good == 3 && scale.skipped == 1);
    make_steps(net, 2), make_steps(other, 2);
    free(before), free(after);
    before = read_trained(net, &count), after = read_trained(other, &count);
    assert_memory_equal(before, after, count * sizeof *after);
    free(before), free(after);
    blanch_network_free(net), blanch_network_free(other);
}

/* Clipping sees the loss's own gradients: the first step is as long as it allows. */
static void test_clipped_in_half(void **state) {
    if (!device) skip();
    static float images[4 * 28 * 28];
    const int32_t labels[4] = {1, 2, 3, 4};
    struct blanch_update update = {sizeof update, .lr = 0.5f};
    size_t count;
    double length = 0;
    update.clip_grad_norm = 0.01f;
    for (int i = 0; i < BL_COUNT(images); i++) images[i] = (float)((i * 37) % 101) / 50 - 1;
    struct blanch_network *net = make_network_as(BLANCH_BN, 1, 10, BLANCH_FP16);
    float *before = read_trained(net, &count);
    check(blanch_network_step(net, images, labels, 4, &update, NULL));
    float *after = read_trained(net, &count);
    for (int i = 0, at = 0; i < bl_graph_params(net->graph); i++) {
        const struct bl_param *p = bl_graph_param(net->graph, i);
        if (!p->trainable) continue;
        for (int64_t k = 0; k < p->data.count; k++) {
            const double moved = (double)after[at + k] - (double)before[at + k];
            length += moved * moved;
        }
        at += (int)(2 * p->data.count);
    }
    if (!(fabs(sqrt(length) - 0.5 * 0.01) < 1e-5)) fail_msg("the step's length is %g", sqrt(length));
    free(before), free(after);
    blanch_network_free(net);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_precisions),
        cmocka_unit_test(test_loss_scale),
        cmocka_unit_test(test_clipped_in_half),
    };
    int failed = open_test_device(&device);
    failed += cmocka_run_group_tests(tests, open_all, close_all);
    return failed + close_test_device(device);
}
