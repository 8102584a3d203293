/* What every part of the host code shares: failing with a message, memory, random numbers, time. */
#ifndef BL_BASE_H
#define BL_BASE_H

#include "blanch/blanch.h"

#define BL_COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

#define BL_PRINTF(a, b) BLANCH_PRINTF(a, b)

/* Records this thread's message, one line, and returns code, so that `return bl_fail(BLANCH_EINPUT, "...", ...)` reads
 * well. What is from outside needs no care: the whole goes through bl_text_show. */
int bl_fail(int code, const char *format, ...) BL_PRINTF(2, 3);
/* Around a call of somebody else's, who may set a message: false, or none is set, and it is the former one again. */
char bl_message_hide(void);
bool bl_message_show(char hidden);
/* Puts "prefix: " before the message already recorded; returns code. */
int bl_fail_in(int code, const char *format, ...) BL_PRINTF(2, 3);
/* Puts lines behind it (a compiler's log), which are shown where they are asked for. */
int bl_fail_more(int code, const char *more);

/* A line for who runs the process about what makes no call fail, such as a cache that cannot be used. The library
 * prints nothing: blanch_log_set says who gets each text, once. */
void bl_warn(const char *format, ...) BL_PRINTF(1, 2);

/* The one door to the allocator: zeroed memory; memory as it comes; the same moved to another size, kept where that
 * fails. NULL with the message set when there is none. All of it is released by free(). */
void *bl_calloc(size_t count, size_t size);
void *bl_malloc(size_t size);
void *bl_realloc(void *data, size_t size);
/* BLANCH_ENOMEM once after this door was found shut in this thread, else 0: for who makes a document out of parts and
 * is not told by each of them. */
int bl_memory_lacked(void);
/* Grows an array to hold at least need elements (doubling); *data, *capacity change. 0 or BLANCH_ENOMEM. */
int bl_grow(void **data, size_t *capacity, size_t need, size_t element);
char *bl_strdup(const char *text);
/* malloc'd printf. */
char *bl_format(const char *format, ...) BL_PRINTF(1, 2);

double bl_now(void); // seconds, monotonic

/* 0, or BLANCH_EINTERRUPTED with its message after blanch_stop_request: whatever takes long is to end as soon as
 * nothing is lost by it. */
int bl_check_interrupted(void);

/* The value that a part of them lies below, by linear interpolation; part 0.5: the median. Sorts values; 0 of none. */
double bl_quantile(double *values, int count, double part);

/* Per cent: part of whole; how much more value is than base (negative: less). NAN where there is nothing to compare
 * with. */
double bl_percent_of(double part, double whole);
double bl_percent_more(double value, double base);

/* Philox4x32-10 (Salmon et al., SC 2011): four words for a key and a counter. Keyed by seed and purpose, counted by
 * position: the same numbers on every device and for any number of threads. */
enum bl_purpose {
    BL_RANDOM_WEIGHTS = 1,
    BL_RANDOM_SHUFFLE,
    BL_RANDOM_AUGMENT,
    BL_RANDOM_DROPOUT,
    BL_RANDOM_SPLIT,
    BL_RANDOM_DATA,
    BL_RANDOM_MIX,
    BL_RANDOM_NOISE, // normal
    BL_RANDOM_TIME,  // of a diffusion
    BL_RANDOM_SAMPLE // what is made by a network that generates
};
void bl_philox_raw(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);
void bl_philox(uint64_t seed, enum bl_purpose purpose, uint64_t position, uint64_t stream, uint32_t out[4]);
float bl_uniform(uint32_t word); // [0, 1), 24 bits
/* Four normal numbers of one counter, by Box and Muller from its words' upper 24 bits. */
void bl_normals(uint64_t seed, enum bl_purpose purpose, uint64_t position, uint64_t stream, double out[4]);
/* Uniform in 0..n-1 without bias worth naming (64-bit multiply-shift). */
uint32_t bl_below(uint32_t word, uint32_t n);
/* Fisher-Yates over indices 0..n-1 for (seed, epoch); order has n entries. */
void bl_shuffle(uint64_t seed, uint64_t epoch, uint32_t *order, uint32_t n);

/* 64-bit FNV-1a, for cache keys. Start from BL_HASH_START. */
#define BL_HASH_START 0xcbf29ce484222325ull
uint64_t bl_hash(uint64_t hash, const void *data, size_t size);

#endif
