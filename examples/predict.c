/* Classifies image files with weights of train.c:
 *
 *     ./train bars.safetensors && ./predict bars.safetensors bar.pgm
 */
#include <blanch/blanch.h>
#include <stdio.h>
#include <stdlib.h>

static void check(int code) {
    if (!code) return;
    fprintf(stderr, "predict: %s\n", blanch_error_message());
    exit(1);
}

static int largest(const float *values, int count) {
    int at = 0;
    for (int i = 1; i < count; i++)
        if (values[i] > values[at]) at = i;
    return at;
}

int main(int argc, char **argv) {
    struct blanch_device *device;
    struct blanch_network *network;
    const int count = argc - 2;
    if (count < 1) return fprintf(stderr, "predict: give it weights of smallcnn with nd, and images\n"), 1;
    if (blanch_device_open(&device, NULL, 0)) return fprintf(stderr, "predict: %s\n", blanch_error_message()), 77;

    /* Made for inference alone: less memory, and whatever can be is folded into the weights. */
    const struct blanch_network_options options = {
        .size = sizeof options, .model = "smallcnn", .norm = BLANCH_ND, .batch = 8, .inference = true};
    struct blanch_network_info info = {.size = sizeof info};
    check(blanch_network_create(&network, device, &options));
    check(blanch_network_load(network, argv[1]));
    check(blanch_network_info(network, &info));

    /* Images are made what the network was trained with: here values from 0 to 2. */
    const struct blanch_view view = {.size = sizeof view,
                                     .channels = info.channels,
                                     .height = info.height,
                                     .width = info.width,
                                     .deviation = {0.5f}};
    const size_t image = (size_t)info.channels * (size_t)info.height * (size_t)info.width;
    float *images = calloc((size_t)count * image, sizeof *images);
    float *logits = calloc((size_t)count * (size_t)info.classes, sizeof *logits);
    if (!images || !logits) return 1;
    for (int i = 0; i < count; i++) check(blanch_image_read(argv[2 + i], &view, images + (size_t)i * image));
    check(blanch_network_predict(network, images, count, logits)); // any number: a batch at a time
    for (int i = 0; i < count; i++)
        printf("%s: class %d\n", argv[2 + i], largest(logits + i * info.classes, info.classes));
    free(images);
    free(logits);
    blanch_network_free(network);
    blanch_device_close(device);
    return 0;
}
