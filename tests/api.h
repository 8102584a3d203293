/* What the programs that use the public header alone expect of it, and what they train on. */
#ifndef API_H
#define API_H

#include <blanch/blanch.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 32, SIDE = 28, CLASSES = 10 };

static int failures;

static inline void expect(bool holds, const char *what, const char *file, int line) {
    if (holds) return;
    failures++;
    fprintf(stderr, "%s:%d: %s (the last message: %s)\n", file, line, what, blanch_error_message());
}
#define EXPECT(what) expect((what), #what, __FILE__, __LINE__)

static inline bool is_line(const char *text) {
    return *text && !strchr(text, '\n');
}
#define REFUSED(code, call) EXPECT((call) == (code) && is_line(blanch_error_message()))
#define WRONG(call) REFUSED(BLANCH_EUSAGE, call)
#define DONE(call) EXPECT((call) == 0)

/* Where there is no device: skipped, but in CI a failure. */
static inline int skip(void) {
    const char *ci = getenv("CI");
    fprintf(stderr, "skipped: %s\n", blanch_error_message());
    return ci && *ci ? 1 : 77;
}

/* A bright bar whose place is the class. */
static inline void draw(float *images, int32_t *labels, int count) {
    for (int i = 0; i < count * SIDE * SIDE; i++) {
        int image = i / (SIDE * SIDE), row = i / SIDE % SIDE;
        labels[image] = image % CLASSES;
        images[i] = row / 2 == labels[image] ? 2.0f : 0.2f * sinf((float)(i * 7 % 101));
    }
}

static inline bool same_parameters(struct blanch_network *a, struct blanch_network *b) {
    struct blanch_network_info info = {.size = sizeof info};
    bool same = true;
    DONE(blanch_network_info(a, &info));
    for (int i = 0; i < info.parameters && same; i++) {
        struct blanch_parameter_info of = {.size = sizeof of};
        DONE(blanch_parameter_info(a, i, &of));
        float *one = (float *)calloc((size_t)of.count, 2 * sizeof *one), *other = one + of.count;
        DONE(blanch_parameter_read(a, i, one, of.count));
        DONE(blanch_parameter_read(b, i, other, of.count));
        same = !memcmp(one, other, (size_t)of.count * sizeof *one);
        free(one);
    }
    return same;
}

#endif
