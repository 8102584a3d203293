/* Completion for bash, zsh and fish, from the tables of options: names of options, values where a table lists them
 * ("bn|nd|none": what begins with a small letter or a digit is meant literally), networks' names, and file names
 * elsewhere. */
#include "help_internal.h"
#include <ctype.h>
#include <stdio.h>
#include <string.h>

static bool takes_value(const struct bl_option *option) {
    return option->kind != BL_OPT_FLAG;
}

/* Within single quotes of fish. */
static void put_fish(const char *text) {
    for (; *text; text++) {
        if (strchr("'\\", *text)) putchar('\\');
        putchar(*text);
    }
}

/* Values that can be listed, each after a blank but the first; returns how many. */
static int put_values(const struct bl_option *option) {
    int count = 0;
    if (!strcmp(option->name, "model"))
        for (const char *const *name = blanch_models_list(); *name; name++) printf("%s%s", count++ ? " " : "", *name);
    for (const char *word = option->argument; word && *word;) {
        size_t length = strcspn(word, "|");
        bool literal = islower((unsigned char)*word) || isdigit((unsigned char)*word);
        for (size_t i = 0; i < length; i++) literal = literal && (isalnum((unsigned char)word[i]) || word[i] == '-');
        if (literal) printf("%s%.*s", count++ ? " " : "", (int)length, word);
        word += length + (word[length] != 0);
    }
    return count;
}

static bool has_values(const struct bl_option *option) {
    const char *argument = option->argument ? option->argument : "";
    bool listed = strchr(argument, '|') && !strchr(argument, ','); // PATTERN,... and the like are no lists
    return takes_value(option) && (!strcmp(option->name, "model") || listed);
}

/* --- bash ------------------------------------------------------------------------------------- */

static void complete_bash(const struct bl_command *command, const struct bl_option *options) {
    printf("    %s)\n        options='--help", command->name);
    for (const struct bl_option *o = options; o && o->name; o++)
        if (o->help) printf(" --%s", o->name);
    printf("'\n        case $before in\n");
    for (const struct bl_option *o = options; o && o->name; o++) {
        if (!o->help || !takes_value(o)) continue;
        printf("        --%s) values='", o->name);
        if (has_values(o)) put_values(o);
        printf("' taken=1 ;;\n");
    }
    printf("        esac ;;\n");
}

static void begin_bash(const struct bl_command *const *commands) {
    fputs("# bash completion of blanch\n"
          "_blanch() {\n"
          "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} options= values= taken=\n"
          "    [[ $word == = ]] && word=\n" // --norm=: the shell parts words there
          "    [[ $before == = ]] && before=${COMP_WORDS[COMP_CWORD-2]}\n"
          "    COMPREPLY=()\n"
          "    if ((COMP_CWORD == 1)); then\n"
          "        COMPREPLY=($(compgen -W 'help --help --version",
          stdout);
    for (int i = 0; commands[i]; i++) printf(" %s", commands[i]->name);
    fputs("' -- \"$word\"))\n"
          "        return\n"
          "    fi\n"
          "    case ${COMP_WORDS[1]} in\n",
          stdout);
}

static void end_bash(void) {
    fputs("    esac\n"
          "    if [[ $taken ]]; then\n"
          "        COMPREPLY=($(compgen -W \"$values\" -- \"$word\"))\n"
          "    elif [[ $word == -* ]]; then\n"
          "        COMPREPLY=($(compgen -W \"$options\" -- \"$word\"))\n"
          "    fi\n"
          "}\n"
          "complete -o default -F _blanch blanch\n",
          stdout);
}

/* --- zsh -------------------------------------------------------------------------------------- */

/* In the brackets of _arguments, within single quotes. */
static void put_zsh(const char *text) {
    for (; *text; text++) {
        if (strchr("[]:\\", *text)) putchar('\\');
        fputs(*text == '\'' ? "'\\'" : "", stdout);
        putchar(*text);
    }
}

static void complete_zsh(const struct bl_command *command, const struct bl_option *options) {
    printf("    %s)\n        _arguments '--help[prints usage and options]'", command->name);
    for (const struct bl_option *o = options; o && o->name; o++) {
        if (!o->help) continue;
        printf(" \\\n            '--%s%s[", o->name, takes_value(o) ? "=" : "");
        put_zsh(o->help);
        putchar(']');
        if (takes_value(o)) {
            putchar(':');
            put_zsh(o->argument ? o->argument : "VALUE");
            putchar(':');
            if (has_values(o))
                putchar('('), put_values(o), putchar(')');
            else
                fputs("_files", stdout);
        }
        putchar('\'');
    }
    printf(" \\\n            '*:file:_files' ;;\n");
}

static void begin_zsh(const struct bl_command *const *commands) {
    fputs("#compdef blanch\n"
          "if ((CURRENT == 2)); then\n"
          "    local -a commands=(\n",
          stdout);
    for (int i = 0; commands[i]; i++) {
        printf("        '%s:", commands[i]->name);
        put_zsh(commands[i]->summary);
        puts("'");
    }
    fputs("    )\n"
          "    _describe subcommand commands\n"
          "else\n"
          "    shift words\n"
          "    ((CURRENT--))\n"
          "    case $words[1] in\n",
          stdout);
}

/* --- fish ------------------------------------------------------------------------------------- */

static void complete_fish(const struct bl_command *command, const struct bl_option *options) {
    for (const struct bl_option *o = options; o && o->name; o++) {
        if (!o->help) continue;
        printf("complete -c blanch -n '__fish_seen_subcommand_from %s' -l %s -d '", command->name, o->name);
        put_fish(o->help);
        putchar('\'');
        if (has_values(o))
            fputs(" -x -a '", stdout), put_values(o), putchar('\'');
        else if (takes_value(o))
            fputs(" -r", stdout);
        putchar('\n');
    }
}

static void begin_fish(const struct bl_command *const *commands) {
    puts("# fish completion of blanch");
    for (int i = 0; commands[i]; i++) {
        printf("complete -c blanch -n __fish_use_subcommand -f -a %s -d '", commands[i]->name);
        put_fish(commands[i]->summary);
        puts("'");
    }
}

/* --- all -------------------------------------------------------------------------------------- */

void bl_complete_command(const struct bl_command *command, const struct bl_option *options, enum bl_help shell) {
    void (*const shells[])(const struct bl_command *, const struct bl_option *) = {
        [BL_HELP_BASH] = complete_bash, [BL_HELP_ZSH] = complete_zsh, [BL_HELP_FISH] = complete_fish};
    shells[shell](command, options);
}

int bl_complete_all(const struct bl_command *const *commands, enum bl_help shell) {
    static const char *const words[] = {
        [BL_HELP_BASH] = "--help=bash", [BL_HELP_ZSH] = "--help=zsh", [BL_HELP_FISH] = "--help=fish"};
    int code = 0;
    if (shell == BL_HELP_BASH)
        begin_bash(commands);
    else if (shell == BL_HELP_ZSH)
        begin_zsh(commands);
    else
        begin_fish(commands);
    for (int i = 0; commands[i] && !code; i++) {
        char name[32], word[16];
        snprintf(name, sizeof name, "%s", commands[i]->name);
        snprintf(word, sizeof word, "%s", words[shell]);
        code = commands[i]->run(2, (char *[]){name, word, NULL});
    }
    if (shell == BL_HELP_BASH) end_bash();
    if (shell == BL_HELP_ZSH) fputs("    esac\nfi\n", stdout);
    return code;
}
