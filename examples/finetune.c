/* Fine-tunes: begins with the weights of a network of ten classes, and learns three with another classifier.
 *
 *     ./train bars.safetensors && ./finetune bars.safetensors
 *
 * With weights of torchvision: .model = "resnet18-imagenet", and the state dict as safetensors. */
#include <blanch/blanch.h>
#include <stdio.h>
#include <stdlib.h>

enum { SIDE = 28, CLASSES = 3, COUNT = 30, STEPS = 15 };

static float images[COUNT][SIDE][SIDE];
static int32_t labels[COUNT];

static void check(int code) {
    if (!code) return;
    fprintf(stderr, "finetune: %s\n", blanch_error_message());
    exit(1);
}

/* Bars at other places than those of train.c. */
static void draw(void) {
    for (int i = 0; i < COUNT; i++) {
        labels[i] = i % CLASSES;
        for (int y = 0; y < SIDE; y++)
            for (int x = 0; x < SIDE; x++)
                images[i][y][x] = (y - 3) / 2 == 4 * labels[i] ? 2 : 0.5f * (float)rand() / (float)RAND_MAX;
    }
}

int main(int argc, char **argv) {
    struct blanch_device *device;
    struct blanch_network *network;
    int taken, classifier;
    if (argc != 2) return fprintf(stderr, "finetune: give it weights of smallcnn with nd\n"), 1;
    if (blanch_device_open(&device, NULL, 0)) return fprintf(stderr, "finetune: %s\n", blanch_error_message()), 77;

    const struct blanch_network_options options = {.size = sizeof options,
                                                   .model = "smallcnn",
                                                   .norm = BLANCH_ND,
                                                   .classes = CLASSES,
                                                   .batch = COUNT,
                                                   .optimiser = "adamw"};
    check(blanch_network_create(&network, device, &options));

    /* What fits by name and shape is taken; the classifier, of another shape, keeps its initial values. */
    struct blanch_network_info info = {.size = sizeof info};
    check(blanch_network_info(network, &info));
    check(blanch_network_init(network, argv[1], &taken));
    printf("%d of %d parameters and buffers are from %s\n", taken, info.parameters, argv[1]);

    /* Parameters can be read and written, too: here the classifier's bias becomes zero. */
    const float zeros[CLASSES] = {0};
    classifier = blanch_parameter_find(network, "fc.bias");
    check(classifier < 0 ? classifier : 0);
    check(blanch_parameter_write(network, classifier, zeros, CLASSES));

    struct blanch_update update = {.size = sizeof update};
    struct blanch_metrics first = {.size = sizeof first}, last = {.size = sizeof last};
    check(blanch_update_defaults("adamw", &update));
    update.lr = 5e-3f;
    draw();
    for (int step = 0; step < STEPS; step++)
        check(blanch_network_step(network, images[0][0], labels, COUNT, &update, step ? &last : &first));
    printf("loss %.3f, then %.3f\n", first.loss, last.loss);
    blanch_network_free(network);
    blanch_device_close(device);
    return last.loss < first.loss ? 0 : 1;
}
