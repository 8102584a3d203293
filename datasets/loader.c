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
    int32_t *labels, *others; // labels: image_labels each; others: of mixed images
    float *last;              // room for one image, to mix
    float share;              // see struct bl_batch
    uint32_t *indices;        // of the images to read
    bool *left_out;           // of those read: damaged, in evaluation
    uint32_t count, pending;  // images; those not finished
    uint32_t whole;           // see struct bl_batch
    uint64_t epoch;
    uint32_t number; // of the batch in its epoch
    bool ready;
};

struct bl_loader {
    struct bl_dataset *data;
    struct bl_loader_options options;
    struct bl_transform transform;
    uint32_t count, batch, batches; // images and batches of an epoch
    size_t image_floats, image_labels;
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
    uint64_t held;                // the last of those taken, still in use
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
    int32_t *labels = slot->labels + loader->image_labels * at;
    slot->left_out[at] = false;
    for (uint32_t k = 0; k < tries; k++) {
        uint32_t i = (uint32_t)(((uint64_t)slot->indices[at] + k) % loader->count);
        if (images->damaged && images->damaged[i]) continue;
        int code = bl_dataset_sample(loader->data, split, i, &loader->transform, slot->epoch, out, labels);
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

/* --- parts of a batch ------------------------------------------------------------------------- */

static uint32_t passes_of(const struct bl_loader *loader, const struct slot *slot) {
    const uint32_t pass = (uint32_t)loader->options.pass;
    return pass ? (slot->whole + pass - 1) / pass : 1;
}

/* This rank's images of a pass: the number of the first one in the batch, and how many. */
static struct bl_own_part part_of(const struct bl_loader *loader, const struct slot *slot, uint32_t pass) {
    const uint64_t passes = passes_of(loader, slot);
    const int begin = (int)(slot->whole * pass / passes), end = (int)((uint64_t)slot->whole * (pass + 1) / passes);
    struct bl_own_part part = bl_divide(&loader->options.part, end - begin);
    part.first += begin;
    return part;
}

static bool divides(const struct bl_loader *loader) {
    return loader->options.part.ranks > 1;
}

/* Where images are mixed, the one before the first comes along: before the first of the batch, the last. */
static void choose_images(struct bl_loader *loader, struct slot *slot) {
    const uint32_t *order = loader->order + (size_t)slot->number * loader->batch;
    slot->count = 0;
    for (uint32_t pass = 0; pass < passes_of(loader, slot); pass++) {
        const struct bl_own_part part = part_of(loader, slot, pass);
        if (divides(loader) && mixes(loader))
            slot->indices[slot->count++] = order[part.first ? (uint32_t)part.first - 1 : slot->whole - 1];
        for (int i = 0; i < part.count; i++) slot->indices[slot->count++] = order[part.first + i];
    }
}

/* --- mixing ----------------------------------------------------------------------------------- */

static struct bl_mixed from(const struct bl_loader *loader, struct slot *slot, size_t first, size_t count) {
    return (struct bl_mixed){slot->images + loader->image_floats * first, slot->labels + first, slot->others + first,
                             slot->last, (int)count};
}

static void move(const struct bl_loader *loader, struct slot *slot, size_t first, size_t count, size_t to) {
    memmove(slot->images + loader->image_floats * to, slot->images + loader->image_floats * first,
            count * loader->image_floats * sizeof *slot->images);
    memmove(slot->labels + to, slot->labels + first, count * sizeof *slot->labels);
    memmove(slot->others + to, slot->others + first, count * sizeof *slot->others);
}

static float mix_images(const struct bl_loader *loader, const struct slot *slot, struct bl_mixed mixed) {
    return bl_mix_batch(&loader->options.view, loader->options.seed, slot->epoch, slot->number, &mixed);
}

/* Each pass's images with the one before them, which then goes. */
static void mix_parts(const struct bl_loader *loader, struct slot *slot) {
    size_t at = 0, kept = 0;
    for (uint32_t pass = 0; pass < passes_of(loader, slot); pass++) {
        const size_t count = (size_t)part_of(loader, slot, pass).count;
        slot->share = mix_images(loader, slot, from(loader, slot, at, count + 1));
        move(loader, slot, at + 1, count, kept);
        at += count + 1, kept += count;
    }
    slot->count = (uint32_t)kept;
}

static void mix(const struct bl_loader *loader, struct slot *slot) {
    if (!mixes(loader) || !slot->count) return;
    if (divides(loader))
        mix_parts(loader, slot);
    else
        slot->share = mix_images(loader, slot, from(loader, slot, 0, slot->count));
}

/* Once all images are there. */
static void close_gaps(const struct bl_loader *loader, struct slot *slot) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < slot->count; i++) {
        if (slot->left_out[i]) continue;
        if (kept != i) {
            memcpy(slot->labels + loader->image_labels * kept, slot->labels + loader->image_labels * i,
                   loader->image_labels * sizeof *slot->labels);
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
    uint32_t left = loader->count - slot->number * loader->batch;
    slot->whole = left < loader->batch ? left : loader->batch;
    set_order(loader, slot->epoch);
    choose_images(loader, slot);
    slot->pending = slot->count;
    slot->ready = !slot->count;
    if (slot->ready) pthread_cond_broadcast(&loader->filled);
    loader->begun++;
    loader->next_image = 0;
}

/* Locked. A batch may be begun where its slot is neither waiting to be taken nor in use. */
static bool may_begin(const struct bl_loader *loader) {
    return loader->begun < loader->total && loader->begun - (loader->taken - loader->held) < loader->slot_count;
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

/* Images that a slot holds at most. */
static size_t room_of(const struct bl_loader *loader) {
    const int pass =
        loader->options.pass && loader->options.pass < (int)loader->batch ? loader->options.pass : (int)loader->batch;
    const size_t passes = (loader->batch + (size_t)pass - 1) / (size_t)pass;
    if (!divides(loader)) return loader->batch;
    return passes * ((size_t)bl_divide_most(&loader->options.part, pass) + 1);
}

static uint64_t most_held(const struct bl_loader *loader) {
    return loader->options.held > 1 ? (uint64_t)loader->options.held : 1;
}

static int allocate(void *context, int slot, enum bl_batch_part part, size_t bytes, void **at) {
    const struct bl_loader *loader = context;
    if ((*at = bl_calloc(1, bytes))) return 0;
    return bl_fail(BLANCH_ENOMEM, "out of host memory for %d batches of %u images ahead; use a smaller batch",
                   (int)loader->slot_count, loader->batch);
}

/* Where a slot's batch is made. */
static int take_memory(struct bl_loader *loader, uint64_t number) {
    struct slot *slot = &loader->slots[number];
    const size_t room = room_of(loader);
    const size_t bytes[BL_BATCH_PARTS] = {room * loader->image_floats * sizeof *slot->images,
                                          room * loader->image_labels * sizeof *slot->labels,
                                          mixes(loader) ? room * sizeof *slot->others : 0};
    const struct bl_loader_memory own = {allocate, loader},
                                  memory = loader->options.memory.take ? loader->options.memory : own;
    void *at[BL_BATCH_PARTS] = {NULL};
    int code = 0;
    for (int part = 0; part < BL_BATCH_PARTS && !code; part++)
        if (bytes[part]) code = memory.take(memory.context, (int)number, part, bytes[part], &at[part]);
    slot->images = at[BL_BATCH_IMAGES], slot->labels = at[BL_BATCH_LABELS], slot->others = at[BL_BATCH_OTHERS];
    return code;
}

static int make_slots(struct bl_loader *loader) {
    const struct bl_loader_options *options = &loader->options;
    const size_t room = room_of(loader);
    uint64_t bytes = room * (loader->image_floats + loader->image_labels) * sizeof(float);
    int ahead = options->ahead > 0 ? options->ahead : bytes > LARGE_BATCH ? AHEAD - 1 : AHEAD;
    const uint64_t count = (uint64_t)ahead + most_held(loader);
    loader->slots = bl_calloc(count, sizeof *loader->slots);
    loader->order = bl_calloc(loader->count, sizeof *loader->order);
    if (!loader->slots || !loader->order) return BLANCH_ENOMEM;
    loader->slot_count = count;
    for (uint64_t i = 0; i < loader->slot_count; i++) {
        struct slot *slot = &loader->slots[i];
        int code = take_memory(loader, i);
        if (code) return code;
        slot->indices = bl_calloc(room, sizeof *slot->indices);
        slot->left_out = bl_calloc(room, sizeof *slot->left_out);
        if (mixes(loader)) slot->last = bl_calloc(loader->image_floats, sizeof *slot->last);
        if (!slot->indices || !slot->left_out || (mixes(loader) && !slot->last)) return BLANCH_ENOMEM;
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
    if (code || (code = options->training ? bl_dataset_check_view(loader->data, &options->view) : 0)) return code;
    if (options->batch < 1) return bl_fail(BLANCH_EUSAGE, "a batch of %d images is not above zero", options->batch);
    loader->count = loader->data->split[options->split].count;
    if (!loader->count)
        return bl_fail(BLANCH_EINPUT, "%s: there are no %s images", loader->data->folder,
                       bl_split_title(options->split));
    loader->batch = (uint32_t)options->batch < loader->count ? (uint32_t)options->batch : loader->count;
    loader->batches = bl_epoch_batches(loader->count, options->batch, options->least);
    if (!loader->batches)
        return bl_fail(BLANCH_EUSAGE, "%s: no batch is left of %u images", loader->data->folder, loader->count);
    loader->image_floats = (size_t)options->view.height * options->view.width * options->view.channels;
    loader->image_labels = loader->data->read_mask ? (size_t)options->view.height * (size_t)options->view.width : 1;
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
        if (!loader->options.memory.take) {
            free(loader->slots[i].images);
            free(loader->slots[i].labels);
            free(loader->slots[i].others);
        }
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

/* Locked. The batch that was held longest goes back to the threads, so that another may be. */
static int give_back(struct bl_loader *loader) {
    if (loader->held < most_held(loader)) return 0;
    const uint64_t number = (loader->taken - loader->held) % loader->slot_count;
    int code = loader->options.memory.take ? take_memory(loader, number) : 0;
    if (code) return code;
    loader->slots[number].ready = false;
    loader->held--;
    pthread_cond_broadcast(&loader->freed);
    return 0;
}

int bl_loader_next(struct bl_loader *loader, struct bl_batch *batch) {
    *batch = (struct bl_batch){0};
    pthread_mutex_lock(&loader->lock);
    int code = give_back(loader);
    if (!code && loader->taken < loader->total) {
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
                                       .whole = (int)slot->whole,
                                       .first = slot->number};
            loader->taken++;
            loader->held++;
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
