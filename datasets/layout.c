/* What a folder of pictures is: one of classes, or one of splits that hold the classes. */
#include "listing.h"

#include <stdlib.h>
#include <string.h>

static const char expected[] = "expected are CLASS/*, or train/CLASS/* with val/CLASS/* or test/CLASS/*";

static void free_layout(struct bl_layout *layout) {
    for (int s = 0; s < BL_SPLITS; s++) free(layout->root[s]);
    *layout = (struct bl_layout){0};
}

/* Splits by their names; *others: folders that are none. */
static int sort_out(const struct bl_dataset *data, const struct bl_names *folders, struct bl_layout *layout,
                    struct bl_names *others) {
    const char *named[BL_SPLITS] = {NULL};
    for (size_t i = 0; i < folders->count; i++) {
        const char *name = folders->at[i];
        int split = bl_split_named(name, data->division.old), code = 0;
        if (split < 0)
            code = bl_names_add(others, name);
        else if (named[split])
            return bl_fail(BLANCH_EINPUT, "%s: '%s' and '%s' both hold the %s images; only one of them can be read",
                           data->folder, named[split], name, bl_split_title((enum bl_split)split));
        else if (!(layout->root[split] = bl_format("%s/%s", data->folder, named[split] = name)))
            code = BLANCH_ENOMEM;
        if (code) return code;
    }
    return 0;
}

/* Keeps those folders that hold images. */
static int keep_holding(const char *folder, struct bl_names *names) {
    size_t kept = 0;
    for (size_t i = 0; i < names->count; i++) {
        char *path = bl_format("%s/%s", folder, names->at[i]);
        if (!path) return BLANCH_ENOMEM;
        if (bl_holds_images(path)) {
            char *name = names->at[kept];
            names->at[kept++] = names->at[i];
            names->at[i] = name;
        }
        free(path);
    }
    while (names->count > kept) free(names->at[--names->count]);
    return 0;
}

/* 0, 1, or an error. */
static int any_holds_folders(const struct bl_layout *layout) {
    int holds = 0;
    for (int s = 0; s < BL_SPLITS && !holds; s++)
        if (layout->root[s]) holds = bl_holds_folders(layout->root[s]);
    return holds;
}

/* A class may have a split's name: then images lie in it, and in other folders beside it. */
static int take_as_class(struct bl_dataset *data, struct bl_layout *layout) {
    int code = 0;
    for (int s = 0; s < BL_SPLITS && !code; s++)
        if (layout->root[s])
            code = bl_dataset_remark(data, "%s is taken for a class: it has the name of a split, but no class folders",
                                     layout->root[s]);
    free_layout(layout);
    return code;
}

/* Folders beside the splits that hold images. Without training images they might be meant for them. */
static int check_others(struct bl_dataset *data, const struct bl_layout *layout, const struct bl_names *others) {
    if (!others->count) return 0;
    char *list = bl_names_join(others);
    int code =
        !list ? BLANCH_ENOMEM
        : layout->root[BL_TRAIN]
            ? bl_dataset_remark(data, "%s: beside the splits, %s are not read", data->folder, list)
            : bl_fail(BLANCH_EINPUT, "%s holds a split beside %s, but no 'train'; %s", data->folder, list, expected);
    free(list);
    return code;
}

/* Validation and test images without classes, as ImageNet has them, cannot be judged by. */
static int drop_unlabelled(struct bl_dataset *data, struct bl_layout *layout) {
    bool left = layout->root[BL_TRAIN];
    for (int s = BL_VAL; s < BL_SPLITS; s++) {
        int holds = layout->root[s] ? bl_holds_folders(layout->root[s]) : 0;
        if (holds < 0) return holds;
        left |= holds;
        if (!layout->root[s] || holds) continue;
        int code = bl_dataset_remark(data, "%s has no class folders and is not read", layout->root[s]);
        if (code) return code;
        free(layout->root[s]);
        layout->root[s] = NULL;
    }
    return left ? 0 : bl_fail(BLANCH_EINPUT, "%s holds splits without class folders; %s", data->folder, expected);
}

/* Before there was a validation split, 'test' or else 'val' held the test images. */
static void merge_old(struct bl_layout *layout) {
    if (!layout->root[BL_TRAIN]) free_layout(layout);
    if (!layout->root[BL_TEST]) {
        layout->root[BL_TEST] = layout->root[BL_VAL];
        layout->root[BL_VAL] = NULL;
    }
    free(layout->root[BL_VAL]);
    layout->root[BL_VAL] = NULL;
}

int bl_layout_find(struct bl_dataset *data, struct bl_layout *layout) {
    struct bl_names folders = {0}, others = {0};
    int code = bl_list(NULL, data->folder, &folders, NULL);
    if (!code) code = sort_out(data, &folders, layout, &others);
    if (code || others.count == folders.count) goto out;
    if (data->division.old) {
        code = layout->root[BL_TRAIN] ? drop_unlabelled(data, layout) : 0;
        if (!code) merge_old(layout);
        goto out;
    }
    if ((code = keep_holding(data->folder, &others))) goto out;
    int splits = others.count ? any_holds_folders(layout) : 1;
    if (splits <= 0)
        code = splits ? splits : take_as_class(data, layout);
    else if (!(code = check_others(data, layout, &others)))
        code = drop_unlabelled(data, layout);
out:
    if (code) free_layout(layout);
    bl_names_free(&folders);
    bl_names_free(&others);
    return code;
}

/* Below a class, splits are a mistake: the folder that was named lies too high, or each class has splits of its own. */
int bl_layout_check_class(const struct bl_dataset *data, const char *folder, const struct bl_names *folders) {
    const char *split = NULL;
    bool all = true;
    int sure = 0;
    for (size_t i = 0; i < folders->count && !data->division.old; i++) {
        char *path = bl_format("%s/%s", folder, folders->at[i]);
        if (!path) return BLANCH_ENOMEM;
        bool named = bl_split_named(folders->at[i], false) >= 0;
        if (named) split = folders->at[i];
        int holds = named ? bl_holds_folders(path) : 0;
        free(path);
        if (holds < 0) return holds;
        sure |= holds;
        all &= named;
    }
    if (!split || !(sure || all)) return 0;
    return bl_fail(BLANCH_EINPUT, "%s is no class, as it holds a split, '%s': give folder:%s; %s", folder, split,
                   folder, expected);
}

int bl_layout_refuse_like(const char *folder, const char *name) {
    return bl_fail(BLANCH_EINPUT, "%s/%s holds folders alone and looks like a split, but its name is not known; %s",
                   folder, name, expected);
}

/* One class alone: its folder, or the one above, was meant. */
static int one_class(const struct bl_dataset *data, const char *folder) {
    struct bl_names folders = {0};
    const char *name = data->class_names[0];
    char *path = folder ? bl_format("%s/%s", folder, name) : NULL, *inner = NULL;
    if (path && !bl_list(NULL, path, &folders, NULL) && folders.count) inner = bl_names_join(&folders);
    int code = !folder ? bl_fail(BLANCH_EINPUT, "%s holds one class alone, '%s', and there is nothing to tell apart",
                                 data->folder, name)
               : inner
                   ? bl_fail(BLANCH_EINPUT,
                             "%s holds one class alone, '%s', and there is nothing to tell apart: give folder:%s if "
                             "%s are the classes; %s",
                             folder, name, path, inner, expected)
                   : bl_fail(BLANCH_EINPUT, "%s holds one class alone, '%s', and there is nothing to tell apart; %s",
                             folder, name, expected);
    bl_names_free(&folders);
    free(inner);
    free(path);
    return code;
}

int bl_dataset_trainable(const struct bl_dataset *data) {
    const bool laid_out = data->format == &bl_format_folder;
    if (!data->split[BL_TRAIN].count)
        return bl_fail(BLANCH_EINPUT, "%s holds no training images%s%s", data->folder, laid_out ? "; " : "",
                       laid_out ? expected : "");
    if (data->classes < 2 && data->read_mask)
        return bl_fail(
            BLANCH_EINPUT,
            "%s: its masks have one class alone, and there is nothing to tell apart: a pixel's value is its class, "
            "from 0 on, and 255 none",
            data->folder);
    return data->classes < 2 ? one_class(data, data->root[BL_TRAIN]) : 0;
}
