/* The tuner: what is taken for a candidate's time, and that devices in one process do not share choices. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "harness.h"
#include "ops/conv/conv.h"
#include "cl/internal.h"
#include "sched/limits.h"
#include "sched/tune_internal.h"
#include "train/train.h"
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct blanch_device *device;

/* --- timing ----------------------------------------------------------------------------------- */

/* A candidate that sleeps: seconds of the first call of each size, and of every further one. */
struct sleeper {
    double first[2], further[2]; // of the whole, of the small part
    int calls[2], code;
};

static int sleep_once(void *context, bool small) {
    struct sleeper *s = context;
    const double seconds = s->calls[small]++ ? s->further[small] : s->first[small];
    const struct timespec time = {(time_t)seconds, (long)(1e9 * (seconds - floor(seconds)))};
    nanosleep(&time, NULL);
    return s->code;
}

/* A call may take 0.1 s. */
static struct bl_tune_timing timing_of(struct sleeper *s, double build, double best) {
    const struct bl_tune_candidate candidate = {.call = sleep_once, .context = s, .share = 1.0 / 16};
    const struct bl_tune_bounds bounds = {.candidate = 0.1, .build = build};
    struct bl_tune_timing timing;
    assert_int_equal(bl_tune_time(&candidate, &bounds, best, &timing), s->code);
    return timing;
}

static void test_building_is_no_time(void **state) {
    (void)state;
    struct sleeper s = {.first = {0.3, 0.3}};
    struct bl_tune_timing timing = timing_of(&s, 60, 0);
    assert_int_equal(timing.result, BL_TUNE_RIGHT);
    assert_true(timing.seconds < 0.1);
    s = (struct sleeper){.first = {0.3, 0.3}};
    timing = timing_of(&s, 60, 0.09); // another took less than the build
    assert_int_equal(timing.result, BL_TUNE_RIGHT);
    assert_true(timing.seconds < 0.1);
}

static void test_building_is_bounded(void **state) {
    (void)state;
    struct sleeper small = {.first = {0, 0.3}}, whole = {.first = {0.3, 0}}, never = {.first = {0}};
    assert_int_equal(timing_of(&small, 0.2, 0).result, BL_TUNE_SLOW_BUILD);
    assert_int_equal(small.calls[true], 1);
    assert_int_equal(small.calls[false], 0);
    assert_int_equal(timing_of(&whole, 0.2, 0).result, BL_TUNE_SLOW_BUILD);
    assert_int_equal(whole.calls[false], 1);
    const struct bl_tune_candidate built = {.call = sleep_once, .context = &never, .share = 1, .built = 3};
    const struct bl_tune_bounds bounds = {.candidate = 1, .build = 2};
    struct bl_tune_timing timing;
    assert_int_equal(bl_tune_time(&built, &bounds, 0, &timing), 0);
    assert_int_equal(timing.result, BL_TUNE_SLOW_BUILD);
    assert_int_equal(never.calls[true] + never.calls[false], 0);
}

static void test_slow_is_given_up(void **state) {
    (void)state;
    struct sleeper small = {.first = {0, 0.15}, .further = {0, 0.15}},
                   whole = {.first = {0.15, 0}, .further = {0.15, 0}};
    assert_int_equal(timing_of(&small, 60, 0).result, BL_TUNE_SLOW);
    assert_int_equal(small.calls[true], 2);
    assert_int_equal(small.calls[false], 0);
    assert_int_equal(timing_of(&whole, 60, 0).result, BL_TUNE_SLOW);
    assert_int_equal(whole.calls[false], 2);
}

static void test_failure_is_handed_on(void **state) {
    (void)state;
    struct sleeper s = {.code = BLANCH_EDEVICE};
    timing_of(&s, 60, 0);
    assert_int_equal(s.calls[true] + s.calls[false], 1);
}

/* --- devices ---------------------------------------------------------------------------------- */

static struct blanch_network *network_on(struct blanch_device *dev) {
    const struct bl_network_options options = {.model = "smallcnn", .norm = BLANCH_BN, .batch = 2};
    struct blanch_network *net;
    check(bl_network_create(&net, dev, &options));
    return net;
}

/* The engines of all passes, one after another. */
static char *engines_on(struct blanch_device *dev) {
    struct blanch_network *net = network_on(dev);
    char *text = bl_strdup("");
    for (int i = 0; i < bl_graph_nodes(net->graph); i++)
        for (int p = 0; p < BL_CONV_PASSES; p++) {
            const char *engine = bl_graph_node(net->graph, i)->engine[p];
            char *longer = bl_format("%s %s", text, engine ? engine : "-");
            free(text);
            assert_non_null(text = longer);
        }
    blanch_network_free(net);
    return text;
}

static struct blanch_device *open_again(void) {
    const struct blanch_device_info *info = blanch_device_info(device);
    struct blanch_device *dev;
    char spec[32];
    snprintf(spec, sizeof spec, "%d:%d", info->platform, info->device);
    check(blanch_device_open(&dev, spec, 0));
    return dev;
}

/* The choices, with every convolution computed by one engine. untyped: under the names of shapes of runs that were
 * recorded before these had a type. */
static cJSON *all_by(const cJSON *choices, const char *engine, bool untyped) {
    cJSON *copy = cJSON_CreateObject();
    const cJSON *choice;
    cJSON_ArrayForEach(choice, choices) {
        const bool conv = !strncmp(choice->string, "convolution", strlen("convolution"));
        char name[160];
        snprintf(name, sizeof name, "%s", choice->string);
        char *type = strstr(name, " fp32 ");
        assert_non_null(type);
        if (untyped) memmove(type, type + strlen(" fp32"), strlen(type + strlen(" fp32")) + 1);
        cJSON_AddStringToObject(copy, name, conv ? engine : choice->valuestring);
    }
    return copy;
}

static void use_all_by(struct blanch_device *dev, const cJSON *choices, const char *engine, bool untyped) {
    cJSON *all = all_by(choices, engine, untyped);
    check(bl_tuner_replay(dev, all));
    cJSON_Delete(all);
}

/* Four times the same device: by rule, by measurement, by engines that were recorded. */
static void test_tuner_is_of_its_device(void **state) {
    (void)state;
    if (!device) skip();
    char folder[] = "/tmp/blanch-tune-XXXXXX";
    assert_non_null(mkdtemp(folder));
    setenv("XDG_CACHE_HOME", folder, 1);
    struct blanch_device *measured = open_again(), *direct = open_again(), *patches = open_again();
    char *rule = engines_on(device);
    check(blanch_device_tune(measured, 1)); // enough for one shape on any machine
    char *best = engines_on(measured);
    assert_true(bl_launch_count(measured) > 0);
    cJSON *choices = bl_tuner_choices(measured);
    assert_non_null(choices);
    use_all_by(direct, choices, "direct", false), use_all_by(patches, choices, "patches", true);
    char *by_direct = engines_on(direct), *by_patches = engines_on(patches);
    assert_non_null(strstr(by_direct, "direct")), assert_non_null(strstr(by_patches, "patches"));
    assert_string_not_equal(by_direct, by_patches);
    struct {
        struct blanch_device *dev;
        const char *engines;
    } all[] = {{measured, best}, {direct, by_direct}, {device, rule}, {patches, by_patches}, {measured, best}};
    for (int i = 0; i < BL_COUNT(all); i++) {
        char *again = engines_on(all[i].dev);
        assert_string_equal(again, all[i].engines);
        free(again);
    }
    blanch_device_close(direct);
    char *left = engines_on(patches), *unchanged = engines_on(device);
    assert_string_equal(left, by_patches), assert_string_equal(unchanged, rule);
    assert_null(bl_tuner_of(device));
    blanch_device_close(patches), blanch_device_close(measured);
    cJSON_Delete(choices);
    free(rule), free(best), free(by_direct), free(by_patches), free(left), free(unchanged);
}

/* Of a library's user: what one device has measured, another one looks up; negative seconds are refused. */
static void test_library_looks_up(void **state) {
    (void)state;
    if (!device) skip();
    struct blanch_device *dev = open_again();
    assert_int_equal(blanch_device_tune(dev, -1), BLANCH_EUSAGE);
    assert_null(bl_tuner_of(dev));
    check(blanch_device_tune(dev, 0));
    free(engines_on(dev));
    const struct bl_tune_report *report = bl_tuner_report(bl_tuner_of(dev));
    assert_int_equal(report->measured, 0);
    assert_true(report->known > 0);
    blanch_device_close(dev);
}

/* Whether kernels ran for limits that are known. */
static bool measures_at_end(struct blanch_device *dev, struct bl_limits *limits) {
    const int64_t before = bl_launch_count(dev);
    check(bl_limits_at_end(dev, limits));
    return bl_launch_count(dev) > before;
}

/* They are kept where the tests before have their cache. */
static void test_limits_at_end(void **state) {
    (void)state;
    if (!device) skip();
    struct bl_limits first, last;
    struct blanch_device *dev = open_again();
    check(bl_limits_get(dev, false, &first));
    dev->opened = bl_now();
    assert_false(measures_at_end(dev, &last));
    assert_true(last.operations > 0 && last.operations <= 1.0001 * first.operations);
    dev->opened -= 10;
    assert_true(measures_at_end(dev, &last));
    assert_true(last.operations >= 0.9999 * first.operations && last.bytes >= 0.9999 * first.bytes); // kept in 5 digits
    blanch_device_close(dev);
}

/* What a file may hold: sets that the search does not come to could overrun buffers, or build without end. */
static void test_clblast_sets_of_files(void **state) {
    (void)state;
    static const char right[] = "GEMMK=0,KREG=1,KWG=16,KWI=1,MDIMA=1,MDIMC=1,MWG=16,NDIMB=8,NDIMC=8,NWG=128,SA=0,SB=0,"
                                "STRM=0,STRN=0,VWM=16,VWN=4";
    static const struct {
        const char *was, *is;
    } wrong[] = {{"GEMMK=0", "GEMMK=1"}, {"KREG=1", "KREG=0"},        {"KWI=1", "KWI=0"},
                 {"KWI=1", "KWI=-1"},    {"KWI=1", "KWI=3"},          {"MDIMC=1", "MDIMC=0"},
                 {"MWG=16", "MWG=8"},    {"NWG=128", "NWG=1048576"},  {"SA=0", "SA=2"},
                 {"STRN=0", "STRN=-1"},  {"VWN=4", "VWN=4294967300"}, {"VWN=4", "VWN=4,"},
                 {"KREG=1,", ""},        {"VWN=4", "VWN="},           {"VWM=16", "VWM=16 "},
                 {"GEMMK=0", "gemmk=0"}, {"VWN=4", "VWN=1e1"},        {"KWG=16", "KWG=99999999999999999999"}};
    struct bl_clblast_set set;
    assert_int_equal(bl_clblast_parse(&set, right), 0);
    for (int i = 0; i < BL_COUNT(wrong); i++) {
        const char *at = strstr(right, wrong[i].was);
        assert_non_null(at);
        char *text = bl_format("%.*s%s%s", (int)(at - right), right, wrong[i].is, at + strlen(wrong[i].was));
        if (bl_clblast_parse(&set, text) != BLANCH_EINPUT) fail_msg("taken: %s", text);
        free(text);
    }
    for (uint64_t i = 0; i < 2000; i++) {
        struct bl_clblast_set drawn, read;
        char text[256];
        bl_clblast_random(&drawn, i % 2, i);
        bl_clblast_text(&drawn, text, sizeof text);
        assert_int_equal(bl_clblast_parse(&read, text), 0);
        assert_memory_equal(&read, &drawn, sizeof read);
    }
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_building_is_no_time),    cmocka_unit_test(test_building_is_bounded),
        cmocka_unit_test(test_slow_is_given_up),       cmocka_unit_test(test_failure_is_handed_on),
        cmocka_unit_test(test_tuner_is_of_its_device), cmocka_unit_test(test_library_looks_up),
        cmocka_unit_test(test_limits_at_end),          cmocka_unit_test(test_clblast_sets_of_files),
    };
    int failed = open_test_device(&device);
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    failed += cmocka_run_group_tests(tests, NULL, NULL);
    blanch_device_close(device);
    return failed;
}
