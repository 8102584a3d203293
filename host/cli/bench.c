/* blanch bench: the time of a training step, or of a forward pass in evaluation, on synthetic data. */
#include "cli/bench.h"
#include "cli/timed.h"
#include "cli/tune.h"
#include "base/text.h"
#include "report/result.h"
#include "train/about.h"
#include "train/open.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_RECORDED = 9 };

struct bench {
    struct bl_common common;
    int steps, warmup;
    bool inference;        // forward passes of a network made for them
    const char *input;     // "3x32x32"; NULL: the model's own
    const char *gemm;      // "MxNxK": a product instead of a network
    float expect_ms;       // of a step; 0: nothing is expected
    const char *tolerance; // "10%": by how much it may be longer
    const char *trace;     // file for the last recorded step; NULL: none
    struct bl_network_options network;
    struct blanch_model *model; // a reference
    struct blanch_device *dev;
    struct bl_first_use use;
    struct bl_timed timed;
    double *times;            // (steps) milliseconds
    double startup, recorded; // seconds; a recorded step's time over a plain one's
    struct bl_progress *progress;
    uint64_t device_peak, host_peak; // bytes
};

/* CxS or CxHxW. */
static int parse_input(struct bench *b) {
    struct bl_network_options *n = &b->network;
    char rest = 0;
    if (!b->input) return 0;
    if (b->common.size) return bl_fail(BLANCH_EUSAGE, "--input has a size of its own: leave --size out");
    int count = sscanf(b->input, "%5dx%5dx%5d%c", &n->channels, &n->height, &n->width, &rest);
    if (count == 2 && !strchr(strchr(b->input, 'x') + 1, 'x'))
        n->width = n->height;
    else if (count != 3)
        n->channels = 0;
    if (b->input[strspn(b->input, "0123456789x")]) n->channels = 0; // blanks and signs, which sscanf passes over
    bool right = n->channels >= 1 && n->channels <= 1024 && n->height >= 1 && n->width >= 1 && n->height <= 8192 &&
                 n->width <= 8192;
    return right ? 0 : bl_fail(BLANCH_EUSAGE, "--input takes CHANNELSxSIZE, as in 3x32, not '%s'", b->input);
}

static int set_up(struct bench *b) {
    int code = bl_common_network(&b->common, &b->network, &b->model);
    b->common.batch = b->network.batch, b->common.seed = (int64_t)b->network.seed; // as settings say
    b->network.inference = b->inference;
    if (code || (code = parse_input(b))) return code;
    bl_common_say_unused(&b->common, bl_model_norm(b->model, b->network.norm) == BLANCH_ND);
    if ((code = blanch_device_open(&b->dev, b->common.device, b->common.max_alloc))) return code;
    bl_first_use_init(&b->use, b->common.no_tune);
    if ((code = bl_first_use_open(&b->use, b->dev))) return code;
    if (!(b->times = bl_calloc((size_t)b->steps, sizeof *b->times))) return BLANCH_ENOMEM;
    return bl_timed_open(&b->timed, b->dev, &b->network, -1);
}

static void tear_down(struct bench *b) {
    bl_timed_close(&b->timed);
    bl_model_free(b->model);
    blanch_device_close(b->dev);
    free(b->times);
}

static double median(double *values, int count) {
    return bl_quantile(values, count, 0.5);
}

/* Recorded steps alternate with timed ones, so that both see the machine in the same state; what recording costs is the
 * difference of their medians. */
static int measure(struct bench *b) {
    double recorded[MAX_RECORDED];
    int code = 0, count = 0;
    int64_t done = 0;
    b->startup = bl_process_age();
    for (int i = 0; i < b->warmup && !code; i++) {
        double ms;
        code = bl_timed_step(&b->timed, false, &ms);
        bl_progress_step(b->progress, ++done, "warm-up");
    }
    for (int i = 0; i < b->steps && !code; i++) {
        code = bl_timed_step(&b->timed, false, &b->times[i]);
        if (!code) bl_progress_step(b->progress, ++done, "%.2f ms", b->times[i]);
        if (code || count >= MAX_RECORDED) continue;
        code = bl_timed_step(&b->timed, true, &recorded[count++]);
        bl_progress_step(b->progress, ++done, "recorded");
    }
    b->device_peak = bl_mem_peak(b->dev), b->host_peak = bl_process_peak_bytes(); // of steps, not of what follows
    struct bl_limits limits;
    if (code || (code = bl_limits_get(b->dev, true, &limits))) return code;
    bl_ledger_limits(b->timed.session.ledger, &limits);
    b->recorded = median(recorded, count) / median(b->times, b->steps);
    return 0;
}

static int fill_result(const struct bench *b, double step, double least, struct bl_result *result) {
    const struct bl_network_options *n = &b->timed.net->options;
    result->header = bl_header_now("bench", blanch_device_info(b->dev));
    result->settings = bl_options_json(b->common.options);
    snprintf(result->model, sizeof result->model, "%s", n->model);
    result->batch = n->batch;
    result->steps = b->steps;
    struct bl_device_result *device = bl_result_add_device(result, blanch_device_info(b->dev)->name);
    struct bl_run_result *run = device ? bl_result_add_run(result, 0) : NULL;
    if (!run) return BLANCH_ENOMEM;
    snprintf(run->norm, sizeof run->norm, "%s", bl_norm_name(n->norm));
    snprintf(result->precision, sizeof result->precision, "%s", bl_precision_name(n->precision));
    *(b->inference ? &run->inference_ms : &run->step_ms) = step;
    *(b->inference ? &run->inference_images_per_s : &run->images_per_s) = 1e3 * n->batch / step;
    run->min_ms = least;
    run->step_ms_quartile1 = bl_quantile(b->times, b->steps, 0.25);
    run->step_ms_quartile3 = bl_quantile(b->times, b->steps, 0.75);
    run->recording_cost = b->recorded;
    run->coverage = bl_ledger_covered(b->timed.session.ledger);
    run->startup_ms = 1e3 * b->startup;
    run->planned_bytes = (double)bl_graph_plan(b->timed.net->graph)->total;
    run->device_bytes = (double)b->device_peak;
    run->host_bytes = (double)b->host_peak;
    int code = bl_network_hash(b->timed.net, run->network_hash);
    return code ? code : bl_ledger_measured(b->timed.session.ledger, &run->step);
}

static int report_json(const struct bench *b, double step, double least) {
    struct bl_result result;
    bl_result_init(&result);
    int code = fill_result(b, step, least, &result);
    if (!code) code = bl_print_json(bl_result_bench_json(&result));
    bl_result_free(&result);
    return code;
}

static void print_plan(const struct bl_plan *plan) {
    const double mib = 1048576;
    printf("memory plan: %d tensors in %.1f MiB, %.1f of them kept from step to step (one allocation each would take "
           "%.1f); "
           "parameters, gradients, optimiser state %.1f MiB\n",
           plan->tensors, (double)plan->arena / mib, (double)plan->kept / mib, (double)plan->unshared / mib,
           (double)plan->parameters / mib);
}

static int report(struct bench *b) {
    const struct bl_network_options *n = &b->timed.net->options;
    double step = median(b->times, b->steps), least = b->times[0]; // sorted by the median
    if (b->common.json) return report_json(b, step, least);
    printf("%s-%s, batch %d of %dx%dx%d, %s, %s\n", n->model, bl_norm_name(n->norm), n->batch, n->channels, n->height,
           n->width, bl_precision_name(n->precision), bl_shown(blanch_device_info(b->dev)->name));
    printf("%s %.2f ms (median of %d; least %.2f), %.1f images/s\n", b->inference ? "inference" : "step", step,
           b->steps, least, 1e3 * n->batch / step);
    printf("first step %.0f ms after the start; device memory %.1f MiB, host memory %.1f MiB\n", 1e3 * b->startup,
           (double)b->device_peak / 1048576, (double)b->host_peak / 1048576);
    print_plan(bl_graph_plan(b->timed.net->graph));
    printf("recorded steps: %d, %+.1f %% against timed ones; phases account for %.1f %% of their wall time\n\n",
           bl_ledger_steps(b->timed.session.ledger), bl_percent_more(b->recorded, 1),
           100 * bl_ledger_covered(b->timed.session.ledger));
    bl_print_layers(b->timed.session.ledger, b->timed.net->graph);
    bl_print_work(b->timed.session.ledger);
    return 0;
}

/* As a share. */
static int read_tolerance(const struct bench *b, double *share) {
    const char *text = b->tolerance ? b->tolerance : "10%";
    const size_t length = bl_text_decimal(text, share);
    *share /= 100;
    if (!length || (text[length] && strcmp(text + length, "%")) || !(*share >= 0 && *share <= 1e3))
        return bl_fail(BLANCH_EUSAGE, "--tolerance takes per cent from 0 on, as in 10%%, not '%s'", text);
    if (b->tolerance && !(b->expect_ms > 0))
        return bl_fail(BLANCH_EUSAGE, "--tolerance is of what --expect-ms X expects: give it too");
    if (b->gemm && b->expect_ms > 0)
        return bl_fail(BLANCH_EUSAGE, "--gemm times a product by several ways: leave --expect-ms out");
    return 0;
}

static int check_expected(const struct bench *b, double tolerance) {
    const double middle = median(b->times, b->steps), most = (double)b->expect_ms * (1 + tolerance);
    if (!(b->expect_ms > 0) || middle <= most) return 0;
    return bl_fail(BLANCH_EMISMATCH, "the median is %.3f ms, and --expect-ms expects %.6g ms and %.6g %% more at most",
                   middle, (double)b->expect_ms, 100 * tolerance);
}

static int run(int argc, char **argv) {
    struct bench b = {.steps = 20, .warmup = 3};
    bool help;
    bl_common_init(&b.common);
    const struct bl_option own[] = {
        {"steps", BL_OPT_INT, &b.steps, 1, 1e6, "K", "timed steps (20)"},
        {"warmup", BL_OPT_INT, &b.warmup, 0, 1e6, "W", "steps before them (3)"},
        {"input", BL_OPT_TEXT, &b.input, 0, 0, "CxS", "channels and size of the images (the network's own)"},
        {"inference", BL_OPT_FLAG, &b.inference, 0, 0, NULL, "times forward passes in evaluation instead"},
        {"trace", BL_OPT_TEXT, &b.trace, 0, 0, "FILE", "the last recorded step, command by command, for Perfetto"},
        {"expect-ms", BL_OPT_FLOAT, &b.expect_ms, 1e-6, 1e9, "X",
         "ends with status 1 where the median takes longer, in milliseconds (none)"},
        {"tolerance", BL_OPT_TEXT, &b.tolerance, 0, 0, "P%", "by how much it may be longer (10%)"},
        {"gemm", BL_OPT_TEXT, &b.gemm, 0, 0, "MxNxK", "times a matrix product instead of a network"},
        {0},
    };
    struct bl_option options[BL_MAX_OPTIONS];
    bl_common_options(options, own, &b.common,
                      BL_COMMON_NETWORK | BL_COMMON_BATCH | BL_COMMON_DEVICE | BL_COMMON_SEED | BL_COMMON_ND |
                          BL_COMMON_JSON | BL_COMMON_TUNE | BL_COMMON_OPTIMISER | BL_COMMON_RECOMPUTE |
                          BL_COMMON_PRECISION);
    int code = bl_options_parse(&bl_command_bench, options, argc, argv, NULL, &help);
    if (code || help) return code;
    if (b.gemm && (b.common.model || b.common.norm || b.common.size || b.trace || b.input || b.inference))
        return bl_fail(
            BLANCH_EUSAGE,
            "--gemm times a product alone: leave --model, --norm, --size, --input, --inference and --trace out");
    if (b.inference && (b.common.optimiser || b.common.recompute))
        return bl_fail(BLANCH_EUSAGE, "--inference trains nothing: leave --optimiser and --recompute out");
    double tolerance;
    if ((code = read_tolerance(&b, &tolerance))) return code;
    bl_end_in_order();
    if (b.gemm) return bl_bench_product(&b.common, b.gemm, b.steps);
    if (!(code = set_up(&b))) {
        b.progress = bl_progress_start("bench", b.warmup + b.steps + (b.steps < MAX_RECORDED ? b.steps : MAX_RECORDED));
        code = measure(&b);
        bl_progress_end(b.progress);
    }
    if (!code && b.trace) code = bl_ledger_trace(b.timed.session.ledger, b.trace, bl_options_json(options));
    if (!code) code = report(&b);
    if (!code) code = check_expected(&b, tolerance);
    tear_down(&b);
    return code;
}

const struct bl_command bl_command_bench = {
    .name = "bench",
    .summary = "step time on synthetic data",
    .usage =
        "usage: blanch bench --model NAME --norm NORM [--batch B] [--steps K] [options]\n"
        "       blanch bench --model NAME --norm NORM --inference [--batch B] [--steps K] [options]\n"
        "       blanch bench --gemm MxNxK [--steps K]\n"
        "\n"
        "Times whole training steps, update included, and prints where their time goes by layer and phase. Some steps\n"
        "between the timed ones are recorded command by command for that; --trace FILE writes the last of them.\n"
        "--inference times forward passes of a network made for evaluation, as eval and predict run it, from images "
        "to\n"
        "logits in host memory; weights are folded and packed before.\n"
        "--gemm times one matrix product by the device's own kernel, by CLBlast with the parameters that it ships, "
        "and\n"
        "with those set for the device; the ways take turns.\n",
    .run = run,
};
