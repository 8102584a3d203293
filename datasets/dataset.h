/* Data: one file per format, augmentation, the loader. Knows nothing of networks and devices. Images reach the device as
 * NHWC float32, normalised. */
#ifndef BL_DATASET_H
#define BL_DATASET_H

#include "base/base.h"

/* A dataset that was opened. Small ones hold all pixels as bytes (NHWC); folders hold paths and decode on demand. */
struct bl_dataset;
enum bl_split { BL_TRAIN, BL_TEST };

/* SPEC: fashion-mnist[:DIR] mnist:DIR cifar10:DIR cifar100:DIR folder:DIR synthetic:CxHxW:CLASSES. seed splits a folder
 * without a split. Bad input: BLANCH_EINPUT naming the file; unknown spec: BLANCH_EUSAGE naming the known ones. */
int bl_dataset_open(struct bl_dataset **data, const char *spec, uint64_t seed);
void bl_dataset_close(struct bl_dataset *data);
const char *bl_dataset_name(const struct bl_dataset *data);             // "cifar10"
int bl_dataset_classes(const struct bl_dataset *data);
const char *bl_dataset_class_name(const struct bl_dataset *data, int label);
uint32_t bl_dataset_count(const struct bl_dataset *data, enum bl_split split);
int bl_dataset_channels(const struct bl_dataset *data);                 // 1 or 3
int bl_dataset_size(const struct bl_dataset *data);                     // images are size x size; 0: they vary (folders)
/* True where all images of a folder are small alike (checked on the first): size is then theirs. */

enum bl_augment { BL_AUGMENT_NONE, BL_AUGMENT_CIFAR, BL_AUGMENT_IMAGENET };
/* How images become a network's input of size x size: cifar pads by 4 and crops, flips (training); imagenet takes random
 * resized crops and flips (training) or resizes to size*256/224 and crops the centre; none resizes, or zero-pads 28 to 32. */
struct bl_view {
    int channels, size;
    enum bl_augment augment;
    float mean[3], deviation[3];            // of values scaled to 0..1
};
/* The augmentation and normalisation that go with this dataset and input size. */
void bl_view_default(struct bl_view *view, const struct bl_dataset *data, int channels, int size);
const char *bl_augment_name(enum bl_augment augment);
int bl_augment_parse(const char *name, enum bl_augment *augment);       // BLANCH_EUSAGE

/* One image: writes view->size^2 * channels floats, NHWC, and its label. epoch and index key the augmentation. */
int bl_dataset_image(struct bl_dataset *data, enum bl_split split, uint32_t index, const struct bl_view *view, bool training,
                     uint64_t seed, uint64_t epoch, float *out, int32_t *label);
/* A single file, for predict; as in evaluation. */
int bl_image_file(const char *path, const struct bl_view *view, float *out);

/* --- the loader ------------------------------------------------------------------------------- */

/* Prepares batches ahead in its own threads. The order of an epoch is bl_shuffle(seed, epoch) in training, file order
 * otherwise; the last partial batch is kept. The same for any number of threads. */
struct bl_loader;
struct bl_batch { int count; const float *images; const int32_t *labels; bool last; uint64_t epoch; uint32_t first; };
struct bl_loader_options {
    enum bl_split split;
    struct bl_view view;
    int batch, threads, ahead;              // 0: chosen (threads: 1 for small data, else cores - 1 or so; ahead 3)
    bool training;                          // shuffled and augmented
    uint64_t seed;
    uint64_t epoch, first;                  // where to begin: epoch and the number of batches of it to skip
    int epochs;                             // 0: without end
};
int bl_loader_open(struct bl_loader **loader, struct bl_dataset *data, const struct bl_loader_options *options);
/* The next batch, valid until the next call or close; waits for it. batch->count 0: the end. A damaged image of a folder
 * is skipped and reported once by bl_loader_skipped (its place is taken by the next image); too many: an error. */
int bl_loader_next(struct bl_loader *loader, struct bl_batch *batch);
uint32_t bl_loader_batches(const struct bl_loader *loader);             // of an epoch
const char *bl_loader_skipped(struct bl_loader *loader);                // a message not yet reported, or NULL
void bl_loader_close(struct bl_loader *loader);

#endif
