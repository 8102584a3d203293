/* Trains a built-in network on arrays, and keeps its weights under PyTorch's names:
 *
 *     cc train.c $(pkg-config --cflags --libs blanch) -o train && ./train bars.safetensors
 *
 * The images are made up here: a bright bar on a grey ground, whose place is the class. */
#include <blanch/blanch.h>
#include <stdio.h>
#include <stdlib.h>

enum { SIDE = 28, CLASSES = 10, BATCH = 32, BATCHES = 8, COUNT = BATCH * BATCHES, EPOCHS = 4 };

static float images[COUNT][SIDE][SIDE]; // (N, C, H, W) with C = 1
static int32_t labels[COUNT];

static void check(int code) {
    if (!code) return;
    fprintf(stderr, "train: %s\n", blanch_error_message()); // one line that names what failed
    exit(1);
}

static float noise(void) {
    return 0.5f * (float)rand() / (float)RAND_MAX;
}

static void draw(void) {
    for (int i = 0; i < COUNT; i++) {
        labels[i] = i % CLASSES;
        for (int y = 0; y < SIDE; y++)
            for (int x = 0; x < SIDE; x++) images[i][y][x] = y / 2 == labels[i] ? 2 : noise();
    }
}

int main(int argc, char **argv) {
    struct blanch_device *device;
    struct blanch_network *network;
    if (blanch_device_open(&device, NULL, 0)) { // BLANCH_DEVICE, else the fastest GPU, else the CPU
        fprintf(stderr, "train: %s\n", blanch_error_message());
        return 77; // which tests take for "skipped"
    }
    printf("on %s\n", blanch_device_info(device)->name);

    const struct blanch_network_options options = {
        .size = sizeof options, .model = "smallcnn", .norm = BLANCH_ND, .batch = BATCH, .seed = 1};
    check(blanch_network_create(&network, device, &options));

    struct blanch_update update = {.size = sizeof update};
    struct blanch_metrics metrics = {.size = sizeof metrics};
    check(blanch_update_defaults(NULL, &update)); // of SGD with momentum
    update.lr = 0.05f;
    draw();
    for (int epoch = 0; epoch < EPOCHS; epoch++) {
        for (int at = 0; at < COUNT; at += BATCH)
            check(blanch_network_step(network, images[at][0], labels + at, BATCH, &update, &metrics));
        printf("epoch %d: loss %.3f\n", epoch + 1, metrics.loss);
    }

    draw(); // other noise: images that it has not seen
    check(blanch_network_evaluate(network, images[0][0], labels, COUNT, &metrics));
    printf("%d of %d new images are right\n", metrics.top1, metrics.count);
    if (argc > 1) check(blanch_network_save(network, argv[1]));
    blanch_network_free(network);
    blanch_device_close(device);
    return metrics.top1 > COUNT / 2 ? 0 : 1;
}
