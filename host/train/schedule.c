/* Learning-rate schedules. */
#include "base/text.h"
#include "train/train.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double pi = 3.14159265358979323846;

static int bad_schedule(const char *text) {
    return bl_fail(BLANCH_EUSAGE, "--schedule takes cosine, constant or multistep[:EPOCH,EPOCH...[:GAMMA]], not '%s'",
                   text);
}

/* ":30,60,80:0.2", each part optional. */
static int parse_multistep(struct bl_schedule *s, const char *text, const char *rest) {
    double gamma;
    size_t length;
    s->gamma = 0.1f;
    if (!*rest) return 0;
    do {
        long long epoch = 0;
        length = bl_text_whole(++rest, &epoch);
        bool rises = !s->milestones || epoch > s->milestone[s->milestones - 1];
        if (!length || epoch < 1 || epoch > 1000000 || !rises || s->milestones == BL_COUNT(s->milestone))
            return bad_schedule(text);
        s->milestone[s->milestones++] = (int)epoch;
        rest += length;
    } while (*rest == ',');
    if (!*rest) return 0;
    if (*rest != ':') return bad_schedule(text);
    if (!(length = bl_text_decimal(++rest, &gamma)) || rest[length]) return bad_schedule(text);
    s->gamma = strtof(rest, NULL);
    return !(s->gamma > 0 && s->gamma <= 1) ? bad_schedule(text) : 0;
}

/* Changes kind, milestones and gamma alone. */
int bl_schedule_parse(struct bl_schedule *schedule, const char *text) {
    schedule->milestones = 0;
    if (!strcmp(text, "cosine"))
        schedule->kind = BL_COSINE;
    else if (!strcmp(text, "constant"))
        schedule->kind = BL_CONSTANT;
    else if (!strncmp(text, "multistep", 9) && (!text[9] || text[9] == ':')) {
        schedule->kind = BL_MULTISTEP;
        return parse_multistep(schedule, text, text + 9);
    } else
        return bad_schedule(text);
    return 0;
}

static int milestones_passed(const struct bl_schedule *s, int64_t step) {
    int passed = 0;
    if (!s->milestones) return (step >= s->steps / 2) + (step >= s->steps * 3 / 4);
    for (int i = 0; i < s->milestones; i++) passed += step >= s->milestone[i] * s->epoch_steps;
    return passed;
}

int bl_schedule_check(const struct bl_schedule *s) {
    if (!s->warmup || s->warmup < s->steps) return 0;
    return bl_fail(BLANCH_EUSAGE, "--warmup %lld is no part of the run's %lld steps; give fewer", (long long)s->warmup,
                   (long long)s->steps);
}

static double part_of(const struct bl_schedule *s, int64_t step) {
    double whole = (double)(s->steps - s->warmup);
    return step > s->warmup && whole > 0 ? (double)(step - s->warmup) / whole : 0;
}

static float warm_lr(const struct bl_schedule *schedule, int64_t step) {
    switch (schedule->kind) {
    case BL_COSINE:
        return (float)(0.5 * (double)schedule->lr * (1 + cos(pi * part_of(schedule, step))));
    case BL_MULTISTEP:
        return (float)(schedule->lr * pow(schedule->gamma, milestones_passed(schedule, step)));
    default:
        return schedule->lr;
    }
}

float bl_schedule_lr(const struct bl_schedule *schedule, int64_t step) {
    const float lr = warm_lr(schedule, step);
    if (step >= schedule->warmup) return lr;
    return (float)((double)lr * (double)(step + 1) / (double)schedule->warmup);
}
