/* Help from the tables of options: text, a manual page, completion for shells. */
#ifndef BL_HELP_H
#define BL_HELP_H

#include "cli.h"

enum bl_help { BL_HELP_TEXT, BL_HELP_MAN, BL_HELP_BASH, BL_HELP_ZSH, BL_HELP_FISH };
/* What stands after `--help=`; NULL: the text. BLANCH_EUSAGE. */
int bl_help_parse(const char *name, enum bl_help *form);
/* Of a subcommand, on standard output: a whole text or page; of a shell the part that completes this subcommand, which
 * stands in the script that bl_help_all prints. */
void bl_help_print(const struct bl_command *command, const struct bl_option *options, enum bl_help form);
/* Of the program: commands end with NULL; a shell's script has the part of each, by its own --help. */
int bl_help_all(const struct bl_command *const *commands, enum bl_help form);

#endif
