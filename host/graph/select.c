/* Parameters by their names: which weight decay leaves out, and which stay as they are. */
#include "graph/internal.h"
#include "base/text.h"
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A shell's pattern of the name, or of what stands before one of its dots: "layer1" is all of layer1.0.conv1.weight. */
static bool names(const char *pattern, const char *name) {
    char part[sizeof((struct bl_param *)0)->name];
    if (!fnmatch(pattern, name, 0)) return true;
    for (const char *dot = strchr(name, '.'); dot; dot = strchr(dot + 1, '.')) {
        snprintf(part, sizeof part, "%.*s", (int)(dot - name), name);
        if (!fnmatch(pattern, part, 0)) return true;
    }
    return false;
}

static bool is_norm_or_bias(const struct bl_param *param) {
    const char *last = strrchr(param->name, '.');
    return param->node->op->role == BL_ROLE_NORMALISATION || (last && !strcmp(last, ".bias"));
}

static bool selects(struct bl_patterns *patterns, const struct bl_param *param) {
    bool any = false;
    for (int i = 0; i < patterns->count; i++) {
        const char *pattern = patterns->text[i];
        if (!(strcmp(pattern, "norm-bias") ? names(pattern, param->name) : is_norm_or_bias(param))) continue;
        patterns->used[i] = any = true;
    }
    return any;
}

void bl_graph_select_param(struct bl_graph *graph, struct bl_param *param) {
    param->no_decay = selects(&graph->no_decay, param);
    param->frozen = selects(&graph->frozen, param);
}

/* Separated by commas. */
static int split(struct bl_patterns *patterns, const char *option, const char *text) {
    char *rest = NULL;
    *patterns = (struct bl_patterns){.option = option, .all = text ? bl_strdup(text) : NULL};
    if (!text) return 0;
    if (!patterns->all) return BLANCH_ENOMEM;
    for (char *part = strtok_r(patterns->all, ",", &rest); part; part = strtok_r(NULL, ",", &rest)) {
        if (patterns->count == BL_MAX_PATTERNS)
            return bl_fail(BLANCH_EUSAGE, "--%s takes up to %d patterns", option, BL_MAX_PATTERNS);
        patterns->text[patterns->count++] = part;
    }
    return patterns->count ? 0 : bl_fail(BLANCH_EUSAGE, "--%s names nothing", option);
}

int bl_graph_select(struct bl_graph *graph, const char *no_decay, const char *frozen) {
    int code = split(&graph->no_decay, "no-decay", no_decay);
    return code ? code : split(&graph->frozen, "freeze-layers", frozen);
}

enum { NAME = sizeof((struct bl_param *)0)->name };

static void take_nearer(const char *word, const char *name, char best[NAME]) {
    char other[NAME];
    snprintf(other, sizeof other, "%s", name);
    const char *const names[] = {*best ? best : other, other, NULL};
    const char *near = bl_nearest(word, names);
    if (near == other) snprintf(best, NAME, "%s", other);
}

/* What a pattern may have meant: a parameter, what stands before one of its dots, or the word; "": nothing is near. */
static void suggest(const struct bl_graph *graph, const char *word, char best[NAME]) {
    *best = 0;
    take_nearer(word, "norm-bias", best);
    for (int i = 0; i < bl_graph_params(graph); i++) {
        const char *name = bl_graph_param(graph, i)->name;
        char part[NAME];
        for (const char *dot = strchr(name, '.'); dot; dot = strchr(dot + 1, '.')) {
            snprintf(part, sizeof part, "%.*s", (int)(dot - name), name);
            take_nearer(word, part, best);
        }
        take_nearer(word, name, best);
    }
}

static int check_used(const struct bl_graph *graph, const struct bl_patterns *patterns) {
    char near[NAME];
    for (int i = 0; i < patterns->count; i++) {
        if (patterns->used[i] || !strcmp(patterns->text[i], "norm-bias")) continue;
        suggest(graph, patterns->text[i], near);
        return bl_fail(BLANCH_EUSAGE, "--%s: no parameter is named '%s'%s%s%s; `blanch models NAME` lists the layers",
                       patterns->option, patterns->text[i], *near ? ", did you mean '" : "", near, *near ? "'?" : "");
    }
    return 0;
}

int bl_graph_check_selected(const struct bl_graph *graph) {
    int code = check_used(graph, &graph->no_decay);
    if (!code) code = check_used(graph, &graph->frozen);
    if (code || !graph->frozen.count) return code;
    return bl_graph_trainable(graph) ? 0 : bl_fail(BLANCH_EUSAGE, "--freeze-layers leaves nothing to train");
}

bool bl_node_trains(const struct bl_node *node) {
    for (int i = 0; i < node->params; i++)
        if (!node->param[i]->frozen) return true;
    return false;
}
