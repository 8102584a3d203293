/* Options from a table, on getopt_long: conversions, ranges, suggestions, --help. */
#include "cli.h"
#include "help.h"
#include "base/text.h"
#include "io/files.h"
#include <ctype.h>
#include <getopt.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_VALUE = 256, MAX_OPTIONS = 96 };

/* --- values --------------------------------------------------------------------------------- */

static const char *number_words(const struct bl_option *option) {
    switch (option->kind) {
    case BL_OPT_INT:
    case BL_OPT_INT64:
        return "a whole number";
    case BL_OPT_AUTO:
        return "auto or a whole number";
    case BL_OPT_BYTES:
        return "a size such as 512M or 4GiB";
    default:
        return "a number";
    }
}

static int bad_value(const struct bl_option *option, const char *text) {
    if (option->min == 0 && option->max == 0)
        return bl_fail(BLANCH_EUSAGE, "--%s takes %s, not '%s'", option->name, number_words(option), text);
    if (option->max >= 1e15)
        return bl_fail(BLANCH_EUSAGE, "--%s takes %s of at least %g, not '%s'", option->name, number_words(option),
                       option->min, text);
    return bl_fail(BLANCH_EUSAGE, "--%s takes %s from %.10g to %.10g, not '%s'", option->name, number_words(option),
                   option->min, option->max, text);
}

static bool in_range(const struct bl_option *option, double value) {
    if (option->min == 0 && option->max == 0) return true;
    return value >= option->min && value <= option->max;
}

static int read_integer(const struct bl_option *option, const char *text) {
    long long value;
    size_t length = bl_text_whole(text, &value);
    if (!length || text[length]) return bad_value(option, text);
    bool fits = option->kind == BL_OPT_INT64 || (value >= INT_MIN && value <= INT_MAX);
    if (!fits || !in_range(option, (double)value)) return bad_value(option, text);
    if (option->kind == BL_OPT_INT64)
        *(int64_t *)option->value = value;
    else
        *(int *)option->value = (int)value;
    return 0;
}

static int read_float(const struct bl_option *option, const char *text) {
    double value;
    size_t length = bl_text_decimal(text, &value);
    if (!length || text[length] || !isfinite((float)value) || !in_range(option, value)) return bad_value(option, text);
    if (value != 0 && (float)value == 0)
        return bl_fail(BLANCH_EUSAGE, "--%s: %s is 0 in float32; give 0 or a larger number", option->name, text);
    *(float *)option->value = (float)value;
    return 0;
}

/* 4096, 512M, 4G, 4GB, 4GiB: powers of 1024 throughout. */
static int read_bytes(const struct bl_option *option, const char *text) {
    static const char letters[] = "KMGT";
    double value;
    size_t length = bl_text_decimal(text, &value);
    const char *end = text + length;
    if (!length || *text == '-') return bad_value(option, text);
    const char *letter = *end ? strchr(letters, toupper((unsigned char)*end)) : NULL;
    if (letter) {
        for (const char *p = letters; p <= letter; p++) value *= 1024;
        end++;
        if (*end == 'i') end++;
    }
    if (toupper((unsigned char)*end) == 'B') end++;
    if (*end || !(value < 9e18) || !in_range(option, value)) return bad_value(option, text);
    *(uint64_t *)option->value = (uint64_t)value;
    return 0;
}

static bool is_place(const struct bl_option *option) {
    return option->argument && (!strcmp(option->argument, "FILE") || !strcmp(option->argument, "DIR"));
}

static int read_value(const struct bl_option *option, const char *text) {
    switch (option->kind) {
    case BL_OPT_FLAG:
        *(bool *)option->value = true;
        return 0;
    case BL_OPT_AUTO:
        if (!strcmp(text, "auto")) return *(int *)option->value = BL_AUTO, 0;
        return read_integer(option, text);
    case BL_OPT_INT:
    case BL_OPT_INT64:
        return read_integer(option, text);
    case BL_OPT_FLOAT:
        return read_float(option, text);
    case BL_OPT_BYTES:
        return read_bytes(option, text);
    default:
        if (!*text && is_place(option)) return bl_fail(BLANCH_EUSAGE, "--%s: an empty name", option->name);
        *(const char **)option->value = text;
        return 0;
    }
}

/* --- parsing -------------------------------------------------------------------------------- */

static int unknown_option(const struct bl_command *command, const struct bl_option *options, const char *text) {
    const char *names[MAX_OPTIONS + 1] = {NULL};
    for (int i = 0; options && options[i].name; i++) names[i] = options[i].name;
    char word[BL_MAX_WORD + 1];
    snprintf(word, sizeof word, "%.*s", (int)strcspn(text + strspn(text, "-"), "="), text + strspn(text, "-"));
    const char *near = bl_nearest(word, names);
    if (near) return bl_fail(BLANCH_EUSAGE, "%s has no option '%s', did you mean --%s?", command->name, text, near);
    if (!command->run) return bl_fail(BLANCH_EUSAGE, "%s has no option '%s'; %s", command->name, text, command->usage);
    return bl_fail(BLANCH_EUSAGE, "%s has no option '%s'; `blanch %s --help` lists them", command->name, text,
                   command->name);
}

/* As getopt_long answers for the option of this letter; else the letter. */
static int find_letter(const struct bl_option *options, int letter) {
    for (int i = 0; options && options[i].name; i++)
        if (letter && options[i].letter == letter) return FIRST_VALUE + i;
    return letter;
}

/* optopt names the option whose value is missing (':') or superfluous ('?'); it is 0 for unknown and ambiguous ones. */
static int wrong_option(const struct bl_command *command, const struct bl_option *options, int answer, char **argv) {
    const char *text = argv[optind - 1];
    optopt = find_letter(options, optopt);
    if (optopt >= FIRST_VALUE) {
        const struct bl_option *option = &options[optopt - FIRST_VALUE];
        if (answer == ':')
            return bl_fail(BLANCH_EUSAGE, "--%s needs a value%s%s", option->name, option->argument ? ": " : "",
                           option->argument ? option->argument : "");
        return bl_fail(BLANCH_EUSAGE, "--%s takes no value, drop it from '%s'", option->name, text);
    }
    char single[] = {'-', (char)optopt, 0}; // of a word of several, getopt is not past it yet
    return unknown_option(command, options, optopt ? single : text);
}

static int fill_table(const struct bl_option *options, struct option *table) {
    int count = 0;
    for (; options && options[count].name; count++) {
        if (count == MAX_OPTIONS) return bl_fail(BLANCH_EUSAGE, "a subcommand has more than %d options", MAX_OPTIONS);
        table[count] =
            (struct option){options[count].name, options[count].kind == BL_OPT_FLAG ? no_argument : required_argument,
                            NULL, FIRST_VALUE + count};
    }
    table[count] = (struct option){"help", optional_argument, NULL, 'h'};
    return 0;
}

/* '+' stops at each operand, so that other libraries than glibc, which do not reorder, behave the same. */
static void list_letters(const struct bl_option *options, char *letters) {
    for (const char *c = "+:h"; *c; c++) *letters++ = *c;
    for (; options && options->name; options++)
        if (options->letter) *letters++ = options->letter, *letters++ = ':';
    *letters = 0;
}

static void restart_getopt(void) {
#ifdef __GLIBC__
    optind = 0;
#else
    optind = 1;
#endif
    opterr = 0;
}

int bl_options_parse(const struct bl_command *command, const struct bl_option *options, int argc, char **argv,
                     int *operands, bool *help) {
    struct option table[MAX_OPTIONS + 2] = {0};
    char letters[2 * MAX_OPTIONS + 4];
    int count = 0, error = fill_table(options, table);
    *help = false;
    if (error) return error;
    list_letters(options, letters);
    restart_getopt();
    for (bool only_operands = false; !only_operands || optind < argc;) {
        int answer = only_operands ? -1 : getopt_long(argc, argv, letters, table, NULL);
        if (answer != 'h') answer = find_letter(options, answer);
        if (answer == 'h') {
            enum bl_help form;
            if (!command->run) return bl_fail(BLANCH_EUSAGE, "%s takes no --help; %s", command->name, command->usage);
            *help = true;
            if ((error = bl_help_parse(optarg, &form))) return error;
            bl_help_print(command, options, form);
            return 0;
        }
        if (answer == -1) {
            if (!only_operands && optind > 1 && !strcmp(argv[optind - 1], "--")) only_operands = true;
            if (optind >= argc) break;
            if (!operands) return bl_fail(BLANCH_EUSAGE, "%s takes no argument '%s'", command->name, argv[optind]);
            argv[++count] = argv[optind++];
            continue;
        }
        if (answer < FIRST_VALUE) return wrong_option(command, options, answer, argv);
        if ((error = read_value(&options[answer - FIRST_VALUE], optarg))) return error;
    }
    if (operands) *operands = count;
    return 0;
}

/* --- for documents ---------------------------------------------------------------------------- */

/* NULL: it was not given; 0 and NAN mean that where the option's range leaves them out. */
static cJSON *value_json(const struct bl_option *option) {
    const char *text;
    double value;
    switch (option->kind) {
    case BL_OPT_FLAG:
        return *(const bool *)option->value ? cJSON_CreateTrue() : NULL;
    case BL_OPT_TEXT:
        text = *(const char *const *)option->value;
        return text ? cJSON_CreateString(text) : NULL;
    case BL_OPT_FLOAT:
        value = (double)*(const float *)option->value;
        return in_range(option, value) ? bl_json_float(*(const float *)option->value) : NULL;
    case BL_OPT_AUTO:
        if (*(const int *)option->value == BL_AUTO) return cJSON_CreateString("auto");
        value = *(const int *)option->value;
        break;
    case BL_OPT_INT:
        value = *(const int *)option->value;
        break;
    case BL_OPT_BYTES:
        value = (double)*(const uint64_t *)option->value;
        break;
    default:
        value = (double)*(const int64_t *)option->value;
    }
    return in_range(option, value) ? cJSON_CreateNumber(value) : NULL;
}

cJSON *bl_options_json(const struct bl_option *options) {
    cJSON *json = cJSON_CreateObject();
    for (; options->name; options++) {
        char key[64];
        bool shown = options->help && strcmp(options->name, "json");
        cJSON *value = shown ? value_json(options) : NULL;
        snprintf(key, sizeof key, "%s", options->name);
        for (char *c = key; *c; c++)
            if (*c == '-') *c = '_';
        if (value) cJSON_AddItemToObject(json, key, value);
    }
    return json;
}
