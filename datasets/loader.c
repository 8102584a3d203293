/* The loader: threads fill a ring of batches ahead of their use. A thread takes a run of images of the batch that is
 * being filled, so a batch is ready as soon as all threads together can make it; what an image looks like depends on
 * its index and the epoch alone, so the threads' number and order do not show. */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

#define MAX_THREADS 16
#define AHEAD 3
#define LARGE_BATCH (64ull << 20) // bytes; of larger ones, one less is kept ahead
#define HELD_RUN 16               // images that a thread takes at a time, from memory; from files, 1

struct slot {
    float *images;            // (batch, height, width, channels)
    int32_t *labels, *others; // others: of mixed images
    float *last;              // room for one image, to mix
    float share;              // see struct bl_batch
    uint32_t *indices;        // of the images to read
    bool *left_out;           // of those read: damaged, in evaluation
    uint32_t count, pending;  // images; those not finished
    uint32_t offset, whole;   // see struct bl_batch
    uint64_t epoch;
    uint32_t number; // of the batch in its epoch
    bool ready;
};

struct bl_loader {
    struct bl_dataset *data;
    struct bl_loader_options options;
    struct bl_transform transform;
    uint32_t count, batch, batches;  // images and batches of an epoch
    uint32_t part_first, part_count; // of a batch
    size_t image_floats;
    struct slot *slots;
    uint64_t slot_count;
    pthread_t threads[MAX_THREADS];
    int thread_count;

    pthread_mutex_t lock; // of all that follows
    pthread_cond_t filled, freed;
    uint32_t *order; // of order_epoch
    uint64_t order_epoch;
    bool order_known;
    uint64_t total, begun, taken; // batches: in all, begun to be filled, handed out
    bool holding;                 // the last one taken is still in use
    uint32_t next_image;          // of the batch begun last that no thread has taken
    bool stop;
    int code;
    char *message;
    struct bl_loader_rate rate;
};

/* --- filling ---------------------------------------------------------------------------------- */

/* Where a damaged image stood, the next one is trained on. In evaluation it is left out, lest another count twice. */
static int fill_image(struct bl_loader *loader, struct slot *slot, uint32_t at) {
    const enum bl_split split = loader->options.split;
    const struct bl_images *images = &loader->data->split[split];
    const uint32_t tries = loader->options.training ? loader->count : 1;
    float *out = slot->images + loader->image_floats * at;
    slot->left_out[at] = false;
    for (uint32_t k = 0; k < tries; k++) {
        uint32_t i = (uint32_t)(((uint64_t)slot->indices[at] + k) % loader->count);
        if (images->damaged && images->damaged[i]) continue;
        int code = bl_dataset_image(loader->data, split, i, &loader->transform, slot->epoch, out);
        if (!code) slot->labels[at] = bl_dataset_label(loader->data, split, i);
        if (code != BLANCH_EINPUT) return code;
        code = bl_dataset_damage(loader->data, split, i);
        if (code) return code;
    }
    if (loader->options.training) return bl_fail(BLANCH_EINPUT, "%s: all images are damaged", loader->data->folder);
    slot->left_out[at] = true;
    return 0;
}

static int fill_run(struct bl_loader *loader, struct slot *slot, uint32_t begin, uint32_t end) {
    int code = 0;
    for (uint32_t i = begin; !code && i < end; i++) code = fill_image(loader, slot, i);
    return code;
}

static bool mixes(const struct bl_loader *loader) {
    const struct bl_view *view = &loader->options.view;
    return loader->options.training && (view->mixup > 0 || view->cutmix > 0);
}

static void mix(const struct bl_loader *loader, struct slot *slot) {
    struct bl_mixed mixed = {slot->images, slot->labels, slot->others, slot->last, (int)slot->count};
    if (mixes(loader) && slot->count)
        slot->share = bl_mix_batch(&loader->options.view, loader->options.seed, slot->epoch, slot->number, &mixed);
}

/* Once all images are there. */
static void close_gaps(const struct bl_loader *loader, struct slot *slot) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < slot->count; i++) {
        if (slot->left_out[i]) continue;
        if (kept != i) {
            slot->labels[kept] = slot->labels[i];
            memcpy(slot->images + loader->image_floats * kept, slot->images + loader->image_floats * i,
                   loader->image_floats * sizeof *slot->images);
        }
        kept++;
    }
    slot->count = kept;
}

static void set_order(struct bl_loader *loader, uint64_t epoch) {
    if (loader->order_known && (loader->order_epoch == epoch || !loader->options.training)) return;
    if (loader->options.training)
        bl_shuffle(loader->options.seed, epoch, loader->order, loader->count);
    else
        for (uint32_t i = 0; i < loader->count; i++) loader->order[i] = i;
    loader->order_epoch = epoch;
    loader->order_known = true;
}

/* Locked. */
static void begin_batch(struct bl_loader *loader) {
    struct slot *slot = &loader->slots[loader->begun % loader->slot_count];
    uint64_t position = loader->options.first + loader->begun;
    slot->epoch = loader->options.epoch + position / loader->batches;
    slot->number = (uint32_t)(position % loader->batches);
    uint32_t begin = slot->number * loader->batch, left = loader->count - begin;
    slot->whole = left < loader->batch ? left : loader->batch;
    slot->offset = slot->whole < loader->part_first ? slot->whole : loader->part_first;
    left = slot->whole - slot->offset;
    slot->count = slot->pending = left < loader->part_count ? left : loader->part_count;
    slot->ready = !slot->count;
    if (slot->ready) pthread_cond_broadcast(&loader->filled);
    set_order(loader, slot->epoch);
    memcpy(slot->indices, loader->order + begin + slot->offset, slot->count * sizeof *slot->indices);
    loader->begun++;
    loader->next_image = 0;
}

/* Locked. A batch may be begun where its slot is neither waiting to be taken nor in use. */
static bool may_begin(const struct bl_loader *loader) {
    return loader->begun < loader->total && loader->begun - (loader->taken - loader->holding) < loader->slot_count;
}

/* Locked. Waits for a run of images to fill; false: nothing is left to do. */
static bool take_run(struct bl_loader *loader, struct slot **slot, uint32_t *begin, uint32_t *end) {
    uint32_t run = loader->data->split[loader->options.split].pixels ? HELD_RUN : 1;
    for (;;) {
        if (loader->stop || loader->code) return false;
        *slot = loader->begun ? &loader->slots[(loader->begun - 1) % loader->slot_count] : NULL;
        if (*slot && loader->next_image < (*slot)->count) break;
        if (may_begin(loader))
            begin_batch(loader);
        else if (loader->begun == loader->total)
            return false;
        else
            pthread_cond_wait(&loader->freed, &loader->lock);
    }
    *begin = loader->next_image;
    *end = (*slot)->count - *begin < run ? (*slot)->count : *begin + run;
    loader->next_image = *end;
    return true;
}

static void *fill(void *argument) {
    struct bl_loader *loader = argument;
    struct slot *slot;
    uint32_t begin, end;
    pthread_mutex_lock(&loader->lock);
    while (take_run(loader, &slot, &begin, &end)) {
        pthread_mutex_unlock(&loader->lock);
        const double start = bl_now();
        int code = fill_run(loader, slot, begin, end);
        const double seconds = bl_now() - start;
        pthread_mutex_lock(&loader->lock);
        loader->rate.images += end - begin;
        loader->rate.seconds += seconds;
        slot->pending -= end - begin;
        if (!code && !slot->pending) {
            close_gaps(loader, slot);
            pthread_mutex_unlock(&loader->lock); // the slot is this thread's until it is ready
            mix(loader, slot);
            pthread_mutex_lock(&loader->lock);
            slot->ready = true;
        }
        if (code && !loader->code) {
            loader->code = code;
            loader->message = bl_strdup(blanch_error_message());
        }
        if (code || !slot->pending) pthread_cond_broadcast(&loader->filled);
        if (code) pthread_cond_broadcast(&loader->freed);
    }
    pthread_mutex_unlock(&loader->lock);
    return NULL;
}

/* --- opening and closing ---------------------------------------------------------------------- */

static int make_slots(struct bl_loader *loader) {
    const struct bl_loader_options *options = &loader->options;
    uint64_t bytes = (uint64_t)loader->batch * loader->image_floats * sizeof(float);
    int ahead = options->ahead > 0 ? options->ahead : bytes > LARGE_BATCH ? AHEAD - 1 : AHEAD;
    loader->slots = bl_calloc((size_t)ahead + 1, sizeof *loader->slots);
    loader->order = bl_calloc(loader->count, sizeof *loader->order);
    if (!loader->slots || !loader->order) return BLANCH_ENOMEM;
    loader->slot_count = (uint64_t)ahead + 1;
    for (uint64_t i = 0; i < loader->slot_count; i++) {
        struct slot *slot = &loader->slots[i];
        slot->images = bl_calloc(loader->batch, loader->image_floats * sizeof(float));
        slot->labels = bl_calloc(loader->batch, sizeof *slot->labels);
        slot->indices = bl_calloc(loader->batch, sizeof *slot->indices);
        slot->left_out = bl_calloc(loader->batch, sizeof *slot->left_out);
        if (mixes(loader)) {
            slot->others = bl_calloc(loader->batch, sizeof *slot->others);
            slot->last = bl_calloc(loader->image_floats, sizeof *slot->last);
            if (!slot->others || !slot->last) return BLANCH_ENOMEM;
        }
        if (!slot->images || !slot->labels || !slot->indices || !slot->left_out)
            return bl_fail(BLANCH_ENOMEM, "out of host memory for %d batches of %u images ahead; use a smaller batch",
                           ahead + 1, loader->batch);
    }
    return 0;
}

static int start_threads(struct bl_loader *loader) {
    int threads = loader->options.threads;
    if (threads <= 0) threads = loader->data->split[loader->options.split].pixels ? 1 : bl_cores() - 1;
    threads = threads < 1 ? 1 : threads > MAX_THREADS ? MAX_THREADS : threads;
    while (loader->thread_count < threads) {
        int code = bl_thread_start(&loader->threads[loader->thread_count], fill, loader);
        if (code && !loader->thread_count) return code;
        if (code) break;
        loader->thread_count++;
    }
    return 0;
}

uint32_t bl_epoch_batches(uint32_t images, int batch, int least) {
    uint32_t whole = images / (uint32_t)batch, rest = images % (uint32_t)batch;
    return whole + (rest && rest >= (uint32_t)(least > 0 ? least : 1));
}

static int set_up(struct bl_loader *loader) {
    struct bl_loader_options *options = &loader->options;
    int code = bl_transform_init(&loader->transform, &options->view, options->training, options->seed);
    if (code) return code;
    if (options->part.first < 0 || options->part.count < 0 ||
        options->part.first > options->batch - options->part.count)
        return bl_fail(BLANCH_EUSAGE, "%d images from the %dth are no part of a batch of %d", options->part.count,
                       options->part.first, options->batch);
    if (options->batch < 1) return bl_fail(BLANCH_EUSAGE, "a batch of %d images is not above zero", options->batch);
    loader->count = loader->data->split[options->split].count;
    if (!loader->count)
        return bl_fail(BLANCH_EINPUT, "%s: there are no %s images", loader->data->folder,
                       bl_split_title(options->split));
    loader->batch = (uint32_t)options->batch < loader->count ? (uint32_t)options->batch : loader->count;
    loader->part_first = options->part.count ? (uint32_t)options->part.first : 0;
    loader->part_count = options->part.count ? (uint32_t)options->part.count : loader->batch;
    loader->batches = bl_epoch_batches(loader->count, options->batch, options->least);
    if (!loader->batches)
        return bl_fail(BLANCH_EUSAGE, "%s: no batch is left of %u images", loader->data->folder, loader->count);
    loader->image_floats = (size_t)options->view.height * options->view.width * options->view.channels;
    uint64_t asked = (uint64_t)(options->epochs > 0 ? options->epochs : 0) * loader->batches;
    loader->total = options->epochs <= 0 ? UINT64_MAX : asked > options->first ? asked - options->first : 0;
    code = make_slots(loader);
    return code ? code : start_threads(loader);
}

int bl_loader_open(struct bl_loader **loader, struct bl_dataset *data, const struct bl_loader_options *options) {
    struct bl_loader *opened = bl_calloc(1, sizeof *opened);
    *loader = NULL;
    if (!opened) return BLANCH_ENOMEM;
    opened->data = data;
    opened->options = *options;
    pthread_mutex_init(&opened->lock, NULL);
    pthread_cond_init(&opened->filled, NULL);
    pthread_cond_init(&opened->freed, NULL);
    int code = set_up(opened);
    if (code)
        bl_loader_close(opened);
    else
        *loader = opened;
    return code;
}

void bl_loader_close(struct bl_loader *loader) {
    if (!loader) return;
    pthread_mutex_lock(&loader->lock);
    loader->stop = true;
    pthread_cond_broadcast(&loader->freed);
    pthread_mutex_unlock(&loader->lock);
    while (loader->thread_count) pthread_join(loader->threads[--loader->thread_count], NULL);
    for (uint64_t i = 0; i < loader->slot_count; i++) {
        free(loader->slots[i].images);
        free(loader->slots[i].labels);
        free(loader->slots[i].others);
        free(loader->slots[i].last);
        free(loader->slots[i].indices);
        free(loader->slots[i].left_out);
    }
    pthread_cond_destroy(&loader->freed);
    pthread_cond_destroy(&loader->filled);
    pthread_mutex_destroy(&loader->lock);
    free(loader->slots);
    free(loader->order);
    free(loader->message);
    free(loader);
}

/* --- taking ----------------------------------------------------------------------------------- */

/* Locked. The batch taken last goes back to the threads. */
static void give_back(struct bl_loader *loader) {
    if (!loader->holding) return;
    loader->slots[(loader->taken - 1) % loader->slot_count].ready = false;
    loader->holding = false;
    pthread_cond_broadcast(&loader->freed);
}

int bl_loader_next(struct bl_loader *loader, struct bl_batch *batch) {
    int code = 0;
    *batch = (struct bl_batch){0};
    pthread_mutex_lock(&loader->lock);
    give_back(loader);
    if (loader->taken < loader->total) {
        struct slot *slot = &loader->slots[loader->taken % loader->slot_count];
        while (!slot->ready && !loader->code) pthread_cond_wait(&loader->filled, &loader->lock);
        if (slot->ready) {
            *batch = (struct bl_batch){.count = (int)slot->count,
                                       .images = slot->images,
                                       .labels = slot->labels,
                                       .others = slot->others,
                                       .share = slot->others ? slot->share : 1,
                                       .last = slot->number + 1 == loader->batches,
                                       .epoch = slot->epoch,
                                       .offset = (int)slot->offset,
                                       .whole = (int)slot->whole,
                                       .first = slot->number};
            loader->taken++;
            loader->holding = true;
        } else {
            code = bl_fail(loader->code, "%s", loader->message ? loader->message : blanch_error_text(loader->code));
        }
    }
    pthread_mutex_unlock(&loader->lock);
    return code;
}

/* Locked. */
static bool is_full(const struct bl_loader *loader) {
    for (uint64_t i = loader->taken; i < loader->begun; i++)
        if (!loader->slots[i % loader->slot_count].ready) return false;
    return !may_begin(loader);
}

void bl_loader_wait(struct bl_loader *loader) {
    pthread_mutex_lock(&loader->lock);
    while (!loader->code && !is_full(loader)) pthread_cond_wait(&loader->filled, &loader->lock);
    pthread_mutex_unlock(&loader->lock);
}

uint32_t bl_loader_batches(const struct bl_loader *loader) {
    return loader->batches;
}

struct bl_loader_rate bl_loader_rate(struct bl_loader *loader) {
    pthread_mutex_lock(&loader->lock);
    struct bl_loader_rate rate = loader->rate;
    pthread_mutex_unlock(&loader->lock);
    rate.threads = loader->thread_count;
    return rate;
}

const char *bl_loader_skipped(struct bl_loader *loader) {
    return bl_dataset_message(loader->data);
}
