/* Reading many images at once, in several threads: decoding a dataset of small ones on opening, looking at those that
 * are going to be relied on. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE // sched_getaffinity
#endif
#include "internal.h"

#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHUNK 64          // images that a thread takes at a time
#define WHOLE_CHECK 2000u // so many are decoded to be checked
#define MAX_THREADS 32

struct decoding {
    struct bl_dataset *data;
    int (*one)(struct decoding *job, enum bl_split split, uint32_t index);
    int height, width;
    bool brief;       // of checking: only begin and end
    int first;        // split
    atomic_uint next; // images of all splits are numbered through, from the first one on
    atomic_bool stop, mixed;
    pthread_mutex_t lock;
    int code;
    char *message;
};

int bl_cores(void) {
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
#ifdef __linux__
    cpu_set_t set;
    if (!sched_getaffinity(0, sizeof set, &set)) cores = CPU_COUNT(&set);
#endif
    return cores < 1 ? 1 : (int)cores;
}

int bl_thread_start(pthread_t *thread, void *(*run)(void *), void *argument) {
    sigset_t all, former;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &former);
    int error = pthread_create(thread, NULL, run, argument);
    pthread_sigmask(SIG_SETMASK, &former, NULL);
    return error ? bl_fail(BLANCH_ENOMEM, "a thread cannot be started: %s", strerror(error)) : 0;
}

static void give_up(struct decoding *job, int code) {
    pthread_mutex_lock(&job->lock);
    if (!job->code) {
        job->code = code;
        job->message = bl_strdup(blanch_error_message());
    }
    pthread_mutex_unlock(&job->lock);
    job->stop = true;
}

static int decode_one(struct decoding *job, enum bl_split split, uint32_t index) {
    struct bl_dataset *data = job->data;
    struct bl_pixels pixels;
    int code = data->read(data, split, index, &pixels);
    if (code == BLANCH_EINPUT) return bl_dataset_damage(data, split, index);
    if (code) return code;
    size_t bytes = (size_t)job->height * job->width * data->channels;
    if (pixels.width == job->width && pixels.height == job->height && pixels.channels == data->channels)
        memcpy(data->split[split].pixels + bytes * index, pixels.data, bytes);
    else
        job->mixed = job->stop = true;
    bl_pixels_free(&pixels);
    return 0;
}

static void *decode_chunks(void *argument) {
    struct decoding *job = argument;
    const struct bl_images *images = job->data->split;
    uint32_t total = 0;
    for (int s = job->first; s < BL_SPLITS; s++) total += images[s].count;
    for (;;) {
        uint32_t begin = atomic_fetch_add(&job->next, CHUNK);
        for (uint32_t i = begin; i < begin + CHUNK; i++) {
            if (job->stop || i >= total) return NULL;
            int s = job->first;
            uint32_t index = i;
            while (index >= images[s].count) index -= images[s++].count;
            int code = bl_check_interrupted();
            if (!code) code = job->one(job, (enum bl_split)s, index);
            if (code) give_up(job, code);
        }
    }
}

static void run_threads(struct decoding *job) {
    pthread_t threads[MAX_THREADS];
    int started = 0, wanted = bl_cores() - 1;
    while (started < wanted && started < MAX_THREADS && !bl_thread_start(&threads[started], decode_chunks, job))
        started++;
    decode_chunks(job);
    while (started) pthread_join(threads[--started], NULL);
}

static void drop_damaged(struct bl_dataset *data, int split, size_t bytes) {
    struct bl_images *images = &data->split[split];
    uint32_t kept = 0;
    for (uint32_t i = 0; i < images->count; i++) {
        if (images->damaged[i]) {
            if (images->paths) free(images->paths[i]);
            continue;
        }
        if (kept != i) {
            if (images->pixels) memcpy(images->pixels + bytes * kept, images->pixels + bytes * i, bytes);
            images->labels[kept] = images->labels[i];
            if (images->paths) images->paths[kept] = images->paths[i];
        }
        kept++;
    }
    data->left_out += images->count - kept;
    images->count = kept;
    images->damaged_count = 0;
    for (uint32_t i = 0; i < kept; i++) images->damaged[i] = 0;
}

static int run_job(struct decoding *job) {
    pthread_mutex_init(&job->lock, NULL);
    run_threads(job);
    pthread_mutex_destroy(&job->lock);
    int code = job->code ? bl_fail(job->code, "%s", job->message ? job->message : "out of memory") : 0;
    free(job->message);
    return code;
}

int bl_dataset_decode(struct bl_dataset *data, int height, int width) {
    struct decoding job = {.data = data, .one = decode_one, .height = height, .width = width};
    size_t bytes = (size_t)height * width * data->channels;
    for (int s = 0; s < BL_SPLITS; s++) {
        if (!data->split[s].count) continue;
        data->split[s].pixels = bl_malloc(bytes * data->split[s].count);
        if (!data->split[s].pixels) return bl_fail(BLANCH_ENOMEM, "%s: out of memory for its pixels", data->folder);
    }
    int code = run_job(&job);
    for (int s = 0; s < BL_SPLITS; s++) {
        if (job.mixed) {
            free(data->split[s].pixels);
            data->split[s].pixels = NULL;
        } else if (!code) {
            drop_damaged(data, s, bytes);
        }
    }
    data->height = job.mixed ? 0 : height;
    data->width = job.mixed ? 0 : width;
    return code;
}

/* --- checking ----------------------------------------------------------------------------------- */

static int check_one(struct decoding *job, enum bl_split split, uint32_t index) {
    struct bl_dataset *data = job->data;
    struct bl_pixels pixels;
    if (job->brief && bl_image_looks_whole(data->split[split].paths[index])) return 0;
    int code = data->read(data, split, index, &pixels);
    if (code == BLANCH_EINPUT) return bl_dataset_damage(data, split, index);
    if (!code) bl_pixels_free(&pixels);
    return code;
}

int bl_dataset_check(struct bl_dataset *data) {
    const uint32_t count = data->split[BL_VAL].count + data->split[BL_TEST].count;
    struct decoding job = {.data = data, .one = check_one, .first = BL_VAL, .brief = count > WHOLE_CHECK};
    if (data->height || data->format != &bl_format_folder) return 0;
    int code = run_job(&job);
    for (int s = BL_VAL; s < BL_SPLITS && !code; s++) drop_damaged(data, s, 0);
    return code;
}
