/* A program that uses the public header alone: trains a small network on made-up images until the loss falls, saves it,
 * loads it into another one made for inference, and compares the logits. Exit status 77 (skipped) without a device. */
#include <blanch/blanch.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { BATCH = 32, SIDE = 28, CLASSES = 10, STEPS = 25 };

static float images[BATCH * SIDE * SIDE], logits[2][BATCH * CLASSES];
static int32_t labels[BATCH];

/* A bright bar whose place is the class. */
static void draw(void) {
    for (int i = 0; i < BATCH * SIDE * SIDE; i++) {
        int image = i / (SIDE * SIDE), row = i / SIDE % SIDE;
        labels[image] = image % CLASSES;
        images[i] = row / 2 == labels[image] ? 2.0f : 0.2f * sinf((float)(i * 7 % 101));
    }
}

static int fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, blanch_error_message());
    return 1;
}

static int train(struct blanch_network *network, const char *optimiser) {
    struct blanch_update update = {.size = sizeof update};
    struct blanch_metrics first = {.size = sizeof first}, last = {.size = sizeof last};
    if (blanch_update_defaults(optimiser, &update)) return fail("an optimiser's defaults");
    update.lr = optimiser ? 2e-3f : 0.05f, update.weight_decay = 1e-4f;
    for (int step = 0; step < STEPS; step++)
        if (blanch_network_step(network, images, labels, BATCH, &update, step ? &last : &first))
            return fail("a training step");
    printf("loss %.3f, then %.3f\n", first.loss, last.loss);
    return last.loss < 0.5 * first.loss ? 0 : fail("the loss does not fall");
}

/* A budget that is met by refreshing less: one is held, what contradicts it is refused. */
static int bounded(struct blanch_device *device) {
    struct blanch_nd_options nd = {.size = sizeof nd, .overhead_budget = 30, .eps = NAN, .momentum = NAN};
    struct blanch_network_options options = {
        .size = sizeof options, .model = "smallcnn", .norm = BLANCH_ND, .nd = &nd, .batch = BATCH, .seed = 3};
    struct blanch_network *network = NULL;
    struct blanch_budget budget = {.size = sizeof budget};
    int status = 1;
    if (blanch_network_create(&network, device, &options)) return fail("a network with a budget");
    if (blanch_network_budget(network, &budget) || !isnan(budget.held) || !isnan(budget.least))
        fail("an overhead before the first step");
    else if (!(status = train(network, NULL))) {
        if (blanch_network_budget(network, &budget)) status = fail("the budget");
        printf("overhead %.1f %% with the warm-up, at least %.1f %%\n", budget.held, budget.least);
        if (!isfinite(budget.held) || !(budget.least <= budget.held))
            status = fail("no overhead after the first decision");
    }
    blanch_network_free(network);
    const struct {
        enum blanch_norm norm;
        float budget;
        int refresh;
    } refused[] = {{BLANCH_BN, 20, 0}, {BLANCH_ND, -1, 0}, {BLANCH_ND, NAN, 0}, {BLANCH_ND, 20, 5}};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        options.norm = refused[i].norm, nd.overhead_budget = refused[i].budget, nd.refresh = refused[i].refresh;
        if (blanch_network_create(&network, device, &options) != BLANCH_EUSAGE || network)
            status = fail("a wrong budget is taken");
    }
    return status;
}

/* What a step cannot be made with is refused, and the network goes on. */
static int refused(struct blanch_device *device) {
    struct blanch_network_options options = {
        .size = sizeof options, .model = "smallcnn", .norm = BLANCH_BN, .batch = BATCH, .seed = 3, .optimiser = "adam"};
    struct blanch_network *network = NULL;
    struct blanch_update update = {.size = sizeof update};
    struct blanch_metrics metrics = {.size = sizeof metrics};
    int status = 0;
    if (blanch_network_create(&network, device, &options) != BLANCH_EUSAGE || network) return fail("a wrong optimiser");
    if (blanch_update_defaults("adam", &update) != BLANCH_EUSAGE) return fail("its defaults");
    options.optimiser = "adamw";
    if (blanch_network_create(&network, device, &options)) return fail("a network");
    blanch_update_defaults(NULL, &update); // SGD's, whose momentum AdamW has no use for
    if (blanch_network_step(network, images, labels, BATCH, &update, &metrics) != BLANCH_EUSAGE)
        status = fail("another optimiser's settings are taken");
    blanch_update_defaults("adamw", &update);
    if (blanch_network_step(network, images, labels, BATCH + 1, &update, &metrics) != BLANCH_EUSAGE)
        status = fail("too many images are taken");
    if (blanch_network_step(network, images, labels, BATCH, &update, &metrics)) status = fail("a step after that");
    blanch_network_free(network);
    return status;
}

static int run(struct blanch_device *device, const char *file, enum blanch_norm norm, const char *optimiser) {
    struct blanch_network_options options = {
        .size = sizeof options, .model = "smallcnn", .norm = norm, .batch = BATCH, .seed = 3, .optimiser = optimiser};
    struct blanch_network *trained = NULL, *loaded = NULL;
    int status = 1;
    if (blanch_network_create(&trained, device, &options)) return fail("a network");
    if (train(trained, optimiser)) goto done;
    if (blanch_network_predict(trained, images, BATCH, logits[0]) || blanch_network_save(trained, file)) {
        fail("saving");
        goto done;
    }
    options.inference = true, options.seed = 4;
    if (blanch_network_create(&loaded, device, &options) || blanch_network_load(loaded, file) ||
        blanch_network_predict(loaded, images, BATCH, logits[1])) {
        fail("loading");
        goto done;
    }
    status = 0;
    for (int i = 0; i < BATCH * CLASSES; i++)
        if (!(fabsf(logits[0][i] - logits[1][i]) < 1e-4f)) status = 1; // batch norm is part of weights in an inference
    if (status) fprintf(stderr, "the loaded network gives other logits\n");
done:
    blanch_network_free(trained);
    blanch_network_free(loaded);
    remove(file);
    return status;
}

int main(int argc, char **argv) {
    struct blanch_device *device = NULL;
    const char *file = argc > 1 ? argv[1] : "api-test.safetensors";
    draw();
    int code = blanch_device_open(&device, NULL, 0);
    if (code) {
        fprintf(stderr, "skipped: %s\n", blanch_error_message());
        const char *ci = getenv("CI");
        return ci && *ci ? 1 : 77;
    }
    int status = run(device, file, BLANCH_BN, NULL) || run(device, file, BLANCH_ND, NULL) ||
                 run(device, file, BLANCH_ND, "adamw") || refused(device) || bounded(device);
    blanch_device_close(device);
    return status;
}
