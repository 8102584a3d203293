/* A program that uses the public header alone, as a program would and as none should: networks learn, what is read of
 * them is what was written, structs grow, and whatever a call is not to be given is refused with one line. api_runs.c
 * has the rest. Exit status 77 (skipped) without a device. */
#include "api.h"

enum { STEPS = 25, MANY = 80 };

static float images[MANY * SIDE * SIDE], logits[2][MANY * CLASSES];
static int32_t labels[MANY];

/* --- a program's own network ----------------------------------------------------------------------- */

enum { TINY = 8, TINY_CLASSES = 4 };
struct tiny {
    enum { WELL, NOTHING, SMALLER, EARLIER, TWICE, UNNAMED, DEAD, FOREIGN } kind;
    int defined, released;
    struct blanch_tensor *kept; // of another network
};

static struct blanch_tensor *define_tiny(struct blanch_builder *b, struct blanch_tensor *x, void *context) {
    struct tiny *tiny = context;
    struct blanch_conv_spec conv = {.out = 8, .kernel = 3, .padding = 1};
    tiny->defined++;
    if (tiny->kind == NOTHING) return NULL;
    if (tiny->kind == FOREIGN && tiny->kept) x = blanch_add(b, x, tiny->kept);
    tiny->kept = x;
    x = blanch_batchnorm2d(b, "bn", blanch_conv2d(b, tiny->kind == UNNAMED ? NULL : "conv", x, conv));
    if (tiny->kind == TWICE) x = blanch_conv2d(b, "conv", x, conv);
    if (tiny->kind == DEAD) blanch_linear(b, "dead", blanch_flatten(b, x), 3);
    x = blanch_dropout(b, blanch_global_avgpool2d(b, blanch_relu(b, x)), 0.2f);
    struct blanch_tensor *y = blanch_linear(b, "fc", blanch_flatten(b, x), TINY_CLASSES - (tiny->kind == SMALLER));
    if (tiny->kind == EARLIER) blanch_relu(b, y);
    return y;
}

static void release_tiny(void *context) {
    ((struct tiny *)context)->released++;
}

static struct blanch_definition definition_of(struct tiny *tiny) {
    return (struct blanch_definition){.size = sizeof(struct blanch_definition),
                                      .name = "tiny",
                                      .classes = TINY_CLASSES,
                                      .channels = 3,
                                      .height = TINY,
                                      .width = TINY + 2,
                                      .define = define_tiny,
                                      .context = tiny,
                                      .release = release_tiny};
}

static float tiny_images[TINY_CLASSES * 3 * TINY * (TINY + 2)];
static int32_t tiny_labels[TINY_CLASSES] = {0, 1, 2, 3};

static struct blanch_network *create_tiny(struct blanch_device *device, const struct blanch_model *model,
                                          enum blanch_norm norm, const char *optimiser) {
    const struct blanch_network_options options = {.size = sizeof options,
                                                   .definition = model,
                                                   .norm = norm,
                                                   .batch = TINY_CLASSES,
                                                   .seed = 7,
                                                   .optimiser = optimiser};
    struct blanch_network *network = NULL;
    DONE(blanch_network_create(&network, device, &options));
    return network;
}

/* Definitions that are none, references, and JSON. */
static void test_models(struct blanch_device *device) {
    struct tiny tiny = {.kind = WELL};
    struct blanch_definition definition = definition_of(&tiny);
    struct blanch_model *model = NULL;
    struct blanch_network *network = NULL;
    struct blanch_model_info info = {.size = sizeof info};
    definition.define = NULL;
    WRONG(blanch_model_define(&model, &definition));
    definition = definition_of(&tiny), definition.name = NULL;
    WRONG(blanch_model_define(&model, &definition));
    definition = definition_of(&tiny), definition.classes = 0;
    WRONG(blanch_model_define(&model, &definition));
    definition = definition_of(&tiny), definition.size = 4;
    WRONG(blanch_model_define(&model, &definition));
    definition = definition_of(&tiny);
    EXPECT(!model && !tiny.released);

    DONE(blanch_model_define(&model, &definition));
    DONE(blanch_model_info(model, &info));
    EXPECT(!strcmp(info.name, "tiny") && info.classes == TINY_CLASSES && info.height == TINY && info.width == TINY + 2);
    struct blanch_network_options options = {.size = sizeof options, .definition = model, .batch = 2};
    for (tiny.kind = NOTHING; tiny.kind <= FOREIGN; tiny.kind++) {
        tiny.kept = NULL;
        if (tiny.kind == FOREIGN) { // the first network is well, and hands a tensor to the second
            DONE(blanch_network_create(&network, device, &options));
            struct blanch_network *second = NULL;
            EXPECT(blanch_network_create(&second, device, &options) && is_line(blanch_error_message()));
            blanch_network_free(network), network = NULL;
        } else
            EXPECT(blanch_network_create(&network, device, &options) && is_line(blanch_error_message()));
        EXPECT(!network);
    }
    tiny.kind = WELL;
    options.model = "smallcnn"; // both
    WRONG(blanch_network_create(&network, device, &options));
    options.model = NULL, options.definition = NULL; // neither
    WRONG(blanch_network_create(&network, device, &options));
    network = create_tiny(device, model, BLANCH_BN, NULL);
    blanch_model_free(model);
    DONE(blanch_network_step(network, tiny_images, tiny_labels, TINY_CLASSES, NULL, NULL));
    EXPECT(!tiny.released); // the network still needs it
    blanch_network_free(network);
    EXPECT(tiny.released == 1);
    WRONG(blanch_model_find(&model, "smallcn"));
    EXPECT(strstr(blanch_error_message(), "smallcn") && !model);
    REFUSED(BLANCH_EINPUT, blanch_model_from_json(&model, "{]", 2));
    REFUSED(BLANCH_EINPUT, blanch_model_find(&model, "no-such-file.json"));
    WRONG(blanch_model_find(&model, ""));
    blanch_model_free(NULL);
}

/* A built-in network, written as JSON and read again, is the same network. */
static void test_json(struct blanch_device *device) {
    struct blanch_model *model = NULL, *again = NULL;
    struct blanch_network *network[2] = {NULL};
    char *text = NULL;
    DONE(blanch_model_find(&model, "smallcnn"));
    WRONG(blanch_model_json(model, (enum blanch_norm)9, &text));
    DONE(blanch_model_json(model, BLANCH_BN, &text));
    if (!text) return;
    DONE(blanch_model_from_json(&again, text, strlen(text)));
    blanch_free(text);
    for (int i = 0; i < 2; i++) {
        const struct blanch_network_options options = {
            .size = sizeof options, .definition = i ? again : model, .norm = BLANCH_ND, .batch = BATCH, .seed = 3};
        DONE(blanch_network_create(&network[i], device, &options));
        DONE(blanch_network_step(network[i], images, labels, BATCH, NULL, NULL));
    }
    EXPECT(same_parameters(network[0], network[1]));
    for (int i = 0; i < 2; i++) blanch_network_free(network[i]);
    blanch_model_free(model);
    blanch_model_free(again);
}

/* --- structs that grow ------------------------------------------------------------------------------ */

static void test_sizes(struct blanch_device *device) {
    struct {
        struct blanch_network_options known;
        char later[64];
    } options = {.known = {.size = sizeof options, .model = "smallcnn", .batch = 2}};
    struct blanch_network *network = NULL;
    DONE(blanch_network_create(&network, device, &options.known)); // of a later header, what is new left zero
    options.later[9] = 1;
    struct blanch_network *none = NULL;
    WRONG(blanch_network_create(&none, device, &options.known));
    options.known.size = offsetof(struct blanch_network_options, precision); // of an earlier one
    options.known.precision = (enum blanch_precision)77;
    DONE(blanch_network_create(&none, device, &options.known));
    blanch_network_free(none), none = NULL;
    const size_t sizes[] = {0, 1, sizeof(size_t) - 1, 1 << 20, (size_t)-1};
    for (int i = 0; i < 5; i++) {
        options.known.size = sizes[i];
        WRONG(blanch_network_create(&none, device, &options.known));
    }
    struct {
        struct blanch_network_info known;
        char later[64];
    } info;
    memset(&info, 7, sizeof info);
    info.known.size = sizeof info;
    DONE(blanch_network_info(network, &info.known));
    EXPECT(info.known.size == sizeof info && !info.later[0] && !info.later[63]);
    memset(&info, 7, sizeof info);
    info.known.size = offsetof(struct blanch_network_info, classes);
    DONE(blanch_network_info(network, &info.known));
    EXPECT(!strcmp(info.known.model, "smallcnn") && info.known.classes == 0x07070707);
    info.known.size = 0;
    WRONG(blanch_network_info(network, &info.known));
    blanch_network_free(network);
}

/* --- getters ---------------------------------------------------------------------------------------- */

static void test_parameters(struct blanch_device *device) {
    const struct blanch_network_options options = {.size = sizeof options, .model = "smallcnn", .batch = 2};
    struct blanch_network *network = NULL;
    struct blanch_network_info info = {.size = sizeof info};
    struct blanch_parameter_info of = {.size = sizeof of};
    struct blanch_layer layer = {.size = sizeof layer};
    int64_t trainable = 0, number = 0;
    float values[CLASSES], back[CLASSES];
    DONE(blanch_network_create(&network, device, &options));
    DONE(blanch_network_info(network, &info));
    EXPECT(info.classes == CLASSES && info.channels == 1 && info.height == SIDE && info.width == SIDE);
    EXPECT(info.batch == 2 && info.norm == BLANCH_BN && !info.inference && info.steps == 0 && info.device_bytes > 0);
    EXPECT(!strcmp(info.optimiser, "sgd") && info.least_batch == 1 && info.multiply_adds > 1e6);
    for (int i = 0; i < info.parameters; i++) {
        DONE(blanch_parameter_info(network, i, &of));
        EXPECT(blanch_parameter_find(network, of.name) == i);
        if (of.trainable) trainable += of.count;
    }
    EXPECT(trainable == info.trainable);
    WRONG(blanch_parameter_info(network, info.parameters, &of));
    WRONG(blanch_parameter_info(network, -1, &of));
    WRONG(blanch_parameter_find(network, "fc.weights"));
    int bias = blanch_parameter_find(network, "fc.bias"),
        count = blanch_parameter_find(network, "bn1.num_batches_tracked");
    DONE(blanch_parameter_info(network, bias, &of));
    EXPECT(of.dims == 1 && of.shape[0] == CLASSES && of.count == CLASSES && of.trainable && !of.counter);
    for (int i = 0; i < CLASSES; i++) values[i] = (float)i / 3;
    DONE(blanch_parameter_write(network, bias, values, CLASSES));
    DONE(blanch_parameter_read(network, bias, back, CLASSES));
    EXPECT(!memcmp(values, back, sizeof values));
    WRONG(blanch_parameter_read(network, bias, back, CLASSES - 1));
    WRONG(blanch_parameter_write(network, bias, values, CLASSES + 1));
    WRONG(blanch_parameter_write(network, bias, values, -1));
    values[3] = NAN;
    REFUSED(BLANCH_EINPUT, blanch_parameter_write(network, bias, values, CLASSES));
    DONE(blanch_parameter_read(network, bias, values, CLASSES));
    EXPECT(!memcmp(values, back, sizeof values)); // nothing was written
    DONE(blanch_counter_write(network, count, 41));
    DONE(blanch_network_step(network, images, labels, 2, NULL, NULL));
    DONE(blanch_counter_read(network, count, &number));
    DONE(blanch_parameter_read(network, count, back, 1));
    EXPECT(number == 42 && back[0] == 42);
    WRONG(blanch_counter_write(network, count, -1));
    WRONG(blanch_counter_read(network, bias, &number));
    *back = 0.5f;
    WRONG(blanch_parameter_write(network, count, back, 1));
    DONE(blanch_network_layer(network, 0, &layer));
    EXPECT(!strcmp(layer.name, "conv1") && !strcmp(layer.op, "conv2d") && layer.engine[0] && layer.engine[2]);
    EXPECT(layer.channels == 16 && layer.height == SIDE && layer.width == SIDE && layer.multiply_adds > 0);
    WRONG(blanch_network_layer(network, info.layers, &layer));
    blanch_network_free(network);
}

/* What is written has its effect: the next prediction is of it. */
static void test_writing(struct blanch_network *network) {
    const float bias[CLASSES] = {[6] = 1000};
    float before[CLASSES];
    int index = blanch_parameter_find(network, "fc.bias");
    DONE(blanch_parameter_read(network, index, before, CLASSES));
    DONE(blanch_parameter_write(network, index, bias, CLASSES));
    DONE(blanch_network_predict(network, images, 1, logits[0]));
    EXPECT(logits[0][6] > 900);
    DONE(blanch_parameter_write(network, index, before, CLASSES));
}

/* --- training --------------------------------------------------------------------------------------- */

static void train(struct blanch_network *network, const char *optimiser) {
    struct blanch_update update = {.size = sizeof update};
    struct blanch_metrics first = {.size = sizeof first}, last = {.size = sizeof last};
    DONE(blanch_update_defaults(optimiser, &update));
    update.lr = optimiser ? 2e-3f : 0.05f, update.weight_decay = 1e-4f;
    for (int step = 0; step < STEPS; step++)
        DONE(blanch_network_step(network, images, labels, BATCH, &update, step ? &last : &first));
    printf("loss %.3f, then %.3f\n", first.loss, last.loss);
    EXPECT(last.loss < 0.5 * first.loss && last.count == BATCH);
}

/* Any number of images is as so many one by one; evaluation is what the logits say. */
static void test_any_number(struct blanch_network *network) {
    struct blanch_metrics metrics = {.size = sizeof metrics};
    double loss = 0;
    int right = 0;
    DONE(blanch_network_predict(network, images, MANY, logits[0]));
    for (int i = 0; i < MANY; i++) {
        const float *of = logits[0] + i * CLASSES;
        double sum = 0;
        bool best = true;
        DONE(blanch_network_predict(network, images + i * SIDE * SIDE, 1, logits[1] + i * CLASSES));
        for (int c = 0; c < CLASSES; c++) sum += exp((double)(of[c] - of[labels[i]])), best &= of[c] <= of[labels[i]];
        loss += log(sum) / MANY, right += best;
    }
    for (int i = 0; i < MANY * CLASSES; i++) EXPECT(fabsf(logits[0][i] - logits[1][i]) < 1e-4f);
    DONE(blanch_network_evaluate(network, images, labels, MANY, &metrics));
    EXPECT(metrics.count == MANY && metrics.top1 == right && fabs(metrics.loss - loss) < 1e-4 * (1 + loss));
    WRONG(blanch_network_predict(network, images, 0, logits[0]));
    WRONG(blanch_network_evaluate(network, images, labels, -1, &metrics));
    WRONG(blanch_network_evaluate(network, images, labels, MANY, NULL));
    labels[MANY - 1] = CLASSES;
    REFUSED(BLANCH_EINPUT, blanch_network_evaluate(network, images, labels, MANY, &metrics));
    labels[MANY - 1] = (MANY - 1) % CLASSES;
}

static void test_learning(struct blanch_device *device, const char *file, enum blanch_norm norm,
                          const char *optimiser) {
    struct blanch_network_options options = {
        .size = sizeof options, .model = "smallcnn", .norm = norm, .batch = BATCH, .seed = 3, .optimiser = optimiser};
    struct blanch_network *trained = NULL, *loaded = NULL;
    struct blanch_metrics metrics = {.size = sizeof metrics};
    DONE(blanch_network_create(&trained, device, &options));
    train(trained, optimiser);
    test_any_number(trained);
    test_writing(trained);
    DONE(blanch_network_predict(trained, images, MANY, logits[0]));
    DONE(blanch_network_save(trained, file));
    options.inference = true, options.seed = 4;
    DONE(blanch_network_create(&loaded, device, &options));
    DONE(blanch_network_load(loaded, file));
    DONE(blanch_network_predict(loaded, images, MANY, logits[1]));
    for (int i = 0; i < MANY * CLASSES; i++)
        EXPECT(fabsf(logits[0][i] - logits[1][i]) < 1e-3f); // batch norm is part of weights in an inference
    test_any_number(loaded);
    WRONG(blanch_network_step(loaded, images, labels, 1, NULL, &metrics));
    WRONG(blanch_network_save_state(loaded, "api-test-state"));
    WRONG(blanch_network_load_state(loaded, "api-test-state"));
    WRONG(blanch_network_record(loaded, true));
    blanch_network_free(trained);
    blanch_network_free(loaded);
    remove(file);
}

/* What a step cannot be made with is refused, and the network goes on. */
static void test_refused_steps(struct blanch_device *device) {
    struct blanch_network_options options = {
        .size = sizeof options, .model = "smallcnn", .batch = BATCH, .seed = 3, .optimiser = "adam"};
    struct blanch_network *network = NULL;
    struct blanch_network_info info = {.size = sizeof info};
    struct blanch_update update = {.size = sizeof update};
    struct blanch_metrics metrics = {.size = sizeof metrics}, none = {.size = 3};
    WRONG(blanch_network_create(&network, device, &options));
    WRONG(blanch_update_defaults("adam", &update));
    options.optimiser = "adamw";
    DONE(blanch_network_create(&network, device, &options));
    DONE(blanch_update_defaults(NULL, &update)); // SGD's, whose momentum AdamW has no use for
    WRONG(blanch_network_step(network, images, labels, BATCH, &update, &metrics));
    DONE(blanch_update_defaults("adamw", &update));
    WRONG(blanch_network_step(network, images, labels, BATCH + 1, &update, &metrics));
    WRONG(blanch_network_step(network, images, labels, 0, &update, &metrics));
    WRONG(blanch_network_step(network, images, labels, -7, &update, &metrics));
    WRONG(blanch_network_step(network, images, NULL, BATCH, &update, &metrics));
    WRONG(blanch_network_step(network, images, labels, BATCH, &update, &none));
    update.size = 0;
    WRONG(blanch_network_step(network, images, labels, BATCH, &update, &metrics));
    labels[1] = -1;
    REFUSED(BLANCH_EINPUT, blanch_network_step(network, images, labels, BATCH, NULL, &metrics));
    labels[1] = 1;
    DONE(blanch_network_info(network, &info));
    EXPECT(info.steps == 0);
    DONE(blanch_network_step(network, images, labels, BATCH, NULL, &metrics));
    blanch_network_free(network);
    const struct {
        struct blanch_network_options options;
    } wrong[] = {{{.batch = 0}},         {{.batch = -1}},
                 {{.classes = -1}},      {{.height = -5}},
                 {{.height = 1}},        {{.channels = -3}},
                 {{.recompute = 99999}}, {{.norm = (enum blanch_norm)17}},
                 {{.recompute = -9}},    {{.precision = (enum blanch_precision)9}},
                 {{.model = "FILE"}}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        options = wrong[i].options, options.size = sizeof options;
        if (!options.model) options.model = "smallcnn";
        if (wrong[i].options.batch == 0 && i) options.batch = 2;
        EXPECT(blanch_network_create(&network, device, &options) && is_line(blanch_error_message()) && !network);
    }
    const struct blanch_nd_options wrong_nd[] = {{.block = -5},          {.iterations = 65}, {.sampling_stride = -1},
                                                 {.whiten = 4},          {.freeze = 2},      {.cov_samples = -2000000},
                                                 {.block_fc = -7},       {.refresh = -5},    {.constant_gradient = 2},
                                                 {.channel_deconv = -3}, {.layers = 1},      {.layers = -1},
                                                 {.eps = INFINITY},      {.momentum = -1}};
    for (size_t i = 0; i < sizeof wrong_nd / sizeof *wrong_nd; i++) {
        struct blanch_nd_options nd = wrong_nd[i];
        nd.size = sizeof nd;
        options = (struct blanch_network_options){
            .size = sizeof options, .model = "smallcnn", .norm = BLANCH_ND, .nd = &nd, .batch = 2};
        WRONG(blanch_network_create(&network, device, &options));
    }
}

/* --- networks of other tasks ------------------------------------------------------------------------- */

static struct blanch_tensor *define_labelling(struct blanch_builder *b, struct blanch_tensor *x, void *context) {
    const struct blanch_conv_spec conv = {.out = *(const int *)context, .kernel = 3, .padding = 1};
    x = blanch_relu(b, blanch_conv2d(b, "conv", x, conv));
    return blanch_conv2d(b, "head", x, (struct blanch_conv_spec){.out = blanch_classes(b), .kernel = 1});
}

/* A pixel's class is whether it is of the bar. */
static void test_labelled_pixels(struct blanch_device *device) {
    static int32_t masks[BATCH * SIDE * SIDE];
    int width = 8;
    const struct blanch_definition definition = {.size = sizeof definition,
                                                 .name = "labelling",
                                                 .classes = 2,
                                                 .channels = 1,
                                                 .height = SIDE,
                                                 .width = SIDE,
                                                 .define = define_labelling,
                                                 .context = &width};
    struct blanch_update update = {.size = sizeof update};
    struct blanch_metrics metrics = {.size = sizeof metrics};
    struct blanch_model *model;
    struct blanch_network *network;
    for (int i = 0; i < BATCH * SIDE * SIDE; i++) masks[i] = images[i] > 1;
    DONE(blanch_model_define(&model, &definition));
    const struct blanch_network_options options = {
        .size = sizeof options, .definition = model, .batch = BATCH, .seed = 3};
    DONE(blanch_network_create(&network, device, &options));
    blanch_model_free(model);
    EXPECT(blanch_network_labels_pixels(network) && !blanch_network_generates(network));
    DONE(blanch_update_defaults("sgd", &update));
    update.lr = 0.5f;
    for (int i = 0; i < STEPS; i++) DONE(blanch_network_step(network, images, masks, BATCH, &update, NULL));
    DONE(blanch_network_evaluate(network, images, masks, BATCH, &metrics));
    EXPECT(metrics.mean_iou > 90);
    blanch_network_free(network);
}

static void test_generating(struct blanch_device *device) {
    enum { MADE = 5 };
    static float pixels[BATCH * SIDE * SIDE], made[2][MADE * SIDE * SIDE];
    struct blanch_sample_options sample = {.size = sizeof sample, .seed = 7};
    struct blanch_metrics first = {.size = sizeof first}, last = {.size = sizeof last};
    struct blanch_view view = {.size = sizeof view};
    struct blanch_network *network;
    struct blanch_network_options options = {
        .size = sizeof options, .model = "vae", .batch = BATCH, .optimiser = "adamw", .seed = 3};
    for (int i = 0; i < BATCH * SIDE * SIDE; i++) pixels[i] = images[i] > 1;
    DONE(blanch_network_create(&network, device, &options));
    EXPECT(blanch_network_generates(network) && !blanch_network_told_classes(network));
    DONE(blanch_network_view(network, &view));
    EXPECT(view.channels == 1 && view.mean[0] == 0 && view.deviation[0] == 1);
    DONE(blanch_network_evaluate(network, pixels, NULL, BATCH, &first));
    for (int i = 0; i < STEPS; i++)
        DONE(blanch_network_step(network, pixels, i % 2 ? labels : NULL, BATCH, NULL, NULL));
    DONE(blanch_network_evaluate(network, pixels, NULL, BATCH, &last));
    EXPECT(last.loss < first.loss && last.count == BATCH);
    DONE(blanch_network_sample(network, &sample, MADE, made[0]));
    for (int i = 0; i < MADE * SIDE * SIDE; i++) EXPECT(made[0][i] >= 0 && made[0][i] <= 1);
    sample.first = 3;
    DONE(blanch_network_sample(network, &sample, MADE - 3, made[1]));
    for (int i = 0; i < (MADE - 3) * SIDE * SIDE; i++) EXPECT(fabsf(made[1][i] - made[0][3 * SIDE * SIDE + i]) < 1e-5f);
    sample.labels = labels; // it is told none
    WRONG(blanch_network_sample(network, &sample, MADE, made[1]));
    WRONG(blanch_network_sample(network, NULL, 0, made[1]));
    WRONG(blanch_network_sample(network, NULL, 1, NULL));
    WRONG(blanch_network_predict(network, pixels, BATCH, logits[0]));
    blanch_network_free(network);
    options.model = "smallcnn";
    DONE(blanch_network_create(&network, device, &options));
    EXPECT(!blanch_network_generates(network) && blanch_network_told_classes(network));
    WRONG(blanch_network_sample(network, NULL, 1, made[1]));
    blanch_network_free(network);
}

/* --- ranks ---------------------------------------------------------------------------------------- */

/* A rank alone, by functions that do not say why they fail. context: spreads that succeed, calls of give_up. */
static int gather(void *context, const void *own, size_t bytes, void *all) {
    (void)context, (void)own, (void)bytes, (void)all;
    return BLANCH_EDEVICE;
}
static int exchange(void *context, const void *from, size_t bytes, void *to) {
    (void)context, (void)from, (void)bytes, (void)to;
    return BLANCH_EDEVICE;
}
static int spread(void *context, void *values, size_t bytes, int root) {
    (void)values, (void)bytes, (void)root;
    return (*(int *)context)-- > 0 ? 0 : BLANCH_EDEVICE;
}
static void give_up(void *context, int code) {
    (void)code;
    ((int *)context)[1]++;
}

/* Its network makes no step alone, and the other ranks were told once. */
static void test_a_failed_join(struct blanch_device *device) {
    const struct blanch_network_options options = {.size = sizeof options, .model = "smallcnn", .batch = BATCH};
    struct blanch_network *network = NULL;
    int counts[2] = {1, 0};
    const struct blanch_collectives all = {sizeof all, 0, 2, counts, gather, exchange, spread, NULL, give_up};
    DONE(blanch_network_create(&network, device, &options));
    EXPECT(blanch_network_join(network, &all, true) == BLANCH_EDEVICE);
    EXPECT(!strcmp(blanch_error_message(), "the table of collectives failed in spread"));
    for (int i = 0; i < 2; i++) {
        EXPECT(blanch_network_step(network, images, labels, BATCH, NULL, NULL) == BLANCH_EDEVICE);
        EXPECT(strstr(blanch_error_message(), "an earlier step or join has failed: the table"));
    }
    EXPECT(counts[1] == 1);
    EXPECT(blanch_network_join(network, &all, true) == BLANCH_EUSAGE);
    blanch_network_free(network);
}

int main(int argc, char **argv) {
    struct blanch_device *device = NULL;
    const char *file = argc > 1 ? argv[1] : "api-test.safetensors";
    draw(images, labels, MANY);
    EXPECT(!strcmp(blanch_version(), BLANCH_VERSION));
    if (blanch_device_open(&device, NULL, 0)) return skip();
    test_models(device);
    test_json(device);
    test_sizes(device);
    test_parameters(device);
    test_learning(device, file, BLANCH_BN, NULL);
    test_learning(device, file, BLANCH_ND, NULL);
    test_learning(device, file, BLANCH_ND, "adamw");
    test_refused_steps(device);
    test_labelled_pixels(device);
    test_generating(device);
    test_a_failed_join(device);
    blanch_device_close(device);
    return failures != 0;
}
