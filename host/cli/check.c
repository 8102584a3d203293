/* blanch check: runs conformance files, layers and training traces, on a device and holds the results against theirs.
 */
#include "base/path.h"
#include "cli/check.h"
#include "cli/common.h"
#include "io/files.h"
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* --- files ------------------------------------------------------------------------------------ */

struct entry {
    char *path, *name;
}; // name: below the folder that was given, without the ending
struct files {
    struct entry *entries;
    size_t count, capacity;
};
static const char ending[] = ".safetensors";

static bool has_ending(const char *name) {
    size_t length = strlen(name), tail = sizeof ending - 1;
    return length > tail && !strcmp(name + length - tail, ending);
}

static void free_files(struct files *files) {
    for (size_t i = 0; i < files->count; i++) free(files->entries[i].path), free(files->entries[i].name);
    free(files->entries);
}

static int add_file(struct files *files, const char *path, const char *name) {
    int code = bl_grow((void **)&files->entries, &files->capacity, files->count + 1, sizeof *files->entries);
    if (code) return code;
    struct entry *entry = &files->entries[files->count];
    size_t length = strlen(name) - (has_ending(name) ? sizeof ending - 1 : 0);
    *entry = (struct entry){bl_strdup(path), bl_format("%.*s", (int)length, name)};
    files->count++;
    return entry->path && entry->name ? 0 : BLANCH_ENOMEM;
}

static int by_bytes(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* Files that end in .safetensors, folders within folders, in the order of their names. Links to folders are not
 * followed: they may lead back. */
static int add_folder(struct files *files, const char *path, const char *below) {
    struct dirent **list = NULL;
    int count = scandir(path, &list, NULL, by_bytes), code = 0;
    if (count < 0) return bl_fail(BLANCH_EINPUT, "%s: the folder cannot be read", path);
    for (int i = 0; i < count; i++) {
        const char *name = list[i]->d_name;
        char *full = bl_format("%s/%s", path, name), *shown = bl_format("%s%s", below, name);
        struct stat info;
        if (!full || !shown)
            code = BLANCH_ENOMEM;
        else if (!code && name[0] != '.' && lstat(full, &info))
            code = bl_fail(BLANCH_EINPUT, "%s: %s", full, strerror(errno));
        else if (!code && name[0] != '.') {
            if (S_ISDIR(info.st_mode)) {
                char *deeper = bl_format("%s/", shown);
                code = deeper ? add_folder(files, full, deeper) : BLANCH_ENOMEM;
                free(deeper);
            } else if (has_ending(name))
                code = add_file(files, full, shown);
        }
        free(full), free(shown), free(list[i]);
    }
    free(list);
    return code;
}

static int collect_one(struct files *files, const char *path) {
    struct stat info;
    size_t before = files->count;
    if (stat(path, &info) != 0) return bl_fail(BLANCH_EINPUT, "%s: no such file or folder", path);
    int code = S_ISDIR(info.st_mode) ? add_folder(files, path, "") : add_file(files, path, bl_path_name(path));
    if (!code && files->count == before) code = bl_fail(BLANCH_EINPUT, "%s: no file here ends in %s", path, ending);
    return code;
}

/* A path without cases is named, and the others are run; *left_out counts such. */
static int collect(struct files *files, char **paths, int count, int *left_out) {
    for (int i = 0; i < count; i++) {
        int code = collect_one(files, paths[i]);
        if (code && (code != BLANCH_EINPUT || count == 1)) return code;
        if (!code) continue;
        bl_print_error(code);
        ++*left_out;
    }
    return 0;
}

/* --- a case ----------------------------------------------------------------------------------- */

static const char *const meta_keys[] = {"kind",
                                        "op",
                                        "attrs",
                                        "mode",
                                        "tolerance",
                                        "pytorch_float32_error",
                                        "network",
                                        "lr",
                                        "momentum",
                                        "weight_decay",
                                        "batch",
                                        "steps",
                                        "seed",
                                        "tolerance_loss",
                                        "tolerance_logits",
                                        "tolerance_eval_logits",
                                        "tolerance_grad_norm",
                                        "tolerance_grad"};

static const struct bl_st_tensor *result_for(const struct bl_check *check, const struct bl_st_tensor *tensor) {
    for (size_t i = 0; i < check->count; i++)
        if (!strcmp(check->results[i].name, tensor->name)) return &check->results[i];
    return tensor;
}

/* The same case with the device's results, so that another device can be held against this one. */
static int write_case(const struct bl_check *check, const char *folder, const char *name) {
    int count = bl_st_count(check->file), metas = 0, code = BLANCH_ENOMEM;
    const char *meta[2 * BL_COUNT(meta_keys) + 3];
    struct bl_st_tensor *tensors = bl_calloc((size_t)count + 1, sizeof *tensors);
    char *path = bl_format("%s/%s%s", folder, name, ending), *slash = path ? strrchr(path, '/') : NULL;
    if (!tensors || !path) goto done;
    *slash = 0;
    code = bl_make_dirs(path);
    *slash = '/';
    if (code) goto done;
    for (int i = 0; i < count; i++) tensors[i] = *result_for(check, bl_st_at(check->file, i));
    for (int i = 0; i < BL_COUNT(meta_keys); i++) {
        if (!bl_st_meta(check->file, meta_keys[i])) continue;
        meta[metas++] = meta_keys[i];
        meta[metas++] = bl_st_meta(check->file, meta_keys[i]);
    }
    meta[metas++] = "device";
    meta[metas++] = blanch_device_info(check->dev)->name;
    meta[metas] = NULL;
    code = bl_st_write(path, tensors, count, meta);
done:
    free(path), free(tensors);
    return code;
}

/* Takes over what was read. */
static int run_case(struct bl_check *check, const char *path, char *bytes, size_t size) {
    int code = bl_st_take(&check->file, path, bytes, size);
    if (code) return code;
    const char *kind = bl_st_meta(check->file, "kind");
    if (!kind) return bl_fail(BLANCH_EINPUT, "the metadata has no 'kind': it is not a conformance case");
    if (!strcmp(kind, "layer")) return bl_check_layer(check);
    if (!strcmp(kind, "training-trace")) return bl_check_trace(check);
    return bl_fail(BLANCH_EINPUT, "unknown kind of case '%s'", kind);
}

static void release_case(struct bl_check *check) {
    for (size_t i = 0; i < check->count; i++) free((void *)check->results[i].data);
    free(check->results);
    bl_st_close(check->file);
}

/* --- printing --------------------------------------------------------------------------------- */

static void describe_index(const struct bl_check *check, char *text, size_t size) {
    int64_t rest = check->index, place[8] = {0};
    for (int i = check->dims - 1; i >= 0; i--) {
        place[i] = rest % check->shape[i];
        rest /= check->shape[i];
    }
    size_t used = 0;
    text[0] = 0;
    for (int i = 0; i < check->dims && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%lld", i ? "," : "", (long long)place[i]);
}

static void print_case(const char *name, const struct bl_check *check, bool passed, const char *message) {
    char place[200];
    if (message)
        printf("%-36s failed  %.*s\n", bl_shown(name), (int)strcspn(message, "\n"), message); // less a compiler's log
    else if (passed)
        printf("%-36s passed  largest error %.3g of its bound (%s)\n", bl_shown(name), check->error,
               bl_shown(check->tensor));
    else {
        describe_index(check, place, sizeof place);
        printf("%-36s failed  largest error %.3g of its bound: %s[%s] is %.9g, expected %.9g\n", bl_shown(name),
               check->error, bl_shown(check->tensor), place, check->got, check->expected);
    }
    fflush(stdout);
}

/* JSON knows no infinity: such numbers are null. */
static cJSON *number_or_null(double value) {
    return isfinite(value) ? bl_json_number(value, 9) : cJSON_CreateNull();
}

static cJSON *case_json(const struct entry *entry, const struct bl_check *check, bool passed, const char *message) {
    cJSON *json = cJSON_CreateObject(), *index;
    cJSON_AddStringToObject(json, "name", entry->name);
    cJSON_AddStringToObject(json, "path", entry->path);
    cJSON_AddBoolToObject(json, "passed", passed);
    if (message) {
        cJSON_AddStringToObject(json, "message", message);
        return json;
    }
    cJSON_AddItemToObject(json, "error", number_or_null(check->error));
    cJSON_AddStringToObject(json, "tensor", check->tensor);
    index = cJSON_AddArrayToObject(json, "index");
    int64_t stride = 1;
    for (int i = check->dims - 1; i >= 0; i--) {
        cJSON_InsertItemInArray(index, 0, cJSON_CreateNumber((double)(check->index / stride % check->shape[i])));
        stride *= check->shape[i];
    }
    cJSON_AddItemToObject(json, "got", number_or_null(check->got));
    cJSON_AddItemToObject(json, "expected", number_or_null(check->expected));
    return json;
}

/* --- the command ------------------------------------------------------------------------------ */

struct settings {
    struct bl_common common;
    const char *write;
    cJSON *json, *cases;          // NULL: lines of text
    int passed, failed, left_out; // left_out: paths, and files that cannot be read
};

static int check_file(struct settings *s, struct blanch_device *dev, const struct entry *entry) {
    struct bl_check check = {.dev = dev};
    char *bytes = NULL;
    size_t size;
    int code = bl_file_read(entry->path, &bytes, &size);
    if (code == BLANCH_EINPUT) {
        bl_print_error(code);
        s->left_out++;
        return 0;
    }
    if (!code) code = run_case(&check, entry->path, bytes, size);
    if (code == BLANCH_EDEVICE || code == BLANCH_ENOMEM || code == BLANCH_EINTERRUPTED) { // nothing of the case's
        release_case(&check);
        return bl_fail_in(code, "%s", entry->name);
    }
    const char *message = code ? blanch_error_message() : NULL;
    if (message && !*message) message = blanch_error_text(code);
    bool passed = !code && check.error <= 1;
    if (s->cases)
        cJSON_AddItemToArray(s->cases, case_json(entry, &check, passed, message));
    else
        print_case(entry->name, &check, passed, message);
    *(passed ? &s->passed : &s->failed) += 1;
    int wrong = !code && s->write ? write_case(&check, s->write, entry->name) : 0;
    release_case(&check);
    return wrong;
}

static int finish(struct settings *s) {
    int status = s->left_out ? 2 : s->failed ? 1 : 0;
    if (!s->cases) {
        printf("%d passed, %d failed\n", s->passed, s->failed);
        return status;
    }
    cJSON_AddNumberToObject(s->json, "passed", s->passed);
    cJSON_AddNumberToObject(s->json, "failed", s->failed);
    cJSON *json = s->json;
    s->json = NULL;
    int code = bl_print_json(json);
    return code ? code : status;
}

static int check_all(struct settings *s, char **paths, int count) {
    struct files files = {0};
    struct blanch_device *dev = NULL;
    int code = collect(&files, paths, count, &s->left_out);
    if (code || !files.count) return free_files(&files), code ? code : 2;
    if (!code) code = blanch_device_open(&dev, s->common.device, s->common.max_alloc);
    if (!code && s->common.json) {
        s->json = bl_document("check", blanch_device_info(dev), bl_options_json(s->common.options));
        s->cases = cJSON_AddArrayToObject(s->json, "cases");
        if (!s->cases) code = BLANCH_ENOMEM; // else lines of text would be printed
    }
    for (size_t i = 0; i < files.count && !code; i++) code = check_file(s, dev, &files.entries[i]);
    if (!code) code = finish(s);
    cJSON_Delete(s->json);
    blanch_device_close(dev);
    free_files(&files);
    return code;
}

int bl_check_path(struct blanch_device *dev, const char *path, int *passed, int *failed) {
    struct settings s = {.cases = cJSON_CreateArray()};
    struct files files = {0};
    int code = s.cases ? collect_one(&files, path) : BLANCH_ENOMEM;
    for (size_t i = 0; i < files.count && !code; i++) {
        code = bl_check_interrupted();
        if (!code) code = check_file(&s, dev, &files.entries[i]);
    }
    *passed = s.passed, *failed = s.failed;
    free_files(&files);
    cJSON_Delete(s.cases);
    return code;
}

static int run(int argc, char **argv) {
    struct settings s = {0};
    bool help;
    int count = 0;
    bl_common_init(&s.common);
    const struct bl_option own[] = {
        {"write", BL_OPT_TEXT, &s.write, 0, 0, "DIR",
         "writes each case with this device's results in place of the file's"},
        {0},
    };
    struct bl_option options[BL_MAX_OPTIONS];
    bl_common_options(options, own, &s.common, BL_COMMON_DEVICE | BL_COMMON_JSON);
    int code = bl_options_parse(&bl_command_check, options, argc, argv, &count, &help);
    if (code || help) return code;
    return count ? check_all(&s, argv + 1, count) : bl_fail(BLANCH_EUSAGE, "check needs a file or a folder");
}

const struct bl_command bl_command_check = {
    .name = "check",
    .summary = "runs conformance files on a device",
    .usage =
        "usage: blanch check PATH... [options]\n"
        "\n"
        "Runs conformance cases, single layers and training traces (tests/reference/README.md has the format), from\n"
        "files or from every .safetensors file of folders. Prints a line per case with its largest error relative to\n"
        "the case's bound, and exits with 1 where any failed. With --write the results of one device become the cases\n"
        "that another can be held against.\n",
    .run = run,
};
