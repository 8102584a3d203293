/* A program that uses the public header alone: a run that is resumed has the bits of one that was not, weights of
 * another network are taken, schedules, the ledger, the budget, data, stopping, and NULL wherever it may not be. Its
 * argument is a folder to write in. Exit status 77 (skipped) without a device. */
#define _POSIX_C_SOURCE 200809L // setenv, mkdir
#include "api.h"
#include <sys/stat.h>

enum { SMALL = 8, SMALL_CLASSES = 4, STEPS = 6 };

static char folder[1000], path[1200];
static float images[BATCH * SIDE * SIDE], small_images[SMALL * SMALL * SMALL];
static int32_t labels[BATCH], small_labels[SMALL];

static const char *in_folder(const char *name) {
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

/* --- going on ------------------------------------------------------------------------------------------ */

/* With dropout, so that the position of its randomness matters. */
static struct blanch_tensor *define_small(struct blanch_builder *b, struct blanch_tensor *x, void *context) {
    (void)context;
    struct blanch_conv_spec conv = {.out = 8, .kernel = 3, .padding = 1};
    x = blanch_batchnorm2d(b, "bn", blanch_conv2d(b, "conv", x, conv));
    x = blanch_dropout(b, blanch_global_avgpool2d(b, blanch_relu(b, x)), 0.3f);
    return blanch_linear(b, "fc", blanch_flatten(b, x), blanch_classes(b));
}

static struct blanch_network *create_small(struct blanch_device *device, enum blanch_norm norm, const char *optimiser) {
    const struct blanch_definition definition = {.size = sizeof definition,
                                                 .name = "small",
                                                 .classes = SMALL_CLASSES,
                                                 .channels = 1,
                                                 .height = SMALL,
                                                 .width = SMALL,
                                                 .define = define_small};
    struct blanch_model *model = NULL;
    struct blanch_network *network = NULL;
    DONE(blanch_model_define(&model, &definition));
    const struct blanch_network_options options = {
        .size = sizeof options, .definition = model, .norm = norm, .batch = SMALL, .seed = 7, .optimiser = optimiser};
    DONE(blanch_network_create(&network, device, &options));
    blanch_model_free(model);
    return network;
}

/* The fourth step's loss is not finite where the network has no statistics that this would spoil: it updates nothing,
 * and is counted. */
static void steps(struct blanch_network *network, int from, int to, bool spoil) {
    for (int step = from; step < to; step++) {
        struct blanch_metrics metrics = {.size = sizeof metrics};
        const bool spoilt = spoil && step == 1;
        for (int i = 0; i < SMALL * SMALL * SMALL; i++)
            small_images[i] = spoilt ? 3e38f : sinf((float)((i + 31 * step) % 97)) + (float)(i / SMALL / SMALL % 4);
        DONE(blanch_network_step(network, small_images, small_labels, SMALL, NULL, &metrics));
        EXPECT(!isfinite(metrics.loss) == spoilt);
    }
}

static void test_state(struct blanch_device *device, enum blanch_norm norm, const char *optimiser) {
    struct blanch_network *whole = create_small(device, norm, optimiser), *half = create_small(device, norm, optimiser),
                          *resumed = create_small(device, norm, optimiser);
    struct blanch_network_info info = {.size = sizeof info};
    const bool spoil = norm == BLANCH_NONE;
    steps(whole, 0, STEPS, spoil);
    steps(half, 0, STEPS / 2, spoil);
    DONE(blanch_network_save_state(half, in_folder("deep/state")));
    blanch_network_free(half);
    EXPECT(blanch_state_exists(path) && !blanch_state_exists(folder) && !blanch_state_exists(NULL));
    DONE(blanch_network_load_state(resumed, path));
    DONE(blanch_network_info(resumed, &info));
    EXPECT(info.steps == STEPS / 2);
    steps(resumed, STEPS / 2, STEPS, spoil);
    EXPECT(same_parameters(whole, resumed));
    blanch_network_free(resumed);
    struct blanch_network *other = create_small(device, norm, optimiser ? NULL : "adamw");
    REFUSED(BLANCH_EINPUT, blanch_network_load_state(other, path));
    REFUSED(BLANCH_EINPUT, blanch_network_load_state(other, in_folder("nothing")));
    struct blanch_network *fresh = create_small(device, norm, optimiser);
    EXPECT(same_parameters(other, fresh));
    blanch_network_free(fresh);
    blanch_network_free(other);
    blanch_network_free(whole);
}

/* What has a name and shape in common is taken, the rest stays. */
static void test_init(struct blanch_device *device) {
    struct blanch_network_options options = {.size = sizeof options, .model = "smallcnn", .batch = 2, .seed = 1};
    struct blanch_network *ten = NULL, *three = NULL, *fresh = NULL;
    struct blanch_network_info info = {.size = sizeof info};
    float values[2][3 * 64];
    int taken = -1;
    DONE(blanch_network_create(&ten, device, &options));
    DONE(blanch_network_save(ten, in_folder("ten.safetensors")));
    options.classes = 3, options.seed = 2;
    DONE(blanch_network_create(&three, device, &options));
    DONE(blanch_network_create(&fresh, device, &options));
    REFUSED(BLANCH_EINPUT, blanch_network_load(three, path));
    DONE(blanch_network_info(three, &info));
    DONE(blanch_network_init(three, path, &taken));
    EXPECT(taken == info.parameters - 2); // fc.weight and fc.bias
    const int conv = blanch_parameter_find(three, "conv1.weight"), fc = blanch_parameter_find(three, "fc.weight");
    DONE(blanch_parameter_read(ten, conv, values[0], 16 * 9));
    DONE(blanch_parameter_read(three, conv, values[1], 16 * 9));
    EXPECT(!memcmp(values[0], values[1], 16 * 9 * sizeof(float)));
    DONE(blanch_parameter_read(fresh, fc, values[0], 3 * 64));
    DONE(blanch_parameter_read(three, fc, values[1], 3 * 64));
    EXPECT(!memcmp(values[0], values[1], 3 * 64 * sizeof(float)));
    struct blanch_network *small = create_small(device, BLANCH_BN, NULL);
    REFUSED(BLANCH_EINPUT, blanch_network_init(small, path, &taken));
    EXPECT(taken == 0);
    REFUSED(BLANCH_EINPUT, blanch_network_init(small, in_folder("nothing.safetensors"), NULL));
    blanch_network_free(small);
    blanch_network_free(ten);
    blanch_network_free(three);
    blanch_network_free(fresh);
}

/* --- schedules ----------------------------------------------------------------------------------------- */

static void test_schedule(void) {
    struct blanch_schedule schedule = {.size = sizeof schedule, .lr = 0.8f, .steps = 100};
    const struct {
        const char *text;
        int64_t warmup, step;
        double lr;
    } rows[] = {{NULL, 0, 0, 0.8},
                {"cosine", 0, 50, 0.4},
                {"cosine", 20, 4, 0.2},
                {"cosine", 20, 60, 0.4},
                {"constant", 4, 0, 0.2},
                {"constant", 0, 99, 0.8},
                {"multistep", 0, 49, 0.8},
                {"multistep", 0, 50, 0.08},
                {"multistep", 0, 75, 0.008},
                {"multistep:3:0.5", 0, 29, 0.8},
                {"multistep:3:0.5", 0, 30, 0.4}};
    float lr;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        schedule.text = rows[i].text, schedule.warmup = rows[i].warmup, schedule.epoch_steps = 10;
        DONE(blanch_schedule_lr(&schedule, rows[i].step, &lr));
        EXPECT(fabs((double)lr - rows[i].lr) < 1e-6);
    }
    WRONG(blanch_schedule_lr(&schedule, -1, &lr));
    WRONG(blanch_schedule_lr(&schedule, 100, &lr));
    schedule.epoch_steps = 0; // of milestones
    WRONG(blanch_schedule_lr(&schedule, 1, &lr));
    schedule.text = "cosines";
    WRONG(blanch_schedule_lr(&schedule, 1, &lr));
    schedule.text = NULL, schedule.warmup = 100;
    WRONG(blanch_schedule_lr(&schedule, 1, &lr));
    schedule.warmup = 0, schedule.lr = NAN;
    WRONG(blanch_schedule_lr(&schedule, 1, &lr));
    schedule.lr = 1, schedule.steps = 0;
    WRONG(blanch_schedule_lr(&schedule, 0, &lr));
}

/* --- where the time goes ------------------------------------------------------------------------------- */

/* Rows add up to nearly the whole step; what is not asked for is not recorded. */
static void test_ledger(struct blanch_device *device) {
    const struct blanch_network_options options = {.size = sizeof options, .model = "smallcnn", .batch = BATCH};
    struct blanch_network *network = NULL;
    struct blanch_ledger ledger = {.size = sizeof ledger};
    double sum = 0;
    bool forward = false;
    DONE(blanch_network_create(&network, device, &options));
    for (int step = 0; step < 5; step++) {
        DONE(blanch_network_record(network, step == 2 || step == 3));
        DONE(blanch_network_step(network, images, labels, BATCH, NULL, NULL));
    }
    DONE(blanch_network_ledger(network, &ledger));
    EXPECT(ledger.steps == 2 && ledger.step_ms > 0 && ledger.min_ms <= ledger.step_ms);
    for (int row = 0; row < ledger.rows; row++) {
        struct blanch_ledger_row of = {.size = sizeof of};
        DONE(blanch_network_ledger_row(network, row, &of));
        for (int phase = 0; phase < BLANCH_PHASES; phase++) {
            EXPECT(of.ms[phase] == 0 || blanch_phase_name(phase));
            forward |= of.ms[phase] > 0 && !strcmp(blanch_phase_name(phase), "forward") && !strcmp(of.name, "conv2");
        }
        sum += of.total_ms;
    }
    EXPECT(forward && sum > 0.5 * ledger.min_ms && ledger.covered > 0.5);
    struct blanch_ledger_row of = {.size = sizeof of};
    WRONG(blanch_network_ledger_row(network, ledger.rows, &of));
    EXPECT(!blanch_phase_name(-1) && !blanch_phase_name(BLANCH_PHASES));
    blanch_network_free(network);
}

/* A budget that is met by refreshing less is held, and goes on from a saved state; what contradicts it is refused. */
static void test_budget(struct blanch_device *device) {
    struct blanch_nd_options nd = {.size = sizeof nd, .overhead_budget = 30, .eps = NAN, .momentum = NAN};
    struct blanch_network_options options = {
        .size = sizeof options, .model = "smallcnn", .norm = BLANCH_ND, .nd = &nd, .batch = BATCH, .seed = 3};
    struct blanch_network *network = NULL, *resumed = NULL;
    struct blanch_budget budget = {.size = sizeof budget}, again = {.size = sizeof again};
    struct blanch_budget_layer layer = {.size = sizeof layer};
    DONE(blanch_network_create(&network, device, &options));
    DONE(blanch_network_budget(network, &budget));
    EXPECT(budget.allowed == 30 && isnan(budget.held) && isnan(budget.least) && budget.layers == 5);
    DONE(blanch_network_budget_layer(network, 0, &layer));
    EXPECT(isnan(layer.interval) && !strcmp(layer.name, "conv1"));
    for (int step = 0; step < 20; step++) DONE(blanch_network_step(network, images, labels, BATCH, NULL, NULL));
    DONE(blanch_network_budget(network, &budget));
    EXPECT(isfinite(budget.held) && budget.least <= budget.held);
    DONE(blanch_network_budget_layer(network, budget.layers - 1, &layer));
    EXPECT(layer.interval >= 1);
    WRONG(blanch_network_budget_layer(network, budget.layers, &layer));
    DONE(blanch_network_save_state(network, in_folder("budget")));
    DONE(blanch_network_create(&resumed, device, &options));
    DONE(blanch_network_load_state(resumed, path));
    DONE(blanch_network_budget(resumed, &again));
    EXPECT(again.held == budget.held && again.least == budget.least);
    DONE(blanch_network_step(resumed, images, labels, BATCH, NULL, NULL));
    blanch_network_free(resumed);
    blanch_network_free(network);
    const struct {
        enum blanch_norm norm;
        float budget;
        int refresh;
    } refused[] = {{BLANCH_BN, 20, 0}, {BLANCH_ND, -1, 0}, {BLANCH_ND, NAN, 0}, {BLANCH_ND, 20, 5}};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        options.norm = refused[i].norm, nd.overhead_budget = refused[i].budget, nd.refresh = refused[i].refresh;
        WRONG(blanch_network_create(&network, device, &options));
        EXPECT(!network);
    }
}

/* --- stopping, and what the library has to say --------------------------------------------------------- */

static void test_stop(struct blanch_device *device) {
    struct blanch_network *network = create_small(device, BLANCH_BN, NULL), *none = NULL;
    struct blanch_network_info info = {.size = sizeof info};
    struct blanch_metrics metrics = {.size = sizeof metrics};
    struct blanch_data *data = NULL;
    float logits[SMALL * SMALL_CLASSES];
    const struct blanch_network_options options = {.size = sizeof options, .model = "smallcnn", .batch = 2};
    blanch_stop_request();
    EXPECT(blanch_stop_requested());
    REFUSED(BLANCH_EINTERRUPTED, blanch_network_step(network, small_images, small_labels, SMALL, NULL, NULL));
    REFUSED(BLANCH_EINTERRUPTED, blanch_network_predict(network, small_images, SMALL, logits));
    REFUSED(BLANCH_EINTERRUPTED, blanch_network_evaluate(network, small_images, small_labels, SMALL, &metrics));
    REFUSED(BLANCH_EINTERRUPTED, blanch_network_create(&none, device, &options));
    REFUSED(BLANCH_EINTERRUPTED, blanch_data_open(&data, "synthetic:1x8x8:4", 0));
    DONE(blanch_network_save_state(network, in_folder("stopped"))); // what ends in order is saved
    blanch_stop_clear();
    EXPECT(!blanch_stop_requested());
    DONE(blanch_network_info(network, &info));
    EXPECT(info.steps == 0 && !none && !data);
    DONE(blanch_network_step(network, small_images, small_labels, SMALL, NULL, NULL));
    blanch_network_free(network);
}

static void keep(void *context, const char *line) {
    EXPECT(is_line(line));
    snprintf(context, 1000, "%s", line);
}

static void test_log(void) {
    struct blanch_device *device = NULL;
    char said[1000] = "";
    blanch_log_set(keep, said);
    setenv("XDG_CACHE_HOME", "/dev/null/none", 1);
    DONE(blanch_device_open(&device, NULL, 0));
    EXPECT(strstr(said, "/dev/null/none"));
    blanch_log_set(NULL, NULL);
    blanch_device_close(device);
}

/* --- data ---------------------------------------------------------------------------------------------- */

static void test_data(void) {
    struct blanch_data *data = NULL;
    struct blanch_data_info info = {.size = sizeof info};
    struct blanch_view view = {.size = sizeof view};
    struct blanch_loader *loader[2] = {NULL}, *none = NULL;
    struct blanch_batch batch[2] = {{.size = sizeof *batch}, {.size = sizeof *batch}};
    WRONG(blanch_data_open(&data, "no-such-data", 0));
    EXPECT(!data);
    REFUSED(BLANCH_EINPUT, blanch_data_open(&data, "cifar10:/dev/null/none", 0));
    DONE(blanch_data_open(&data, "synthetic:3x16x16:5", 4));
    DONE(blanch_data_info(data, &info));
    EXPECT(!strcmp(info.name, "synthetic") && info.classes == 5 && info.channels == 3 && info.height == 16);
    EXPECT(info.images[BLANCH_TRAIN] > 0 && !info.images[BLANCH_VALIDATION] && info.judge == BLANCH_TEST);
    EXPECT(blanch_data_class(data, 4) && !blanch_data_class(data, 5) && !blanch_data_class(data, -1));
    DONE(blanch_data_view(data, 1, 24, 24, &view));
    WRONG(blanch_data_view(data, 17, 24, 24, &view));
    WRONG(blanch_data_view(data, 3, 24, 0, &view));
    EXPECT(view.channels == 1 && view.height == 24 && view.width == 24 && view.augment && view.deviation[0] > 0);

    struct blanch_loader_options options = {
        .size = sizeof options, .split = BLANCH_TRAIN, .batch = 100, .training = true, .seed = 9, .view = &view};
    DONE(blanch_loader_open(&loader[0], data, &options));
    options.epoch = 1, options.first = 3; // goes on where the first comes to
    DONE(blanch_loader_open(&loader[1], data, &options));
    blanch_data_close(data); // the loaders still need it
    const int64_t batches = blanch_loader_batches(loader[0]);
    EXPECT(batches == (info.images[BLANCH_TRAIN] + 99) / 100);
    for (int64_t i = 0; i < batches + 4; i++) DONE(blanch_loader_next(loader[0], &batch[0]));
    DONE(blanch_loader_next(loader[1], &batch[1]));
    EXPECT(batch[0].count == 100 && batch[0].epoch == 1 && batch[1].epoch == 1 && !batch[1].last);
    EXPECT(!memcmp(batch[0].images, batch[1].images, 100 * 24 * 24 * sizeof(float)));
    EXPECT(!memcmp(batch[0].labels, batch[1].labels, 100 * sizeof(int32_t)));
    for (int i = 0; i < 2; i++) blanch_loader_close(loader[i]);

    DONE(blanch_data_open(&data, "synthetic:3x16x16:5", 4));
    options = (struct blanch_loader_options){.size = sizeof options, .split = BLANCH_TEST, .batch = 100, .epochs = 1};
    DONE(blanch_loader_open(&loader[0], data, &options));
    int64_t count = 0;
    do {
        DONE(blanch_loader_next(loader[0], &batch[0]));
        count += batch[0].count;
    } while (batch[0].count);
    EXPECT(count == info.images[BLANCH_TEST] && !batch[0].images);
    blanch_loader_close(loader[0]);
    options.split = BLANCH_VALIDATION;
    WRONG(blanch_loader_open(&none, data, &options));
    options.split = BLANCH_TEST, options.batch = 0;
    WRONG(blanch_loader_open(&none, data, &options));
    options.batch = 100000, options.least = 100000;
    WRONG(blanch_loader_open(&none, data, &options));
    options.batch = 10, options.least = 0, options.view = &view, view.augment = "none at all";
    WRONG(blanch_loader_open(&none, data, &options));
    EXPECT(!none);
    blanch_data_close(data);
}

/* As --val-split, --split-file and --cache. */
static void test_data_options(void) {
    struct blanch_data *data = NULL;
    struct blanch_data_info info = {.size = sizeof info};
    struct blanch_data_options options = {.size = sizeof options, .seed = 4, .val_split = "25%"};
    const char *const spec = "synthetic:3x16x16:5";
    DONE(blanch_data_open_with(&data, spec, &options));
    DONE(blanch_data_info(data, &info));
    EXPECT(info.images[BLANCH_TRAIN] == 3 * info.images[BLANCH_VALIDATION] && info.judge == BLANCH_VALIDATION);
    blanch_data_close(data);
    FILE *file = fopen(in_folder("splits.txt"), "w");
    if (!file) return;
    fputs("train 0\ntrain 1\nval 7\n", file);
    fclose(file);
    options.split_file = path;
    WRONG(blanch_data_open_with(&data, spec, &options)); // both say which validate
    options.val_split = NULL;
    DONE(blanch_data_open_with(&data, spec, &options));
    DONE(blanch_data_info(data, &info));
    EXPECT(info.images[BLANCH_TRAIN] == 2 && info.images[BLANCH_VALIDATION] == 1 && !info.images[BLANCH_TEST]);
    blanch_data_close(data);
    options.split_file = in_folder("none.txt");
    REFUSED(BLANCH_EINPUT, blanch_data_open_with(&data, spec, &options));
    options.split_file = NULL, options.val_split = "much";
    WRONG(blanch_data_open_with(&data, spec, &options));
    options.val_split = NULL, options.cache = "/dev/null/none";
    REFUSED(BLANCH_EINPUT, blanch_data_open_with(&data, spec, &options));
    EXPECT(!data);
    WRONG(blanch_data_open_with(&data, spec, NULL));
}

/* Weights carry how their images were normalised, and the names of their classes. */
static void test_view(struct blanch_device *device) {
    struct blanch_network *first = create_small(device, BLANCH_BN, NULL),
                          *second = create_small(device, BLANCH_BN, NULL);
    struct blanch_view view = {.size = sizeof view}, found = {.size = sizeof found}, wrong;
    struct blanch_data *data = NULL;
    char spec[40];
    int taken;
    DONE(blanch_network_view(first, &found));
    EXPECT(!found.channels);
    snprintf(spec, sizeof spec, "synthetic:1x%dx%d:%d", SMALL, SMALL, SMALL_CLASSES);
    DONE(blanch_data_open(&data, spec, 0));
    DONE(blanch_data_view(data, 1, SMALL, SMALL, &view));
    DONE(blanch_view_normalise(&view, NULL, "mnist"));
    EXPECT(fabsf(view.mean[0] - 0.1307f) < 1e-4f);
    DONE(blanch_view_normalise(&view, data, "measured"));
    EXPECT(fabsf(view.mean[0] - 0.1307f) > 1e-2f);
    WRONG(blanch_view_normalise(&view, NULL, "measured"));
    WRONG(blanch_view_normalise(&view, data, "cifar"));
    wrong = view, wrong.height = SMALL - 1;
    WRONG(blanch_network_set_view(first, &wrong, data));
    DONE(blanch_network_set_view(first, &view, data));
    DONE(blanch_network_save(first, in_folder("viewed.safetensors")));
    DONE(blanch_network_init(second, path, &taken));
    DONE(blanch_network_view(second, &found));
    EXPECT(found.channels == 1 && found.mean[0] == view.mean[0] && found.deviation[0] == view.deviation[0]);
    EXPECT(!strcmp(found.augment, view.augment));
    DONE(blanch_network_save(second, in_folder("again.safetensors"))); // and are handed on
    FILE *file = fopen(path, "rb");
    char text[4000] = "";
    if (file) EXPECT(fread(text, 1, sizeof text - 1, file) > 8), fclose(file);
    EXPECT(strstr(text + 8, "class 1") && strstr(text + 8, "deviation"));
    WRONG(blanch_network_view(NULL, &found));
    WRONG(blanch_network_set_view(first, NULL, NULL));
    blanch_data_close(data);
    blanch_network_free(first), blanch_network_free(second);
}

/* Grey 2 x 2, as the file has it: rows from the top. */
static void test_image(void) {
    const struct blanch_view view = {
        .size = sizeof view, .channels = 3, .height = 2, .width = 2, .deviation = {1, 1, 0.5f}};
    float image[3 * 2 * 2];
    FILE *file = fopen(in_folder("four.pgm"), "w");
    if (!file) return;
    fputs("P2 2 2 255\n0 51\n102 255\n", file);
    fclose(file);
    DONE(blanch_image_read(path, &view, image));
    EXPECT(image[0] == 0 && fabsf(image[1] - 0.2f) < 1e-6f && fabsf(image[2] - 0.4f) < 1e-6f && image[3] == 1);
    EXPECT(image[7] == 1 && image[11] == 2);
    REFUSED(BLANCH_EINPUT, blanch_image_read(in_folder("none.pgm"), &view, image));
    WRONG(blanch_image_read(path, NULL, image));
}

/* --- NULL ---------------------------------------------------------------------------------------------- */

static void test_null(struct blanch_device *device) {
    struct blanch_network *network = create_small(device, BLANCH_BN, NULL), *none = NULL;
    struct blanch_network_options options = {.size = sizeof options, .model = "smallcnn", .batch = 2};
    struct blanch_device_info **infos;
    float value;
    int64_t number;
    int count;
    WRONG(blanch_devices_list(NULL, &count));
    WRONG(blanch_devices_list(&infos, NULL));
    WRONG(blanch_device_open(NULL, NULL, 0));
    WRONG(blanch_device_tune(NULL, 1));
    WRONG(blanch_device_tune(device, -1));
    WRONG(blanch_device_tune(device, NAN));
    EXPECT(!blanch_device_info(NULL));
    WRONG(blanch_model_find(NULL, "smallcnn"));
    WRONG(blanch_model_find((struct blanch_model **)&none, NULL));
    WRONG(blanch_model_from_json(NULL, "{}", 2));
    WRONG(blanch_model_from_onnx(NULL, "x.onnx"));
    WRONG(blanch_model_define(NULL, NULL));
    WRONG(blanch_model_info(NULL, NULL));
    WRONG(blanch_model_json(NULL, BLANCH_BN, NULL));
    WRONG(blanch_network_create(NULL, device, &options));
    WRONG(blanch_network_create(&none, NULL, &options));
    WRONG(blanch_network_create(&none, device, NULL));
    WRONG(blanch_network_info(NULL, NULL));
    WRONG(blanch_network_info(network, NULL));
    WRONG(blanch_network_load(network, NULL));
    WRONG(blanch_network_save(NULL, "x"));
    WRONG(blanch_network_export(NULL, "x.onnx"));
    WRONG(blanch_network_export(network, NULL));
    WRONG(blanch_network_export(network, "x.pt"));
    WRONG(blanch_network_export_encoder(NULL, "x.onnx"));
    WRONG(blanch_network_export_encoder(network, "x.safetensors")); // it has none
    WRONG(blanch_network_init(network, NULL, NULL));
    WRONG(blanch_network_save_state(network, NULL));
    WRONG(blanch_network_load_state(NULL, "x"));
    WRONG(blanch_parameter_find(network, NULL));
    WRONG(blanch_parameter_info(network, 0, NULL));
    WRONG(blanch_parameter_read(network, 0, NULL, 72));
    WRONG(blanch_parameter_write(NULL, 0, &value, 1));
    WRONG(blanch_counter_read(NULL, 0, &number));
    WRONG(blanch_counter_write(NULL, 0, 1));
    WRONG(blanch_update_defaults(NULL, NULL));
    WRONG(blanch_schedule_lr(NULL, 0, &value));
    WRONG(blanch_network_step(NULL, small_images, small_labels, 1, NULL, NULL));
    WRONG(blanch_network_predict(network, small_images, 1, NULL));
    WRONG(blanch_network_predict(network, NULL, 1, &value));
    WRONG(blanch_network_evaluate(network, small_images, NULL, 1, NULL));
    WRONG(blanch_network_layer(network, 0, NULL));
    WRONG(blanch_network_record(NULL, true));
    WRONG(blanch_network_ledger(network, NULL));
    WRONG(blanch_network_ledger_row(NULL, 0, NULL));
    WRONG(blanch_network_budget(network, NULL));
    WRONG(blanch_network_budget_layer(network, 0, NULL)); // without a budget, too
    WRONG(blanch_data_open(NULL, "synthetic:1x8x8:4", 0));
    WRONG(blanch_data_info(NULL, NULL));
    WRONG(blanch_data_view(NULL, 1, 8, 8, NULL));
    WRONG(blanch_loader_open(NULL, NULL, NULL));
    WRONG(blanch_loader_next(NULL, NULL));
    EXPECT(blanch_loader_batches(NULL) == BLANCH_EUSAGE && !blanch_data_message(NULL) && !blanch_data_class(NULL, 0));
    blanch_network_free(network);
    blanch_network_free(NULL), blanch_device_close(NULL), blanch_data_close(NULL), blanch_loader_close(NULL);
    blanch_free(NULL);
}

/* A device that is closed lives as long as its network. */
static void test_order(void) {
    struct blanch_device *device = NULL;
    DONE(blanch_device_open(&device, NULL, 0));
    struct blanch_network *network = create_small(device, BLANCH_ND, NULL);
    blanch_device_close(device);
    steps(network, 0, 2, false);
    blanch_network_free(network);
}

int main(int argc, char **argv) {
    struct blanch_device *device = NULL;
    snprintf(folder, sizeof folder, "%s", argc > 1 ? argv[1] : "api-runs");
    mkdir(folder, 0755);
    draw(images, labels, BATCH);
    for (int i = 0; i < SMALL; i++) small_labels[i] = i % SMALL_CLASSES;
    test_schedule();
    test_data();
    test_data_options();
    test_image();
    if (blanch_device_open(&device, NULL, 0)) return skip();
    test_state(device, BLANCH_BN, NULL);
    test_state(device, BLANCH_ND, NULL);
    test_state(device, BLANCH_ND, "adamw");
    test_state(device, BLANCH_NONE, "adamw");
    test_init(device);
    test_view(device);
    test_ledger(device);
    test_budget(device);
    test_stop(device);
    test_null(device);
    test_order();
    test_log();
    blanch_device_close(device);
    return failures != 0;
}
