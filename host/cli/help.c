/* Help as text and as manual pages; completion.c has that of shells. */
#include "help.h"
#include "help_internal.h"
#include <stdio.h>
#include <string.h>

int bl_help_parse(const char *name, enum bl_help *form) {
    static const char *const names[] = {"", "man", "bash", "zsh", "fish"};
    *form = BL_HELP_TEXT;
    if (!name) return 0;
    for (int i = BL_HELP_MAN; i < BL_COUNT(names); i++)
        if (!strcmp(name, names[i])) return *form = (enum bl_help)i, 0;
    return bl_fail(BLANCH_EUSAGE, "--help takes nothing, or man, bash, zsh or fish, not '%s'", name);
}

/* --- text ------------------------------------------------------------------------------------- */

static void print_option(const struct bl_option *option) {
    char left[64];
    if (option->kind == BL_OPT_FLAG)
        snprintf(left, sizeof left, "--%s", option->name);
    else
        snprintf(left, sizeof left, "--%s %s", option->name, option->argument ? option->argument : "VALUE");
    printf("  %-24s %s\n", left, option->help);
}

static void print_text(const struct bl_command *command, const struct bl_option *options) {
    size_t length = strlen(command->usage);
    printf("%s%s", command->usage, length && command->usage[length - 1] == '\n' ? "" : "\n");
    printf("\noptions:\n");
    for (const struct bl_option *option = options; option && option->name; option++)
        if (option->help) print_option(option);
    printf("  %-24s %s\n", "--help", "prints this");
}

/* What most people begin with, then the subcommands. */
static void print_overview(const struct bl_command *const *commands) {
    fputs("Blanch trains convolutional networks on any OpenCL device and shows what every layer costs.\n\n"
          "usage: blanch SUBCOMMAND [options]\n\n"
          "What batch norm and network deconvolution cost here, layer by layer, in a page:\n"
          "  blanch compare --model smallcnn --data fashion-mnist --out runs/first\n"
          "A classifier of your own pictures (DIR/train/CLASS/*, DIR/test/CLASS/*):\n"
          "  blanch train --model resnet18 --norm bn --data folder:DIR --out runs/mine\n"
          "Which devices there are, whether they do what they should, and what is wrong:\n"
          "  blanch doctor\n\n"
          "subcommands:\n",
          stdout);
    for (int i = 0; commands[i]; i++) printf("  %-9s %s\n", commands[i]->name, commands[i]->summary);
    fputs("\n`blanch SUBCOMMAND --help` lists a subcommand's options. The device is chosen by --device or "
          "BLANCH_DEVICE:\n"
          "cpu, gpu, PLATFORM:DEVICE, PLATFORM:DEVICE/CORES, or part of a name; `blanch devices` lists them.\n",
          stdout);
}

/* --- manual pages ----------------------------------------------------------------------------- */

/* Text as roff takes it for text: a line may not begin with a control character, a dash is a minus sign so that it can
 * be copied. */
static void put_roff(const char *text, size_t length) {
    for (size_t i = 0; i < length; i++) {
        bool starts = !i || text[i - 1] == '\n';
        if (starts && (text[i] == '.' || text[i] == '\'')) fputs("\\&", stdout);
        switch (text[i]) {
        case '\\':
            fputs("\\e", stdout);
            break;
        case '-':
            fputs("\\-", stdout);
            break;
        case '`':
            fputs("\\(ga", stdout);
            break;
        case '\'':
            fputs("\\(aq", stdout);
            break;
        default:
            putchar(text[i]);
        }
    }
}

static void put_line(const char *text) {
    put_roff(text, strlen(text));
    putchar('\n');
}

static void put_head(const char *name, const char *summary) {
    printf(".TH blanch%s%s 1 \"\" \"Blanch %s\" \"User Commands\"\n.SH NAME\nblanch", *name ? "\\-" : "", name,
           BLANCH_VERSION);
    if (*name) printf("\\-%s", name);
    fputs(" \\- ", stdout);
    put_line(summary);
}

static void put_option(const char *name, const char *argument, const char *help) {
    fputs(".TP\n\\fB\\-\\-", stdout);
    put_roff(name, strlen(name));
    fputs("\\fR", stdout);
    if (argument) {
        fputs(" \\fI", stdout);
        put_roff(argument, strlen(argument));
        fputs("\\fR", stdout);
    }
    putchar('\n');
    put_line(help);
}

/* "usage: a\n       b\n\nText\n\nText": each line of the first paragraph is a synopsis. */
static void put_usage(const char *usage) {
    const char *end = strstr(usage, "\n\n");
    const char *line = !strncmp(usage, "usage: ", 7) ? usage + 7 : usage;
    if (!end) end = usage + strlen(usage);
    puts(".SH SYNOPSIS\n.nf");
    while (line < end) {
        while (*line == ' ') line++;
        size_t length = strcspn(line, "\n");
        put_roff(line, length);
        putchar('\n');
        line += length + (line[length] != 0);
    }
    puts(".fi\n.SH DESCRIPTION");
    for (const char *p = end; *p;) {
        p += strspn(p, "\n");
        const char *stop = strstr(p, "\n\n");
        size_t length = stop ? (size_t)(stop - p) : strlen(p);
        if (p != end + strspn(end, "\n") && length) puts(".PP");
        put_roff(p, length);
        if (length && p[length - 1] != '\n') putchar('\n');
        p += length;
    }
}

static void put_exit_status(void) {
    static const char *const rows[][2] = {
        {"0", "Done."},
        {"1", "A check found a difference, or a run diverged."},
        {"2", "Wrong usage, input that cannot be read or is malformed, a full disk."},
        {"3", "The device or its driver failed."},
        {"130", "Interrupted by SIGINT, SIGTERM or SIGHUP; a training with a checkpoint."}};
    puts(".SH EXIT STATUS");
    for (int i = 0; i < BL_COUNT(rows); i++) printf(".TP\n.B %s\n%s\n", rows[i][0], rows[i][1]);
}

static void print_page(const struct bl_command *command, const struct bl_option *options) {
    put_head(command->name, command->summary);
    put_usage(command->usage);
    puts(".SH OPTIONS");
    for (const struct bl_option *o = options; o && o->name; o++)
        if (o->help) put_option(o->name, o->kind == BL_OPT_FLAG ? NULL : o->argument ? o->argument : "VALUE", o->help);
    put_option("help", NULL, "prints usage and options");
    put_exit_status();
    puts(".SH SEE ALSO\n.BR blanch (1)");
}

static void print_program_page(const struct bl_command *const *commands) {
    static const char *const variables[][2] = {
        {"BLANCH_DEVICE", "The device, as --device takes it."},
        {"BLANCH_TUNE", "0: engines by rule, as --no-tune."},
        {"BLANCH_KERNELS", "A folder whose .cl files are used instead of those in the program."},
        {"BLANCH_VERBOSE", "1: compilers' messages are shown."},
        {"XDG_CACHE_HOME", "Compiled programs and what was measured are kept in its blanch folder (~/.cache/blanch)."}};
    put_head("", "trains convolutional networks on any OpenCL device");
    puts(".SH SYNOPSIS\n.B blanch\n.I SUBCOMMAND\n[options]\n.SH DESCRIPTION");
    put_line(
        "Blanch trains convolutional networks on any OpenCL device and shows what every layer costs. It normalises "
        "with batch\nnorm, with network deconvolution, or not at all, and compares them step by step on the same "
        "machine.");
    puts(".SH SUBCOMMANDS");
    for (int i = 0; commands[i]; i++) {
        printf(".TP\n.BR blanch\\-%s (1)\n", commands[i]->name);
        put_line(commands[i]->summary);
    }
    puts(".SH OPTIONS");
    put_option("help", NULL, "prints an overview; after a subcommand its usage and options");
    put_option("help", "man|bash|zsh|fish", "prints this page, or completion for a shell");
    put_option("version", NULL, "prints the version");
    puts(".SH ENVIRONMENT");
    for (int i = 0; i < BL_COUNT(variables); i++) {
        printf(".TP\n.B %s\n", variables[i][0]);
        put_line(variables[i][1]);
    }
    put_exit_status();
    puts(".SH EXAMPLES\n.nf");
    put_line("blanch compare --model smallcnn --data fashion-mnist --out runs/first\n"
             "blanch train --model resnet18 --norm bn --data folder:DIR --out runs/mine\n"
             "blanch doctor");
    puts(".fi");
}

/* --- both ------------------------------------------------------------------------------------- */

void bl_help_print(const struct bl_command *command, const struct bl_option *options, enum bl_help form) {
    if (form == BL_HELP_TEXT)
        print_text(command, options);
    else if (form == BL_HELP_MAN)
        print_page(command, options);
    else
        bl_complete_command(command, options, form);
}

int bl_help_all(const struct bl_command *const *commands, enum bl_help form) {
    if (form == BL_HELP_TEXT)
        print_overview(commands);
    else if (form == BL_HELP_MAN)
        print_program_page(commands);
    else
        return bl_complete_all(commands, form);
    return 0;
}
