/* A comparison for people: a table of layers, then the totals. */
#include "compare.h"
#include "ops/nd/phase.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { COLUMNS = 7 };

static double get(const cJSON *object, const char *key) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsNumber(item) ? item->valuedouble : NAN;
}

static const char *text(const cJSON *object, const char *key) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsString(item) ? item->valuestring : "";
}

/* What the overhead is split into; the last column takes the phases that the others do not name. */
static const struct {
    const char *head;
    int phases[4];
    int count;
} columns[COLUMNS] = {
    {"convol.", {BL_FORWARD, BL_BACKWARD_DATA, BL_BACKWARD_WEIGHTS}, 3},
    {"covar.", {BL_COVARIANCE}, 1},
    {"inv.root", {BL_INVERSE_SQRT}, 1},
    {"fold", {BL_FOLD}, 1},
    {"whiten.b", {BL_WHITEN_BACKWARD}, 1},
    {"norm", {BL_NORM}, 1},
    {"other", {0}, 0},
};

struct line {
    double bn, nd, split[COLUMNS];
};

static double phase_difference(const cJSON *layer, int phase) {
    double bn = get(cJSON_GetObjectItemCaseSensitive(layer, "bn_phases"), bl_phase_names[phase]);
    double nd = get(cJSON_GetObjectItemCaseSensitive(layer, "nd_phases"), bl_phase_names[phase]);
    return (isnan(nd) ? 0 : nd) - (isnan(bn) ? 0 : bn);
}

static void add_line(struct line *line, const cJSON *layer) {
    double bn = get(layer, "bn_ms"), nd = get(layer, "nd_ms"), rest = nd - bn;
    line->bn += bn;
    line->nd += nd;
    for (int k = 0; k < COLUMNS - 1; k++)
        for (int p = 0; p < columns[k].count; p++) {
            double ms = phase_difference(layer, columns[k].phases[p]);
            line->split[k] += ms;
            rest -= ms;
        }
    line->split[COLUMNS - 1] += rest;
}

static void print_line(const char *name, const struct line *line) {
    printf("%-26.26s %9.2f %9.2f %+9.2f ", name, line->bn, line->nd, line->nd - line->bn);
    for (int k = 0; k < COLUMNS; k++) {
        if (fabs(line->split[k]) < 0.005)
            printf(" %8s", ".");
        else
            printf(" %+8.2f", line->split[k]);
    }
    putchar('\n');
}

static bool is_layer(const char *op) {
    return strstr(op, "conv2d") || strstr(op, "linear");
}

/* All operations of one kind in one line: there may be a hundred activations. */
static void print_kind(const cJSON *layers, const cJSON *first) {
    struct line line = {0};
    const char *op = text(first, "op");
    char name[64];
    const cJSON *layer;
    int count = 0;
    cJSON_ArrayForEach(layer, layers) {
        if (strcmp(text(layer, "op"), op)) continue;
        if (!count && layer != first) return;
        add_line(&line, layer);
        count++;
    }
    if (count > 1)
        snprintf(name, sizeof name, "%s (%d)", op, count);
    else
        snprintf(name, sizeof name, "%s", op);
    print_line(name, &line);
}

static void print_pair(const cJSON *pair) {
    const cJSON *layers = cJSON_GetObjectItemCaseSensitive(pair, "layers"), *layer;
    struct line all = {0};
    printf("%-26s %9s %9s %9s ", "layer", "BN ms", "ND ms", "overhead");
    for (int k = 0; k < COLUMNS; k++) printf(" %8s", columns[k].head);
    putchar('\n');
    cJSON_ArrayForEach(layer, layers) {
        struct line line = {0};
        add_line(&line, layer);
        add_line(&all, layer);
        if (is_layer(text(layer, "op")))
            print_line(text(layer, "name"), &line);
        else
            print_kind(layers, layer);
    }
    print_line("all rows", &all);
}

static const cJSON *device_of(const cJSON *document, const char *name) {
    const cJSON *device;
    cJSON_ArrayForEach(device, cJSON_GetObjectItemCaseSensitive(document, "devices")) if (!strcmp(text(device, "name"),
                                                                                                  name)) return device;
    return NULL;
}

static void print_value(const char *format, double value) {
    if (isfinite(value))
        printf(format, value);
    else
        printf("%11s", "-");
}

static void print_run(const cJSON *run) {
    const cJSON *epochs = cJSON_GetObjectItemCaseSensitive(run, "epochs");
    const cJSON *last = cJSON_GetArrayItem(epochs, cJSON_GetArraySize(epochs) - 1);
    char name[80];
    snprintf(name, sizeof name, "%s %s", text(run, "norm"), text(run, "setting"));
    printf("%-24.24s", name);
    print_value("%11.2f", get(run, "step_ms"));
    print_value("%11.0f", get(run, "images_per_s"));
    print_value("%11.2f", get(run, "inference_ms"));
    const cJSON *work = cJSON_GetObjectItemCaseSensitive(run, "work_all");
    print_value("%11.1f", 100 * get(work, "arithmetic"));
    print_value("%11.1f", 100 * get(work, "bandwidth"));
    print_value("%11.1f", 100 * get(run, "coverage"));
    print_value("%+11.1f", 100 * (get(run, "recording_cost") - 1));
    print_value("%11.4f", get(run, "last_loss"));
    print_value("%11.2f", get(last, "train_top1"));
    print_value("%11.2f", get(last, "test_top1"));
    print_value("%11.1f", get(run, "target_s"));
    putchar('\n');
}

/* A median step has no refresh in it, so a budget is judged by means. */
static void print_budget(const cJSON *document, const cJSON *pair) {
    const cJSON *run, *budget = NULL;
    cJSON_ArrayForEach(run, cJSON_GetObjectItemCaseSensitive(
                                document, "runs")) if (!strcmp(text(run, "norm"), "nd") &&
                                                       !strcmp(text(run, "device"), text(pair, "device")) &&
                                                       !strcmp(text(run, "setting"), text(pair, "setting"))) budget =
        cJSON_GetObjectItemCaseSensitive(run, "budget");
    if (!budget) return;
    printf("Budget %g %%: ", get(budget, "budget_pct"));
    if (isnan(get(budget, "held_pct")))
        printf("nothing was decided, the run is too short.\n");
    else
        printf("%d decisions; by its own measurements it held %+.1f %%, first steps included, and could do with %+.1f "
               "%%. By the clock: %+.1f %% "
               "in the %.0f steps after the first decision.\n",
               cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(budget, "decisions")), get(budget, "held_pct"),
               get(budget, "least_pct"), get(pair, "overhead_bound_pct"), get(pair, "bound_steps"));
}

static void print_device(const cJSON *document, const char *name) {
    const cJSON *device = device_of(document, name), *run, *pair;
    printf("\n%s on %s (%.0f compute units, %s, driver %s), batch %.0f\n\n", text(document, "model"), name,
           get(device, "compute_units"), text(device, "platform"), text(device, "driver"), get(document, "batch"));
    cJSON_ArrayForEach(pair,
                       cJSON_GetObjectItemCaseSensitive(document, "pairs")) if (!strcmp(text(pair, "device"), name)) {
        if (*text(pair, "setting")) printf("\nND, %s\n", text(pair, "setting"));
        print_pair(pair);
    }
    printf("\n%-24s%11s%11s%11s%11s%11s%11s%11s%11s%11s%11s%11s\n", "norm, setting", "step ms", "images/s", "infer. ms",
           "arithm. %", "bandw. %", "covered %", "recording%", "last loss", "train %", "test %", "target s");
    cJSON_ArrayForEach(run, cJSON_GetObjectItemCaseSensitive(document, "runs")) if (!strcmp(text(run, "device"), name))
        print_run(run);
    cJSON_ArrayForEach(pair,
                       cJSON_GetObjectItemCaseSensitive(document, "pairs")) if (!strcmp(text(pair, "device"), name)) {
        printf("\nND%s%s costs %+.1f %% per step (%.2f ms beside %.2f ms, medians; by the means of all steps %+.1f "
               "%%); inference %+.1f %%.\n",
               *text(pair, "setting") ? ", " : "", text(pair, "setting"), get(pair, "overhead_pct"),
               get(pair, "nd_step_ms"), get(pair, "bn_step_ms"), get(pair, "overhead_mean_pct"),
               100 * (get(pair, "nd_inference_ms") / get(pair, "bn_inference_ms") - 1));
        print_budget(document, pair);
    }
}

/* Which device trains this fastest, where there are several. */
static void print_fastest(const cJSON *document) {
    static const char *const norms[] = {"bn", "nd", "none"};
    const cJSON *run;
    if (cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(document, "devices")) < 2) return;
    putchar('\n');
    for (int n = 0; n < BL_COUNT(norms); n++) {
        const cJSON *best = NULL;
        cJSON_ArrayForEach(run, cJSON_GetObjectItemCaseSensitive(
                                    document, "runs")) if (!strcmp(text(run, "norm"), norms[n]) &&
                                                           (!best || get(run, "step_ms") < get(best, "step_ms"))) best =
            run;
        if (best)
            printf("Fastest with %s: %s%s%s, %.2f ms a step, %.0f images/s.\n", norms[n], text(best, "device"),
                   *text(best, "setting") ? ", " : "", text(best, "setting"), get(best, "step_ms"),
                   get(best, "images_per_s"));
    }
}

void bl_compare_print(const cJSON *document) {
    const cJSON *device;
    cJSON_ArrayForEach(device, cJSON_GetObjectItemCaseSensitive(document, "devices"))
        print_device(document, text(device, "name"));
    print_fastest(document);
}
