/* Several settings of network deconvolution in one comparison: --settings '--refresh 5; small: --block 32;
 * --overhead-budget 20%'. */
#include "compare.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *trim(char *text) {
    text += strspn(text, " \t\n");
    for (size_t n = strlen(text); n && strchr(" \t\n", text[n - 1]); n--) text[n - 1] = 0;
    return text;
}

static int set(const struct bl_common *common, const char *budget, struct bl_compare_setting *setting) {
    int code = bl_common_nd(common, &setting->nd);
    setting->budget = -1;
    if (!code && budget) code = bl_budget_parse(budget, &setting->budget);
    if (!code && setting->budget >= 0 && setting->nd.refresh)
        code = bl_fail(BLANCH_EUSAGE, "--overhead-budget chooses when to refresh: leave --refresh out");
    return code;
}

/* text becomes a list of words; the label is what stands before a colon, or the options as given. */
static int parse_one(const struct bl_compare *c, char *text, struct bl_compare_setting *setting) {
    static const struct bl_command command = {.name = "--settings", .usage = ""};
    char *words[40] = {(char *)command.name}, *rest = NULL, *options = strstr(text, "--");
    struct bl_option table[BL_MAX_OPTIONS];
    struct bl_common common = c->common;
    const char *budget = NULL;
    const struct bl_option own[] = {{"overhead-budget", BL_OPT_TEXT, &budget, 0, 0, "P%", ""}, {0}};
    bool help = false;
    int count = 1;
    if (!options)
        return bl_fail(BLANCH_EUSAGE,
                       "--settings: '%s' holds no option; write it as in '--refresh 5; small: --block 32'", text);
    char *colon = options;
    while (colon > text && strchr(": ", colon[-1]) && colon[-1] != ':') colon--;
    if (options != text && (colon == text || colon[-1] != ':'))
        return bl_fail(BLANCH_EUSAGE, "--settings: '%s' is not NAME: OPTIONS", text);
    if (options == text)
        snprintf(setting->label, sizeof setting->label, "%s", text);
    else
        snprintf(setting->label, sizeof setting->label, "%.*s", (int)(colon - 1 - text), text);
    for (char *word = strtok_r(options, " ", &rest); word && count < BL_COUNT(words) - 1;
         word = strtok_r(NULL, " ", &rest))
        words[count++] = word;
    bl_common_options(table, own, &common, BL_COMMON_ND);
    common.nd.refresh = 0; // it and the budget are one choice, made here or taken whole
    int code = bl_options_parse(&command, table, count, words, NULL, &help);
    if (!budget && !common.nd.refresh) {
        budget = c->budget_text;
        common.nd.refresh = c->common.nd.refresh;
    }
    if (!code && help) code = bl_fail(BLANCH_EUSAGE, "--settings takes options of ND, not --help");
    return code ? bl_fail_in(code, "--settings") : set(&common, budget, setting);
}

int bl_compare_parse_settings(struct bl_compare *c) {
    char *list = bl_strdup(c->settings_text ? c->settings_text : ""), *rest = NULL;
    int code = list ? set(&c->common, c->budget_text, &c->setting[0]) : BLANCH_ENOMEM;
    c->settings = 1;
    for (char *part = list ? strtok_r(list, ";", &rest) : NULL; part && !code; part = strtok_r(NULL, ";", &rest)) {
        part = trim(part);
        if (!*part) continue;
        if (c->settings == BL_COMPARE_SETTINGS)
            code = bl_fail(BLANCH_EUSAGE, "--settings takes at most %d", BL_COMPARE_SETTINGS - 1);
        else
            code = parse_one(c, part, &c->setting[c->settings++]);
        for (int i = 0; !code && i < c->settings - 1; i++)
            if (!strcmp(c->setting[i].label, c->setting[c->settings - 1].label))
                code = bl_fail(BLANCH_EUSAGE, "--settings names '%s' twice", part);
    }
    free(list);
    return code;
}
