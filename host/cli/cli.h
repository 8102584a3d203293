/* The command line: main.c and one file per subcommand. */
#ifndef BL_CLI_H
#define BL_CLI_H

#include "base/base.h"
#include <cjson/cJSON.h>

/* A subcommand ends in this table; main.c lists them all. */
struct bl_command {
    const char *name, *summary;
    const char *usage;                 // the whole --help text; without run, of options within an option: what to read
    int (*run)(int argc, char **argv); // 0, a negative enum blanch_error, or a positive exit status
};

/* One option of a subcommand: long options only, --name VALUE or --name=VALUE; parsed with getopt_long. */
enum bl_option_kind { BL_OPT_FLAG, BL_OPT_INT, BL_OPT_AUTO, BL_OPT_INT64, BL_OPT_FLOAT, BL_OPT_TEXT, BL_OPT_BYTES };
enum { BL_AUTO = -1 }; // of a BL_OPT_AUTO: what is given is `auto` instead of a number
struct bl_option {
    const char *name;
    enum bl_option_kind kind;
    void *value;                 // bool, int, int, int64_t, float, const char *, uint64_t
    double min, max;             // of numbers; both 0: any
    const char *argument, *help; // help NULL: hidden
    char letter;                 // -b besides; 0: none
};
/* Parses; what is no option stands at argv[1] and after it in the end, *operands of them (NULL: none are taken). --help
 * prints usage and the options (--help=man: as help.h has it) and sets *help. A wrong option or value: BLANCH_EUSAGE,
 * the message naming the option and what it takes. */
int bl_options_parse(const struct bl_command *command, const struct bl_option *options, int argc, char **argv,
                     int *operands, bool *help);
/* Every option that has a value, given or a default, by its name with _ for -: what a document says was asked for.
 * Hidden ones, other spellings, are left out. */
cJSON *bl_options_json(const struct bl_option *options);

/* text as bl_text_show shows it, in a buffer of a small ring that later calls reuse: print it at once. Everything from
 * outside that is printed goes through it: names of files, classes, layers and devices, what stands in files. */
const char *bl_shown(const char *text);
/* "blanch: " and the message of a failure, on standard error: of the one that ends the command, which main.c prints, or
 * of a part that is left out while the rest goes on. */
void bl_print_error(int code);

int bl_exit_status(int code); // of an enum blanch_error: DIVERGED, MISMATCH 1; DEVICE 3; INTERRUPTED 130; else 2

/* Progress on standard error: a bar on a terminal, plain lines elsewhere (at most one every few seconds). */
struct bl_progress;
struct bl_progress *bl_progress_start(const char *title, int64_t total);
void bl_progress_step(struct bl_progress *progress, int64_t done, const char *format, ...) BL_PRINTF(3, 4);
/* A line of its own beside the bar; progress may be NULL. */
void bl_progress_line(struct bl_progress *progress, const char *format, ...) BL_PRINTF(2, 3);
void bl_progress_end(struct bl_progress *progress);
struct bl_dataset;
/* Says on standard error what was found in the data, and what is to be known of it. */
void bl_say_data(struct bl_dataset *data, const char *spec);

extern const struct bl_command bl_command_devices, bl_command_models, bl_command_train, bl_command_eval,
    bl_command_predict, bl_command_sample, bl_command_compare, bl_command_tune, bl_command_bench, bl_command_study,
    bl_command_check, bl_command_report, bl_command_export, bl_command_suite, bl_command_doctor;

#endif
