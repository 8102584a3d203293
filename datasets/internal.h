/* What the files of this folder share. */
#ifndef BL_DATASET_INTERNAL_H
#define BL_DATASET_INTERNAL_H

#include "base/cache.h"
#include "dataset.h"
#include <pthread.h>
#include <stdio.h>

struct bl_pixels {
    uint8_t *data;
    int width, height, channels;
    size_t held; // bytes counted as an image file's pixels, until bl_pixels_free
};               // (height, width, channels); data is malloc'd

struct bl_images { // a split
    uint32_t count;
    int32_t *labels;          // (count)
    uint8_t *pixels;          // (count, height, width, channels); NULL: read one by one
    char **paths;             // (count) of a folder, else NULL
    _Atomic uint8_t *damaged; // (count) where images are read one by one
    uint32_t damaged_count;
};

/* Files that are passed over, by type: ".webp", "no ending", "broken link". */
enum { BL_TYPE_NAME = 20 };
struct bl_unread {
    char type[BL_TYPE_NAME];
    uint32_t count;
};

struct bl_names { // listing.h
    char **at;
    size_t count, capacity;
};

/* A kind of dataset, at the end of its file. */
struct bl_format {
    const char *name;
    const char *help;        // its spec: "mnist:DIR"
    bool optional;           // whether what follows the colon may be left out
    enum bl_augment augment; // in training, for small inputs
    float mean[3], deviation[3];
    /* Fills classes, channels, height, width, class_names, split, and read where pixels stay NULL. argument: after the
     * colon, or NULL. On failure bl_dataset_close releases what was filled. */
    int (*open)(struct bl_dataset *data, const char *argument, uint64_t seed);
};
extern const struct bl_format bl_format_fashion_mnist, bl_format_mnist, bl_format_cifar10, bl_format_cifar100,
    bl_format_folder, bl_format_npz, bl_format_synthetic, bl_format_pairs, bl_format_voc, bl_format_synthetic_seg;

struct bl_dataset {
    const struct bl_format *format;
    char *folder; // for messages
    int classes, channels, height, width;
    char **class_names; // (classes)
    struct bl_images split[BL_SPLITS];
    /* One image, called from several threads. BLANCH_EINPUT: damaged. */
    int (*read)(const struct bl_dataset *data, enum bl_split split, uint32_t index, struct bl_pixels *pixels);
    /* Its mask, (height, width, 1): classes of its pixels, BL_UNLABELLED for none. NULL: images have no masks. */
    int (*read_mask)(const struct bl_dataset *data, enum bl_split split, uint32_t index, struct bl_pixels *mask);
    struct bl_division division;
    struct bl_cache cache; // path NULL: none
    bool divided;          // the test images were taken from the training images
    char *root[BL_SPLITS]; // of a folder: where the split's class folders lie
    uint64_t found_names[BL_SPLITS];
    uint32_t found_count[BL_SPLITS]; // when it was opened
    struct bl_unread *unread;
    int unread_types;
    uint32_t left_out;       // damaged images that opening and checking found
    struct bl_names missing; // classes of the run that the data lack
    size_t unread_capacity;
    pthread_mutex_t lock; // of what follows, and of damaged_count
    char **messages;      // of damaged images, and remarks
    size_t message_count, message_capacity, reported;
};

/* --- policy.c */
enum bl_picture_op { // torchvision's
    BL_PICTURE_IDENTITY,
    BL_PICTURE_SHEAR_X,
    BL_PICTURE_SHEAR_Y,
    BL_PICTURE_TRANSLATE_X,
    BL_PICTURE_TRANSLATE_Y,
    BL_PICTURE_ROTATE,
    BL_PICTURE_BRIGHTNESS,
    BL_PICTURE_COLOR,
    BL_PICTURE_CONTRAST,
    BL_PICTURE_SHARPNESS,
    BL_PICTURE_POSTERIZE,
    BL_PICTURE_SOLARIZE,
    BL_PICTURE_AUTOCONTRAST,
    BL_PICTURE_EQUALIZE,
    BL_PICTURE_OPS
};
/* In place. */
int bl_picture_apply(struct bl_pixels *image, enum bl_picture_op op, double magnitude);
/* Of the bin, 0 to 30, for images of that size along the operation; whether half of them are negative. */
double bl_picture_magnitude(enum bl_policy policy, enum bl_picture_op op, int bin, int size);
bool bl_picture_signed(enum bl_picture_op op);
/* What the policy draws: two operations of bin 9, or one of any. */
int bl_picture_augment(struct bl_pixels *image, enum bl_policy policy, uint32_t (*draw)(void *from), void *from);

/* --- mix.c */
struct bl_mixed {
    float *images;            // (count, height, width, channels)
    int32_t *labels, *others; // (count)
    float *last;              // room for one image
    int count;
};
/* Mixes a batch by the view's mixup or cutmix, writes others, and returns the share of the labels, which become those
 * of the larger part. */
float bl_mix_batch(const struct bl_view *view, uint64_t seed, uint64_t epoch, uint32_t batch, struct bl_mixed *mixed);
/* Its parts. A number of Beta(a, a); image i = share of image i + the rest of image i - 1; the box of CutMix about a
 * point, from 0 to 1; filled from image i - 1, the share that is left. */
double bl_draw_beta(uint64_t seed, uint64_t epoch, uint32_t batch, double a);
void bl_mix_images(float *images, int count, size_t floats, float *last, double share);
struct bl_box {
    int left, top, right, bottom; // right and bottom outside
};
struct bl_box bl_cut_box(int height, int width, double x, double y, double share);
double bl_cut_images(float *images, int count, int height, int width, int channels, float *last, struct bl_box box);

/* --- dataset.c */
int bl_dataset_names(struct bl_dataset *data, const char *const *names); // copies data->classes names
size_t bl_dataset_bytes(const struct bl_dataset *data);                  // of an image, where all are of one size
/* Whether something is there, without a message. */
bool bl_data_exists(const char *path);
/* malloc'd. BLANCH_EINPUT: the file's own fault; BLANCH_EIO: the system's (a disk, too many open files). */
int bl_data_read(const char *path, uint8_t **bytes, size_t *size);
/* The same in two steps. Opens a regular file that is not empty: a pipe or a device does not hold it up. Then reads all
 * of it and closes it. */
int bl_data_open(const char *path, FILE **file, size_t *size);
int bl_data_take(const char *path, FILE *file, size_t size, uint8_t **bytes);
/* Marks an image as damaged, with the reason as recorded by bl_fail. BLANCH_EINPUT when there are too many. */
int bl_dataset_damage(struct bl_dataset *data, enum bl_split split, uint32_t index);

/* Something that whoever uses the data should know: bl_dataset_message. */
int bl_dataset_remark(struct bl_dataset *data, const char *format, ...) BL_PRINTF(2, 3);

/* --- found.c: notes what opening found, and remarks on classes that a split lacks. */
int bl_dataset_note(struct bl_dataset *data);

/* --- split.c: what the division says beside that of a folder without splits. */
int bl_dataset_split(struct bl_dataset *data);

/* --- layout.c */
struct bl_layout {
    char *root[BL_SPLITS]; // the splits' folders; all NULL: the folder holds classes
};
/* Of data->folder. BLANCH_EINPUT: it is neither. */
int bl_layout_find(struct bl_dataset *data, struct bl_layout *layout);
int bl_layout_refuse_like(const char *folder, const char *name); // named as a split might be: BLANCH_EINPUT
/* BLANCH_EINPUT: a class's folder, which holds these, holds splits. */
int bl_layout_check_class(const struct bl_dataset *data, const char *folder, const struct bl_names *folders);

/* --- decode.c: reads every image into pixels, in several threads. Leaves the dataset as it is, to be read one by one,
 * where an image is of another size. */
int bl_dataset_decode(struct bl_dataset *data, int height, int width);
int bl_cores(void); // that this process may use
/* pthread_create with all signals blocked: they belong to the main thread. */
int bl_thread_start(pthread_t *thread, void *(*run)(void *), void *argument);

/* --- augment.c: the least size of the image's shape that covers what the view scales to. */
int bl_view_cover(const struct bl_view *view, const struct bl_pixels *image, int *height, int *width);

/* --- mask.c */
/* Where the pixels of a network's input come from. */
struct bl_placing {
    int left, top; // output column x shows column x + left of the image, or of what it was scaled to; row y alike
    bool flip;     // mirrors the output
    /* What was scaled: the region of the image to width x height, of which the window is left. width 0: nothing was. */
    struct bl_window {
        int x, y, width, height;
    } region, window;
    int width, height;
};
/* The indices of a PNG with a palette or in grey, of up to 8 bits. BLANCH_EINPUT. */
int bl_mask_read(const char *path, struct bl_pixels *mask);
/* The classes of the input's pixels, (height, width): those of the nearest pixels of the mask, BL_UNLABELLED outside.
 */
void bl_mask_place(const struct bl_pixels *mask, const struct bl_placing *at, const struct bl_view *view,
                   int32_t *labels);

/* --- cached.c: an image that is read one by one, kept or by data->read. */
int bl_dataset_read(const struct bl_dataset *data, enum bl_split split, uint32_t index, const struct bl_view *view,
                    struct bl_pixels *pixels);

/* --- image.c: JPEG, PNG, GIF (its first image), BMP, PNM and TGA, told apart by their first bytes. */
/* Decodes all of the file to RGB, alpha dropped, EXIF's orientation applied; what is damaged, cut off, of another kind
 * or too large is BLANCH_EINPUT. Waits while the images that other threads decode or hold take too much memory: a
 * thread frees one with bl_pixels_free before it reads the next. */
int bl_image_read(const char *path, struct bl_pixels *pixels);
void bl_pixels_free(struct bl_pixels *pixels);
int bl_image_size(const char *path, int *width, int *height); // from its header, as bl_image_read has it; BLANCH_EINPUT
/* Whether a JPEG or PNG begins and ends as one; false: reading it tells. */
bool bl_image_looks_whole(const char *path);
extern const char bl_image_endings[]; // of names: ".jpg .jpeg ..."
bool bl_ending_among(const char *name, const char *endings);
bool bl_image_named(const char *name); // by its ending

/* --- resize.c: scales a region of the image to width x height, of which the window becomes an image of its own. */
int bl_resize(const struct bl_pixels *image, struct bl_window region, int width, int height, struct bl_window window,
              struct bl_pixels *scaled);

#endif
