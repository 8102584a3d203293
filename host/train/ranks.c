#include "train/ranks.h"
#include "graph/phase.h"
#include "train/settings.h"
#include "train/answers.h"
#include "io/files.h"
#include <stdlib.h>
#include <string.h>

/* --- meeting ------------------------------------------------------------------------------------ */

static const struct bl_collectives *all_of(const struct run *run) {
    return run->staged ? bl_staged_table(run->staged) : NULL;
}

int bl_run_wait_for_all(const struct run *run) {
    return bl_sum_host(all_of(run), &(double){0}, 1);
}

int bl_run_agree_to_stop(const struct run *run, bool *stops) {
    double wanted = *stops;
    int code = bl_sum_host(all_of(run), &wanted, 1);
    *stops = wanted > 0;
    return code;
}

/* Of what was asked for, but what a rank may have for itself; exact as a double, and its square. */
static double hash_of(const struct bl_train_options *given) {
    static const char *const own[] = {"device", "max_alloc", "cache", "tensorboard"};
    static const char *const deciding[] = {"BLANCH_KIND", "BLANCH_ROOTS"}; // what is exchanged
    uint64_t hash = BL_HASH_START;
    for (const struct bl_setting *s = bl_settings; s->key; s++) {
        bool shared = bl_setting_given(given, s);
        for (int i = 0; i < BL_COUNT(own); i++) shared = shared && strcmp(s->key, own[i]) != 0;
        cJSON *value = shared ? bl_setting_json(given, s) : NULL;
        char *text = value ? cJSON_PrintUnformatted(value) : NULL;
        if (text) hash = bl_hash(bl_hash(hash, s->key, strlen(s->key)), text, strlen(text));
        cJSON_free(text);
        cJSON_Delete(value);
    }
    if (given->shares) hash = bl_hash(hash, given->shares, strlen(given->shares));
    const int64_t checks[] = {given->validate, given->diagnose};
    hash = bl_hash(hash, checks, sizeof checks);
    for (int i = 0; i < BL_COUNT(deciding); i++) {
        const char *value = getenv(deciding[i]);
        hash = bl_hash(hash, value ? value : "", value ? strlen(value) + 1 : 1);
    }
    return (double)((hash ^ hash >> 32) & 0xfffff) + (given->resume ? 0x100000 : 0);
}

int bl_run_meet(struct run *run, const struct bl_train_options *given, int code) {
    if (!run->ranks || code) return code;
    if ((code = bl_staged_open(&run->staged, &run->ranks->all))) return code;
    const bool first = !run->ranks->rank;
    const double hash = hash_of(given), ranks = run->ranks->ranks;
    double found[] = {first ? run->found : 0, first && run->lock.taken, hash, hash * hash};
    code = bl_sum_host(all_of(run), found, BL_COUNT(found));
    if (!code && found[3] * ranks != found[2] * found[2]) // all are equal where they are their mean
        return bl_fail(BLANCH_EUSAGE, "ranks were started with different options: give all of them the same");
    run->found = (enum bl_found)found[0], run->entered = found[1] > 0;
    return code;
}

/* --- devices ------------------------------------------------------------------------------------ */

/* A device of a list, in memory of the run's. */
static int take_spec(struct run *run, const char *text, size_t length, int part) {
    const char *slash = memchr(text, '/', length);
    const bool divided = slash && !memchr(slash, ':', length - (size_t)(slash - text)); // without saying which part
    int written = divided ? snprintf(run->spec, sizeof run->spec, "%.*s:%d", (int)length, text, part)
                          : snprintf(run->spec, sizeof run->spec, "%.*s", (int)length, text);
    if (written < 0 || (size_t)written >= sizeof run->spec)
        return bl_fail(BLANCH_EUSAGE, "--device-per-rank: '%.*s' is no device", (int)length, text);
    run->o.device = run->spec;
    return 0;
}

/* Rank k of a host has the k-th of the list, or the only one; the k-th rank that has the same P:D/CORES its k-th part.
 */
static int choose_of_list(struct run *run, const char *list) {
    const struct bl_ranks *r = run->ranks;
    const int own = r->own->local;
    int count = 1, part = 0;
    for (const char *c = list; *c; c++) count += *c == ',';
    if (count > 1 && count != r->locals)
        return bl_fail(BLANCH_EUSAGE, "--device-per-rank names %d devices, and %s has %d ranks", count, r->own->host,
                       r->locals);
    const char *at = list, *mine = list;
    for (int k = 0; k < own && count > 1; k++) mine = strchr(mine, ',') + 1;
    const size_t length = strcspn(mine, ",");
    for (int k = 0; k < own; k++) {
        part += strcspn(at, ",") == length && !strncmp(at, mine, length);
        if (count > 1) at = strchr(at, ',') + 1;
    }
    return take_spec(run, mine, length, part);
}

/* Of one card under two platforms, one. */
static bool is_twin(struct blanch_device_info *const *infos, int i) {
    for (int k = 0; k < i; k++)
        if (*infos[i]->pci && !strcmp(infos[k]->pci, infos[i]->pci)) return true;
    return false;
}

/* GPUs and accelerators in their order, then the CPUs, of which ranks that are left over share one that can be divided.
 */
static int choose_by_itself(struct run *run, struct blanch_device_info *const *infos, int count) {
    const struct bl_ranks *r = run->ranks;
    const int own = r->own->local;
    const struct blanch_device_info *chosen = NULL, *shared = NULL;
    int devices = 0, before = 0;
    for (int cpus = 0; cpus < 2; cpus++)
        for (int i = 0; i < count; i++) {
            if ((infos[i]->kind == BLANCH_CPU) != (cpus == 1) || is_twin(infos, i)) continue;
            if (cpus && infos[i]->partition && !shared)
                shared = infos[i];
            else if (devices++ == own)
                chosen = infos[i];
        }
    const int parts = r->locals - devices, cores = shared && parts > 0 ? shared->compute_units / parts : 0;
    if (chosen) {
        snprintf(run->spec, sizeof run->spec, "%d:%d", chosen->platform, chosen->device);
    } else if (cores > 0) {
        before = own - devices;
        if (parts == 1)
            snprintf(run->spec, sizeof run->spec, "%d:%d", shared->platform, shared->device);
        else
            snprintf(run->spec, sizeof run->spec, "%d:%d/%d:%d", shared->platform, shared->device, cores, before);
    } else {
        return bl_fail(BLANCH_EUSAGE,
                       "%s has %d ranks, and %d devices%s: start fewer, or give --device-per-rank a list, which may "
                       "name a device more than once",
                       r->own->host, r->locals, devices + (shared != NULL),
                       shared ? ", one of which has fewer cores than are needed" : "");
    }
    run->o.device = run->spec;
    return 0;
}

/* What is asked for; without that, by itself. */
int bl_run_choose_device(struct run *run) {
    const char *list = run->o.device_per_rank, *chosen = getenv("BLANCH_DEVICE");
    struct blanch_device_info **infos = NULL;
    int count = 0;
    if (!run->ranks) return 0;
    if (!list && run->o.device) list = run->o.device;
    if (!list && chosen && *chosen) list = chosen;
    if (list && strcmp(list, "auto")) return choose_of_list(run, list);
    int code = blanch_devices_list(&infos, &count);
    if (infos) code = choose_by_itself(run, infos, count);
    free(infos);
    return code;
}

int bl_run_introduce(struct run *run) {
    const struct blanch_device_info *info = blanch_device_info(run->dev);
    char device[200];
    if (!run->ranks) return 0;
    snprintf(device, sizeof device, "%.150s (%s)", info->name, run->o.device);
    if (run->o.device == run->spec) run->o.device = NULL; // of this rank, not of the run
    return bl_ranks_describe(run->ranks, device);
}

enum { MOST_LEAST = 2 }; // what batch norm asks for

/* --- the batch ---------------------------------------------------------------------------------- */

/* Unlike devices may change their parts later: a quarter more has room. */
int bl_run_divide(struct run *run, int *batch) {
    *batch = run->o.network.batch;
    if (!run->ranks) return 0;
    run->part = (struct bl_division_of){run->ranks->rank, run->ranks->ranks, MOST_LEAST, run->share};
    const int whole = *batch, most = bl_divide_most(&run->part, whole),
              room = run->alike || run->shares_fixed ? 0 : most / 4;
    *batch = most + room < whole ? most + room : whole;
    return 0;
}

/* Statistics of its own need more than one value. Two passes of a step are both shared, or neither is. */
int bl_run_join(struct run *run) {
    const struct bl_train_options *o = &run->o;
    if (!run->ranks) return 0;
    const int own = bl_network_least_batch(run->net);
    run->part.least = o->sync_stats ? 1 : own < MOST_LEAST ? own : MOST_LEAST;
    const int least = run->part.least * run->part.ranks * (o->network.accumulate > 1 ? 2 : 1);
    if (o->network.batch < least)
        return bl_fail(BLANCH_EUSAGE, "--batch %d is the batch of all %d ranks: it is %d at least", o->network.batch,
                       run->part.ranks, least);
    return bl_graph_join(run->net->graph, all_of(run), run->o.sync_stats);
}

/* --- evaluation --------------------------------------------------------------------------------- */

/* The part of this rank, as in training: of a batch that is too small to share, all of it is rank 0's. */
static int test_part(const struct run *run, struct blanch_network *net, enum bl_split split,
                     struct blanch_metrics *metrics, struct bl_answers *answers) {
    const struct bl_loader_options options = {
        .split = split, .view = run->view, .batch = run->o.network.batch, .epochs = 1, .part = run->part};
    struct bl_loader *loader = NULL;
    struct bl_batch batch;
    int code = bl_loader_open(&loader, run->data, &options);
    while (!code && !(code = bl_loader_next(loader, &batch)) && batch.whole) {
        struct blanch_metrics some;
        if (!batch.count || (run->ranks->rank && bl_divide(&run->part, batch.whole).whole)) continue;
        if ((code = bl_network_eval_answers(net, &batch, &some, run->iou ? answers : NULL))) break;
        bl_metrics_add(metrics, &some);
        code = bl_check_interrupted();
    }
    bl_loader_close(loader);
    return code;
}

/* Of the classes of pixels, of all ranks. */
static int sum_answers(const struct run *run, struct bl_answers *answers) {
    const int classes = run->net->options.classes;
    int code = run->iou ? bl_answers_add_pixels(answers, NULL, NULL, 0, classes) : 0;
    return code || !run->iou ? code : bl_sum_host(all_of(run), answers->pixels, classes * classes);
}

static void keep_iou(const struct run *run, const struct bl_answers *answers, struct blanch_metrics *metrics) {
    for (int c = 0; run->iou && c < answers->classes; c++) run->iou[c] = bl_answers_iou(answers, c);
    if (run->iou && answers->classes) metrics->mean_iou = bl_answers_mean_iou(answers);
}

/* A rank that was interrupted says so where the others are. */
static int test_all(const struct run *run, struct blanch_network *net, enum bl_split split,
                    struct blanch_metrics *metrics, struct bl_answers *answers) {
    *metrics = (struct blanch_metrics){0};
    int code = test_part(run, net, split, metrics, answers);
    if (code && code != BLANCH_EINTERRUPTED) return code;
    const double of = metrics->pixels ? (double)metrics->pixels : metrics->count;
    double sums[] = {code != 0,
                     metrics->loss * of,
                     of,
                     metrics->count,
                     metrics->top1,
                     metrics->top5,
                     (double)metrics->pixels,
                     (double)metrics->right};
    code = bl_sum_host(all_of(run), sums, BL_COUNT(sums));
    if (!code && sums[0] == 0) code = sum_answers(run, answers);
    *metrics = (struct blanch_metrics){.loss = sums[1] / (sums[2] > 0 ? sums[2] : 1),
                                       .count = (int)sums[3],
                                       .top1 = (int)sums[4],
                                       .top5 = (int)sums[5],
                                       .pixels = (int64_t)sums[6],
                                       .right = (int64_t)sums[7]};
    return code || sums[0] == 0 ? code : bl_fail(BLANCH_EINTERRUPTED, "%s", blanch_error_text(BLANCH_EINTERRUPTED));
}

int bl_run_test(const struct run *run, struct blanch_network *net, enum bl_split split, struct blanch_metrics *metrics,
                double *seconds) {
    struct bl_answers answers = {0};
    const double start = bl_now();
    int code = run->ranks
                   ? test_all(run, net, split, metrics, &answers)
                   : bl_network_answer(net, run->data, split, &run->view, metrics, NULL, run->iou ? &answers : NULL);
    if (!code) keep_iou(run, &answers, metrics);
    bl_answers_free(&answers);
    *seconds = bl_now() - start;
    return code;
}

/* --- what is said and recorded ------------------------------------------------------------------ */

cJSON *bl_run_ranks_json(const struct run *run) {
    cJSON *array = run->ranks ? cJSON_CreateArray() : NULL;
    for (int k = 0; run->ranks && k < run->ranks->ranks; k++) {
        const struct bl_rank *r = bl_ranks_at(run->ranks, k);
        cJSON *row = cJSON_CreateObject();
        cJSON_AddNumberToObject(row, "rank", k);
        cJSON_AddStringToObject(row, "host", r->host);
        cJSON_AddStringToObject(row, "device", r->device);
        cJSON_AddNumberToObject(row, "share", run->share[k]);
        cJSON_AddItemToArray(array, row);
    }
    return array;
}

int bl_run_rank_times(const struct run *run, cJSON **json) {
    static const char *const names[] = {"step_ms", "communicate_ms", "communicate_hidden_ms", "load_ms", "wait_ms"};
    enum { TIMES = BL_COUNT(names) };
    const struct bl_ledger *ledger = run->session.ledger;
    if (!run->ranks) return 0;
    const double own[TIMES] = {bl_ledger_step_ms(ledger), bl_ledger_work(ledger, -1, BL_COMMUNICATE).ms,
                               bl_ledger_hidden_ms(ledger), bl_ledger_work(ledger, -1, BL_LOAD).ms,
                               bl_ledger_work(ledger, -1, BL_WAIT).ms};
    double *times = bl_calloc((size_t)run->ranks->ranks, sizeof own);
    int code = times ? all_of(run)->gather_host(all_of(run)->context, own, TIMES, times) : BLANCH_ENOMEM;
    *json = code ? NULL : bl_run_ranks_json(run);
    for (int k = 0; k < run->ranks->ranks && *json; k++)
        for (int i = 0; i < TIMES; i++)
            cJSON_AddItemToObject(cJSON_GetArrayItem(*json, k), names[i], bl_json_number(times[k * TIMES + i], 5));
    free(times);
    return code;
}

void bl_run_tell_ranks(const struct run *run) {
    for (int k = 0; run->ranks && k < run->ranks->ranks; k++) {
        const struct bl_rank *r = bl_ranks_at(run->ranks, k);
        bl_run_tell(run, BL_TRAIN_STARTED, "rank %d: %s, %s, %d parts of the batch", k, r->host, r->device,
                    run->share[k]);
    }
}
