/* blanch SUBCOMMAND [options]: finds the subcommand, runs it, turns its result into a message and an exit status. */
#include "base/text.h"
#include "common.h"
#include "help.h"
#include "cl/cl.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct bl_command *const commands[] = {
    &bl_command_devices, &bl_command_models, &bl_command_train,   &bl_command_eval,
    &bl_command_predict, &bl_command_sample, &bl_command_compare, &bl_command_bench,
    &bl_command_tune,    &bl_command_study,  &bl_command_suite,   &bl_command_check,
    &bl_command_report,  &bl_command_export, &bl_command_doctor,  NULL,
};

int bl_exit_status(int code) {
    if (code >= 0) return code;
    switch (code) {
    case BLANCH_EDIVERGED:
    case BLANCH_EMISMATCH:
        return 1;
    case BLANCH_EDEVICE:
        return 3;
    case BLANCH_EINTERRUPTED:
        return 130;
    default:
        return 2;
    }
}

/* A report that did not reach its file is a failure, told where no other was. A reader that has seen enough (`| head`)
 * ends the process the way it ends others, by SIGPIPE. */
static int close_output(int status, bool told) {
    bool failed = ferror(stdout) != 0;
    if (fflush(stdout) != 0) failed = true;
    int cause = errno;
    if (!failed) return status;
    bl_process_end_unread();
    if (!told)
        fprintf(stderr, "blanch: standard output could not be written%s%s\n", cause ? ": " : "",
                cause ? strerror(cause) : "");
    return status ? status : 2;
}

static const struct bl_command *find_command(const char *name) {
    for (int i = 0; commands[i]; i++)
        if (!strcmp(commands[i]->name, name)) return commands[i];
    return NULL;
}

static int unknown_command(const char *name) {
    const char *names[BL_COUNT(commands)] = {NULL};
    char known[512] = "";
    for (int i = 0; commands[i]; i++) {
        names[i] = commands[i]->name;
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", names[i]);
    }
    const char *near = bl_nearest(name, names);
    if (near) return bl_fail(BLANCH_EUSAGE, "unknown subcommand '%s', did you mean '%s'? Known: %s", name, near, known);
    return bl_fail(BLANCH_EUSAGE, "unknown subcommand '%s'; known: %s", name, known);
}

static int run(int argc, char **argv) {
    const char *name = argc < 2 ? "--help" : argv[1];
    enum bl_help form = BL_HELP_TEXT;
    int code = !strncmp(name, "--help=", 7) ? bl_help_parse(name + 7, &form) : 0;
    if (code) return code;
    if (form || !strcmp(name, "--help") || !strcmp(name, "-h") || (!strcmp(name, "help") && argc < 3))
        return bl_help_all(commands, form);
    if (!strcmp(name, "--version")) {
        printf("blanch %s\n", BLANCH_VERSION);
        return 0;
    }
    if (!strcmp(name, "help")) {
        const struct bl_command *command = find_command(argv[2]);
        char *words[] = {argv[2], "--help", NULL};
        return command ? command->run(2, words) : unknown_command(argv[2]);
    }
    const struct bl_command *command = find_command(name);
    return command ? command->run(argc - 1, argv + 1) : unknown_command(name);
}

static void warn(void *context, const char *line) {
    bl_progress_line(NULL, "warning: %s", line);
}

int main(int argc, char **argv) {
    bl_process_open_streams();
    blanch_log_set(warn, NULL);
    int code = bl_process_catch_signals();
    if (!code) code = run(argc, argv);
    if (!code) code = bl_release_failed();
    if (code < 0) bl_print_error(code);
    return close_output(bl_exit_status(code), code < 0);
}
