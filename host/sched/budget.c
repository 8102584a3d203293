/* Minimises sum(drift_i K_i) subject to sum(cost_i / K_i) <= allowance: K_i = x sqrt(cost_i / drift_i), within bounds. A
 * step earns the allowance and refreshes what is most overdue while the credit lasts. */
#include "sched/budget.h"
#include "io/files.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PAYBACK = 300 };                     // steps over which a debt is paid back, where the allowance suffices
static const double smoothing = 0.4;        // weight of the newest measurement
static const double noticeable = 0.1;       // changes of a plan below this share are not worth a line
static const double negligible = 1e-6;      // cost of a refresh that is free
static const double believed = 1.5;         // a factor: what one measurement of the yardstick may differ by
static const double modest = 0.01;          // share of a batch-norm step that refreshes have whatever the budget

int bl_budget_parse(const char *text, double *share) {
    char *end;
    *share = -1;
    if (!strcmp(text, "none")) return 0;
    double value = strtod(text, &end);
    if (end != text && *end == '%') end++;
    if (end == text || *end || *text == ' ' || !(value >= 0 && value <= 10000))
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
    for (int i = 0; b->layer && i < layers; i++) b->layer[i].interval = 1;
    return b->layer ? 0 : BLANCH_ENOMEM;
}

void bl_budget_free(struct bl_budget *budget) {
    if (!budget) return;
    free(budget->layer);
    free(budget);
}

/* --- deciding --------------------------------------------------------------------------------- */

static void refresh(struct bl_budget *b, struct bl_budget_layer *layer) {
    layer->refresh = true;
    b->credit -= layer->cost;
    b->spent += layer->cost;
    layer->due = fmin(fmax(layer->due - 1, 0), 0.5);
}

static struct bl_budget_layer *most_due(struct bl_budget *b) {
    struct bl_budget_layer *best = NULL;
    for (int i = 0; i < b->count; i++) {
        struct bl_budget_layer *at = &b->layer[i];
        if (!at->refresh && at->due >= 1 && (!best || at->due > best->due)) best = at;
    }
    return best;
}

/* Credit may fall below nothing by half a refresh, so that on average it is used up; it does not grow beyond what the
 * dearest layer takes. */
static void spend_credit(struct bl_budget *b) {
    double repay = fmin(b->repay, b->debt), dearest = 0;
    struct bl_budget_layer *layer;
    b->debt -= repay;
    b->credit += b->allowance - repay;
    for (int i = 0; i < b->count; i++) {
        b->layer[i].due += 1 / b->layer[i].interval;
        dearest = fmax(dearest, b->layer[i].cost);
    }
    while ((layer = most_due(b)) && (b->least || b->credit >= layer->cost / 2)) refresh(b, layer);
    b->credit = fmax(fmin(b->credit, dearest + b->allowance), -dearest);
}

/* Where the steps that should have been measured could not be (all of them validated, say), they come again. */
static enum bl_budget_stage stage_of(const struct bl_budget *b, int64_t step) {
    if (b->planned) return BL_BUDGET_IS_PLANNED;
    if (step < BL_BUDGET_ALL) return step < BL_BUDGET_EXACT ? BL_BUDGET_IS_EXACT : BL_BUDGET_OPENS;
    step = (step - BL_BUDGET_ALL) % (BL_BUDGET_OPENING - BL_BUDGET_ALL);
    return !step ? BL_BUDGET_WARMS : step <= BL_BUDGET_BASE ? BL_BUDGET_IS_BASE : BL_BUDGET_REFRESHES;
}

void bl_budget_next(struct bl_budget *b) {
    b->stage = stage_of(b, b->step++);
    bool all = b->stage == BL_BUDGET_IS_EXACT || b->stage == BL_BUDGET_OPENS || b->stage == BL_BUDGET_REFRESHES;
    for (int i = 0; i < b->count; i++) b->layer[i].refresh = all;
    if (b->planned) spend_credit(b);
    for (int i = 0; i < b->count; i++) b->layer[i].age = b->layer[i].refresh ? 0 : b->layer[i].age + 1;
}

/* --- measuring -------------------------------------------------------------------------------- */

static void smooth(double *value, double sample) {
    *value = *value > 0 ? *value + smoothing * (sample - *value) : sample;
}

/* wall = base + sum over refreshed layers of (refreshed_i - kept_i), with kept_i known as a share of the base step. */
double bl_budget_record(struct bl_budget *b, double wall_ms, const double *layer_ms) {
    double rest = wall_ms, share = 1;
    bool known = true;
    for (int i = 0; i < b->count; i++) {
        if (!b->layer[i].refresh) continue;
        rest -= layer_ms[i];
        share -= b->layer[i].kept;
        known &= b->layer[i].kept > 0;
    }
    for (int i = 0; i < b->count && b->stage <= BL_BUDGET_OPENS && isfinite(wall_ms); i++)
        b->layer[i].opening_ms += layer_ms[i], b->layer[i].samples++;
    if (!known || !(rest > 0) || !isfinite(rest) || share <= 0) return 0;
    double base = rest / share;
    for (int i = 0; i < b->count; i++) {
        struct bl_budget_layer *layer = &b->layer[i];
        smooth(layer->refresh ? &layer->refreshed : &layer->kept, layer_ms[i] / base);
        if (!(layer->opening > 0) && layer->samples) layer->opening = layer->opening_ms / layer->samples / base;
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
void bl_budget_measure(struct bl_budget *b, double yardstick, int steps) {
    if (!(yardstick > 0) || !isfinite(yardstick)) return;
    if (b->yardstick > 0) yardstick = fmin(fmax(yardstick, b->yardstick / believed), b->yardstick * believed);
    smooth(&b->yardstick, yardstick);
    b->debt += steps * yardstick;
    b->spent += steps * yardstick;
    b->repay = fmax(b->repay, b->debt / PAYBACK);
}

/* --- planning --------------------------------------------------------------------------------- */

static double cost_of(const struct bl_budget_layer *layer) { return fmax(layer->refreshed - layer->kept, 0); }

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
        if (load_at(b, middle, least_drift) > allowance) low = middle;
        else high = middle;
    }
    return high;
}

/* What refreshes take where the budget leaves nothing for them: cheap layers that drift much still have theirs. */
static double least_load(const struct bl_budget *b) {
    return fmin(fmax(load_at(b, 1e12, least_drift_of(b)), modest * b->yardstick), load_at(b, 1e-9, least_drift_of(b)));
}

static double allowance_of(const struct bl_budget *b) { return (1 + b->share) * b->yardstick - 1; }
/* At most half of the allowance goes into paying back, and nothing of what refreshes have in any case. */
static double repay_of(const struct bl_budget *b) {
    double allowance = allowance_of(b), most = allowance - fmax(allowance / 2, least_load(b));
    return fmin(fmax(b->debt / PAYBACK, 0), fmax(most, 0));
}

/* The opening's steps were made before anything was known of their price. */
static void open_account(struct bl_budget *b) {
    for (int i = 0; i < b->count; i++) {
        double cost = BL_BUDGET_ALL * fmax(b->layer[i].opening - b->layer[i].kept, 0) + cost_of(&b->layer[i]);
        b->spent += cost;
        b->debt += cost;
        b->layer[i].due = fmod(0.618034 * (i + 1), 1);      // spread over the interval, neighbours apart
    }
    b->debt = fmax(b->debt - (double)b->step * fmax(allowance_of(b), 0), 0);
}

static bool differs(double planned, double now) { return fabs(now - planned) > noticeable * fmax(fabs(planned), 1e-6); }

static bool is_measured(const struct bl_budget *b) {
    bool all = b->yardstick > 0;
    for (int i = 0; i < b->count; i++) all &= b->layer[i].refreshed > 0;
    return all;
}

bool bl_budget_plan(struct bl_budget *b, bool anyway) {
    if (!is_measured(b)) return false;
    if (!b->planned) open_account(b);
    double least_drift = least_drift_of(b), allowance = allowance_of(b), repay = repay_of(b), load = least_load(b);
    bool least = allowance < load;
    double scale = fit_scale(b, least ? load : allowance - repay, least_drift);
    bool changed = anyway || !b->planned || least != b->least || differs(b->allowance + 1, allowance + 1);
    for (int i = 0; i < b->count; i++)
        changed |= differs(b->layer[i].interval, interval_at(&b->layer[i], scale, least_drift));
    if (!changed) return false;
    for (int i = 0; i < b->count; i++) {
        b->layer[i].interval = interval_at(&b->layer[i], scale, least_drift);
        b->layer[i].cost = cost_of(&b->layer[i]);
    }
    b->planned_yardstick = b->yardstick;
    b->allowance = allowance;
    b->repay = least ? 0 : repay;
    b->planned = true;
    b->least = least;
    return true;
}

double bl_budget_floor(const struct bl_budget *b) {
    return b->yardstick > 0 ? (1 + least_load(b)) / b->yardstick - 1 : 0;
}

double bl_budget_held(const struct bl_budget *b) {
    return b->yardstick > 0 && b->step ? (1 + b->spent / (double)b->step) / b->yardstick - 1 : 0;
}

/* --- telling, keeping ------------------------------------------------------------------------- */

static void add(cJSON *object, const char *key, double value) {
    cJSON_AddItemToObject(object, key, bl_json_number(value, 5));
}

void bl_budget_describe(const struct bl_budget *b, double base_ms, cJSON *line) {
    add(line, "budget_pct", 100 * b->share);
    add(line, "base_ms", base_ms);
    add(line, "bn_ms", b->planned_yardstick * base_ms);
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
        add(layer, "interval", b->layer[i].interval);
        add(layer, "refresh_ms", b->layer[i].cost * base_ms);
        add(layer, "drift", b->layer[i].drift);
        cJSON_AddItemToArray(layers, layer);
    }
}

/* The fields of a layer and of the whole, in this order, as arrays of numbers. */
enum { LAYER_FIELDS = 9, FIELDS = 9 };
static void layer_fields(struct bl_budget_layer *l, double *field[LAYER_FIELDS - 1]) {
    double *all[] = {&l->opening, &l->refreshed, &l->kept, &l->drift, &l->noise, &l->cost, &l->interval, &l->due};
    memcpy(field, all, sizeof all);
}
static void fields_of(struct bl_budget *b, double *field[FIELDS - 3]) {
    double *all[] = {&b->yardstick, &b->planned_yardstick, &b->allowance, &b->debt, &b->repay, &b->credit};
    memcpy(field, all, sizeof all);
}

char *bl_budget_save(const struct bl_budget *budget) {
    struct bl_budget *b = (struct bl_budget *)budget;
    double *field[FIELDS], numbers[FIELDS];
    cJSON *json = cJSON_CreateArray();
    fields_of(b, field);
    for (int i = 0; i < FIELDS - 3; i++) numbers[i] = *field[i];
    numbers[FIELDS - 3] = b->spent;
    numbers[FIELDS - 2] = b->planned + 2 * b->least;
    numbers[FIELDS - 1] = (double)b->step;
    cJSON_AddItemToArray(json, cJSON_CreateDoubleArray(numbers, FIELDS));
    for (int i = 0; i < b->count; i++) {
        layer_fields(&b->layer[i], field);
        for (int k = 0; k < LAYER_FIELDS - 1; k++) numbers[k] = *field[k];
        numbers[LAYER_FIELDS - 1] = (double)b->layer[i].age;
        cJSON_AddItemToArray(json, cJSON_CreateDoubleArray(numbers, LAYER_FIELDS));
    }
    char *text = cJSON_PrintUnformatted(json);
    cJSON_Delete(json);
    return text;
}

static bool read_numbers(const cJSON *array, double *numbers, int count) {
    if (cJSON_GetArraySize(array) != count) return false;
    for (int i = 0; i < count; i++) {
        const cJSON *item = cJSON_GetArrayItem(array, i);
        if (!cJSON_IsNumber(item) || !isfinite(item->valuedouble)) return false;
        numbers[i] = item->valuedouble;
    }
    return true;
}

int bl_budget_restore(struct bl_budget *b, const char *text) {
    double *field[FIELDS], numbers[FIELDS];
    cJSON *json = cJSON_Parse(text);
    bool fits = cJSON_GetArraySize(json) == b->count + 1 && read_numbers(cJSON_GetArrayItem(json, 0), numbers, FIELDS);
    fields_of(b, field);
    for (int i = 0; fits && i < FIELDS - 3; i++) *field[i] = numbers[i];
    if (fits) {
        b->spent = numbers[FIELDS - 3];
        b->planned = (int)numbers[FIELDS - 2] & 1;
        b->least = (int)numbers[FIELDS - 2] & 2;
        b->step = (int64_t)numbers[FIELDS - 1];
    }
    for (int i = 0; fits && i < b->count; i++) {
        fits = read_numbers(cJSON_GetArrayItem(json, i + 1), numbers, LAYER_FIELDS) && numbers[6] >= 1;
        layer_fields(&b->layer[i], field);
        for (int k = 0; fits && k < LAYER_FIELDS - 1; k++) *field[k] = numbers[k];
        if (fits) b->layer[i].age = (int64_t)numbers[LAYER_FIELDS - 1];
    }
    cJSON_Delete(json);
    return fits ? 0 : bl_fail(BLANCH_EINPUT, "the overhead budget's state does not fit the network's layers");
}
