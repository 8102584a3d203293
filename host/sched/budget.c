/* Refreshes come in sweeps: one after another in the network's order, within a part of a period, each layer in every
 * 1st, 2nd, 4th ... sweep. Minimises sum(drift_i K_i) subject to sum(cost_i / K_i) <= allowance, K_i = x sqrt(cost_i /
 * drift_i) within bounds, rounded to powers of 2 of a common period. */
#include "sched/budget.h"
#include "base/text.h"
#include "io/files.h"
#include "io/json.h"
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    PAYBACK = 300, // steps over which a debt is paid back, where the allowance suffices
    YOUNG = 4,     // sweeps come at least every step/YOUNG steps: whitening moves most at the start
};
static const double smoothing = 0.4;         // weight of the newest measurement
static const double noticeable = 0.1;        // changes of a plan below this share are not worth a line
static const double negligible = 1e-6;       // cost of a refresh that is free
static const double believed = 1.5;          // a factor: what one measurement of the baseline may differ by
static const double sweep_share = 0.4;       // of a period, at most, until a sweep has reached the last layer
static const double negligible_share = 0.02; // of all costs: a layer below it sets no pace
static const double modest = 0.01;           // share of a batch-norm step that refreshes have whatever the budget

int bl_budget_parse(const char *text, double *share) {
    double value;
    *share = -1;
    if (!strcmp(text, "none")) return 0;
    size_t length = bl_text_decimal(text, &value);
    bool whole = length && !text[length + (text[length] == '%')];
    if (!whole || !(value >= 0 && value <= 10000))
        return bl_fail(BLANCH_EUSAGE, "--overhead-budget takes none or a percentage such as 20%%, not '%s'", text);
    *share = value / 100;
    return 0;
}

int bl_budget_create(struct bl_budget **budget, double share, int layers) {
    struct bl_budget *b = *budget = bl_calloc(1, sizeof *b);
    if (!b) return BLANCH_ENOMEM;
    b->share = share;
    b->count = layers;
    b->layer = bl_calloc((size_t)layers + 1, sizeof *b->layer);
    for (int i = 0; b->layer && i < layers; i++) b->layer[i].every = 1;
    return b->layer ? 0 : BLANCH_ENOMEM;
}

void bl_budget_free(struct bl_budget *budget) {
    if (!budget) return;
    free(budget->layer);
    free(budget);
}

/* --- deciding --------------------------------------------------------------------------------- */

double bl_budget_interval(const struct bl_budget *b, int layer) {
    return b->period * b->layer[layer].every;
}

static double period_now(const struct bl_budget *b) {
    return fmin(b->period, fmax((double)b->step / YOUNG, 1));
}

/* The step of a sweep in which it reaches a layer. */
static int64_t place_of(const struct bl_budget *b, int index) {
    int64_t steps = (int64_t)(sweep_share * period_now(b) + 0.5);
    if (steps > b->count) steps = b->count;
    return steps > 0 ? index * steps / b->count : 0;
}

/* A surplus is kept up to what all layers take, so that a quiet time does not pay for a busy one. The first sweeps are
 * for every layer: how much each moves is not known well yet. */
static void move_sweep(struct bl_budget *b) {
    double all = 0;
    const bool young = period_now(b) < b->period;
    b->phase += 1 / period_now(b);
    b->since++;
    if (b->phase >= 1) b->phase = fmod(b->phase, 1), b->sweep++, b->since = 0;
    if (!b->least) b->debt -= b->allowance;
    for (int i = 0; i < b->count; i++) {
        struct bl_budget_layer *layer = &b->layer[i];
        all += layer->cost;
        if (layer->sweep == b->sweep || b->since < place_of(b, i)) continue;
        layer->sweep = b->sweep;
        layer->refresh = young || b->sweep % layer->every == 0;
        if (!layer->refresh) continue;
        b->spent += layer->cost;
        if (!b->least) b->debt += layer->cost;
    }
    b->debt = fmax(b->debt, -all);
}

/* Where the steps that should have been measured could not be (all of them validated, say), they come again. */
static enum bl_budget_stage stage_of(const struct bl_budget *b, int64_t step) {
    if (b->planned) return BL_BUDGET_IS_PLANNED;
    if (step < BL_BUDGET_ALL) return step < BL_BUDGET_EXACT ? BL_BUDGET_IS_EXACT : BL_BUDGET_RENEWS;
    step = (step - BL_BUDGET_ALL) % (BL_BUDGET_WARMUP - BL_BUDGET_ALL);
    return !step ? BL_BUDGET_IS_UNMEASURED : step <= BL_BUDGET_BASE ? BL_BUDGET_IS_BASE : BL_BUDGET_REFRESHES;
}

void bl_budget_next(struct bl_budget *b) {
    b->stage = stage_of(b, b->step++);
    bool all = b->stage == BL_BUDGET_IS_EXACT || b->stage == BL_BUDGET_RENEWS || b->stage == BL_BUDGET_REFRESHES;
    for (int i = 0; i < b->count; i++) b->layer[i].refresh = all;
    if (b->planned) move_sweep(b);
    for (int i = 0; i < b->count; i++) b->layer[i].age = b->layer[i].refresh ? 0 : b->layer[i].age + 1;
}

/* --- measuring -------------------------------------------------------------------------------- */

static void smooth(double *value, double sample) {
    *value = *value > 0 ? *value + smoothing * (sample - *value) : sample;
}

/* wall = base + sum over refreshed layers of (refreshed_i - reused_i), with reused_i known as a share of the base step.
 */
double bl_budget_record(struct bl_budget *b, double wall_ms, const double *layer_ms) {
    double rest = wall_ms, share = 1;
    bool known = true;
    for (int i = 0; i < b->count; i++) {
        if (!b->layer[i].refresh) continue;
        rest -= layer_ms[i];
        share -= b->layer[i].reused;
        known &= b->layer[i].reused > 0;
    }
    for (int i = 0; i < b->count && b->stage <= BL_BUDGET_RENEWS && isfinite(wall_ms); i++)
        b->layer[i].warmup_ms += layer_ms[i], b->layer[i].samples++;
    if (!known || !(rest > 0) || !isfinite(rest) || share <= 0) return 0;
    double base = rest / share;
    for (int i = 0; i < b->count; i++) {
        struct bl_budget_layer *layer = &b->layer[i];
        smooth(layer->refresh ? &layer->refreshed : &layer->reused, layer_ms[i] / base);
        if (!(layer->warmup > 0) && layer->samples) layer->warmup = layer->warmup_ms / layer->samples / base;
    }
    return base;
}

/* What two batches differ by is no drift: the least change ever seen is taken off, up to nine tenths of the square. */
void bl_budget_change(struct bl_budget *b, int index, int64_t age, double change) {
    struct bl_budget_layer *layer = &b->layer[index];
    if (age < 1 || !(change > 0) || !isfinite(change)) return;
    if (!(layer->noise > 0) || change < layer->noise) layer->noise = change;
    double square = change * change, rest = fmax(square - layer->noise * layer->noise, 0.1 * square);
    smooth(&layer->drift, sqrt(rest) / (double)age);
}

/* A machine may change its speed between the two networks' steps. */
void bl_budget_measure(struct bl_budget *b, double baseline, int steps) {
    if (!(baseline > 0) || !isfinite(baseline)) return;
    if (b->baseline > 0) baseline = fmin(fmax(baseline, b->baseline / believed), b->baseline * believed);
    smooth(&b->baseline, baseline);
    b->debt += steps * baseline;
    b->spent += steps * baseline;
}

/* --- planning --------------------------------------------------------------------------------- */

static double cost_of(const struct bl_budget_layer *layer) {
    return fmax(layer->refreshed - layer->reused, 0);
}

static double interval_at(const struct bl_budget_layer *layer, double scale, double least_drift) {
    double cost = cost_of(layer);
    if (cost < negligible) return 1;
    return fmin(fmax(scale * sqrt(cost / fmax(layer->drift, least_drift)), 1), BL_BUDGET_LONGEST);
}

static double least_drift_of(const struct bl_budget *b) {
    double sum = 0;
    for (int i = 0; i < b->count; i++) sum += b->layer[i].drift;
    return fmax(0.02 * sum / (b->count ? b->count : 1), 1e-9);
}

static double load_at(const struct bl_budget *b, double scale, double least_drift) {
    double load = 0;
    for (int i = 0; i < b->count; i++) load += cost_of(&b->layer[i]) / interval_at(&b->layer[i], scale, least_drift);
    return load;
}

/* The scale at which the refreshes of a step just fit the allowance; load falls as it grows. */
static double fit_scale(const struct bl_budget *b, double allowance, double least_drift) {
    double low = 1e-9, high = 1e12;
    if (load_at(b, low, least_drift) <= allowance) return low;
    for (int i = 0; i < 200; i++) {
        double middle = sqrt(low * high);
        if (load_at(b, middle, least_drift) > allowance)
            low = middle;
        else
            high = middle;
    }
    return high;
}

/* What refreshes take where the budget leaves nothing for them: cheap layers that drift much still have theirs. */
static double least_load(const struct bl_budget *b) {
    return fmin(fmax(load_at(b, 1e12, least_drift_of(b)), modest * b->baseline), load_at(b, 1e-9, least_drift_of(b)));
}

static double allowance_of(const struct bl_budget *b) {
    return (1 + b->share) * b->baseline - 1;
}
/* At most half of the allowance goes into paying back, and nothing of what refreshes have in any case. Negative: a
 * surplus is spent. */
static double repay_of(const struct bl_budget *b) {
    double allowance = allowance_of(b), most = allowance - fmax(allowance / 2, least_load(b));
    return fmin(b->debt / PAYBACK, fmax(most, 0));
}

/* The warm-up's steps were made before anything was known of their price. */
static void charge_warmup(struct bl_budget *b) {
    for (int i = 0; i < b->count; i++) {
        double cost = BL_BUDGET_ALL * fmax(b->layer[i].warmup - b->layer[i].reused, 0) + cost_of(&b->layer[i]);
        b->spent += cost;
        b->debt += cost;
    }
    b->debt = fmax(b->debt - (double)b->step * fmax(allowance_of(b), 0), 0);
}

/* The shortest of the intervals that count. */
static double pace_of(const struct bl_budget *b, double scale, double least_drift) {
    double sum = 0, shortest = BL_BUDGET_LONGEST;
    for (int i = 0; i < b->count; i++) sum += cost_of(&b->layer[i]);
    for (int i = 0; i < b->count; i++)
        if (cost_of(&b->layer[i]) >= negligible_share * sum)
            shortest = fmin(shortest, interval_at(&b->layer[i], scale, least_drift));
    return shortest;
}

/* The power of 2 next to `ratio`; `now` where it is nearly as near. */
static int every_of(double ratio, int now) {
    if (now && fabs(log2(ratio / now)) < 0.75) return now;
    return 1 << (int)fmin(fmax(log2(ratio) + 0.5, 0), 10);
}

static double period_of(const struct bl_budget *b, double load) {
    double sum = 0;
    for (int i = 0; i < b->count; i++) sum += cost_of(&b->layer[i]) / b->layer[i].next;
    return fmin(fmax(sum / fmax(load, 1e-9), 1), BL_BUDGET_LONGEST);
}

/* Sets `next` of every layer; returns the period. */
static double share_out(const struct bl_budget *b, double load) {
    double least_drift = least_drift_of(b), scale = fit_scale(b, load, least_drift),
           pace = pace_of(b, scale, least_drift);
    for (int i = 0; i < b->count; i++) {
        struct bl_budget_layer *layer = &b->layer[i];
        layer->next = every_of(interval_at(layer, scale, least_drift) / pace, b->planned ? layer->every : 0);
    }
    double period = period_of(b, load);
    for (int i = 0; i < b->count; i++)
        while (b->layer[i].next > 1 && period * b->layer[i].next > BL_BUDGET_LONGEST) b->layer[i].next /= 2;
    return period_of(b, load);
}

static bool differs(double planned, double now) {
    return fabs(now - planned) > noticeable * fmax(fabs(planned), 1e-6);
}

static bool is_measured(const struct bl_budget *b) {
    bool all = b->baseline > 0;
    for (int i = 0; i < b->count; i++) all &= b->layer[i].refreshed > 0;
    return all;
}

bool bl_budget_plan(struct bl_budget *b, bool anyway) {
    if (!is_measured(b)) return false;
    if (!b->planned) charge_warmup(b);
    double allowance = allowance_of(b), repay = repay_of(b), load = least_load(b);
    bool least = allowance < load;
    double period = share_out(b, least ? load : allowance - repay);
    bool changed = anyway || !b->planned || least != b->least || differs(b->allowance + 1, allowance + 1) ||
                   differs(b->period, period);
    for (int i = 0; i < b->count; i++) changed |= b->layer[i].next != b->layer[i].every;
    if (!changed) return false;
    for (int i = 0; i < b->count; i++) b->layer[i].every = b->layer[i].next, b->layer[i].cost = cost_of(&b->layer[i]);
    b->planned_baseline = b->baseline;
    b->allowance = allowance;
    b->repay = least ? 0 : repay;
    b->period = period;
    b->planned = true;
    b->least = least;
    return true;
}

double bl_budget_floor(const struct bl_budget *b) {
    return b->baseline > 0 ? (1 + least_load(b)) / b->baseline - 1 : 0;
}

double bl_budget_held(const struct bl_budget *b) {
    return b->baseline > 0 && b->step ? (1 + b->spent / (double)b->step) / b->baseline - 1 : 0;
}

/* --- telling, keeping ------------------------------------------------------------------------- */

static void add(cJSON *object, const char *key, double value) {
    cJSON_AddItemToObject(object, key, bl_json_number(value, 5));
}

void bl_budget_describe(const struct bl_budget *b, double base_ms, cJSON *line) {
    add(line, "budget_pct", 100 * b->share);
    add(line, "base_ms", base_ms);
    add(line, "bn_ms", b->planned_baseline * base_ms);
    add(line, "allowance_ms", b->allowance * base_ms);
    add(line, "repay_ms", b->repay * base_ms);
    add(line, "debt_ms", b->debt * base_ms);
    add(line, "least_pct", 100 * bl_budget_floor(b));
    add(line, "held_pct", 100 * bl_budget_held(b));
    cJSON_AddBoolToObject(line, "feasible", !b->least);
    cJSON *layers = cJSON_AddArrayToObject(line, "layers");
    for (int i = 0; i < b->count; i++) {
        cJSON *layer = cJSON_CreateObject();
        cJSON_AddStringToObject(layer, "name", b->layer[i].name ? b->layer[i].name : "");
        add(layer, "interval", bl_budget_interval(b, i));
        add(layer, "refresh_ms", b->layer[i].cost * base_ms);
        add(layer, "drift", b->layer[i].drift);
        cJSON_AddItemToArray(layers, layer);
    }
}

/* What is kept, as arrays of numbers in this order: of the whole, of a layer. */
#define WHOLE(X)                                                                                                       \
    X(double, baseline)                                                                                                \
    X(double, planned_baseline)                                                                                        \
    X(double, allowance)                                                                                               \
    X(double, debt)                                                                                                    \
    X(double, repay)                                                                                                   \
    X(double, spent)                                                                                                   \
    X(double, period)                                                                                                  \
    X(double, phase)                                                                                                   \
    X(int64_t, sweep)                                                                                                  \
    X(int64_t, since)                                                                                                  \
    X(int64_t, step)                                                                                                   \
    X(bool, planned)                                                                                                   \
    X(bool, least)
#define LAYER(X)                                                                                                       \
    X(double, warmup)                                                                                                  \
    X(double, refreshed)                                                                                               \
    X(double, reused)                                                                                                  \
    X(double, drift)                                                                                                   \
    X(double, noise)                                                                                                   \
    X(double, cost)                                                                                                    \
    X(int, every)                                                                                                      \
    X(int64_t, sweep)                                                                                                  \
    X(int64_t, age)
#define SAVE(type, field) (double)from->field,
#define COUNT(type, field) +1
#define RESTORE(type, field)                                                                                           \
    if (sizeof(type) == sizeof(int) && fabs(*at) > INT_MAX) return false;                                              \
    to->field = (type)*at++;
enum { WHOLE_FIELDS = 0 WHOLE(COUNT), LAYER_FIELDS = 0 LAYER(COUNT) };

/* cJSON writes 15 digits where that is nearly the same number: here it is to be the same. */
static cJSON *exact_numbers(const double *numbers, int count) {
    cJSON *array = cJSON_CreateArray();
    for (int i = 0; i < count; i++) {
        char text[32];
        snprintf(text, sizeof text, "%.17g", numbers[i]);
        cJSON_AddItemToArray(array, cJSON_CreateRaw(text));
    }
    return array;
}

char *bl_budget_save(const struct bl_budget *budget) {
    cJSON *json = cJSON_CreateArray();
    {
        const struct bl_budget *from = budget;
        cJSON_AddItemToArray(json, exact_numbers((double[]){WHOLE(SAVE)}, WHOLE_FIELDS));
    }
    for (int i = 0; i < budget->count; i++) {
        const struct bl_budget_layer *from = &budget->layer[i];
        cJSON_AddItemToArray(json, exact_numbers((double[]){LAYER(SAVE)}, LAYER_FIELDS));
    }
    char *text = bl_json_print(json, false);
    cJSON_Delete(json);
    return text;
}

static bool read_numbers(const cJSON *array, double *numbers, int count) {
    if (cJSON_GetArraySize(array) != count) return false;
    for (int i = 0; i < count; i++) {
        const cJSON *item = cJSON_GetArrayItem(array, i);
        if (!cJSON_IsNumber(item) || !isfinite(item->valuedouble) || fabs(item->valuedouble) > 1e15) return false;
        numbers[i] = item->valuedouble;
    }
    return true;
}

static bool restore_whole(struct bl_budget *to, const cJSON *array) {
    double numbers[WHOLE_FIELDS], *at = numbers;
    if (!read_numbers(array, numbers, WHOLE_FIELDS)) return false;
    WHOLE(RESTORE)
    return to->step >= 0 && (!to->planned || to->period >= 1);
}

static bool restore_layer(struct bl_budget_layer *to, const cJSON *array) {
    double numbers[LAYER_FIELDS], *at = numbers;
    if (!read_numbers(array, numbers, LAYER_FIELDS)) return false;
    LAYER(RESTORE)
    return to->every >= 1;
}

int bl_budget_restore(struct bl_budget *b, const char *text) {
    cJSON *json = cJSON_Parse(text);
    if (!json && bl_memory_lacked()) return BLANCH_ENOMEM;
    bool fits = cJSON_GetArraySize(json) == b->count + 1 && restore_whole(b, cJSON_GetArrayItem(json, 0));
    for (int i = 0; fits && i < b->count; i++) fits = restore_layer(&b->layer[i], cJSON_GetArrayItem(json, i + 1));
    cJSON_Delete(json);
    return fits ? 0 : bl_fail(BLANCH_EINPUT, "the overhead budget's state does not fit the network's layers");
}
