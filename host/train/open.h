/* A network's definition, whoever made it: a table of models/, or text that is read at run time. */
#ifndef BL_OPEN_H
#define BL_OPEN_H

#include "model.h"

/* What --model says: the name of a built-in network, torchvision:NAME (torchvision.h), FILE.json
 * (docs/network-format.md), or FILE.onnx (docs/onnx.md). BLANCH_EUSAGE: there is no such network; BLANCH_EINPUT: the
 * file is wrong. Each of these is one reference, given back by bl_model_free; so is what bl_model_hold returns, which
 * is the model itself. */
int bl_model_open(struct blanch_model **model, const char *text);
bool bl_model_is_file(const char *text);   // such a FILE, by its end
int bl_model_lacks_norm(const char *name); // BLANCH_EUSAGE: there is none of this name, or else, --norm is missing
int bl_model_from_json(struct blanch_model **model, const char *text, size_t size);
int bl_model_from_onnx(struct blanch_model **model, const char *path); // and its values
/* The same of a document that was parsed, and is taken over; name is what errors call it. */
int bl_model_from_document(struct blanch_model **model, const char *name, cJSON *json);
/* BLANCH_EUSAGE: it has no form with batch norm that an overhead budget could compare with. */
int bl_model_check_budget(const struct blanch_model *model);
/* "NET.json is made for 3 channels and 1000 classes; here it has 1 and 10", "" where it has what it is made for. */
void bl_model_changes(const struct blanch_model *model, int channels, int classes, char *text, size_t size);
/* Adds its description as built with these options, but the model's name and norm, to json. */
int bl_model_describe(const struct blanch_model *model, const struct bl_network_options *options, cJSON *json);
struct blanch_model *bl_model_hold(const struct blanch_model *model);
void bl_model_free(struct blanch_model *model); // and its values: the array, each one's name and data

#endif
