/* The settings of a run: what was asked for, by the names that config.json has. */
#ifndef BL_SETTINGS_H
#define BL_SETTINGS_H

#include "train/train.h"
#include <cjson/cJSON.h>

struct bl_setting_word;
struct bl_setting {
    const char *key; // in config.json; the option's name with _ for -
    int kind;
    bool replaces; // may differ when a run is resumed
    size_t offset;
    double least, most; // of a number; 0 is not given
    const struct bl_setting_word *word;
};
extern const struct bl_setting bl_settings[]; // ends with a NULL key

bool bl_setting_given(const struct bl_train_options *o, const struct bl_setting *s);
/* Not what says nothing: an amount of 0, or what the optimiser has no use for, 0 by its defaults and still. */
bool bl_setting_used(const struct bl_train_options *o, const struct bl_setting *s);
bool bl_setting_equal(const struct bl_train_options *a, const struct bl_train_options *b, const struct bl_setting *s);
void bl_setting_copy(struct bl_train_options *to, const struct bl_train_options *from, const struct bl_setting *s);
/* What a run's config.json, or a file like it, has of the setting: at the top, else in its block "settings", as that of
 * the device, which stands itself at the top. NULL: nothing. */
const cJSON *bl_setting_find(const cJSON *document, const struct bl_setting *s);
cJSON *bl_setting_json(const struct bl_train_options *o, const struct bl_setting *s);
/* Texts are the item's. BLANCH_EINPUT: the item is none, or out of range. */
int bl_setting_read(struct bl_train_options *o, const struct bl_setting *s, const cJSON *item, const char *path);

#endif
