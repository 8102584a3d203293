/* The words for what a network is made with: norms, what deconvolution whitens, presets, precisions. */
#include "base/text.h"
#include "train/train.h"
#include <stdio.h>
#include <string.h>

static const char *const norm_names[] = {[BLANCH_BN] = "bn",   [BLANCH_ND] = "nd", [BLANCH_NONE] = "none",
                                         [BLANCH_OWN] = "own", [BLANCH_GN] = "gn", [BLANCH_LN] = "ln"};

const char *bl_norm_name(enum blanch_norm norm) {
    return norm_names[norm];
}

int bl_norm_parse(const char *name, enum blanch_norm *norm) {
    for (int i = 0; i < BL_COUNT(norm_names); i++)
        if (!strcmp(name, norm_names[i])) {
            *norm = (enum blanch_norm)i;
            return 0;
        }
    return bl_fail(BLANCH_EUSAGE, "--norm takes bn, gn, ln, nd, none or own, not '%s'", name);
}

static const char *const whiten_names[] = {[BLANCH_WHITEN_PATCHES] = "patches",
                                           [BLANCH_WHITEN_CHANNELS] = "channels",
                                           [BLANCH_WHITEN_VARIANCES] = "variances"};

void bl_whiten_text(int whiten, char text[24]) {
    snprintf(text, 24, "%s", whiten_names[whiten ? whiten : BLANCH_WHITEN_PATCHES]);
}

int bl_whiten_parse(const char *text, int *whiten) {
    for (int i = BLANCH_WHITEN_PATCHES; i < BL_COUNT(whiten_names); i++)
        if (!strcmp(text, whiten_names[i])) return *whiten = i, 0;
    return bl_fail(BLANCH_EUSAGE, "--whiten takes patches, channels or variances, not '%s'", text);
}

void bl_cov_samples_text(int samples, char text[24]) {
    snprintf(text, 24, "%d%s", samples < 0 ? -samples : samples, samples < 0 ? "F" : "");
}

int bl_cov_samples_parse(const char *text, int *samples) {
    enum { MOST = 1000000000, MOST_TIMES = 1000000 };
    long long value;
    size_t length = bl_text_whole(text, &value);
    bool times = length && !strcmp(text + length, "F");
    if (!length || (text[length] && !times) || value < (times ? 1 : 2) || value > (times ? MOST_TIMES : MOST))
        return bl_fail(BLANCH_EUSAGE,
                       "--cov-samples takes a number of samples, 2 or more, or one times the features as in 4F, "
                       "not '%s'",
                       text);
    *samples = (int)(times ? -value : value);
    return 0;
}

int bl_nd_preset(const char *name, struct blanch_nd_options *nd) {
    static const struct {
        const char *name;
        int block, whiten;
    } presets[] = {{"study"}, {"fast", 16}, {"channels", 0, BLANCH_WHITEN_CHANNELS}};
    for (int i = 0; i < BL_COUNT(presets); i++) {
        if (strcmp(name, presets[i].name)) continue;
        if (!nd->block) nd->block = presets[i].block;
        if (!nd->whiten) nd->whiten = presets[i].whiten;
        return 0;
    }
    return bl_fail(BLANCH_EUSAGE, "--nd-preset takes study, fast or channels, not '%s'", name);
}

const char *bl_precision_name(enum blanch_precision precision) {
    return bl_type_traits[precision].name;
}

int bl_precision_parse(const char *name, enum blanch_precision *precision) {
    *precision = BLANCH_FP32;
    if (!name) return 0;
    for (int i = BLANCH_FP32; i <= BLANCH_BF16; i++)
        if (!strcmp(name, bl_type_traits[i].name)) return *precision = (enum blanch_precision)i, 0;
    return bl_fail(BLANCH_EUSAGE, "--precision takes fp32, fp16 or bf16, not '%s'", name);
}
