/* Reading folders, for folder.c: names in order, what a folder's name means, what is passed over. */
#ifndef BL_DATASET_LISTING_H
#define BL_DATASET_LISTING_H

#include "internal.h"

void bl_names_free(struct bl_names *names);
int bl_names_add(struct bl_names *names, const char *name);
void bl_names_sort(struct bl_names *names);                         // by bytes; what stands twice goes
bool bl_names_have(const struct bl_names *names, const char *name); // of sorted ones
char *bl_names_join(const struct bl_names *names);                  // "'a', 'b' and 7 more"; malloc'd

/* Sorted names of the folders and of the images in a folder; either may be NULL. Names that begin with a dot are passed
 * over, other files counted in data->unread; data NULL: they are not. BLANCH_EINPUT: the folder cannot be read. */
int bl_list(struct bl_dataset *data, const char *folder, struct bl_names *folders, struct bl_names *images);
/* The same beside class folders: of other files those alone are counted whose names are of images. */
int bl_list_loose(struct bl_dataset *data, const char *folder, struct bl_names *folders, struct bl_names *images);
int bl_unread_add(struct bl_dataset *data, const char *type);

/* Whether an image lies somewhere in it; what cannot be read has none. */
bool bl_holds_images(const char *folder);
int bl_holds_folders(const char *folder); // 0, 1, or BLANCH_EINPUT: it cannot be read
/* The split that a folder of this name is of: train, training; val, valid, validation; test, testing, in any case; -1:
 * of none. exact: train, val and test alone. */
int bl_split_named(const char *name, bool exact);
bool bl_split_like(const char *name); // training_set, test-images, my val: a word of it begins so

#endif
