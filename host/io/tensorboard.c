/* TensorBoard event files: records framed as TFRecord frames them (length, its checksum, the message, its checksum),
 * each message an Event in protobuf's wire format. */
#include "io/tensorboard.h"
#include "base/text.h"
#include "io/files.h"
#include "io/tensorboard.pb-c.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { BUCKETS = 30, TRIES = 1000 };

static const double flush_seconds = 5; // so that a TensorBoard that watches the folder keeps up

struct bl_tensorboard {
    FILE *file;
    char *path;
    double flushed; // bl_now()
};

int bl_tensorboard_check(void) {
    return 0;
}

/* --- records -------------------------------------------------------------------------------- */

/* CRC-32C (Castagnoli), reflected: polynomial 0x82f63b78. */
static uint32_t crc32c(const uint8_t *data, size_t size) {
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    return ~crc;
}

/* TFRecord turns checksums, so that data which hold checksums of their own are not mistaken for intact ones. */
static uint32_t masked(const uint8_t *data, size_t size) {
    uint32_t crc = crc32c(data, size);
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

static void little_endian(uint8_t *to, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; i++) to[i] = (uint8_t)(value >> 8 * i);
}

static int failed(const struct bl_tensorboard *file) {
    return bl_fail(BLANCH_EIO, "%s: %s", file->path, strerror(errno));
}

static int flush(struct bl_tensorboard *file) {
    file->flushed = bl_now();
    return fflush(file->file) != 0 ? failed(file) : 0;
}

static int write_event(struct bl_tensorboard *file, Tb__Event *event) {
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) return failed(file);
    event->has_wall_time = event->has_step = 1;
    event->wall_time = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
    enum { HEAD = 12, TAIL = 4 };
    size_t size = tb__event__get_packed_size(event);
    uint8_t *record = bl_calloc(size + HEAD + TAIL, 1);
    if (!record) return BLANCH_ENOMEM;
    little_endian(record, size, 8);
    little_endian(record + 8, masked(record, 8), 4);
    tb__event__pack(event, record + HEAD);
    little_endian(record + HEAD + size, masked(record + HEAD, size), 4);
    bool whole = fwrite(record, 1, size + HEAD + TAIL, file->file) == size + HEAD + TAIL;
    free(record);
    if (!whole) return failed(file);
    return bl_now() - file->flushed > flush_seconds ? flush(file) : 0;
}

/* A tag is UTF-8; layers, whose names stand in it, may have any. */
static int write_value(struct bl_tensorboard *file, Tb__Value *value, const char *tag, int64_t step) {
    char shown[512];
    bl_text_show(shown, sizeof shown, tag);
    value->tag = shown;
    Tb__Value *values[] = {value};
    Tb__Summary summary = TB__SUMMARY__INIT;
    Tb__Event event = TB__EVENT__INIT;
    summary.n_value = 1;
    summary.value = values;
    event.step = step;
    event.summary = &summary;
    return write_event(file, &event);
}

/* --- files ---------------------------------------------------------------------------------- */

/* Named as TensorBoard's own writers do; a name that is taken, by this process or another, is passed over. */
static int create(struct bl_tensorboard *file, const char *dir) {
    char host[128] = "host";
    gethostname(host, sizeof host - 1);
    for (int i = 0; i < TRIES; i++) {
        free(file->path);
        file->path =
            bl_format("%s/events.out.tfevents.%010lld.%s.%ld.%d", dir, (long long)time(NULL), host, (long)getpid(), i);
        if (!file->path) return BLANCH_ENOMEM;
        file->file = fopen(file->path, "wbx");
        if (file->file) return 0;
        if (errno != EEXIST) break;
    }
    return failed(file);
}

int bl_tensorboard_open(struct bl_tensorboard **out, const char *dir) {
    Tb__Event event = TB__EVENT__INIT;
    struct bl_tensorboard *file = bl_calloc(1, sizeof *file);
    *out = NULL;
    if (!file) return BLANCH_ENOMEM;
    event.file_version = "brain.Event:2";
    int code = bl_make_dirs(dir);
    if (code || (code = create(file, dir)) || (code = write_event(file, &event)) || (code = flush(file))) {
        bl_tensorboard_close(file);
        return code;
    }
    *out = file;
    return 0;
}

int bl_tensorboard_close(struct bl_tensorboard *file) {
    int code = 0;
    if (!file) return 0;
    if (file->file && fclose(file->file) != 0) code = failed(file);
    free(file->path);
    free(file);
    return code;
}

/* --- values --------------------------------------------------------------------------------- */

int bl_tensorboard_scalar(struct bl_tensorboard *file, const char *tag, int64_t step, double number) {
    Tb__Value value = TB__VALUE__INIT;
    value.has_simple_value = 1;
    value.simple_value = (float)number;
    return write_value(file, &value, tag, step);
}

static int summarize(Tb__Histogram *h, const float *values, int count) {
    h->min = INFINITY;
    h->max = -INFINITY;
    for (int i = 0; i < count; i++) {
        double v = (double)values[i];
        if (!isfinite(v)) continue;
        h->min = fmin(h->min, v);
        h->max = fmax(h->max, v);
        h->num++;
        h->sum += v;
        h->sum_squares += v * v;
    }
    h->has_min = h->has_max = h->has_num = h->has_sum = h->has_sum_squares = 1;
    return h->num > 0;
}

static void fill_buckets(Tb__Histogram *h, double *limits, double *counts, const float *values, int count) {
    double width = (h->max - h->min) / BUCKETS;
    h->n_bucket = h->n_bucket_limit = width > 0 ? BUCKETS : 1;
    h->bucket = counts;
    h->bucket_limit = limits;
    for (size_t b = 0; b < h->n_bucket; b++)
        limits[b] = b + 1 == h->n_bucket ? h->max : h->min + width * (double)(b + 1);
    for (int i = 0; i < count; i++) {
        if (!isfinite(values[i])) continue;
        size_t b = width > 0 ? (size_t)(((double)values[i] - h->min) / width) : 0;
        counts[b < h->n_bucket ? b : h->n_bucket - 1]++;
    }
}

int bl_tensorboard_histogram(struct bl_tensorboard *file, const char *tag, int64_t step, const float *values,
                             int count) {
    double limits[BUCKETS], counts[BUCKETS] = {0};
    Tb__Histogram histogram = TB__HISTOGRAM__INIT;
    Tb__Value value = TB__VALUE__INIT;
    if (!summarize(&histogram, values, count)) return 0;
    fill_buckets(&histogram, limits, counts, values, count);
    value.histo = &histogram;
    return write_value(file, &value, tag, step);
}
