/* A command line, a word a line: options of the network and the device, and what they mean together. */
#include "fuzz.h"
#include "cli/common.h"
#include "train/open.h"
#include "train/open.h"
#include <stdlib.h>
#include <string.h>

enum { WORDS = 40 };

/* Which prints. */
static bool asks_for_help(const char *word) {
    return !strncmp(word, "--h", 3) || (word[0] == '-' && word[1] != '-' && strchr(word, 'h'));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct bl_command command = {.name = "fuzz", .usage = ""};
    struct bl_option table[BL_MAX_OPTIONS];
    struct bl_common common;
    const char *text_value = NULL;
    int64_t steps = 0;
    const struct bl_option own[] = {
        {"data", BL_OPT_TEXT, &text_value, 0, 0, "SPEC", ""}, {"steps", BL_OPT_INT64, &steps, 1, 1e12, "N", ""}, {0}};
    char *text = part_text((struct part){data, size}), *words[WORDS + 1] = {(char *)command.name}, *rest = NULL;
    int count = 1, operands = 0;
    bool help = false;
    for (char *word = strtok_r(text, "\n", &rest); word && count < WORDS; word = strtok_r(NULL, "\n", &rest))
        if (!asks_for_help(word)) words[count++] = word;
    bl_common_init(&common);
    bl_common_options(table, own, &common, ~0u);
    int code = bl_options_parse(&command, table, count, words, &operands, &help);
    expect(code);
    if (!code) {
        struct bl_network_options network = {0};
        struct blanch_model *model = NULL;
        expect_read(bl_common_network(&common, &network, &model));
        bl_model_free(model);
        cJSON_Delete(bl_options_json(table));
        if (operands >= count) abort();
    }
    free(text);
    return 0;
}
