/* Calls a target without a fuzzer: TARGET [--mutations N] [--dict FILE] FOLDER|FILE... runs every file, and N inputs
 * made of each, always the same. The last line says how many. Status 1: a reader accepted none of the files. */
#include "fuzz.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { WORDS = 512, MOST = 1 << 16 };

struct input {
    uint8_t *data;
    size_t size, capacity;
};
static char *word[WORDS];
static int words, mutations;
static long runs, files, files_read;

static void die(const char *what) {
    perror(what);
    exit(2);
}

static void resize(struct input *input, size_t size) {
    if (size > input->capacity && !(input->data = realloc(input->data, input->capacity = 2 * size))) die("memory");
    input->size = size;
}

static struct input read_input(const char *path) {
    struct input input = {0};
    FILE *file = fopen(path, "rb");
    if (!file) die(path);
    resize(&input, MOST);
    input.size = fread(input.data, 1, MOST, file);
    fclose(file);
    return input;
}

/* In an allocation of its own size, so that a sanitizer sees what reads past it. */
static void run(const struct input *input) {
    uint8_t *data = malloc(input->size ? input->size : 1);
    if (!data) die("memory");
    memcpy(data, input->data, input->size);
    LLVMFuzzerTestOneInput(data, input->size);
    free(data);
    runs++;
}

/* --- mutations -------------------------------------------------------------------------------- */

static uint64_t random_state;

static uint32_t below(size_t n) {
    random_state ^= random_state << 13, random_state ^= random_state >> 7, random_state ^= random_state << 17;
    return n ? (uint32_t)((random_state >> 16) % n) : 0;
}

/* count bytes at `at` give way to those of text. */
static void replace(struct input *input, size_t at, size_t count, const void *text, size_t size) {
    size_t rest = input->size - at - count;
    if (input->size - count + size > MOST) return;
    resize(input, input->size > input->size - count + size ? input->size : input->size - count + size);
    memmove(input->data + at + size, input->data + at + count, rest);
    if (size) memcpy(input->data + at, text, size);
    input->size = at + size + rest;
}

/* Where a JSON value, a number or a word ends. */
static size_t token(const struct input *input, size_t at) {
    size_t end = at;
    while (end < input->size && !strchr(",:]}[{ \n", input->data[end])) end++;
    return end - at;
}

static void mutate(struct input *input) {
    static const uint8_t edges[] = {0, 1, 7, 16, 32, 127, 128, 255};
    size_t at = below(input->size + 1), left = input->size - at, some = below((left < 32 ? left : 32) + 1);
    const char *text = words ? word[below((size_t)words)] : "";
    uint8_t byte = edges[below(sizeof edges)];
    switch (below(7)) {
    case 0:
        if (left) input->data[at] ^= (uint8_t)(1 << below(8));
        break;
    case 1:
        if (left) input->data[at] = byte;
        break;
    case 2:
        replace(input, at, some, NULL, 0);
        break;
    case 3: {
        uint8_t copy[32];
        memcpy(copy, input->data + at, some);
        replace(input, below(input->size + 1), 0, copy, some);
        break;
    }
    case 4:
        replace(input, at, 0, text, strlen(text));
        break;
    case 5:
        replace(input, at, token(input, at), text, strlen(text));
        break;
    default:
        if (!below(4)) input->size = at; // cut off
    }
}

static void run_mutations(const struct input *seed, uint64_t number) {
    struct input input = {0};
    random_state = 0x9e3779b97f4a7c15u ^ number;
    for (int i = 0; i < mutations; i++) {
        resize(&input, seed->size);
        memcpy(input.data, seed->data, seed->size);
        for (uint32_t n = 1 + below(4); n; n--) mutate(&input);
        run(&input);
    }
    free(input.data);
}

/* --- files ------------------------------------------------------------------------------------ */

/* The byte at *at, which passes it: \xHH, or what follows a backslash, or itself. */
static char read_byte(char **at) {
    if (**at != '\\') return *(*at)++;
    if ((*at)[1] != 'x') return *at += 2, (*at)[-1];
    const char digits[] = {(*at)[2], (*at)[3], 0};
    *at += 4;
    return (char)strtol(digits, NULL, 16);
}

/* A dictionary's lines: "WORD". */
static void read_dictionary(const char *path) {
    FILE *file = fopen(path, "r");
    char line[256];
    if (!file) die(path);
    while (fgets(line, sizeof line, file) && words < WORDS) {
        char *to = line, *end = strrchr(line, '"');
        for (char *from = line + 1; end && from < end;) *to++ = read_byte(&from);
        *to = 0;
        if (!(word[words++] = strdup(line))) die("memory");
    }
    fclose(file);
}

static void run_file(const char *path) {
    static uint64_t number;
    struct input input = read_input(path);
    input_read = false;
    run(&input);
    files++, files_read += input_read;
    run_mutations(&input, ++number << 32);
    free(input.data);
}

static int visible(const struct dirent *entry) {
    return *entry->d_name != '.';
}

static void run_folder(const char *folder) {
    struct dirent **entry;
    char path[4096];
    int count = scandir(folder, &entry, visible, alphasort);
    if (count < 0) die(folder);
    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, entry[i]->d_name);
        run_file(path);
        free(entry[i]);
    }
    free(entry);
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        struct stat status;
        if (!strcmp(argv[i], "--mutations") && i + 1 < argc)
            mutations = atoi(argv[++i]);
        else if (!strcmp(argv[i], "--dict") && i + 1 < argc)
            read_dictionary(argv[++i]);
        else if (!stat(argv[i], &status) && S_ISDIR(status.st_mode))
            run_folder(argv[i]);
        else
            run_file(argv[i]);
    }
    while (words) free(word[--words]);
    printf("%ld inputs; of %ld files, %ld accepted\n", runs, files, files_read);
    return files && !files_read;
}
