/* Rows of several documents: which repeat one another, which may be compared, and whether they differ. */
#include "report/differ.h"
#include "report/result_internal.h"
#include "base/text.h"
#include "io/files.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_inference(const struct bl_run_result *run) {
    return isnan(run->step_ms) && run->inference_ms > 0;
}

static bool varies(const struct bl_run_result *run) {
    return run->nd.refresh > 1 || !isnan(run->nd.overhead_budget_pct);
}

double bl_run_ms(const struct bl_run_result *run) {
    if (is_inference(run)) return run->inference_ms;
    return varies(run) && run->mean_ms > 0 ? run->mean_ms : run->step_ms;
}

double bl_run_spread(const struct bl_run_result *run) {
    const double ms = is_inference(run) ? run->inference_ms : run->step_ms;
    return ms > 0 ? 100 * (run->step_ms_quartile3 - run->step_ms_quartile1) / ms : NAN;
}

/* --- why not ---------------------------------------------------------------------------------- */

struct reasons {
    char *text;
    size_t size, used;
};

static void BL_PRINTF(2, 3) add(struct reasons *why, const char *format, ...) {
    va_list list;
    if (why->used + 3 >= why->size) return;
    if (why->used) why->used += (size_t)snprintf(why->text + why->used, why->size - why->used, "; ");
    va_start(list, format);
    const int length = vsnprintf(why->text + why->used, why->size - why->used, format, list);
    va_end(list);
    why->used += length > 0 ? (size_t)length : 0;
    if (why->used >= why->size) why->used = bl_text_fit(why->text, why->size);
}

static const char *precision(const struct bl_result *result) {
    return *result->precision ? result->precision : "fp32";
}

/* Of what was asked for, what a step's time depends on; the rest (devices, paths, seeds, rates) is not. Runs of a
 * comparison say themselves what their deconvolution is. */
static const char *const options[] = {"size", "input", "accumulate", "recompute", "max_alloc", "no_tune", NULL};
static const char *const nd_options[] = {"block",        "nd_iter",        "sampling_stride", "whiten", "cov_samples",
                                         "nd_preset",    "block_fc",       "whiten_grad",     "freeze", "refresh",
                                         "nd_keep_norm", "channel_deconv", "overhead_budget", NULL};

static void value_text(const cJSON *value, const char *none, char *text, size_t size) {
    char *printed = value ? cJSON_PrintUnformatted(value) : NULL;
    const char *shown = cJSON_IsString(value) ? value->valuestring : printed ? printed : none;
    snprintf(text, size, "%.*s", (int)bl_text_fit(shown, size), shown);
    free(printed);
}

static void compare_options(const struct bl_result *ra, const struct bl_result *rb, const char *const *names,
                            struct reasons *why) {
    const cJSON *a = ra->settings, *b = rb->settings;
    const bool alike = !strcmp(ra->header.kind, rb->header.kind); // a run does not record --no-tune
    for (int i = 0; names[i]; i++) {
        const cJSON *one = cJSON_GetObjectItemCaseSensitive(a, names[i]),
                    *other = cJSON_GetObjectItemCaseSensitive(b, names[i]);
        char texts[2][60], name[32];
        if ((!one && !other) || cJSON_Compare(one, other, true)) continue;
        if (!alike && !strcmp(names[i], "no_tune")) continue;
        value_text(one, "by default", texts[0], sizeof texts[0]);
        value_text(other, "the default", texts[1], sizeof texts[1]);
        snprintf(name, sizeof name, "%s", names[i]);
        for (char *c = name; (c = strchr(c, '_'));) *c = '-';
        add(why, "--%s %s, not %s", name, texts[0], texts[1]);
    }
}

/* What an option says of a run of a document that is no comparison; NAN: nothing. */
static double asked(const struct bl_result *result, const char *key) {
    const char *text = bl_json_text(result->settings, key); // "20%"
    double value = bl_json_get(result->settings, key);
    return *text && !bl_text_decimal(text, &value) ? NAN : value;
}

static double refresh_of(const struct bl_result *result, const struct bl_run_result *run) {
    const double steps = isnan(run->nd.block) ? asked(result, "refresh") : run->nd.refresh;
    return steps > 1 ? steps : 1;
}

/* Per cent; 0: none. */
static double budget_of(const struct bl_result *result, const struct bl_run_result *run) {
    const double budget = isnan(run->nd.block) ? asked(result, "overhead_budget") : run->nd.overhead_budget_pct;
    return isnan(budget) ? 0 : budget;
}

static void nd_text(const struct bl_result_field *field, double value, char text[32]) {
    if (bl_field_is_auto(field, value))
        snprintf(text, 32, "auto");
    else
        snprintf(text, 32, "%.6g", value);
}

/* Options that make the same network make no difference. Of a bench beside a comparison all but these two tells in the
 * network's hash alone. */
static void compare_nd(const struct bl_result *a, const struct bl_run_result *ra, const struct bl_result *b,
                       const struct bl_run_result *rb, struct reasons *why) {
    const bool same = *ra->network_hash && !strcmp(ra->network_hash, rb->network_hash);
    const bool both = !same && !isnan(ra->nd.block) && !isnan(rb->nd.block);
    for (const struct bl_result_field *f = bl_nd_fields; both && f->key; f++) {
        const double one = bl_field_value(f, &ra->nd), other = bl_field_value(f, &rb->nd);
        if (one == other || isnan(one) || isnan(other)) continue;
        char texts[2][32];
        nd_text(f, one, texts[0]), nd_text(f, other, texts[1]);
        if (strcmp(f->key, "refresh") && strcmp(f->key, "overhead_budget_pct"))
            add(why, "%s %s, not %s", f->key, texts[0], texts[1]);
    }
    const double refresh[] = {refresh_of(a, ra), refresh_of(b, rb)}, budget[] = {budget_of(a, ra), budget_of(b, rb)};
    if (refresh[0] != refresh[1]) add(why, "refresh %.6g, not %.6g", refresh[0], refresh[1]);
    if (budget[0] != budget[1]) add(why, "an overhead budget of %.6g %%, not %.6g", budget[0], budget[1]);
}

/* A comparison says it of each run, a run of training and a bench of their document, the last where it was given. */
static const char *optimiser(const struct bl_result *result, const struct bl_run_result *run) {
    const char *asked = bl_json_text(result->settings, "optimiser");
    return *run->update.optimiser      ? run->update.optimiser
           : *result->update.optimiser ? result->update.optimiser
           : *asked                    ? asked
                                       : "sgd";
}

static bool same_version(const struct bl_header *a, const struct bl_header *b) {
    return !strcmp(a->version, b->version) && !strcmp(a->commit, b->commit);
}

/* Of layers of one name the first that another engine computed; another device or version has its own choice. */
static void compare_engines(const struct bl_run_result *a, const struct bl_run_result *b, struct reasons *why) {
    for (int i = 0, at = 0; i < a->step.rows; i++) {
        const struct bl_ledger_row *row = &a->step.row[i], *other = NULL;
        for (int j = at; j < b->step.rows && j < at + 16 && !other; j++) // some took no time in one and are left out
            if (!strcmp(b->step.row[j].name, row->name)) other = &b->step.row[j], at = j + 1;
        for (int pass = 0; other && pass < BL_COUNT(row->engine); pass++) {
            const char *one = row->engine[pass], *two = other->engine[pass];
            if (!*one || !*two || !strcmp(one, two)) continue;
            add(why, "other engines (%s, %s: %s, not %s)", row->name, bl_phase_names[BL_FORWARD + pass], one, two);
            return;
        }
    }
}

/* Why run a's time says nothing beside run b's, of the same network by name: "" where it does. */
static void compare(const struct bl_result *a, const struct bl_run_result *ra, const struct bl_result *b,
                    const struct bl_run_result *rb, char *text, size_t size) {
    struct reasons why = {text, size, 0};
    *text = 0;
    if (is_inference(ra) != is_inference(rb))
        add(&why, "%s, not %s", is_inference(ra) ? "inference" : "training",
            is_inference(rb) ? "inference" : "training");
    if (a->batch != b->batch) add(&why, "batch %.15g, not %.15g", a->batch, b->batch);
    if (strcmp(precision(a), precision(b))) add(&why, "%s, not %s", precision(a), precision(b));
    compare_options(a, b, options, &why);
    if (isnan(ra->nd.block) && isnan(rb->nd.block))
        compare_options(a, b, nd_options, &why);
    else if (!strcmp(ra->norm, "nd"))
        compare_nd(a, ra, b, rb, &why);
    const char *one = optimiser(a, ra), *other = optimiser(b, rb);
    if (strcmp(one, other)) add(&why, "%s, not %s", one, other);
    if ((ra->ranks > 1 || rb->ranks > 1) && ra->ranks != rb->ranks)
        add(&why, "%d ranks, not %d", ra->ranks > 1 ? ra->ranks : 1, rb->ranks > 1 ? rb->ranks : 1);
    if (!why.used && *ra->network_hash && *rb->network_hash && strcmp(ra->network_hash, rb->network_hash))
        add(&why, "another network of that name (%s, not %s)", ra->network_hash, rb->network_hash);
    if (!why.used && same_version(&a->header, &b->header) && bl_same_place(a, ra->device, b, rb->device))
        compare_engines(ra, rb, &why);
}

bool bl_may_compare(const struct bl_result *a, const struct bl_run_result *ra, const struct bl_result *b,
                    const struct bl_run_result *rb) {
    char why[400];
    if (a != b) compare(a, ra, b, rb, why, sizeof why);
    return a == b || !*why;
}

/* Of one network, with one norm. */
static bool is_alike(const struct bl_result *a, const struct bl_run_result *ra, const struct bl_result *b,
                     const struct bl_run_result *rb) {
    return !strcmp(a->model, b->model) && !strcmp(ra->norm, rb->norm);
}

/* --- repeats ---------------------------------------------------------------------------------- */

/* A comparison has no run twice: its like runs have other rates. */
static bool repeats(const struct bl_repeats *group, const struct bl_result *result, const struct bl_run_result *run) {
    char why[400];
    if (group->result == result || !is_alike(group->result, group->run, result, run)) return false;
    if (!same_version(&group->result->header, &result->header)) return false;
    if (!bl_same_place(group->result, group->run->device, result, run->device)) return false;
    compare(group->result, group->run, result, run, why, sizeof why);
    return !*why;
}

static int by_value(const void *a, const void *b) {
    const double one = *(const double *)a, other = *(const double *)b;
    return (one > other) - (one < other);
}

/* values: room for as many as there are runs. */
static void measure(struct bl_repeats *group, const struct bl_result *results, int count, double *values) {
    int found = 0;
    for (int d = 0; d < count; d++)
        for (int r = 0; r < results[d].runs; r++) {
            const struct bl_run_result *run = &results[d].run[r];
            const double ms = bl_run_ms(run);
            if ((run == group->run || repeats(group, &results[d], run)) && ms > 0) values[found++] = ms;
        }
    group->count = found;
    group->ms = NAN, group->spread_pct = NAN;
    if (!found) return;
    qsort(values, (size_t)found, sizeof *values, by_value);
    group->ms = found % 2 ? values[found / 2] : (values[found / 2 - 1] + values[found / 2]) / 2;
    group->spread_pct = found > 1 ? 100 * (values[found - 1] - values[0]) / group->ms : bl_run_spread(group->run);
}

/* --- differences ------------------------------------------------------------------------------ */

/* Of the groups before it that may be compared the first; else the first that may not, of another document, with why:
 * settings within a document are meant to differ. */
static void find_other(struct bl_difference *list, int at) {
    struct bl_difference *d = &list[at];
    for (int i = 0; i < at; i++) {
        const struct bl_repeats *other = &list[i].of;
        char why[sizeof d->why];
        if (!is_alike(d->of.result, d->of.run, other->result, other->run)) continue;
        compare(d->of.result, d->of.run, other->result, other->run, why, sizeof why);
        const bool within = other->result == d->of.result;
        if ((*why && within) || (within && other->run->device == d->of.run->device) || (*why && d->against.run))
            continue;
        d->against = *other;
        memcpy(d->why, why, sizeof why);
        if (!*why) break;
    }
    if (d->against.run && !*d->why) d->pct = 100 * (d->of.ms / d->against.ms - 1);
}

/* Nothing of another document has its network and norm. */
static bool is_alone(const struct bl_difference *list, int count, int at) {
    for (int i = 0; i < count; i++)
        if (list[i].of.result != list[at].of.result &&
            is_alike(list[i].of.result, list[i].of.run, list[at].of.result, list[at].of.run))
            return false;
    return list[at].of.count < 2;
}

static int count_runs(const struct bl_result *results, int count) {
    int runs = 0;
    for (int d = 0; d < count; d++) runs += results[d].runs;
    return runs;
}

int bl_differences(const struct bl_result *results, int count, struct bl_difference **list, int *differences) {
    const int most = count_runs(results, count);
    struct bl_difference *found = bl_calloc((size_t)most + 1, sizeof *found);
    double *values = bl_calloc((size_t)most + 1, sizeof *values);
    int used = 0;
    *list = found, *differences = 0;
    for (int d = 0; d < count && found && values; d++)
        for (int r = 0; r < results[d].runs; r++) {
            const struct bl_run_result *run = &results[d].run[r];
            bool known = !(bl_run_ms(run) > 0);
            for (int i = 0; i < used && !known; i++) known = repeats(&found[i].of, &results[d], run);
            if (known) continue;
            found[used] = (struct bl_difference){.of = {.result = &results[d], .run = run}, .pct = NAN};
            measure(&found[used].of, results, count, values);
            find_other(found, used++);
        }
    for (int i = 0; i < used && count > 1; i++)
        if (!found[i].against.run && is_alone(found, used, i))
            snprintf(found[i].why, sizeof found[i].why, "no other document has this network with this norm");
    free(values);
    if (!found || !values) return free(found), *list = NULL, BLANCH_ENOMEM;
    *differences = used;
    return 0;
}

bool bl_difference_is_none(const struct bl_difference *d) {
    return fabs(d->pct) <= fmax(d->of.spread_pct, d->against.spread_pct);
}

const struct bl_difference *bl_difference_of(const struct bl_difference *list, int differences,
                                             const struct bl_result *result, const struct bl_run_result *run) {
    for (int i = 0; i < differences; i++)
        if (list[i].of.run == run || repeats(&list[i].of, result, run)) return &list[i];
    return NULL;
}

/* --- in words --------------------------------------------------------------------------------- */

static const char *name_of(const struct bl_repeats *group) {
    return group->result->source ? group->result->source : "this";
}

void bl_difference_say(const struct bl_difference *d, char *text, size_t size) {
    const struct bl_repeats *of = &d->of, *against = &d->against;
    struct reasons line = {text, size, 0};
    char of_name[300], against_name[300], runs[100] = "";
    *text = 0;
    snprintf(of_name, sizeof of_name, "%s", name_of(of));
    if (against->run) snprintf(against_name, sizeof against_name, "%s", name_of(against));
    if (of->count > 1)
        snprintf(runs, sizeof runs, "%d runs take %.4g ms, %.2g %% from least to most", of->count, of->ms,
                 of->spread_pct);
    if (*runs) add(&line, "%s: %s", of_name, runs);
    if (*d->why && against->run)
        add(&line, "%s is not comparable with %s: %s", of_name, against_name, d->why);
    else if (*d->why)
        add(&line, "%s is not comparable: %s", of_name, d->why);
    else if (against->run && bl_difference_is_none(d))
        add(&line, "%s and %s: no difference (%+.2g %%, where the spread is %.2g %%)", of_name, against_name, d->pct,
            fmax(of->spread_pct, against->spread_pct));
    else if (against->run)
        add(&line, "%s takes %.3g %% %s than %s%s", of_name, fabs(d->pct), d->pct > 0 ? "more" : "less", against_name,
            isnan(fmax(of->spread_pct, against->spread_pct)) ? ", of unknown spread" : "");
}

static cJSON *repeats_json(const struct bl_repeats *group) {
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "source", group->result->source ? group->result->source : "");
    cJSON_AddStringToObject(json, "device", group->result->device[group->run->device].label);
    cJSON_AddNumberToObject(json, "runs", group->count);
    cJSON_AddItemToObject(json, "ms", bl_json_number(group->ms, 6));
    cJSON_AddItemToObject(json, "spread_pct", bl_json_number(group->spread_pct, 4));
    return json;
}

cJSON *bl_difference_json(const struct bl_difference *d) {
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "model", d->of.result->model);
    cJSON_AddStringToObject(json, "norm", d->of.run->norm);
    cJSON_AddStringToObject(json, "setting", d->of.run->setting);
    cJSON_AddItemToObject(json, "of", repeats_json(&d->of));
    cJSON_AddItemToObject(json, "against", d->against.run ? repeats_json(&d->against) : cJSON_CreateNull());
    cJSON_AddStringToObject(json, "not_comparable", d->why);
    cJSON_AddItemToObject(json, "difference_pct", bl_json_number(d->pct, 4));
    cJSON_AddBoolToObject(json, "none", bl_difference_is_none(d));
    return json;
}

/* --- batch norm beside it --------------------------------------------------------------------- */

/* What tells the devices apart: the machine, or what of the device. */
static void compare_places(const struct bl_result *a, int device, const struct bl_result *b, int other,
                           struct reasons *why) {
    const struct bl_device_facts *one = &a->device[device].facts, *two = &b->device[other].facts;
    if (bl_same_place(a, device, b, other)) return;
    if (strcmp(one->name, two->name))
        add(why, "another device");
    else if (strcmp(one->driver, two->driver) || strcmp(one->version, two->version) ||
             strcmp(one->platform, two->platform))
        add(why, "the same device under another driver, %s, not %s", *two->driver ? two->driver : two->version,
            *one->driver ? one->driver : one->version);
    else
        add(why, "another device or machine of that name");
}

const struct bl_run_result *bl_bn_beside(const struct bl_result *results, int count, const struct bl_result *result,
                                         const struct bl_run_result *run, char *text, size_t size) {
    const struct bl_run_result *found = bl_result_run(result, run->device, "bn", NULL);
    struct reasons why = {text, size, 0};
    if (text) *text = 0;
    for (int d = 0; d < count && !found; d++) {
        const struct bl_result *other = &results[d];
        for (int r = 0; r < other->runs && !found; r++) {
            const struct bl_run_result *bn = &other->run[r];
            if (strcmp(bn->norm, "bn") || strcmp(other->model, result->model)) continue;
            if (bl_same_task(other, result) && bl_same_place(other, bn->device, result, run->device)) found = bn;
            if (found || !text || why.used) continue;
            if (other->batch != result->batch) add(&why, "batch %.15g, not %.15g", other->batch, result->batch);
            if (strcmp(precision(other), precision(result)))
                add(&why, "%s, not %s", precision(other), precision(result));
            compare_places(result, run->device, other, bn->device, &why);
        }
    }
    if (found && text) *text = 0;
    return found;
}
