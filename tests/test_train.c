/* Training: schedules, checkpoints, resuming, refusal of files that do not fit. Networks are small, data synthetic. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "training.h"
#include "io/files.h"
#include "io/safetensors.h"
#include "ops/nd/schedule.h"
#include <string.h>

/* --- schedules ------------------------------------------------------------------------------ */

static float rate(const char *text, int64_t step, int64_t steps, int64_t epoch_steps) {
    struct bl_schedule schedule = {.lr = 0.1f, .steps = steps, .epoch_steps = epoch_steps};
    assert_int_equal(bl_schedule_parse(&schedule, text), 0);
    return bl_schedule_lr(&schedule, step);
}

static float warm_rate(const char *text, int64_t step) {
    struct bl_schedule schedule = {.lr = 0.1f, .steps = 100, .epoch_steps = 10, .warmup = 20};
    assert_int_equal(bl_schedule_parse(&schedule, text), 0);
    return bl_schedule_lr(&schedule, step);
}

/* torch.optim.lr_scheduler.LinearLR(start_factor=1/20, total_iters=19), then CosineAnnealingLR(T_max=80). */
static void test_warm_up(void **state) {
    struct bl_schedule whole = {.steps = 100, .warmup = 100}, shorter = {.steps = 100, .warmup = 99};
    assert_float_equal(warm_rate("cosine", 0), 0.005f, 1e-8f);
    assert_float_equal(warm_rate("cosine", 9), 0.05f, 1e-8f);
    assert_float_equal(warm_rate("cosine", 20), 0.1f, 1e-8f);
    assert_float_equal(warm_rate("cosine", 60), 0.05f, 1e-8f);
    assert_float_equal(warm_rate("multistep:1,5", 14), 0.0075f, 1e-8f); // milestones are epochs of the run
    assert_float_equal(warm_rate("multistep:1,5", 50), 0.001f, 1e-8f);
    assert_int_equal(bl_schedule_check(&whole), BLANCH_EUSAGE);
    assert_int_equal(bl_schedule_check(&shorter), 0);
}

static void test_schedules(void **state) {
    struct bl_schedule schedule = {0};
    assert_float_equal(rate("cosine", 0, 100, 10), 0.1f, 1e-8f);
    assert_float_equal(rate("cosine", 50, 100, 10), 0.05f, 1e-8f);
    assert_float_equal(rate("cosine", 99, 100, 10), 0.05f * (1 + cosf(3.14159265f * 0.99f)), 1e-8f);
    assert_float_equal(rate("constant", 77, 100, 10), 0.1f, 0);
    assert_float_equal(rate("multistep", 49, 100, 10), 0.1f, 1e-8f);
    assert_float_equal(rate("multistep", 50, 100, 10), 0.01f, 1e-8f);
    assert_float_equal(rate("multistep", 75, 100, 10), 0.001f, 1e-8f);
    assert_float_equal(rate("multistep:2,4:0.5", 19, 100, 10), 0.1f, 1e-8f);
    assert_float_equal(rate("multistep:2,4:0.5", 40, 100, 10), 0.025f, 1e-8f);
    const char *const wrong[] = {
        "cosinus", "multistep:", "multistep:4,2", "multistep:3:0", "multistep:3:x", "multistep3", ""};
    for (int i = 0; i < BL_COUNT(wrong); i++) assert_int_equal(bl_schedule_parse(&schedule, wrong[i]), BLANCH_EUSAGE);
}

/* --- helpers -------------------------------------------------------------------------------- */

static struct blanch_network *make_network(enum blanch_norm norm, uint64_t seed, int classes) {
    return make_network_as(norm, seed, classes, BLANCH_FP32);
}

static void read_param(struct bl_param *param, const struct blanch_tensor *tensor, float *out) {
    if (param->counter)
        memcpy(out, &param->value, sizeof param->value);
    else
        assert_int_equal(bl_mem_read(tensor->mem, 0, (size_t)param->data.count * sizeof *out, out), 0);
}

static bool same_values(struct blanch_network *a, struct blanch_network *b, bool velocities) {
    bool same = bl_graph_params(a->graph) == bl_graph_params(b->graph);
    for (int i = 0; i < bl_graph_params(a->graph) && same; i++) {
        struct bl_param *p = bl_graph_param(a->graph, i), *q = bl_graph_param(b->graph, i);
        size_t count = p->counter ? 2 : (size_t)p->data.count;
        float *x = bl_calloc(count, sizeof *x), *y = bl_calloc(count, sizeof *y);
        bool velocity = velocities && p->trainable;
        read_param(p, velocity ? &p->state[0] : &p->data, x);
        read_param(q, velocity ? &q->state[0] : &q->data, y);
        same = !memcmp(x, y, count * sizeof *x);
        free(x);
        free(y);
    }
    return same;
}

static bool same_files(const char *a, const char *b) {
    char *x = NULL, *y = NULL;
    size_t m = 0, n = 0;
    assert_int_equal(bl_file_read(a, &x, &m), 0);
    assert_int_equal(bl_file_read(b, &y, &n), 0);
    bool same = m == n && !memcmp(x, y, m);
    free(x);
    free(y);
    return same;
}

/* --- checkpoints ---------------------------------------------------------------------------- */

static void round_trip(enum blanch_norm norm) {
    const char *dir = in_folder(bl_norm_name(norm));
    struct blanch_network *a = make_network(norm, 1, 10), *b = make_network(norm, 2, 10);
    const struct bl_position saved = {3, 1, 41.25, {.loss = 1.0 / 3, .count = 12, .top1 = 5, .top5 = 9}, 0.125};
    struct bl_position loaded = {0};
    make_steps(a, 3);
    assert_int_equal(bl_make_dirs(dir), 0);
    assert_int_equal(bl_checkpoint_save(a->graph, dir, &saved), 0);
    assert_false(same_values(a, b, false));
    assert_int_equal(bl_checkpoint_load(b->graph, dir, &loaded), 0);
    assert_true(same_values(a, b, false));
    assert_true(same_values(a, b, true));
    assert_true(loaded.step == 3 && loaded.epoch == 1 && loaded.train.count == 12 && loaded.train.top5 == 9);
    assert_true(loaded.best_top1 == 41.25 && loaded.train.loss == 1.0 / 3 && loaded.train_s == 0.125);
    blanch_network_free(a);
    blanch_network_free(b);
}

static void test_round_trip(void **state) {
    if (!device) skip();
    round_trip(BLANCH_BN);
    round_trip(BLANCH_ND);
}

/* The moments at which a crash can leave the two files apart. */
static void test_crash_between_renames(void **state) {
    if (!device) skip();
    struct blanch_network *net = make_network(BLANCH_BN, 1, 10), *other = make_network(BLANCH_BN, 2, 10);
    struct bl_position position = {.step = 1}, loaded;
    char weights[200], state_file[200], fresh[200], old[200];
    const char *dir = in_folder("crash");
    snprintf(weights, sizeof weights, "%s/last.safetensors", dir);
    snprintf(state_file, sizeof state_file, "%s/last.state.safetensors", dir);
    snprintf(fresh, sizeof fresh, "%s/last.safetensors.new", dir);
    snprintf(old, sizeof old, "%s/old", dir);
    assert_int_equal(bl_make_dirs(dir), 0);
    make_steps(net, 1);
    assert_int_equal(bl_checkpoint_save(net->graph, dir, &position), 0);
    assert_int_equal(rename(weights, old), 0);
    make_steps(net, 1);
    position.step = 2;
    assert_int_equal(bl_checkpoint_save(net->graph, dir, &position), 0);
    assert_int_equal(rename(weights, fresh), 0); // the state was renamed, the weights were not
    assert_int_equal(rename(old, weights), 0);
    assert_int_equal(bl_checkpoint_load(other->graph, dir, &loaded), 0);
    assert_int_equal(loaded.step, 2);
    assert_true(same_values(net, other, false));
    assert_false(bl_path_exists(fresh)); // the load has finished the rename
    position.step = 3;
    assert_int_equal(bl_weights_save(net->graph, weights, 3), 0);
    assert_int_equal(bl_checkpoint_load(other->graph, dir, &loaded), BLANCH_EINPUT);
    assert_non_null(strstr(blanch_error_message(), "step 3"));
    assert_int_equal(unlink(state_file), 0);
    assert_int_equal(bl_checkpoint_load(other->graph, dir, &loaded), BLANCH_EINPUT);
    blanch_network_free(net);
    blanch_network_free(other);
}

static void refused(struct blanch_network *net, struct blanch_network *untouched, const char *path, const char *word) {
    assert_int_equal(blanch_network_load(net, path), BLANCH_EINPUT);
    if (!strstr(blanch_error_message(), word)) print_message("%s\n", blanch_error_message());
    assert_non_null(strstr(blanch_error_message(), word));
    assert_true(same_values(net, untouched, false));
}

static void test_unfit_files(void **state) {
    if (!device) skip();
    struct blanch_network *bn = make_network(BLANCH_BN, 1, 10), *same = make_network(BLANCH_BN, 1, 10);
    struct blanch_network *none = make_network(BLANCH_NONE, 3, 10), *seven = make_network(BLANCH_BN, 3, 7);
    const char *plain = in_folder("none.safetensors"), *narrow = in_folder("seven.safetensors");
    assert_int_equal(blanch_network_save(none, plain), 0);
    assert_int_equal(blanch_network_save(seven, narrow), 0);
    refused(bn, same, plain, "missing (bn1.weight");
    refused(bn, same, narrow, "of another shape (fc.weight, fc.bias)");
    assert_int_equal(blanch_network_save(bn, plain), 0);
    assert_int_equal(blanch_network_load(none, plain), BLANCH_EINPUT);
    assert_non_null(strstr(blanch_error_message(), "unexpected"));
    assert_int_equal(bl_file_write(plain, "not safetensors", 15), 0);
    refused(bn, same, plain, plain);
    assert_int_equal(unlink(plain), 0);
    refused(bn, same, plain, plain);
    blanch_network_free(bn);
    blanch_network_free(same);
    blanch_network_free(none);
    blanch_network_free(seven);
}

static bool has_tensor(const char *path, const char *name) {
    struct bl_safetensors *file = NULL;
    check(bl_st_open(&file, path));
    bool found = bl_st_find(file, name) != NULL;
    bl_st_close(file);
    return found;
}

/* --- update targets --------------------------------------------------------------------------- */

static struct blanch_network *make_scheduled(const char *optimiser) {
    struct blanch_network *net = NULL;
    const struct bl_network_options options = {
        .model = "smallcnn",
        .norm = BLANCH_ND,
        .nd = {.eps = NAN, .momentum = NAN, .refresh = BL_REFRESH_SCHEDULED},
        .batch = 4,
        .optimiser = optimiser,
    };
    check(bl_network_create(&net, device, &options));
    return net;
}

/* A step as a budget would have decided it: E, R, k: exact, renewed, reused. */
static void make_decided_step(struct blanch_network *net, char decision) {
    for (int i = 0; i < bl_graph_nodes(net->graph); i++) {
        struct bl_node *node = bl_graph_node(net->graph, i);
        if (node->whitening)
            bl_whitening_order(node->whitening, decision == 'E'   ? BL_ND_EXACT
                                                : decision == 'R' ? BL_ND_RENEW
                                                                  : BL_ND_REUSE);
    }
    make_steps(net, 1);
}

static int nothing(void *context, struct bl_node *node, const struct bl_run *run, enum bl_action_kind kind) {
    return 0;
}

/* Whatever looks at a network between two steps. */
static void look(struct blanch_network *net, const char *dir, int64_t step) {
    static float images[4 * 28 * 28], logits[4 * 10], weights[64 * 64 * 9];
    const struct bl_visitor visitor = {NULL, nothing, nothing};
    const struct bl_position position = {.step = step};
    struct bl_param *weight = bl_graph_find_param(net->graph, "conv2.weight");
    assert_true(weight->data.count <= BL_COUNT(weights));
    check(blanch_network_predict(net, images, 4, logits));
    check(bl_param_read(weight, weights));
    check(bl_graph_walk(net->graph, 4, &visitor));
    check(blanch_network_predict(net, images, 4, logits));
    check(bl_make_dirs(dir));
    check(bl_checkpoint_save(net->graph, dir, &position));
}

/* A run that is looked at and saved after any of its steps, and one that goes on from there, have the bits of one that
 * was left alone. */
static void test_targets(void **state) {
    if (!device) skip();
    static const char decisions[] = "EEkkRkkEkk";
    char whole[200], dir[200], state_file[256];
    struct blanch_network *alone = make_scheduled(NULL), *seen = make_scheduled(NULL);
    struct bl_position position = {.step = BL_COUNT(decisions) - 1};
    snprintf(whole, sizeof whole, "%s/alone", folder);
    snprintf(dir, sizeof dir, "%s/seen", folder);
    snprintf(state_file, sizeof state_file, "%s/last.state.safetensors", dir);
    for (int i = 0; decisions[i]; i++) make_decided_step(alone, decisions[i]);
    for (int i = 0; decisions[i]; i++) {
        make_decided_step(seen, decisions[i]);
        bool runs = bl_graph_find_param(seen->graph, "conv2.weight")->target != NULL;
        look(seen, dir, i + 1);
        assert_int_equal(bl_graph_find_param(seen->graph, "conv2.weight")->target != NULL, runs);
        assert_int_equal(has_tensor(state_file, "conv2.weight.target.numbers"), runs);
        assert_int_equal(runs, i > 1);
        struct blanch_network *resumed = make_scheduled(NULL);
        struct bl_position loaded;
        check(bl_checkpoint_load(resumed->graph, dir, &loaded));
        for (int k = i + 1; decisions[k]; k++) make_decided_step(resumed, decisions[k]);
        assert_true(same_values(resumed, alone, false) && same_values(resumed, alone, true));
        blanch_network_free(resumed);
    }
    assert_true(same_values(seen, alone, false) && same_values(seen, alone, true));
    check(bl_make_dirs(whole));
    check(bl_checkpoint_save(alone->graph, whole, &position));
    assert_true(same_files(in_folder("alone/last.safetensors"), in_folder("seen/last.safetensors")));
    blanch_network_free(alone);
    blanch_network_free(seen);
}

/* As earlier versions wrote it: velocities under their parameter's name, nothing of targets, and -1 where the next step
 * was to renew D. */
static void write_former(const char *from, const char *to) {
    static const char suffix[] = ".momentum_buffer";
    struct bl_safetensors *file = NULL;
    struct bl_st_tensor tensors[200];
    char names[200][200];
    const int64_t renew = -1;
    int count = 0;
    check(bl_st_open(&file, from));
    for (int i = 0; i < bl_st_count(file); i++) {
        const struct bl_st_tensor *tensor = bl_st_at(file, i);
        char *end;
        if (strstr(tensor->name, ".target.")) continue;
        tensors[count] = *tensor;
        snprintf(names[count], sizeof names[count], "%s", tensor->name);
        if ((end = strstr(names[count], suffix))) *end = 0;
        if (strstr(tensor->name, "refresh_counter")) tensors[count].data = &renew;
        tensors[count].name = names[count];
        count++;
    }
    const char *const meta[] = {"step", bl_st_meta(file, "step"), "epoch", "0", NULL};
    check(bl_st_write(to, tensors, count, meta));
    bl_st_close(file);
}

static void test_former_state(void **state) {
    if (!device) skip();
    char dir[200], state_file[256];
    struct blanch_network *net = make_scheduled(NULL), *resumed = make_scheduled(NULL),
                          *other = make_scheduled("adamw");
    struct bl_position position = {.step = 2}, loaded;
    snprintf(dir, sizeof dir, "%s/former", folder);
    snprintf(state_file, sizeof state_file, "%s/last.state.safetensors", dir);
    make_decided_step(net, 'E');
    make_decided_step(net, 'E');
    check(bl_make_dirs(dir));
    check(bl_checkpoint_save(net->graph, dir, &position));
    assert_int_equal(bl_checkpoint_load(other->graph, dir, &loaded), BLANCH_EINPUT);
    assert_non_null(strstr(blanch_error_message(), "weight.exp_avg"));
    assert_non_null(strstr(blanch_error_message(), "optimiser"));
    write_former(state_file, state_file);
    assert_true(has_tensor(state_file, "conv2.weight") && !has_tensor(state_file, "conv2.weight.momentum_buffer"));
    check(bl_checkpoint_load(resumed->graph, dir, &loaded));
    make_decided_step(net, 'E'), make_decided_step(resumed, 'E');
    assert_true(same_values(net, resumed, false) && same_values(net, resumed, true));
    make_decided_step(net, 'k'), make_decided_step(resumed, 'k');
    assert_true(same_values(net, resumed, false) && same_values(net, resumed, true));
    blanch_network_free(net);
    blanch_network_free(resumed);
    blanch_network_free(other);
}

/* --- runs ----------------------------------------------------------------------------------- */

struct stopper {
    int64_t at;
};

static void stop_at(void *context, enum bl_train_event event, int64_t step, int64_t steps, const char *text) {
    const struct stopper *stopper = context;
    if (event == BL_TRAIN_STEP && step == stopper->at) blanch_stop_request();
}

static int train_as(struct bl_train_options options, int64_t stop) {
    struct stopper stopper = {stop};
    options.data = "synthetic:1x28x28:10";
    options.augment = "cifar";
    options.network.seed = 5;
    options.network.nd.eps = options.network.nd.momentum = NAN;
    options.update = (struct blanch_update)BL_UPDATE_DEFAULT;
    options.update.lr = options.network.optimiser ? 0.002f : 0.05f;
    options.listener = stop_at;
    options.context = &stopper;
    if (!options.resume) options.network.model = "smallcnn";
    blanch_stop_clear();
    int code = bl_train(&options);
    blanch_stop_clear();
    if (code && code != BLANCH_EINTERRUPTED) print_message("%s\n", blanch_error_message());
    return code;
}

static int train(const char *dir, const char *optimiser, enum blanch_norm norm, int epochs, bool resume, int64_t stop) {
    const struct bl_train_options options = {.network = {.batch = resume ? 0 : 300, .optimiser = optimiser},
                                             .norm = bl_norm_name(norm),
                                             .out = dir,
                                             .resume = resume,
                                             .epochs = epochs};
    return train_as(options, stop);
}

/* The log without what depends on the machine's speed. */
static cJSON *comparable_log(const char *dir) {
    char path[256], *text = NULL;
    size_t size;
    cJSON *log = cJSON_CreateArray();
    snprintf(path, sizeof path, "%s/log.jsonl", dir);
    assert_int_equal(bl_file_read(path, &text, &size), 0);
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        cJSON *json = cJSON_Parse(line);
        assert_non_null(json);
        cJSON_DeleteItemFromObject(json, "images_per_s");
        cJSON_DeleteItemFromObject(json, "train_s");
        cJSON_DeleteItemFromObject(json, "test_s");
        cJSON_AddItemToArray(log, json);
    }
    free(text);
    return log;
}

static void assert_same_runs(const char *a, const char *b, int lines) {
    static const char *const files[] = {"last.safetensors", "best.safetensors"};
    char x[256], y[256];
    for (int i = 0; i < BL_COUNT(files); i++) {
        snprintf(x, sizeof x, "%s/%s", a, files[i]);
        snprintf(y, sizeof y, "%s/%s", b, files[i]);
        assert_true(same_files(x, y));
    }
    cJSON *left = comparable_log(a), *right = comparable_log(b);
    assert_true(cJSON_Compare(left, right, true));
    assert_int_equal(cJSON_GetArraySize(left), lines);
    cJSON_Delete(left);
    cJSON_Delete(right);
}

/* Stopped within an epoch, at its end, and then gone on from, a run ends with the same bits as one left alone. */
static void resume_equality(const char *optimiser, enum blanch_norm norm) {
    char whole[200], parts[200];
    snprintf(whole, sizeof whole, "%s/whole-%s%s", folder, bl_norm_name(norm), optimiser ? optimiser : "");
    snprintf(parts, sizeof parts, "%s/parts-%s%s", folder, bl_norm_name(norm), optimiser ? optimiser : "");
    assert_int_equal(train(whole, optimiser, norm, 2, false, -1), 0);
    assert_int_equal(train(parts, optimiser, norm, 2, false, 3), BLANCH_EINTERRUPTED);
    assert_int_equal(train(parts, optimiser, norm, 0, true, 7), BLANCH_EINTERRUPTED);
    assert_int_equal(train(parts, optimiser, norm, 0, true, -1), 0);
    assert_same_runs(whole, parts, 1 + 2 * 7 + 2); // what the data are; 2048 images by 300: 7 steps
}

/* Every tensor of the two files, byte for byte; their positions tell how long a run took. */
static void assert_same_tensors(const char *a, const char *b) {
    struct bl_safetensors *x = NULL, *y = NULL;
    check(bl_st_open(&x, a));
    check(bl_st_open(&y, b));
    assert_int_equal(bl_st_count(x), bl_st_count(y));
    for (int i = 0; i < bl_st_count(x); i++) {
        const struct bl_st_tensor *p = bl_st_at(x, i), *q = bl_st_find(y, p->name);
        assert_non_null(q);
        assert_int_equal(p->bytes, q->bytes);
        if (memcmp(p->data, q->data, p->bytes)) fail_msg("%s differs", p->name);
    }
    bl_st_close(x);
    bl_st_close(y);
}

/* The same where directions are reused from the 21st step on, but for the 25th; an epoch ends after the 21st. */
static void test_resume_between_refreshes(void **state) {
    if (!device) skip();
    static const int64_t stops[] = {22, 25, 27};
    char x[2][200];
    struct bl_train_options options = {
        .network = {.batch = 100, .nd.refresh = 8}, .norm = "nd", .steps = 28, .out = in_folder("whole-refresh")};
    snprintf(x[0], sizeof x[0], "%s/last.state.safetensors", options.out);
    assert_int_equal(train_as(options, -1), 0);
    options.out = in_folder("parts-refresh");
    snprintf(x[1], sizeof x[1], "%s/last.state.safetensors", options.out);
    for (int i = 0; i <= BL_COUNT(stops); i++) {
        bool last = i == BL_COUNT(stops);
        assert_int_equal(train_as(options, last ? -1 : stops[i]), last ? 0 : BLANCH_EINTERRUPTED);
        assert_true(has_tensor(x[1], "conv1.weight.target.numbers"));
        options.resume = true, options.steps = 0, options.network.batch = options.network.nd.refresh = 0;
    }
    assert_same_tensors(x[0], x[1]);
    assert_same_runs(in_folder("whole-refresh"), in_folder("parts-refresh"), 1 + 28 + 2);
}

static void test_resume(void **state) {
    if (!device) skip();
    resume_equality(NULL, BLANCH_BN);
    resume_equality(NULL, BLANCH_ND);
    resume_equality("adamw", BLANCH_BN);
    resume_equality("adamw", BLANCH_ND);
}

/* A run of before there was a choice goes on. */
static void test_run_of_before(void **state) {
    if (!device) skip();
    char dir[200], path[256];
    cJSON *config = NULL;
    snprintf(dir, sizeof dir, "%s/parts-bn", folder);
    snprintf(path, sizeof path, "%s/config.json", dir);
    assert_int_equal(bl_json_read(path, &config), 0);
    assert_string_equal(cJSON_GetObjectItem(config, "optimiser")->valuestring, "sgd");
    assert_null(cJSON_GetObjectItem(config, "beta1"));
    cJSON_DeleteItemFromObject(config, "optimiser");
    assert_int_equal(bl_json_write(path, config), 0);
    cJSON_Delete(config);
    assert_int_equal(train(dir, "sgd", BLANCH_BN, 3, true, 15), BLANCH_EUSAGE); // its --lr is another
    assert_non_null(strstr(blanch_error_message(), "--lr"));
    assert_int_equal(train(dir, NULL, BLANCH_BN, 3, true, 15), BLANCH_EINTERRUPTED);
}

static void test_run_directory(void **state) {
    if (!device) skip();
    char dir[200];
    snprintf(dir, sizeof dir, "%s/whole-bn", folder);
    assert_int_equal(train(dir, NULL, BLANCH_BN, 1, false, -1), BLANCH_EUSAGE);
    assert_int_equal(train(dir, NULL, BLANCH_NONE, 0, true, -1), BLANCH_EUSAGE); // --norm differs from the run's
    assert_non_null(strstr(blanch_error_message(), "--norm"));
    assert_int_equal(train(dir, "adamw", BLANCH_BN, 0, true, -1), BLANCH_EUSAGE);
    assert_non_null(strstr(blanch_error_message(), "--optimiser"));
    struct bl_run_config config;
    assert_int_equal(bl_run_read(&config, dir), 0);
    assert_string_equal(config.options.network.model, "smallcnn");
    assert_true(config.options.network.classes == 10 && config.view.height == 28 && config.view.width == 28 &&
                config.options.update.lr == 0.05f);
    assert_string_equal(config.options.network.optimiser, "sgd");
    bl_run_release(&config);
    assert_int_equal(bl_run_read(&config, in_folder("nowhere")), BLANCH_EINPUT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_schedules),
        cmocka_unit_test(test_warm_up),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_crash_between_renames),
        cmocka_unit_test(test_unfit_files),
        cmocka_unit_test(test_targets),
        cmocka_unit_test(test_former_state),
        cmocka_unit_test(test_resume),
        cmocka_unit_test(test_resume_between_refreshes),
        cmocka_unit_test(test_run_of_before),
        cmocka_unit_test(test_run_directory),
    };
    int failed = open_test_device(&device);
    failed += cmocka_run_group_tests(tests, open_all, close_all);
    return failed + close_test_device(device);
}
