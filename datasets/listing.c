#include "listing.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#define MAX_TYPES 32  // of files that are not read; what comes after is "other"
#define JOINED 5      // names in a message
#define LOOK_DEPTH 16 // of bl_holds_images

/* --- names -------------------------------------------------------------------------------------- */

void bl_names_free(struct bl_names *names) {
    for (size_t i = 0; i < names->count; i++) free(names->at[i]);
    free(names->at);
    *names = (struct bl_names){0};
}

int bl_names_add(struct bl_names *names, const char *name) {
    int code = bl_grow((void **)&names->at, &names->capacity, names->count + 1, sizeof *names->at);
    if (code) return code;
    names->at[names->count] = bl_strdup(name);
    return names->at[names->count] ? (names->count++, 0) : BLANCH_ENOMEM;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void bl_names_sort(struct bl_names *names) {
    size_t kept = 0;
    if (names->count) qsort(names->at, names->count, sizeof *names->at, by_name);
    for (size_t i = 0; i < names->count; i++) {
        if (kept && !strcmp(names->at[kept - 1], names->at[i]))
            free(names->at[i]);
        else
            names->at[kept++] = names->at[i];
    }
    names->count = kept;
}

bool bl_names_have(const struct bl_names *names, const char *name) {
    return names->count && bsearch(&name, names->at, names->count, sizeof *names->at, by_name);
}

char *bl_names_join(const struct bl_names *names) {
    char *text = bl_strdup("");
    for (size_t i = 0; text && i < names->count && i < JOINED; i++) {
        char *longer = bl_format("%s%s'%s'", text, i ? ", " : "", names->at[i]);
        free(text);
        text = longer;
    }
    if (!text || names->count <= JOINED) return text;
    char *longer = bl_format("%s and %zu more", text, names->count - JOINED);
    free(text);
    return longer;
}

/* --- folders ------------------------------------------------------------------------------------ */

enum entry { FILE_ENTRY, FOLDER_ENTRY, BROKEN_LINK, OTHER_ENTRY };

/* DT_UNKNOWN and links are looked up. */
static enum entry kind_of(const char *folder, const struct dirent *entry) {
    struct stat status;
    if (entry->d_type == DT_DIR || entry->d_type == DT_REG) return entry->d_type == DT_DIR ? FOLDER_ENTRY : FILE_ENTRY;
    char *path = bl_format("%s/%s", folder, entry->d_name);
    bool known = path && !stat(path, &status);
    free(path);
    return !known                    ? BROKEN_LINK
           : S_ISDIR(status.st_mode) ? FOLDER_ENTRY
           : S_ISREG(status.st_mode) ? FILE_ENTRY
                                     : OTHER_ENTRY;
}

int bl_unread_add(struct bl_dataset *data, const char *type) {
    int at = 0;
    while (at < data->unread_types && strcmp(data->unread[at].type, type) != 0) at++;
    if (at == data->unread_types && at >= MAX_TYPES - 1 && strcmp(type, "other") != 0)
        return bl_unread_add(data, "other");
    int code = bl_grow((void **)&data->unread, &data->unread_capacity, (size_t)at + 1, sizeof *data->unread);
    if (code) return code;
    if (at == data->unread_types) {
        data->unread[at] = (struct bl_unread){.count = 0};
        snprintf(data->unread[at].type, sizeof data->unread[at].type, "%s", type);
        data->unread_types++;
    }
    data->unread[at].count++;
    return 0;
}

/* By the ending, in small letters; an ending of anything but a few letters and digits is none. */
static int count_unread(struct bl_dataset *data, const char *name) {
    const char *dot = strrchr(name, '.'), letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    char type[BL_TYPE_NAME] = ".";
    size_t length = dot ? strlen(dot) : 0;
    if (length < 2 || length >= sizeof type) return bl_unread_add(data, "no ending");
    for (size_t i = 1; i <= length; i++) type[i] = dot[i] >= 'A' && dot[i] <= 'Z' ? (char)(dot[i] + 32) : dot[i];
    return bl_unread_add(data, strspn(type + 1, letters) == length - 1 ? type : "no ending");
}

static int count_entry(struct bl_dataset *data, enum entry kind, const char *name) {
    return kind == FILE_ENTRY    ? count_unread(data, name)
           : kind == BROKEN_LINK ? bl_unread_add(data, "broken link")
                                 : bl_unread_add(data, "no regular file");
}

/* Beside class folders lie lists and notes too; only what is named as an image is missed there. */
static bool is_missed(const char *name) {
    return bl_image_named(name) ||
           bl_ending_among(name, ".webp .tif .tiff .heic .heif .avif .jp2 .jxl .psd .jfif .dng");
}

static int list(struct bl_dataset *data, bool loose, const char *folder, struct bl_names *folders,
                struct bl_names *images) {
    DIR *stream = opendir(folder);
    if (!stream) return bl_fail(BLANCH_EINPUT, "%s: %s", folder, strerror(errno));
    const struct dirent *entry;
    int code = 0, failed = 0;
    while (!code && (errno = 0, entry = readdir(stream))) {
        if (entry->d_name[0] == '.') continue;
        enum entry kind = kind_of(folder, entry);
        bool image = kind == FILE_ENTRY && bl_image_named(entry->d_name);
        if (kind == FOLDER_ENTRY)
            code = folders ? bl_names_add(folders, entry->d_name) : 0;
        else if (image)
            code = images ? bl_names_add(images, entry->d_name) : 0;
        else if (data && (!loose || is_missed(entry->d_name)))
            code = count_entry(data, kind, entry->d_name);
    }
    if (!code) failed = errno;
    closedir(stream);
    if (failed) return bl_fail(BLANCH_EINPUT, "%s: %s", folder, strerror(failed));
    if (folders) bl_names_sort(folders);
    if (images) bl_names_sort(images);
    return code;
}

int bl_list(struct bl_dataset *data, const char *folder, struct bl_names *folders, struct bl_names *images) {
    return list(data, false, folder, folders, images);
}

int bl_list_loose(struct bl_dataset *data, const char *folder, struct bl_names *folders, struct bl_names *images) {
    return list(data, true, folder, folders, images);
}

bool bl_is_folder(const char *path) {
    struct stat status;
    return !stat(path, &status) && S_ISDIR(status.st_mode);
}

static bool holds_images(const char *folder, int depth) {
    struct bl_names folders = {0}, images = {0};
    bool found = !bl_list(NULL, folder, depth < LOOK_DEPTH ? &folders : NULL, &images) && images.count;
    for (size_t i = 0; !found && i < folders.count; i++) {
        char *path = bl_format("%s/%s", folder, folders.at[i]);
        found = path && holds_images(path, depth + 1);
        free(path);
    }
    bl_names_free(&folders);
    bl_names_free(&images);
    return found;
}

bool bl_holds_images(const char *folder) {
    return holds_images(folder, 0);
}

int bl_holds_folders(const char *folder) {
    struct bl_names folders = {0};
    int code = bl_list(NULL, folder, &folders, NULL);
    if (!code) code = folders.count > 0;
    bl_names_free(&folders);
    return code;
}

int bl_split_named(const char *name, bool exact) {
    static const struct {
        const char *name;
        enum bl_split split;
    } known[] = {{"train", BL_TRAIN}, {"val", BL_VAL},        {"test", BL_TEST},   {"training", BL_TRAIN},
                 {"valid", BL_VAL},   {"validation", BL_VAL}, {"testing", BL_TEST}};
    for (int i = 0; i < (exact ? 3 : BL_COUNT(known)); i++)
        if (!(exact ? strcmp(name, known[i].name) : strcasecmp(name, known[i].name))) return (int)known[i].split;
    return -1;
}

bool bl_split_like(const char *name) {
    static const char *const begins[] = {"train", "val", "test"};
    for (const char *at = name; *at; at++)
        for (int i = 0; i < BL_COUNT(begins); i++)
            if ((at == name || !isalpha((unsigned char)at[-1])) && !strncasecmp(at, begins[i], strlen(begins[i])))
                return true;
    return false;
}
