/* What of the suite is not speed: seconds of training until an accuracy, and whether the device computes rightly. */
#include "cli/suite.h"
#include "cli/timed.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { RUNS = 3, EPOCHS = 2, TEST_EVERY = 50, CHECKED_BATCH = 4 };
static const double target_pct = 85;
static const float rate = 0.05f; // of sgd with momentum 0.9 and weight decay 1e-3, by cosine to 0

struct trial {
    const struct bl_suite_means *means;
    const struct bl_suite_entry *entry;
    struct blanch_device *dev;
    struct bl_dataset *data;
    struct bl_view view;
    double best, seconds, steps; // per cent; until the target
    bool reached;
};

static int choose_view(struct trial *t, struct bl_network_options *network) {
    const struct blanch_model *model = bl_model_find(t->entry->model);
    const char *normalise = NULL;
    network->channels = model->channels, network->height = network->width = model->size;
    int code = bl_view_choose(&t->view, t->data, network, NULL, &normalise);
    network->classes = bl_dataset_classes(t->data);
    network->channels = t->view.channels, network->height = t->view.height, network->width = t->view.width;
    return code;
}

static int test(struct trial *t, struct blanch_network *net) {
    struct blanch_metrics metrics = {0};
    double seconds;
    char text[160];
    int code = bl_network_test(net, t->data, BL_TEST, &t->view, &metrics, &seconds);
    if (code) return code;
    double top1 = bl_percent_of(metrics.top1, metrics.count);
    t->best = fmax(t->best, top1);
    t->reached = top1 >= target_pct;
    snprintf(text, sizeof text, "%s: %.0f steps, %.1f per cent", t->entry->name, t->steps, top1);
    t->means->show(t->means->context, text);
    return 0;
}

static int train(struct trial *t, struct bl_session *session) {
    struct blanch_update update = {.size = sizeof update};
    const int64_t epoch = bl_loader_batches(session->loader), most = EPOCHS * epoch;
    struct bl_schedule schedule = {.lr = rate, .steps = most, .epoch_steps = epoch};
    int code = blanch_update_defaults(NULL, &update);
    if (!code) code = bl_schedule_parse(&schedule, "cosine");
    if (!code) code = bl_schedule_check(&schedule);
    while (!code && !t->reached && t->steps < (double)most) {
        update.lr = bl_schedule_lr(&schedule, (int64_t)t->steps);
        const struct bl_step wanted = {.number = (int64_t)t->steps + 1, .update = &update, .finish = true};
        struct bl_stepped stepped;
        if ((code = bl_check_interrupted())) break;
        code = bl_session_step(session, &wanted, &stepped);
        if (!code && !stepped.finite)
            code = bl_fail(BLANCH_EDIVERGED, "the loss is not finite at step %.0f", t->steps + 1);
        t->seconds += 1e-3 * stepped.wall_ms;
        t->steps++;
        bl_stepped_release(&stepped);
        if (!code && fmod(t->steps, TEST_EVERY) == 0) code = test(t, session->net);
    }
    return code;
}

static int run_trial(struct trial *t, uint64_t seed) {
    struct bl_network_options network = {.model = t->entry->model,
                                         .norm = t->entry->norm,
                                         .nd = {.block = t->entry->block, .eps = NAN, .momentum = NAN},
                                         .batch = t->entry->batch,
                                         .seed = seed,
                                         .precision = t->entry->precision};
    struct blanch_network *net = NULL;
    struct bl_session session = {0};
    int code = choose_view(t, &network);
    const struct bl_loader_options loading = {
        .split = BL_TRAIN, .view = t->view, .batch = t->entry->batch, .training = true, .seed = seed};
    const struct bl_session_options options = {.budget = -1};
    if (!code) code = bl_network_create(&net, t->dev, &network);
    if (!code) code = bl_session_open(&session, net, &options);
    if (!code) code = bl_session_load(&session, t->data, &loading);
    t->seconds = t->steps = 0;
    t->reached = false;
    if (!code) code = train(t, &session);
    bl_session_close(&session);
    blanch_network_free(net);
    return code;
}

int bl_suite_accuracy(const struct bl_suite_means *means, const struct bl_suite_entry *entry, struct blanch_device *dev,
                      struct bl_suite_row *row) {
    struct trial t = {.means = means, .entry = entry, .dev = dev};
    double seconds[RUNS], steps[RUNS];
    int reached = 0, code = bl_dataset_open(&t.data, means->data, 0);
    for (int r = 0; r < RUNS && !code; r++) {
        code = run_trial(&t, (uint64_t)r);
        if (code || !t.reached) continue;
        seconds[reached] = t.seconds;
        steps[reached++] = t.steps;
    }
    bl_dataset_close(t.data);
    row->runs = RUNS, row->reached = reached, row->target_top1 = target_pct, row->best_top1 = t.best;
    if (code) return code;
    if (!reached)
        return bl_fail(BLANCH_EMISMATCH, "none of %d runs came to %.0f per cent in %d epochs, the best to %.2f", RUNS,
                       target_pct, EPOCHS, t.best);
    row->target_s = bl_quantile(seconds, reached, 0.5);
    row->target_s_least = seconds[0], row->target_s_most = seconds[reached - 1]; // sorted by the median
    row->target_steps = bl_quantile(steps, reached, 0.5);
    return 0;
}

/* --- whether it computes rightly ---------------------------------------------------------------- */

static int validate(struct blanch_device *dev, const struct bl_network_options *options, struct bl_suite_check *check) {
    struct bl_timed made = {0};
    struct bl_validation result = {0};
    int code = bl_timed_open(&made, dev, options, -1);
    const struct bl_batch batch = {.count = options->batch, .images = made.images, .labels = made.labels};
    if (!code) code = bl_network_validate(made.net, &batch, 1, &result);
    check->passed = !code;
    check->largest_error = code ? NAN : result.largest_error;
    if (code) snprintf(check->message, sizeof check->message, "%s", blanch_error_message());
    bl_timed_close(&made);
    return code;
}

int bl_suite_validate(struct blanch_device *dev, struct bl_suite_result *suite) {
    static const struct {
        const char *name;
        enum blanch_norm norm;
        int block;
    } checks[] = {{"smallcnn-bn", BLANCH_BN, 0}, {"smallcnn-nd", BLANCH_ND, 0}, {"smallcnn-nd-block16", BLANCH_ND, 16}};
    int code = 0;
    suite->checks = 0;
    for (int i = 0; i < BL_COUNT(checks) && !code; i++) {
        struct bl_suite_check *check = &suite->check[suite->checks++];
        const struct bl_network_options options = {.model = "smallcnn",
                                                   .norm = checks[i].norm,
                                                   .nd = {.block = checks[i].block, .eps = NAN, .momentum = NAN},
                                                   .batch = CHECKED_BATCH};
        *check = (struct bl_suite_check){.passed = 0};
        snprintf(check->name, sizeof check->name, "%s", checks[i].name);
        code = validate(dev, &options, check);
        if (code == BLANCH_EMISMATCH || code == BLANCH_EDIVERGED || code == BLANCH_ELIMIT) code = 0;
    }
    return code;
}
