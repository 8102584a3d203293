/* torchvision's names of networks. */
#ifndef BL_TORCHVISION_H
#define BL_TORCHVISION_H

#include "model.h"

struct bl_torchvision {
    const char *name, *own; // "torchvision:vgg16_bn", "vgg16-imagenet"
    enum blanch_norm norm;  // where none is given
};
bool bl_torchvision_named(const char *text);                        // it begins with "torchvision:"
const struct bl_torchvision *bl_torchvision_find(const char *text); // NULL: there is none
int bl_torchvision_unknown(const char *text);                       // BLANCH_EUSAGE, with what was likely meant
struct bl_safetensors;
/* The one whose state dict has the names of the file, where the graph's has others; NULL: none has. */
const char *bl_torchvision_of(const struct bl_safetensors *file, const struct bl_graph *graph);

#endif
