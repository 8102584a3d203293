/* Between the files of help. */
#ifndef BL_HELP_INTERNAL_H
#define BL_HELP_INTERNAL_H

#include "help.h"

void bl_complete_command(const struct bl_command *command, const struct bl_option *options, enum bl_help shell);
int bl_complete_all(const struct bl_command *const *commands, enum bl_help shell);

#endif
