/* Failing, memory, time, hashing, random numbers. */
#include "base/base.h"
#include "base/text.h"
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static _Thread_local char message[32768]; // holds a compiler's whole log

const char *blanch_error_message(void) {
    return message;
}

const char *blanch_version(void) {
    return BLANCH_VERSION;
}

const char *blanch_error_text(int code) {
    switch (code) {
    case 0:
        return "success";
#define X(name, number, text)                                                                                          \
    case number:                                                                                                       \
        return text;
        BLANCH_ERRORS(X)
#undef X
    default:
        return "unknown error";
    }
}

int bl_fail(int code, const char *format, ...) {
    char text[sizeof message]; // format may point into message
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    bl_text_show(message, sizeof message, text);
    return code;
}

char bl_message_hide(void) {
    const char first = *message;
    *message = 0;
    return first;
}

bool bl_message_show(char first) {
    if (*message) return false;
    *message = first;
    return true;
}

int bl_fail_more(int code, const char *more) {
    size_t used = strlen(message);
    snprintf(message + used, sizeof message - used, "\n%s", more);
    return code;
}

int bl_fail_in(int code, const char *format, ...) {
    char prefix[1024], shown[4 * sizeof prefix], text[sizeof message];
    va_list args;
    va_start(args, format);
    vsnprintf(prefix, sizeof prefix, format, args);
    va_end(args);
    bl_text_show(shown, sizeof shown, prefix);
    snprintf(text, sizeof text, "%s: %.*s", shown, (int)(sizeof message - sizeof shown - 3), message);
    memcpy(message, text, sizeof message);
    return code;
}

static pthread_mutex_t warning_lock = PTHREAD_MUTEX_INITIALIZER;
static void (*show_warning)(void *context, const char *line);
static void *warning_context;

void blanch_log_set(void (*show)(void *context, const char *line), void *context) {
    pthread_mutex_lock(&warning_lock);
    show_warning = show, warning_context = context;
    pthread_mutex_unlock(&warning_lock);
}

/* Whether a warning is new. When the table is full, the rest is said again and again. */
static bool is_new(const char *text) {
    static uint64_t said[64];
    static int count;
    const uint64_t hash = bl_hash(BL_HASH_START, text, strlen(text));
    int at = 0;
    while (at < count && said[at] != hash) at++;
    const bool fresh = at == count;
    if (fresh && count < BL_COUNT(said)) said[count++] = hash;
    return fresh;
}

void bl_warn(const char *format, ...) {
    char text[2048], shown[2 * sizeof text];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    bl_text_show(shown, sizeof shown, text);
    pthread_mutex_lock(&warning_lock);
    void (*show)(void *, const char *) = show_warning;
    void *context = warning_context;
    const bool wanted = show && is_new(shown);
    pthread_mutex_unlock(&warning_lock);
    if (wanted) show(context, shown);
}

static _Thread_local bool lacked;

int bl_memory_lacked(void) {
    const bool was = lacked;
    lacked = false;
    return was ? bl_fail(BLANCH_ENOMEM, "out of host memory") : 0;
}

void *bl_calloc(size_t count, size_t size) {
    void *data = calloc(count ? count : 1, size ? size : 1);
    lacked |= !data;
    if (!data) bl_fail(BLANCH_ENOMEM, "out of host memory for %zu elements of %zu bytes", count, size);
    return data;
}

void *bl_malloc(size_t size) {
    return bl_realloc(NULL, size);
}

void *bl_realloc(void *data, size_t size) {
    void *moved = realloc(data, size ? size : 1);
    lacked |= !moved;
    if (!moved) bl_fail(BLANCH_ENOMEM, "out of host memory for %zu bytes", size);
    return moved;
}

int bl_grow(void **data, size_t *capacity, size_t need, size_t element) {
    if (need <= *capacity) return 0;
    size_t larger = *capacity ? *capacity : 8;
    while (larger < need) larger = larger > SIZE_MAX / 2 ? need : larger * 2;
    void *moved = larger > SIZE_MAX / element ? NULL : bl_realloc(*data, larger * element);
    if (!moved) return bl_fail(BLANCH_ENOMEM, "out of host memory for %zu elements of %zu bytes", larger, element);
    *data = moved, *capacity = larger;
    return 0;
}

char *bl_strdup(const char *text) {
    return bl_format("%s", text);
}

char *bl_format(const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    char *text = length < 0 ? NULL : bl_calloc((size_t)length + 1, 1);
    if (text) vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    va_end(args);
    return text;
}

static atomic_bool stop_requested; // lock-free wherever signals are: a handler may set it

void blanch_stop_request(void) {
    stop_requested = true;
}
void blanch_stop_clear(void) {
    stop_requested = false;
}
bool blanch_stop_requested(void) {
    return stop_requested;
}
int bl_check_interrupted(void) {
    return stop_requested ? bl_fail(BLANCH_EINTERRUPTED, "interrupted") : 0;
}

void blanch_free(void *memory) {
    free(memory);
}

double bl_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bl_quantile(double *values, int count, double part) {
    if (count < 1) return 0;
    qsort(values, (size_t)count, sizeof *values, by_value);
    double at = part * (count - 1);
    int low = (int)at;
    double high = values[low + 1 < count ? low + 1 : low];
    return values[low] + (at - low) * (high - values[low]);
}

double bl_percent_of(double part, double whole) {
    return whole != 0 ? 100 * part / whole : NAN;
}
double bl_percent_more(double value, double base) {
    return bl_percent_of(value, base) - 100;
}

uint64_t bl_hash(uint64_t hash, const void *data, size_t size) {
    const unsigned char *bytes = data;
    for (size_t i = 0; i < size; i++) hash = (hash ^ bytes[i]) * 0x100000001b3ull;
    return hash;
}

/* --- Philox4x32-10 ---------------------------------------------------------------------------- */

void bl_philox_raw(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3], k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t a = 0xD2511F53ull * c0, b = 0xCD9E8D57ull * c2;
        uint32_t n0 = (uint32_t)(b >> 32) ^ c1 ^ k0, n2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)b, c3 = (uint32_t)a, c0 = n0, c2 = n2;
        k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

/* Counter: position (64 bits), stream (64 bits). Key: seed's two halves, the purpose mixed into the upper one. */
void bl_philox(uint64_t seed, enum bl_purpose purpose, uint64_t position, uint64_t stream, uint32_t out[4]) {
    const uint32_t counter[4] = {(uint32_t)position, (uint32_t)(position >> 32), (uint32_t)stream,
                                 (uint32_t)(stream >> 32)};
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32) ^ ((uint32_t)purpose * 0x85EBCA6Bu)};
    bl_philox_raw(counter, key, out);
}

float bl_uniform(uint32_t word) {
    return (float)(word >> 8) * 0x1p-24f;
}

void bl_normals(uint64_t seed, enum bl_purpose purpose, uint64_t position, uint64_t stream, double out[4]) {
    const double turn = 6.283185307179586476925;
    uint32_t word[4];
    bl_philox(seed, purpose, position, stream, word);
    for (int i = 0; i < 4; i += 2) {
        const double radius = sqrt(-2 * log(((word[i] >> 8) + 0.5) * 0x1p-24)), angle = (word[i + 1] >> 8) * 0x1p-24;
        out[i] = radius * cos(turn * angle), out[i + 1] = radius * sin(turn * angle);
    }
}

uint32_t bl_below(uint32_t word, uint32_t n) {
    return (uint32_t)((uint64_t)word * n >> 32);
}

void bl_shuffle(uint64_t seed, uint64_t epoch, uint32_t *order, uint32_t n) {
    uint32_t word[4];
    for (uint32_t i = 0; i < n; i++) order[i] = i;
    for (uint32_t i = n; i > 1; i--) {
        bl_philox(seed, BL_RANDOM_SHUFFLE, i, epoch, word);
        uint32_t j = bl_below(word[0], i), swap = order[i - 1];
        order[i - 1] = order[j], order[j] = swap;
    }
}
