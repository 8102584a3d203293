/* A training loop of one's own, on data as the command line names them: a schedule, where the time goes, a checkpoint,
 * and going on from it.
 *
 *     ./loop RUN [DATA]        DATA: folder:DIR, cifar10:DIR, fashion-mnist, ...
 *
 * Ctrl-C ends it after a checkpoint, and the same command goes on; it ends with the same bits as if it had not been
 * interrupted. */
#include <blanch/blanch.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

enum { BATCH = 64, EPOCHS = 2, SEED = 1 };

static void check(int code) {
    if (!code) return;
    fprintf(stderr, "loop: %s\n", blanch_error_message());
    exit(1);
}

static void stop(int number) {
    (void)number;
    blanch_stop_request(); // may be called in a signal handler: the next step returns BLANCH_EINTERRUPTED
}

static void say(void *context, const char *line) {
    fprintf(stderr, "%s: %s\n", (const char *)context, line);
}

/* Where a step's time goes: the layers that take a tenth of it or more. */
static void print_ledger(const struct blanch_network *network) {
    struct blanch_ledger ledger = {.size = sizeof ledger};
    check(blanch_network_ledger(network, &ledger));
    printf("%d recorded steps, %.2f ms each\n", ledger.steps, ledger.step_ms);
    for (int row = 0; row < ledger.rows; row++) {
        struct blanch_ledger_row of = {.size = sizeof of};
        check(blanch_network_ledger_row(network, row, &of));
        if (of.total_ms < ledger.step_ms / 10 || of.total_ms <= 0) continue;
        printf("  %-8s %-20s %6.2f ms:", of.name, of.op, of.total_ms);
        for (int phase = 0; phase < BLANCH_PHASES; phase++)
            if (of.ms[phase] > 0) printf(" %s %.2f", blanch_phase_name(phase), of.ms[phase]);
        printf("\n");
    }
}

/* The whole of a split, as it is. */
static double accuracy(struct blanch_network *network, struct blanch_data *data, const struct blanch_view *view,
                       enum blanch_split split) {
    const struct blanch_loader_options options = {
        .size = sizeof options, .split = split, .view = view, .batch = BATCH, .epochs = 1};
    struct blanch_batch batch = {.size = sizeof batch};
    struct blanch_metrics part = {.size = sizeof part};
    struct blanch_loader *loader;
    int right = 0, count = 0;
    check(blanch_loader_open(&loader, data, &options));
    for (;;) {
        check(blanch_loader_next(loader, &batch));
        if (!batch.count) break;
        check(blanch_network_evaluate(network, batch.images, batch.labels, batch.count, &part));
        right += part.top1, count += part.count;
    }
    blanch_loader_close(loader);
    return 100.0 * right / count;
}

struct loop {
    struct blanch_network *network;
    struct blanch_loader *loader;
    struct blanch_schedule schedule;
    struct blanch_update update;
};

/* BLANCH_EINTERRUPTED: the step was not begun. */
static int step(struct loop *loop, int64_t number) {
    struct blanch_batch batch = {.size = sizeof batch};
    struct blanch_metrics metrics = {.size = sizeof metrics};
    int code = blanch_loader_next(loop->loader, &batch);
    if (!code) code = blanch_schedule_lr(&loop->schedule, number, &loop->update.lr);
    if (!code) code = blanch_network_record(loop->network, number % 10 == 5); // the first few steps build kernels
    if (!code)
        code = blanch_network_step(loop->network, batch.images, batch.labels, batch.count, &loop->update, &metrics);
    if (!code && number % 10 == 0)
        printf("step %lld: loss %.3f, lr %.4f\n", (long long)number, metrics.loss, (double)loop->update.lr);
    return code;
}

int main(int argc, char **argv) {
    const char *spec = argc > 2 ? argv[2] : "synthetic:1x28x28:10";
    struct blanch_device *device;
    struct blanch_data *data;
    if (argc < 2) return fprintf(stderr, "loop: give it a folder for the checkpoint\n"), 1;
    blanch_log_set(say, argv[0]);
    signal(SIGINT, stop);
    if (blanch_device_open(&device, NULL, 0)) return fprintf(stderr, "loop: %s\n", blanch_error_message()), 77;
    check(blanch_data_open(&data, spec, SEED));

    struct blanch_data_info found = {.size = sizeof found};
    check(blanch_data_info(data, &found));
    for (const char *line; (line = blanch_data_message(data));) fprintf(stderr, "%s: %s\n", spec, line);
    const struct blanch_network_options options = {.size = sizeof options,
                                                   .model = "smallcnn",
                                                   .norm = BLANCH_BN,
                                                   .classes = found.classes,
                                                   .channels = found.channels,
                                                   .batch = BATCH,
                                                   .seed = SEED};
    struct loop loop = {.schedule = {.size = sizeof loop.schedule, .text = "cosine", .lr = 0.1f, .warmup = 5},
                        .update = {.size = sizeof loop.update}};
    check(blanch_network_create(&loop.network, device, &options));
    check(blanch_update_defaults(NULL, &loop.update));

    /* Goes on where the checkpoint is, with the next batch of the same order. */
    struct blanch_network_info info = {.size = sizeof info};
    if (blanch_state_exists(argv[1])) check(blanch_network_load_state(loop.network, argv[1]));
    check(blanch_network_info(loop.network, &info));
    struct blanch_view view = {.size = sizeof view};
    check(blanch_data_view(data, info.channels, info.height, info.width, &view));
    const int64_t batches = (found.images[BLANCH_TRAIN] + BATCH - 1) / BATCH;
    const struct blanch_loader_options order = {.size = sizeof order,
                                                .split = BLANCH_TRAIN,
                                                .view = &view,
                                                .batch = BATCH,
                                                .training = true,
                                                .seed = SEED,
                                                .epoch = info.steps / batches,
                                                .first = info.steps % batches};
    check(blanch_loader_open(&loop.loader, data, &order));
    loop.schedule.steps = EPOCHS * batches, loop.schedule.epoch_steps = batches;

    int code = 0;
    for (int64_t number = info.steps; number < loop.schedule.steps && !code; number++) code = step(&loop, number);
    if (code != BLANCH_EINTERRUPTED) check(code);
    check(blanch_network_save_state(loop.network, argv[1]));
    if (!code) {
        print_ledger(loop.network);
        printf("%.1f %% of the test images are right\n", accuracy(loop.network, data, &view, found.judge));
    }
    blanch_loader_close(loop.loader);
    blanch_data_close(data);
    blanch_network_free(loop.network);
    blanch_device_close(device);
    return code ? 130 : 0;
}
