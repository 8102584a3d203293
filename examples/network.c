/* A network of one's own: written with the builders, trained on made-up images with network deconvolution. */
#include <blanch/blanch.h>
#include <stdio.h>

enum { SIDE = 16, CLASSES = 4, BATCH = 32, STEPS = 30 };

static float images[BATCH * 3 * SIDE * SIDE];
static int32_t labels[BATCH];

/* Two convolutions with a way around the second. Under BLANCH_ND they whiten their inputs, and the batch norms go. */
static struct blanch_tensor *define(struct blanch_builder *b, struct blanch_tensor *x, void *context) {
    const int width = *(const int *)context;
    struct blanch_conv_spec conv = {.out = width, .kernel = 3, .padding = 1, .no_bias = true};
    x = blanch_relu(b, blanch_batchnorm2d(b, "bn1", blanch_conv2d(b, "conv1", x, conv)));
    x = blanch_maxpool2d(b, x, 2, 2, 0);
    x = blanch_add(b, x, blanch_batchnorm2d(b, "bn2", blanch_conv2d(b, "conv2", x, conv)));
    x = blanch_flatten(b, blanch_global_avgpool2d(b, blanch_relu(b, x)));
    return blanch_linear(b, "fc", x, blanch_classes(b));
}

static int train(struct blanch_device *device, const struct blanch_model *model) {
    const struct blanch_network_options options = {
        .size = sizeof options, .definition = model, .norm = BLANCH_ND, .batch = BATCH};
    struct blanch_metrics metrics = {.size = sizeof metrics};
    struct blanch_network *network;
    double first = 0;
    int code = blanch_network_create(&network, device, &options);
    for (int step = 0; step < STEPS && !code; step++) {
        code = blanch_network_step(network, images, labels, BATCH, NULL, &metrics); // NULL: SGD as it is by default
        if (!step) first = metrics.loss;
    }
    printf("loss %.3f, then %.3f\n", first, metrics.loss);
    blanch_network_free(network);
    return code ? code : metrics.loss < first ? 0 : BLANCH_EMISMATCH;
}

int main(void) {
    const int width = 24;
    const struct blanch_definition definition = {.size = sizeof definition,
                                                 .name = "mine",
                                                 .classes = CLASSES,
                                                 .channels = 3,
                                                 .height = SIDE,
                                                 .width = SIDE,
                                                 .define = define,
                                                 .context = (void *)&width};
    struct blanch_device *device = NULL;
    struct blanch_model *model = NULL;
    for (int i = 0; i < BATCH * 3 * SIDE * SIDE; i++) {
        labels[i / (3 * SIDE * SIDE)] = i / (3 * SIDE * SIDE) % CLASSES;
        images[i] = i % SIDE / 4 == labels[i / (3 * SIDE * SIDE)] ? 1 : 0.1f * (float)(i * 7 % 11);
    }
    if (blanch_device_open(&device, NULL, 0)) return fprintf(stderr, "network: %s\n", blanch_error_message()), 77;
    int code = blanch_model_define(&model, &definition);
    if (!code) code = train(device, model);
    if (code) fprintf(stderr, "network: %s\n", blanch_error_message());
    blanch_model_free(model);
    blanch_device_close(device);
    return code != 0;
}
