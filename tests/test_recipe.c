/* The parts of a training recipe against the values that PyTorch gives in double precision (reference/recipe.py). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "harness.h"
#include "graph/graph.h"
#include "internal.h"
#include "io/files.h"
#include "train/train.h"
#include <stdlib.h>
#include <string.h>

static struct blanch_device *device;
static cJSON *reference;

static double number(const cJSON *object, const char *key) {
    return cJSON_GetObjectItem(object, key)->valuedouble;
}

/* Of an array, nested ones flattened; count values, which the caller frees. */
static void collect(const cJSON *array, double *values, size_t *count) {
    const cJSON *item;
    cJSON_ArrayForEach(item, array) {
        if (cJSON_IsArray(item))
            collect(item, values, count);
        else
            values[(*count)++] = item->valuedouble;
    }
}
static double *numbers(const cJSON *object, const char *key, size_t *count) {
    enum { MOST = 1 << 16 };
    double *values = calloc(MOST, sizeof *values);
    assert_non_null(values);
    *count = 0;
    collect(cJSON_GetObjectItem(object, key), values, count);
    assert_true(*count > 0 && *count < MOST);
    return values;
}

static void compare(const char *what, const float *got, const double *want, size_t count, double tolerance) {
    double largest = 1e-30;
    for (size_t i = 0; i < count; i++) largest = fmax(largest, fabs(want[i]));
    for (size_t i = 0; i < count; i++)
        if (!(fabs((double)got[i] - want[i]) <= tolerance * largest))
            fail_msg("%s[%zu] is %.9g, in PyTorch %.9g", what, i, (double)got[i], want[i]);
}

/* --- the loss ------------------------------------------------------------------------------------- */

static void run_loss(const cJSON *one) {
    size_t images, count;
    double *labels = numbers(one, "labels", &images), *logits = numbers(one, "logits", &count), *grad;
    const int classes = (int)(count / images), n = (int)images;
    struct bl_loss_attrs attrs = {.smoothing = (float)number(one, "smoothing")};
    double total = 0, *weights = NULL;
    float *weight = NULL;
    if (cJSON_GetObjectItem(one, "weights")) {
        size_t given;
        weights = numbers(one, "weights", &given);
        attrs.weight = weight = narrow(weights, given);
    }
    const cJSON *others = cJSON_GetObjectItem(one, "others");
    struct bl_graph *graph;
    check(bl_graph_create(&graph, device, n, false));
    bl_graph_want_input_grads(graph);
    struct blanch_tensor *in[3] = {bl_graph_input(graph, classes, 1, 1), bl_graph_input_labels(graph)};
    if (others) in[2] = bl_graph_input_labels(graph), attrs.pairs = 1;
    bl_graph_add(graph, "softmax_cross_entropy", "loss", &attrs, in, others ? 3 : 2);
    check(bl_graph_finish(graph, 0));
    int32_t label[16];
    for (int i = 0; i < n; i++) label[i] = (int32_t)labels[i];
    for (int i = 0; i < n; i++) total += weight ? weights[label[i]] : 1;
    bl_graph_weigh_batch(graph, weight ? total : 0);
    float *values = narrow(logits, count);
    check(bl_mem_write(in[1]->mem, 0, sizeof *label * images, label));
    for (int i = 0; others && i < n; i++) label[i] = cJSON_GetArrayItem(others, i)->valueint;
    if (others) check(bl_mem_write(in[2]->mem, 0, sizeof *label * images, label));
    if (others) bl_graph_share_labels(graph, (float)number(one, "share"));
    check(bl_tensor_write(graph, in[0], n, values));
    check(bl_graph_forward(graph, n, true));
    check(bl_graph_backward(graph, n));
    struct blanch_metrics metrics;
    check(bl_graph_metrics(graph, n, &metrics));
    metrics.loss *= n / total;
    assert_true(fabs(metrics.loss - number(one, "loss")) < 1e-6 * fmax(1, number(one, "loss")));
    check(bl_tensor_read(graph, in[0]->grad, n, values));
    grad = numbers(one, "grad", &count);
    compare("the gradient", values, grad, count, 1e-5);
    free(labels), free(logits), free(grad), free(values), free(weights), free(weight);
    bl_graph_free(graph);
}

static void test_loss(void **state) {
    if (!device) skip();
    const cJSON *one;
    cJSON_ArrayForEach(one, cJSON_GetObjectItem(reference, "loss")) run_loss(one);
}

/* --- mixed batches -------------------------------------------------------------------------------- */

enum { SIDE = 7, CHANNELS = 3, BATCH = 5, IMAGE = SIDE * SIDE * CHANNELS };

/* From (N, C, H, W) to (N, H, W, C). */
static float *read_images(const cJSON *object) {
    size_t count;
    double *values = numbers(object, "images", &count);
    float *images = calloc(count, sizeof *images);
    assert_true(count == BATCH * IMAGE);
    for (int i = 0; i < (int)count; i++)
        images[i / IMAGE * IMAGE + i % (SIDE * SIDE) * CHANNELS + i % IMAGE / (SIDE * SIDE)] = (float)values[i];
    free(values);
    return images;
}

static void test_mixup(void **state) {
    const cJSON *mixing = cJSON_GetObjectItem(reference, "mixing"), *one;
    cJSON_ArrayForEach(one, cJSON_GetObjectItem(mixing, "mixed")) {
        float *images = read_images(mixing), *want = read_images(one), last[IMAGE];
        bl_mix_images(images, BATCH, IMAGE, last, number(one, "share"));
        for (int i = 0; i < BATCH * IMAGE; i++) assert_float_equal(images[i], want[i], 1e-6f);
        free(images), free(want);
    }
}

static void test_cutmix(void **state) {
    const cJSON *mixing = cJSON_GetObjectItem(reference, "mixing"), *one;
    cJSON_ArrayForEach(one, cJSON_GetObjectItem(mixing, "cut")) {
        float *images = read_images(mixing), *first = read_images(mixing), last[IMAGE];
        const cJSON *box = cJSON_GetObjectItem(one, "box");
        const int b[] = {cJSON_GetArrayItem(box, 0)->valueint, cJSON_GetArrayItem(box, 1)->valueint,
                         cJSON_GetArrayItem(box, 2)->valueint, cJSON_GetArrayItem(box, 3)->valueint};
        const struct bl_box found = bl_cut_box(SIDE, SIDE, (number(one, "x") + 0.5) / SIDE,
                                               (number(one, "y") + 0.5) / SIDE, number(one, "share"));
        assert_true(found.left == b[0] && found.top == b[1] && found.right == b[2] && found.bottom == b[3]);
        assert_true(fabs(bl_cut_images(images, BATCH, SIDE, SIDE, CHANNELS, last, found) - number(one, "left")) <
                    1e-12);
        for (int i = 0; i < BATCH * IMAGE; i++) {
            const int x = i / CHANNELS % SIDE, y = i / CHANNELS / SIDE % SIDE, image = i / IMAGE;
            const bool cut = x >= b[0] && x < b[2] && y >= b[1] && y < b[3];
            assert_true(images[i] == first[cut ? i % IMAGE + (image + BATCH - 1) % BATCH * IMAGE : i]);
        }
        free(images), free(first);
    }
}

/* Mean and variance of Beta(a, a): 1/2 and 1 / (4 (2 a + 1)). */
static void test_beta(void **state) {
    static const double alphas[] = {0.1, 0.2, 1, 4};
    enum { DRAWS = 20000 };
    for (int k = 0; k < BL_COUNT(alphas); k++) {
        double sum = 0, squares = 0;
        for (uint32_t i = 0; i < DRAWS; i++) {
            const double x = bl_draw_beta(7, 3, i, alphas[k]);
            assert_true(x >= 0 && x <= 1);
            sum += x, squares += (x - 0.5) * (x - 0.5);
        }
        assert_true(fabs(sum / DRAWS - 0.5) < 0.015);
        assert_true(fabs(squares / DRAWS * 4 * (2 * alphas[k] + 1) - 1) < 0.03);
    }
    assert_true(bl_draw_beta(7, 3, 1, 0.001) == bl_draw_beta(7, 3, 1, 0.001)); // far out, and repeated
    assert_true(isfinite(bl_draw_beta(1, 1, 1, 0.001)) && isfinite(bl_draw_beta(1, 1, 1, 100)));
}

/* --- schedules ------------------------------------------------------------------------------------ */

static void test_schedules(void **state) {
    const cJSON *one;
    cJSON_ArrayForEach(one, cJSON_GetObjectItem(reference, "schedules")) {
        size_t steps;
        double *rates = numbers(one, "rates", &steps);
        struct blanch_schedule schedule = {.size = sizeof schedule,
                                           .text = cJSON_GetObjectItem(one, "text")->valuestring,
                                           .lr = (float)number(one, "lr"),
                                           .steps = (int64_t)steps,
                                           .epoch_steps = (int64_t)number(one, "epoch_steps"),
                                           .warmup = (int64_t)number(one, "warmup")};
        for (int in_epochs = 0; in_epochs < 2; in_epochs++) {
            for (size_t i = 0; i < steps; i++) {
                float lr;
                check(blanch_schedule_lr(&schedule, (int64_t)i, &lr));
                if (fabs((double)lr - rates[i]) > 1e-6 * 0.5)
                    fail_msg("%s: the rate of step %zu is %g, in PyTorch %g", schedule.text, i, (double)lr, rates[i]);
            }
            schedule.warmup_epochs = (float)schedule.warmup / (float)schedule.epoch_steps, schedule.warmup = 0;
        }
        free(rates);
    }
}

static void test_refused_schedules(void **state) {
    const char *const wrong[] = {"step:0",      "step:2:2",      "step:",    "step:2:",   "onecycle:1", "onecycle:0",
                                 "polynomial:", "polynomial:-1", "cosine:2", "constant:", "one"};
    struct bl_schedule s = {0}, own = {.kind = BL_ONECYCLE, .steps = 9, .warmup = 2},
                       both = {.steps = 9, .epoch_steps = 3, .warmup = 2, .warmup_epochs = 1};
    for (int i = 0; i < BL_COUNT(wrong); i++) assert_int_equal(bl_schedule_parse(&s, wrong[i]), BLANCH_EUSAGE);
    assert_int_equal(bl_schedule_check(&own), BLANCH_EUSAGE);
    assert_int_equal(bl_schedule_check(&both), BLANCH_EUSAGE);
}

/* --- training --------------------------------------------------------------------------------------- */

enum { FEATURES = 6, HIDDEN = 8, MIDDLE = 4, CLASSES = 5, IMAGES = 12 };

static struct blanch_tensor *define(struct blanch_builder *b, struct blanch_tensor *x, void *context) {
    x = blanch_linear(b, "fc1", x, HIDDEN);
    x = blanch_batchnorm2d(b, "bn1", blanch_unary(b, "tanh", x));
    x = blanch_unary(b, "tanh", blanch_linear(b, "middle", x, MIDDLE));
    return blanch_linear(b, "fc2", x, CLASSES);
}

static float setting(const cJSON *settings, const char *key) {
    const cJSON *item = cJSON_GetObjectItem(settings, key);
    return item ? (float)item->valuedouble : 0;
}

static struct blanch_network *make_network(const cJSON *settings) {
    const struct blanch_definition definition = {.size = sizeof definition,
                                                 .name = "recipe",
                                                 .classes = CLASSES,
                                                 .channels = FEATURES,
                                                 .height = 1,
                                                 .width = 1,
                                                 .define = define};
    struct blanch_loss_options loss = {.size = sizeof loss, .label_smoothing = setting(settings, "label_smoothing")};
    struct blanch_network_options options = {
        .size = sizeof options,
        .batch = cJSON_GetObjectItem(settings, "batch") ? (int)number(settings, "batch") : IMAGES,
        .accumulate = (int)setting(settings, "accumulate"),
        .loss = &loss,
        .optimiser = cJSON_GetObjectItem(settings, "optimiser")->valuestring,
        .no_decay = cJSON_GetStringValue(cJSON_GetObjectItem(settings, "no_decay")),
        .ema = setting(settings, "ema"),
        .freeze_layers = cJSON_GetStringValue(cJSON_GetObjectItem(settings, "freeze_layers")),
    };
    struct blanch_model *model;
    struct blanch_network *network;
    float *weights = NULL;
    size_t count;
    if (cJSON_GetObjectItem(settings, "class_weights")) {
        double *values = numbers(settings, "class_weights", &count);
        loss.class_weights = weights = narrow(values, count), loss.weights = (int)count;
        free(values);
    }
    check(blanch_model_define(&model, &definition));
    options.definition = model;
    check(blanch_network_create(&network, device, &options));
    blanch_model_free(model);
    free(weights);
    return network;
}

static struct blanch_update update_of(const cJSON *settings) {
    struct blanch_update update = {.size = sizeof update};
    check(blanch_update_defaults(cJSON_GetObjectItem(settings, "optimiser")->valuestring, &update));
    update.lr = setting(settings, "lr");
    if (cJSON_GetObjectItem(settings, "momentum")) update.momentum = setting(settings, "momentum");
    update.weight_decay = setting(settings, "weight_decay");
    update.clip_grad_norm = setting(settings, "clip_grad_norm");
    return update;
}

/* What is frozen keeps its bits. */
static void compare_values(struct blanch_network *network, const cJSON *before, const cJSON *after) {
    const cJSON *item;
    cJSON_ArrayForEach(item, after) {
        size_t count, same = 0;
        double *want = numbers(after, item->string, &count), *first = numbers(before, item->string, &count);
        float *got = calloc(count, sizeof *got);
        check(blanch_parameter_read(network, blanch_parameter_find(network, item->string), got, (int64_t)count));
        for (size_t i = 0; i < count; i++) same += want[i] == first[i];
        for (size_t i = 0; i < count && same == count; i++) assert_true((double)got[i] == want[i]);
        compare(item->string, got, want, count, 3e-5);
        free(want), free(first), free(got);
    }
}

static void run_training(const cJSON *one) {
    const cJSON *settings = cJSON_GetObjectItem(one, "settings"), *item, *before = cJSON_GetObjectItem(one, "before");
    struct blanch_network *network = make_network(settings);
    const struct blanch_update update = update_of(settings);
    size_t count;
    cJSON_ArrayForEach(item, before) {
        double *values = numbers(before, item->string, &count);
        float *first = narrow(values, count);
        check(blanch_parameter_write(network, blanch_parameter_find(network, item->string), first, (int64_t)count));
        free(values), free(first);
    }
    cJSON_ArrayForEach(item, cJSON_GetObjectItem(one, "steps")) {
        double *labels = numbers(item, "labels", &count), *values = numbers(item, "images", &count);
        float *images = narrow(values, count);
        int32_t label[64];
        const int n = (int)count / FEATURES;
        for (int i = 0; i < n; i++) label[i] = (int32_t)labels[i];
        check(blanch_network_step(network, images, label, n, &update, NULL));
        free(labels), free(values), free(images);
    }
    compare_values(network, before, cJSON_GetObjectItem(one, "after"));
    struct blanch_network *ema;
    if (cJSON_GetObjectItem(one, "ema")) {
        check(blanch_network_ema(&ema, network));
        compare_values(ema, before, cJSON_GetObjectItem(one, "ema"));
        blanch_network_free(ema);
    } else
        assert_int_equal(blanch_network_ema(&ema, network), BLANCH_EUSAGE);
    blanch_network_free(network);
}

static void test_training(void **state) {
    if (!device) skip();
    const cJSON *one;
    cJSON_ArrayForEach(one, cJSON_GetObjectItem(reference, "training")) {
        char *settings = cJSON_PrintUnformatted(cJSON_GetObjectItem(one, "settings"));
        print_message("%s\n", settings);
        cJSON_free(settings);
        run_training(one);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loss),     cmocka_unit_test(test_mixup),     cmocka_unit_test(test_cutmix),
        cmocka_unit_test(test_beta),     cmocka_unit_test(test_schedules), cmocka_unit_test(test_refused_schedules),
        cmocka_unit_test(test_training),
    };
    if (bl_json_read(REFERENCE_DIR "/recipe.json", &reference)) {
        print_error("%s\n", blanch_error_message());
        return 1;
    }
    int failed = open_test_device(&device);
    failed += cmocka_run_group_tests(tests, NULL, NULL);
    cJSON_Delete(reference);
    return failed + close_test_device(device);
}
