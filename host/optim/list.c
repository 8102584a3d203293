/* Optimisers by name, and what they share. */
#include "optim/optim.h"
#include "base/text.h"
#include <stdio.h>
#include <string.h>

const struct bl_optimiser *const bl_optimiser_list[] = {
#define X(name) &bl_optimiser_##name,
#include "optim/optimisers.h"
#undef X
    NULL};

int bl_optimiser_find(const char *name, const struct bl_optimiser **optimiser) {
    const char *names[BL_COUNT(bl_optimiser_list)] = {NULL};
    char known[128] = "";
    for (int i = 0; bl_optimiser_list[i]; i++) {
        size_t length = strlen(known);
        *optimiser = bl_optimiser_list[i];
        if (!name || !strcmp(name, (*optimiser)->name)) return 0;
        names[i] = (*optimiser)->name;
        snprintf(known + length, sizeof known - length, "%s%s", i ? ", " : "", (*optimiser)->name);
    }
    const char *near = bl_nearest(name, names);
    return bl_fail(BLANCH_EUSAGE, "unknown optimiser '%s'%s%s%s; known are %s", name, near ? ", did you mean '" : "",
                   near ? near : "", near ? "'?" : "", known);
}

int bl_update_check_all(const struct bl_optimiser *optimiser, const struct blanch_update *update) {
    int code = bl_update_check("clip-grad-norm", update->clip_grad_norm, 0, 0);
    return code ? code : optimiser->check(update);
}

struct bl_update_shape bl_update_shape(const struct bl_update_span *span) {
    bool cpu = blanch_device_info(span->dev)->kind == BLANCH_CPU;
    struct bl_update_shape shape = {.vec = cpu ? 16 : 1, .chunk = cpu ? 65536 : 1};
    size_t items = (size_t)((span->count + shape.chunk - 1) / shape.chunk);
    shape.range = cpu ? BL_GROUPS1(items) : BL_ITEMS(items);
    return shape;
}

void bl_update_passes(const struct bl_update_span *span, int passes) {
    bl_work(span->dev, 0, (uint64_t)passes * (uint64_t)span->count * sizeof(float));
}

int bl_update_check(const char *name, float value, double low, double high) {
    if ((double)value >= low && (high <= low || (double)value < high)) return 0;
    if (high > low)
        return bl_fail(BLANCH_EUSAGE, "--%s is %g: it must be at least %g and less than %g", name, (double)value, low,
                       high);
    return bl_fail(BLANCH_EUSAGE, "--%s is %g: it must be at least %g", name, (double)value, low);
}
