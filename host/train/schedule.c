/* Learning-rate schedules. */
#include "base/text.h"
#include "train/train.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double pi = 3.14159265358979323846;
enum { MOST_EPOCHS = 1000000 };

static int bad_schedule(const char *text) {
    return bl_fail(BLANCH_EUSAGE,
                   "--schedule takes cosine, constant, multistep[:EPOCH,EPOCH...[:GAMMA]], step[:EPOCHS[:GAMMA]], "
                   "onecycle[:PART] or polynomial[:POWER], not '%s'",
                   text);
}

/* --- reading ------------------------------------------------------------------------------------ */

/* A number that ends the text, above 0 and up to most. */
static bool read_last(const char *text, double most, float *value) {
    double number;
    const size_t length = bl_text_decimal(text, &number);
    if (!length || text[length]) return false;
    *value = strtof(text, NULL);
    return *value > 0 && (double)*value <= most;
}

/* A number of epochs; what follows it, or NULL. */
static const char *read_epochs(const char *text, int *epochs) {
    long long value = 0;
    const size_t length = bl_text_whole(text, &value);
    if (!length || value < 1 || value > MOST_EPOCHS) return NULL;
    *epochs = (int)value;
    return text + length;
}

/* The rest of each is what follows its name, "" or from a colon on. ":30,60,80:0.2", each part optional. */
static bool parse_multistep(struct bl_schedule *s, const char *rest) {
    s->gamma = 0.1f;
    if (!*rest) return true;
    do {
        int *milestone = &s->milestone[s->milestones];
        if (s->milestones == BL_COUNT(s->milestone) || !(rest = read_epochs(rest + 1, milestone))) return false;
        if (s->milestones++ && *milestone <= milestone[-1]) return false;
    } while (*rest == ',');
    return !*rest || (*rest == ':' && read_last(rest + 1, 1, &s->gamma));
}

static bool parse_step(struct bl_schedule *s, const char *rest) {
    s->gamma = 0.1f, s->milestone[0] = 30, s->milestones = 1;
    if (*rest && !(rest = read_epochs(rest + 1, &s->milestone[0]))) return false;
    return !*rest || (*rest == ':' && read_last(rest + 1, 1, &s->gamma));
}

static bool parse_onecycle(struct bl_schedule *s, const char *rest) {
    s->gamma = 0.3f;
    return !*rest || (read_last(rest + 1, 1, &s->gamma) && s->gamma < 1);
}

static bool parse_polynomial(struct bl_schedule *s, const char *rest) {
    s->gamma = 1;
    return !*rest || read_last(rest + 1, 100, &s->gamma);
}

static bool parse_nothing(struct bl_schedule *s, const char *rest) {
    return !*rest;
}

static const struct {
    const char *name;
    bool (*parse)(struct bl_schedule *s, const char *rest);
} kinds[] = {
    [BL_COSINE] = {"cosine", parse_nothing},      [BL_MULTISTEP] = {"multistep", parse_multistep},
    [BL_CONSTANT] = {"constant", parse_nothing},  [BL_STEP] = {"step", parse_step},
    [BL_ONECYCLE] = {"onecycle", parse_onecycle}, [BL_POLYNOMIAL] = {"polynomial", parse_polynomial},
};

/* Changes kind, milestones and gamma alone. */
int bl_schedule_parse(struct bl_schedule *schedule, const char *text) {
    const size_t length = strcspn(text, ":");
    schedule->milestones = 0;
    for (int i = 0; i < BL_COUNT(kinds); i++) {
        if (strlen(kinds[i].name) != length || strncmp(text, kinds[i].name, length)) continue;
        schedule->kind = (enum bl_schedule_kind)i;
        return kinds[i].parse(schedule, text + length) ? 0 : bad_schedule(text);
    }
    return bad_schedule(text);
}

int bl_schedule_check(struct bl_schedule *s) {
    const bool both = s->warmup && s->warmup_epochs > 0;
    if (both) return bl_fail(BLANCH_EUSAGE, "give --warmup, in steps, or --warmup-epochs, not both");
    const char *by = s->warmup_epochs > 0 ? "--warmup-epochs" : "--warmup";
    if (s->warmup_epochs > 0) s->warmup = llrint((double)s->warmup_epochs * (double)s->epoch_steps);
    s->warmup_epochs = 0;
    if (s->warmup && s->kind == BL_ONECYCLE)
        return bl_fail(BLANCH_EUSAGE, "--schedule onecycle begins with a warm-up of its own: leave %s out", by);
    if (!s->warmup || s->warmup < s->steps) return 0;
    return bl_fail(BLANCH_EUSAGE, "%s: a warm-up of %lld steps is no part of the run's %lld; give fewer", by,
                   (long long)s->warmup, (long long)s->steps);
}

/* --- rates -------------------------------------------------------------------------------------- */

static int milestones_passed(const struct bl_schedule *s, int64_t step) {
    int passed = 0;
    if (!s->milestones) return (step >= s->steps / 2) + (step >= s->steps * 3 / 4);
    for (int i = 0; i < s->milestones; i++) passed += step >= s->milestone[i] * s->epoch_steps;
    return passed;
}

static double part_of(const struct bl_schedule *s, int64_t step) {
    double whole = (double)(s->steps - s->warmup);
    return step > s->warmup && whole > 0 ? (double)(step - s->warmup) / whole : 0;
}

/* From one rate to another, half a cosine. */
static double anneal(double from, double to, double part) {
    return to + (from - to) / 2 * (1 + cos(pi * part));
}

/* torch.optim.lr_scheduler.OneCycleLR (Smith and Topin, 2018): up from lr / 25, then down to a ten thousandth of it. */
static double onecycle(const struct bl_schedule *s, int64_t step) {
    const double lr = (double)s->lr, top = (double)s->gamma * (double)s->steps - 1, end = (double)s->steps - 1;
    const double at = (double)step;
    if (top > 0 && at <= top) return anneal(lr / 25, lr, at / top);
    return anneal(lr, lr / 25e4, end > top ? (at - top) / (end - top) : 1);
}

static double warm_lr(const struct bl_schedule *s, int64_t step) {
    const double lr = (double)s->lr, gamma = (double)s->gamma;
    switch (s->kind) {
    case BL_COSINE:
        return 0.5 * lr * (1 + cos(pi * part_of(s, step)));
    case BL_MULTISTEP:
        return lr * pow(gamma, milestones_passed(s, step));
    case BL_STEP:
        return s->epoch_steps ? lr * pow(gamma, (double)(step / s->epoch_steps / s->milestone[0])) : lr;
    case BL_ONECYCLE:
        return onecycle(s, step);
    case BL_POLYNOMIAL:
        return lr * pow(1 - part_of(s, step), gamma);
    default:
        return lr;
    }
}

float bl_schedule_lr(const struct bl_schedule *schedule, int64_t step) {
    const float lr = (float)warm_lr(schedule, step);
    if (step >= schedule->warmup) return lr;
    return (float)((double)lr * (double)(step + 1) / (double)schedule->warmup);
}
