/* Images of a network that generates. */
#ifndef BL_SAMPLE_H
#define BL_SAMPLE_H

#include "train/train.h"

struct bl_sample_options {
    uint64_t seed; // of the noise, which is the same on every device
    int first;     // of the seed's images: these are `first` and those after it
    int count;
    const int32_t *labels; // (count) the class of each; NULL: the classes in turn
    int stop;              // steps of a diffusion after which it ends; 0: all of them
    int (*step)(void *context, int made,
                int steps); // told of each of these; its code other than 0 ends it. May be NULL
    void *context;
};
/* images: (count, height, width, channels) of a network made for inference: pixels from 0 to 1; where a diffusion was
 * stopped, what it has as it is. BLANCH_EUSAGE: the network makes none, or has no such class; BLANCH_EDIVERGED. */
int bl_sample(struct blanch_network *net, const struct bl_sample_options *options, float *images);

/* How far the features of two sets of images are apart, by a network that classifies: the Frechet distance of the
 * Gaussians of what enters its classifier, |m - n|^2 + tr(S + T - 2 sqrt(S T)) (Dowson and Landau, 1982). Images are as
 * the network takes them. BLANCH_EUSAGE: its classifier is not its last layer, or there are fewer than two images. */
struct bl_features {
    int size;              // of them
    int64_t count;         // images
    double *sum, *product; // (size), (size, size)
};
int bl_features_open(struct bl_features *features, struct blanch_network *net); // made for inference
int bl_features_add(struct bl_features *features, struct blanch_network *net, const float *images, int count);
int bl_features_distance(const struct bl_features *a, const struct bl_features *b, double *distance);
void bl_features_close(struct bl_features *features);

#endif
