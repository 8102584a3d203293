/* A network's definition, whoever made it: a table of models/, or text that is read at run time. */
#ifndef BL_OPEN_H
#define BL_OPEN_H

#include "model.h"

/* What --model says: the name of a built-in network, or FILE.json (docs/network-format.md). BLANCH_EUSAGE: there is no
 * such network; BLANCH_EINPUT: the file is wrong. Each of these is one reference, given back by bl_model_free; so is
 * what bl_model_hold returns, which is the model itself. */
int bl_model_open(struct blanch_model **model, const char *text);
bool bl_model_is_file(const char *text); // such a FILE, by its end
int bl_model_from_json(struct blanch_model **model, const char *text, size_t size);
/* The same of a document that was parsed, and is taken over; name is what errors call it. */
int bl_model_from_document(struct blanch_model **model, const char *name, cJSON *json);
struct blanch_model *bl_model_hold(const struct blanch_model *model);
void bl_model_free(struct blanch_model *model); // and its values: the array, each one's name and data

#endif
