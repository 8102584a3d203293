/* Data: one file per format, augmentation, the loader. Knows nothing of networks and devices. Images reach the device
 * as NHWC float32, normalised. */
#ifndef BL_DATASET_H
#define BL_DATASET_H

#include "base/base.h"
#include "base/divide.h"

/* A dataset that was opened. Small images are held as bytes (NHWC): all of IDX and CIFAR files, and folders whose
 * images are all alike, at most 64x64 and 1 GiB in all (decoded on opening, in several threads). Larger images,
 * and folders of mixed sizes, are decoded on demand in the loader's threads.
 *
 * Damaged images. In IDX and CIFAR files anything wrong is an error. In a folder a damaged image (unreadable, not an
 * image, or one of which not every pixel can be had from its bytes: docs/images.md) is skipped, in training and in
 * evaluation, and reported once, through bl_loader_skipped: decoded on opening, it leaves the dataset; decoded on
 * demand, it leaves its batch in evaluation, and in training the next image of the split takes its place. More than a
 * tenth of a split damaged: BLANCH_EINPUT. What the system fails to read (a disk's error, too many open files) is no
 * damage but BLANCH_EIO. */
struct bl_dataset;
/* A split that the data do not have holds no images. Where there are validation images, they choose the best weights
 * and the test images wait for the end; else the test images do both. */
enum bl_split { BL_TRAIN, BL_VAL, BL_TEST, BL_SPLITS };

/* SPEC: fashion-mnist[:DIR] mnist:DIR cifar10:DIR cifar100:DIR folder:DIR npz:FILE synthetic:CxHxW:CLASSES pairs:DIR
 * voc:DIR synthetic-seg:CxHxW:CLASSES; images of the last three have masks, the classes of their pixels. seed
 * divides a folder without splits. Bad input: BLANCH_EINPUT naming the file; unknown spec: BLANCH_EUSAGE naming the
 * known ones.
 *
 * A folder is DIR/train/CLASS/... with DIR/val/CLASS/... or DIR/test/CLASS/... or both, or DIR/CLASS/... (also
 * DIR/train alone), of which a tenth is for testing: the images whose names' hashes are least. Splits' folders may be
 * named training, valid, validation, testing too, in any case; each is there once. Classes are numbered by sorted name;
 * images may lie in folders below a class, but no splits; names that begin with a dot are passed over, files of other
 * types counted. Splits without class folders are passed over, but not the training images'. */
int bl_dataset_open(struct bl_dataset **data, const char *spec, uint64_t seed);
/* The same, a folder without splits divided as it was for a run. limit: the hash up to which images are for testing; 0:
 * that of a tenth of them, bl_dataset_limit afterwards. old: as before there were hashes, when splits' folders had to
 * be named train, test or val. */
struct bl_division {
    uint64_t seed, limit;
    bool old;
    double validation;  // a share of the training images that validates instead; 0: none
    uint64_t val_limit; // the hash up to which they do; 0: that of the share
    const char *file;   // says which image is of which split: lines of train, val or test and a name; NULL: none
};
int bl_val_split_parse(const char *text, double *share); // "10%"; BLANCH_EUSAGE
int bl_dataset_open_divided(struct bl_dataset **data, const char *spec, const struct bl_division *division);
void bl_dataset_close(struct bl_dataset *data);
const char *bl_dataset_name(const struct bl_dataset *data); // "cifar10"
int bl_dataset_classes(const struct bl_dataset *data);
const char *bl_split_name(enum bl_split split);  // "train", "val", "test"
const char *bl_split_title(enum bl_split split); // "training", "validation", "test": of its images, in messages
const char *bl_dataset_class_name(const struct bl_dataset *data, int label);
uint32_t bl_dataset_count(const struct bl_dataset *data, enum bl_split split);
int bl_dataset_channels(const struct bl_dataset *data); // 1 to BL_MOST_CHANNELS
/* Of every image; 0, 0: they vary (folders). */
void bl_dataset_size(const struct bl_dataset *data, int *height, int *width);

/* What was found on opening: images of a split, and *names, a hash of the sorted list of their names below the split's
 * folder, or of their labels where images have no names. */
uint32_t bl_dataset_found(const struct bl_dataset *data, enum bl_split split, uint64_t *names);
struct bl_division bl_dataset_division(const struct bl_dataset *data); // limit 0: the data have splits
const char *bl_dataset_unread(const struct bl_dataset *data, int type, uint32_t *count); // NULL: no more types
/* One line: "9 training and 1 test images, 2 classes; 1 damaged image is left out; 40 files of types not read: .tif 20,
 * .webp 20"; malloc'd. Damaged images are those known by now. */
char *bl_dataset_describe(const struct bl_dataset *data);
/* A remark or a damaged image not yet reported, or NULL; call until NULL. Valid until the dataset is closed. */
const char *bl_dataset_message(struct bl_dataset *data);
/* The split that chooses the best weights: BL_VAL, else BL_TEST, else BL_TRAIN. */
enum bl_split bl_dataset_judge(const struct bl_dataset *data);

/* From now on pictures of a folder that are read one by one are kept in this folder, decoded and scaled to what
 * evaluation scales to. Evaluation sees the same; training crops from what is kept. BLANCH_EINPUT. */
int bl_dataset_cache(struct bl_dataset *data, const char *folder);
/* BLANCH_EINPUT, with what was expected: no training images, or one class alone. */
int bl_dataset_trainable(const struct bl_dataset *data);
/* Looks at validation and test images that are read one by one, before something relies on them: up to 2,000 are
 * decoded, of more only begin and end are looked at. Damaged ones leave the dataset. BLANCH_EINPUT: too many. */
int bl_dataset_check(struct bl_dataset *data);
/* From now on class i is names[i]. Of the data's own, one that is not among them: BLANCH_EINPUT names it; one that is
 * there and the data lack: too where all are wanted, else a remark. */
int bl_dataset_classes_as(struct bl_dataset *data, const char *const *names, int count, bool all);
const char *bl_dataset_missing(const struct bl_dataset *data, int index); // such a class; NULL: no more

enum { BL_LARGEST_INPUT = 16384, BL_MOST_CHANNELS = 16 }; // of a network: pixels a side
enum bl_augment { BL_AUGMENT_NONE, BL_AUGMENT_CIFAR, BL_AUGMENT_IMAGENET };
enum bl_policy { BL_POLICY_NONE, BL_POLICY_RANDOM, BL_POLICY_TRIVIAL }; // RandAugment, TrivialAugment: "ra", "ta"
/* How images become a network's input of height x width. To be scaled means: to the least size of the same shape that
 * covers a wanted one, of which the centre is cropped; for a square input that is torchvision's Resize and CenterCrop.
 * imagenet: in training a region of 8 to 100 per cent of the image, of the input's shape times 3/4 to 4/3, resized to
 * the input (for a square one RandomResizedCrop), flipped with probability 1/2; in evaluation scaled to 256/224 of the
 * input.
 * none: images of another size are scaled to the input, but 28x28 is zero-padded to 32x32.
 * cifar: as none, then in training padded by 4 zeros, cropped at random, and flipped with probability 1/2.
 * Zeros are of the 0..255 scale, before normalisation; resizing is bilinear and antialiased, bit for bit as PIL's.
 * 1-channel images are repeated for a 3-channel network; RGB becomes grey for a 1-channel one by ITU-R 601 luma, as
 * PIL. */
struct bl_view {
    int channels, height, width;
    enum bl_augment augment;
    float mean[BL_MOST_CHANNELS], deviation[BL_MOST_CHANNELS]; // of values scaled to 0..1
    enum bl_policy policy; // in training: of images cropped and flipped, before normalisation
    float erase;           // likewise, after it: with this probability a box becomes 0, torchvision's RandomErasing
    float mixup, cutmix;   // in training, of whole batches: alpha, BL_LEAST_ALPHA to BL_MOST_ALPHA; 0: none. Of both
                           // a batch has one
};
#define BL_LEAST_ALPHA 0.001
#define BL_MOST_ALPHA 100.0
/* The augmentation that goes with this dataset and input size; nothing is normalised. */
void bl_view_default(struct bl_view *view, const struct bl_dataset *data, int channels, int height, int width);
bool bl_view_large(int height, int width); // such inputs are trained as on ImageNet
/* Mean and deviation by the name of a dataset, `imagenet`, `none`, or `measured`: of the training images' pixels, all
 * of those that are held, else of up to 2,000 images evenly apart. data may be NULL but for that. BLANCH_EUSAGE: there
 * is no such name, or it is of other channels. */
int bl_view_normalise(struct bl_view *view, struct bl_dataset *data, const char *name);
/* The name of what goes with the data: their own, where it is known; of folders imagenet, of small inputs measured. */
const char *bl_normalise_default(const struct bl_dataset *data, int height, int width);
/* What images are scaled to cover in evaluation. */
void bl_view_scale(const struct bl_view *view, int *height, int *width);
const char *bl_policy_name(enum bl_policy policy);
int bl_policy_parse(const char *name, enum bl_policy *policy); // NULL: none. BLANCH_EUSAGE
int bl_view_check(const struct bl_view *view);                 // BLANCH_EUSAGE: it cannot be had
const char *bl_augment_name(enum bl_augment augment);
int bl_augment_parse(const char *name, enum bl_augment *augment); // BLANCH_EUSAGE

/* A view made ready for many images. */
struct bl_transform {
    struct bl_view view;
    float value[BL_MOST_CHANNELS][256]; // a byte of a channel, normalised
    bool training;                      // augmented, keyed by seed, epoch and image
    uint64_t seed;
};
/* BLANCH_EUSAGE: a view that cannot be had. */
int bl_transform_init(struct bl_transform *transform, const struct bl_view *view, bool training, uint64_t seed);

/* Whether images have masks: then the labels of a sample are those of its pixels, (height, width). */
enum { BL_UNLABELLED = 255 }; // a pixel that has none
bool bl_dataset_has_masks(const struct bl_dataset *data);
/* What of a view, in training, cannot be done to masks too: BLANCH_EUSAGE. */
int bl_dataset_check_view(const struct bl_dataset *data, const struct bl_view *view);
/* An image and its labels, which may be NULL: one, or those of its pixels, cropped and mirrored as it is. */
int bl_dataset_sample(const struct bl_dataset *data, enum bl_split split, uint32_t index,
                      const struct bl_transform *transform, uint64_t epoch, float *out, int32_t *labels);
/* One image: writes view.height * width * channels floats, NHWC. */
int bl_dataset_image(const struct bl_dataset *data, enum bl_split split, uint32_t index,
                     const struct bl_transform *transform, uint64_t epoch, float *out);
int32_t bl_dataset_label(const struct bl_dataset *data, enum bl_split split, uint32_t index);
/* The images below a folder, folders of folders too, by name; each and the list are malloc'd. *others: files that are
 * none. BLANCH_EINPUT: it cannot be read, or holds none. */
int bl_image_list(const char *folder, char ***paths, size_t *count, uint32_t *others);
bool bl_is_folder(const char *path);
/* A single file, for predict; as in evaluation. */
int bl_image_file(const char *path, const struct bl_view *view, float *out);

/* --- the loader ------------------------------------------------------------------------------- */

/* Prepares batches ahead in its own threads. The order of an epoch is bl_shuffle(seed, epoch) in training, file order
 * otherwise; the last partial batch is kept unless `least` forbids. The same for any number of threads. */
struct bl_loader;
struct bl_batch {
    int count;             // in evaluation it may be 0 within an epoch, where all images of a batch are damaged
    const float *images;   // (count, height, width, channels)
    const int32_t *labels; // (count), of data whose images have masks (count, height, width)
    const int32_t *others; // (count) of mixed images: `share` is of the label's class, the rest of this one; else NULL
    float share;           // from 0.5 to 1
    bool last;             // of its epoch
    uint64_t epoch;
    int whole;      // of a part: the whole batch's images, damaged ones included
    uint32_t first; // number of the batch in its epoch: options.first = first + 1 goes on after it
};
/* Memory for batches that is not the loader's. `take` is called with each slot's parts when it opens, then, as the slot
 * becomes free, from bl_loader_next: where they lie until that batch was in use. */
enum bl_batch_part { BL_BATCH_IMAGES, BL_BATCH_LABELS, BL_BATCH_OTHERS, BL_BATCH_PARTS };
struct bl_loader_memory {
    int (*take)(void *context, int slot, enum bl_batch_part part, size_t bytes, void **at);
    void *context;
};
struct bl_loader_options {
    enum bl_split split;
    struct bl_view view;
    int batch, threads, ahead; // 0: chosen (threads: 1 for small data, else cores - 1 or so; ahead 3)
    bool training;             // shuffled and augmented, damaged images replaced; false: they are left out
    int least;                 // a last batch of fewer images is left out; 0: none is
    uint64_t seed;
    uint64_t epoch, first;      // where to begin: epoch and the number of batches of it to skip
    struct bl_division_of part; // of every batch, for one rank of several: its part alone; ranks 0: all. share is the
                                // caller's, as long as the loader is open
    int pass;   // a batch is divided in passes of so many images, about, each among the ranks; 0: in one
    int epochs; // the end is before epoch + epochs; 0: without end
    struct bl_loader_memory memory; // take NULL: its own
    int held;                       // batches that stay valid, the last one included; 0: one
};
/* How many batches an epoch has; the last one may be of fewer images, but not of fewer than `least`. */
uint32_t bl_epoch_batches(uint32_t images, int batch, int least);
int bl_loader_open(struct bl_loader **loader, struct bl_dataset *data, const struct bl_loader_options *options);
/* The next batch, valid until the next call (with options.held, until so many) or close; waits for it. batch->whole 0:
 * the end. A damaged image of a folder is skipped and reported once by bl_loader_skipped; too many: BLANCH_EINPUT. */
int bl_loader_next(struct bl_loader *loader, struct bl_batch *batch);
/* Waits until all batches ahead are prepared: then the threads rest until the next bl_loader_next, and disturb nothing
 * that is measured. An error is left to that call. */
void bl_loader_wait(struct bl_loader *loader);
uint32_t bl_loader_batches(const struct bl_loader *loader); // of an epoch
/* What its threads did: images, and the seconds that they took of one thread. */
struct bl_loader_rate {
    uint64_t images;
    double seconds;
    int threads;
};
struct bl_loader_rate bl_loader_rate(struct bl_loader *loader);
/* A message not yet reported, or NULL; call until NULL. Valid until the dataset is closed. */
const char *bl_loader_skipped(struct bl_loader *loader);
void bl_loader_close(struct bl_loader *loader);

#endif
