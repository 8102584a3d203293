/* The networks of a comparison: those of --norms, batch norm at each rate of --sweep-lr, and those of --settings
 * '--refresh 5; small: --block 32; bn01: --norm bn --lr 0.01'. */
#include "base/text.h"
#include "compare.h"
#include "optim/optim.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *trim(char *text) {
    text += strspn(text, " \t\n");
    for (size_t n = strlen(text); n && strchr(" \t\n", text[n - 1]); n--) text[n - 1] = 0;
    return text;
}

const char *bl_compare_name(const struct bl_compare_setting *setting) {
    static char name[100];
    snprintf(name, sizeof name, "%s%s%s", bl_norm_name(setting->norm), *setting->label ? ", " : "",
             bl_shown(setting->label));
    return name;
}

bool bl_compare_has(const struct bl_compare *c, enum blanch_norm norm) {
    for (int s = 0; s < c->settings; s++)
        if (c->setting[s].norm == norm) return true;
    return false;
}

/* All but the label and the norm. */
static int resolve(const struct bl_common *common, const char *budget, struct bl_compare_setting *setting) {
    const char *schedule = common->schedule ? common->schedule : "cosine";
    const struct bl_optimiser *optimiser;
    int code = bl_common_nd(common, true, &setting->nd);
    if (!code) code = bl_precision_parse(common->precision, &setting->precision);
    setting->budget = -1;
    setting->update = common->update;
    if (!code) code = bl_optimiser_find(common->optimiser, &optimiser);
    if (!code) code = bl_update_resolve(common->optimiser, &setting->update);
    if (code) return code;
    setting->optimiser = optimiser->name;
    setting->schedule = (struct bl_schedule){
        .lr = setting->update.lr, .warmup = common->warmup, .warmup_epochs = common->warmup_epochs};
    snprintf(setting->schedule_text, sizeof setting->schedule_text, "%s", schedule);
    code = bl_schedule_parse(&setting->schedule, schedule);
    if (!code && budget) code = bl_budget_parse(budget, &setting->budget);
    if (!code && setting->budget >= 0 && setting->nd.refresh)
        code = bl_fail(BLANCH_EUSAGE, "--overhead-budget chooses when to refresh: leave --refresh out");
    return code;
}

static int add(struct bl_compare *c, const struct bl_compare_setting *setting) {
    if (c->settings == BL_COMPARE_RUNS)
        return bl_fail(BLANCH_EUSAGE, "more than %d networks at once are too many", BL_COMPARE_RUNS);
    if (setting->norm == BLANCH_ND && setting->nd.block == BL_BLOCK_AUTO && setting->budget < 0)
        return bl_fail(BLANCH_EUSAGE, "--block auto chooses blocks that an overhead budget allows: give "
                                      "--overhead-budget P%% too");
    c->setting[c->settings++] = *setting;
    if (setting->norm != BLANCH_ND) c->setting[c->settings - 1].budget = -1;
    return 0;
}

/* --- norms and rates -------------------------------------------------------------------------- */

/* Batch norm at each of the rates. */
static int add_rates(struct bl_compare *c) {
    char *list = bl_strdup(c->sweep_text), *rest = NULL;
    struct bl_compare_setting setting = c->own;
    const int first = c->settings;
    int code = list ? 0 : BLANCH_ENOMEM;
    setting.norm = BLANCH_BN;
    for (char *word = list ? strtok_r(list, ",", &rest) : NULL; word && !code; word = strtok_r(NULL, ",", &rest)) {
        double rate = 0;
        size_t length = bl_text_decimal(word, &rate);
        if (!length || word[length] || !(rate > 0 && rate <= 1e6))
            code =
                bl_fail(BLANCH_EUSAGE, "--sweep-lr takes learning rates such as 0.003,0.01,0.03,0.1, not '%s'", word);
        else if (!((float)rate > 0))
            code = bl_fail(BLANCH_EUSAGE, "--sweep-lr: %s is 0 in float32; give a larger rate", word);
        setting.update.lr = setting.schedule.lr = (float)rate;
        snprintf(setting.label, sizeof setting.label, "--lr %s", word);
        for (int i = first; !code && i < c->settings; i++)
            if (c->setting[i].update.lr == setting.update.lr)
                code = bl_fail(BLANCH_EUSAGE, "--sweep-lr names %s twice", word);
        if (!code) code = add(c, &setting);
    }
    free(list);
    if (!code && c->settings == first)
        code = bl_fail(BLANCH_EUSAGE, "--sweep-lr names no learning rate, such as 0.003,0.01,0.03,0.1");
    return code;
}

/* A file's own form is one of these: with batch norm or with deconvolution. */
static int parse_norm(const char *option, const char *name, enum blanch_norm *norm) {
    const bool known = !bl_norm_parse(name, norm);
    if (known && *norm != BLANCH_OWN) return 0;
    return bl_fail(BLANCH_EUSAGE, "%s takes bn, gn, ln, nd and none, not '%s'%s", option, name,
                   known ? ": what a file says itself is bn or nd" : "");
}

static int add_norm(struct bl_compare *c, const char *name) {
    struct bl_compare_setting setting = c->own;
    int code = parse_norm("--norms", name, &setting.norm);
    if (!code && bl_compare_has(c, setting.norm)) code = bl_fail(BLANCH_EUSAGE, "--norms names '%s' twice", name);
    if (code) return code;
    return setting.norm == BLANCH_BN && c->sweep_text ? add_rates(c) : add(c, &setting);
}

static int add_norms(struct bl_compare *c) {
    char *list = bl_strdup(c->norm_list), *rest = NULL;
    int code = list ? 0 : BLANCH_ENOMEM;
    for (char *name = list ? strtok_r(list, ",", &rest) : NULL; name && !code; name = strtok_r(NULL, ",", &rest))
        code = add_norm(c, name);
    free(list);
    if (code) return code;
    if (!c->settings)
        return bl_fail(BLANCH_EUSAGE, "--norms names nothing; it takes bn, gn, ln, nd, none, separated by commas");
    if (c->sweep_text && !bl_compare_has(c, BLANCH_BN))
        return bl_fail(BLANCH_EUSAGE, "--sweep-lr is for batch norm, and --norms has no bn");
    return 0;
}

/* --- further settings ------------------------------------------------------------------------- */

struct words {
    char *word[40];
    int count;
    struct bl_common common; // before: what holds where a setting says nothing
    const char *budget;
};

static int parse_words(struct words *words) {
    static const struct bl_command command = {
        .name = "a setting",
        .usage = "of `blanch train --help` it takes --norm, --precision, --overhead-budget and the options of "
                 "optimiser, rate and deconvolution"};
    struct bl_option table[BL_MAX_OPTIONS];
    const struct bl_option own[] = {
        {"norm", BL_OPT_TEXT, &words->common.norm, 0, 0, "bn|gn|ln|nd|none", ""},
        {"overhead-budget", BL_OPT_TEXT, &words->budget, 0, 0, "P%", ""},
        {0},
    };
    bool help = false;
    bl_common_options(table, own, &words->common,
                      BL_COMMON_ND | BL_COMMON_OPTIMISER | BL_COMMON_UPDATE | BL_COMMON_PRECISION);
    return bl_options_parse(&command, table, words->count, words->word, NULL, &help);
}

/* What is given is on top of the command line's; another optimiser begins from its own defaults. A setting without a
 * norm is deconvolution's, where --norms has it, else the first of --norms. */
static int parse_options(const struct bl_compare *c, struct words *given, struct bl_compare_setting *setting) {
    bl_common_init(&given->common);
    int code = parse_words(given);
    if (code) return code;
    const char *norm = given->common.norm, *optimiser = given->common.optimiser;
    setting->norm = bl_compare_has(c, BLANCH_ND) ? BLANCH_ND : c->setting[0].norm;
    if (norm && (code = parse_norm("--norm", norm, &setting->norm))) return code;
    if ((code = bl_common_refuse_unused(&given->common, setting->norm == BLANCH_ND))) return code;
    if (given->budget && setting->norm != BLANCH_ND)
        return bl_fail(BLANCH_EUSAGE, "--overhead-budget bounds network deconvolution: give --norm nd");
    struct words whole = *given;
    const bool own_refresh = given->common.nd.refresh || given->budget;
    whole.common = c->common;
    if (optimiser && strcmp(optimiser, c->own.optimiser)) whole.common.update = (struct blanch_update)BL_UPDATE_DEFAULT;
    if (given->common.nd_preset) whole.common.nd.block = 0, whole.common.whiten = whole.common.cov_samples = NULL;
    if (own_refresh) whole.common.nd.refresh = 0; // it and the budget are one choice, made here or taken whole
    if (!own_refresh) whole.budget = c->budget_text;
    code = parse_words(&whole);
    return code ? code : resolve(&whole.common, setting->norm == BLANCH_ND ? whole.budget : NULL, setting);
}

static void set_label(struct bl_compare_setting *setting, const char *text) {
    snprintf(setting->label, sizeof setting->label, "%.*s", (int)bl_text_fit(text, sizeof setting->label), text);
}

/* text becomes a list of words; the label is what stands before a colon, or the options as given. */
static int parse_one(const struct bl_compare *c, char *text, struct bl_compare_setting *setting) {
    struct words words = {.word = {"--settings"}, .count = 1};
    char *rest = NULL, *options = strstr(text, "--");
    if (!options)
        return bl_fail(BLANCH_EUSAGE,
                       "--settings: '%s' holds no option; write it as in '--refresh 5; small: --block 32'", text);
    char *colon = options;
    while (colon > text && strchr(" \t\n", colon[-1])) colon--;
    if (options != text && (colon == text || colon[-1] != ':'))
        return bl_fail(BLANCH_EUSAGE, "--settings: '%s' is not NAME: OPTIONS", text);
    if (colon == text + 1) return bl_fail(BLANCH_EUSAGE, "--settings: '%s' has no name before its colon", text);
    if (options != text) colon[-1] = 0;
    set_label(setting, trim(text));
    for (char *word = strtok_r(options, " \t\n", &rest); word; word = strtok_r(NULL, " \t\n", &rest)) {
        if (words.count == BL_COUNT(words.word) - 1)
            return bl_fail(BLANCH_EUSAGE, "--settings: %s has more than %d words", bl_shown(setting->label),
                           words.count - 1);
        words.word[words.count++] = word;
    }
    int code = parse_options(c, &words, setting);
    return code ? bl_fail_in(code, "--settings") : 0;
}

/* Norm and label are what a run is known by. */
static bool is_taken(const struct bl_compare *c, const struct bl_compare_setting *setting) {
    for (int i = 0; i < c->settings; i++)
        if (c->setting[i].norm == setting->norm && !strcmp(c->setting[i].label, setting->label)) return true;
    return false;
}

static int refuse_taken(const struct bl_compare_setting *setting, const char *text) {
    const bool cut = strlen(text) >= sizeof setting->label;
    return bl_fail(BLANCH_EUSAGE, "--settings names %s twice, the second time in '%s'%s", bl_compare_name(setting),
                   text, cut ? ": give it a short name, as in 'small: --block 32'" : "");
}

static int add_setting(struct bl_compare *c, const char *text) {
    struct bl_compare_setting setting = {.label = ""};
    char *words = bl_strdup(text);
    int code = words ? parse_one(c, words, &setting) : BLANCH_ENOMEM;
    free(words);
    if (!code && is_taken(c, &setting)) code = refuse_taken(&setting, text);
    return code ? code : add(c, &setting);
}

int bl_compare_parse_settings(struct bl_compare *c) {
    char *list = bl_strdup(c->settings_text ? c->settings_text : ""), *rest = NULL;
    int code = list ? resolve(&c->common, c->budget_text, &c->own) : BLANCH_ENOMEM;
    if (!code) code = add_norms(c);
    for (char *part = list ? strtok_r(list, ";", &rest) : NULL; part && !code; part = strtok_r(NULL, ";", &rest)) {
        part = trim(part);
        if (*part) code = add_setting(c, part);
    }
    free(list);
    if (!code && c->own.budget >= 0 && !bl_compare_has(c, BLANCH_ND))
        code = bl_fail(BLANCH_EUSAGE, "--overhead-budget bounds network deconvolution, and --norms has no nd");
    return code;
}
