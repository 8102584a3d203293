/* A run's directory: what it is found to be, who works in it, its log. */
#include "train/run.h"
#include "base/private.h"
#include "io/files.h"
#include "io/json.h"
#include <stdlib.h>
#include <string.h>

/* --- finding -------------------------------------------------------------------------------- */

static int refuse_used(const char *dir) {
    return bl_fail(BLANCH_EUSAGE, "%s exists and is not empty; continue it with --resume or give another --out", dir);
}

/* What a run that was killed while it made its directory leaves. */
static bool is_of_beginning(const char *name) {
    return bl_is_left_over(name) || !strcmp(name, "log.jsonl") || !strcmp(name, "network.json");
}

static int holds(const char *dir, const char *name, bool *there) {
    char *path = bl_format("%s/%s", dir, name);
    if (!path) return BLANCH_ENOMEM;
    *there = bl_path_exists(path);
    free(path);
    return 0;
}

static int look(struct run *run, const char *dir) {
    bool begun, best;
    int code = holds(dir, "config.json", &begun);
    if (!code) code = holds(dir, "best.safetensors", &best);
    if (code) return code;
    run->found = bl_checkpoint_exists(dir) ? BL_FOUND_CHECKPOINT : begun ? BL_FOUND_BEGUN : BL_FOUND_NOTHING;
    if (run->found == BL_FOUND_BEGUN && best)
        return bl_fail(BLANCH_EINPUT, "%s holds best.safetensors but no checkpoint to resume from; give another --out",
                       dir);
    return 0;
}

/* Of a directory that exists; it is locked from now on, and nothing else in it is touched before it is accepted. */
static int enter(struct run *run, const struct bl_train_options *given) {
    int code = bl_lock_take(&run->lock, given->out, "train"), used = 0;
    if (!code && (used = bl_directory_used(given->out, is_of_beginning)) < 0) code = used;
    if (!code) code = look(run, given->out);
    if (!code && given->resume && run->found == BL_FOUND_NOTHING && used)
        code = bl_fail(BLANCH_EUSAGE, "%s holds no run to resume (no config.json), but other files", given->out);
    if (code || given->resume) return code;
    if (run->found == BL_FOUND_CHECKPOINT || (run->found == BL_FOUND_NOTHING && used)) return refuse_used(given->out);
    if (run->found == BL_FOUND_BEGUN && bl_run_read(&run->former, given->out)) return refuse_used(given->out);
    return 0;
}

int bl_run_enter(struct run *run, const struct bl_train_options *given) {
    if (!given->out) return bl_fail(BLANCH_EUSAGE, "--out is missing: the run's directory");
    if (!bl_run_writes(run)) return 0;
    return bl_path_exists(given->out) ? enter(run, given) : 0;
}

/* --- opening -------------------------------------------------------------------------------- */

/* What a finished run said of its test images is said again. */
static bool line_is_done(const cJSON *line, const struct bl_position *position, int64_t steps) {
    const cJSON *type = cJSON_GetObjectItem(line, "type"), *step = cJSON_GetObjectItem(line, "step");
    const cJSON *epoch = cJSON_GetObjectItem(line, "epoch");
    if (!cJSON_IsString(type)) return false;
    if (!strcmp(type->valuestring, "test") && cJSON_IsNumber(step) && step->valuedouble >= (double)steps) return false;
    if (strcmp(type->valuestring, "epoch")) return cJSON_IsNumber(step) && step->valuedouble <= (double)position->step;
    return cJSON_IsNumber(epoch) && epoch->valuedouble <= (double)position->epoch;
}

/* A run that stopped without a checkpoint has logged steps that are going to be made again. */
static int prune_log(const struct run *run) {
    char *text = NULL, *to;
    size_t size;
    if (!bl_path_exists(run->log_path)) return 0;
    int code = bl_file_read(run->log_path, &text, &size);
    if (code) return code;
    to = text;
    for (char *line = text, *end; !code && *line && (end = strchr(line, '\n')); line = end + 1) {
        cJSON *json = bl_json_parse(line, (size_t)(end - line), NULL);
        if (!json) code = bl_memory_lacked();
        if (json && line_is_done(json, &run->position, run->steps)) {
            memmove(to, line, (size_t)(end + 1 - line));
            to += end + 1 - line;
        }
        cJSON_Delete(json);
    }
    if (!code) code = bl_file_write(run->log_path, text, (size_t)(to - text));
    free(text);
    return code;
}

/* Of a directory that did not exist when the run was set up: another process may have been quicker. */
static int make(struct run *run) {
    int code = bl_make_dirs(run->o.out);
    if (!code) code = bl_lock_take(&run->lock, run->o.out, "train");
    if (code) return code;
    int used = bl_directory_used(run->o.out, bl_is_left_over);
    return used > 0 ? refuse_used(run->o.out) : used;
}

static int open_log(struct run *run) {
    int code = 0;
    if (run->o.resume)
        code = prune_log(run);
    else if ((run->aside = bl_log_put_aside(run->o.out)) < 0)
        code = run->aside;
    if (!code && !(run->log = bl_log_open(run->log_path))) code = BLANCH_EIO;
    return code;
}

/* Of a file's network. A built-in one must not find what the beginning of another run left. */
static int write_network(const struct run *run) {
    char *path = bl_format("%s/network.json", run->o.out);
    int code = path ? 0 : BLANCH_ENOMEM;
    if (!code && run->model->json) code = bl_json_write(path, run->model->json);
    if (!code && !run->model->json) remove(path);
    free(path);
    return code;
}

int bl_run_open_directory(struct run *run) {
    if (!bl_run_writes(run)) return 0;
    char *path = bl_format("%s/config.json", run->o.out);
    run->log_path = bl_format("%s/log.jsonl", run->o.out);
    cJSON *json = bl_run_config_json(run);
    int code = path && run->log_path ? 0 : BLANCH_ENOMEM;
    bl_folder_warn(run->o.out); // before it is made, where it is: with a loose umask it would be said of every run
    if (!code && !run->lock.taken) code = make(run);
    if (!code) bl_replace_clear_path(run->o.out);
    if (!code && !run->o.resume) bl_checkpoint_clear(run->o.out);
    if (!code) code = write_network(run);
    if (!code) code = bl_json_write(path, json);
    if (!code) code = open_log(run);
    if (!code) code = bl_run_results(run);
    cJSON_Delete(json);
    free(path);
    return code;
}

/* --- leaving -------------------------------------------------------------------------------- */

/* Data refused before the first step was made leave no directory behind, as when the folder is read; one that has steps
 * stays, since its log tells what happened, and so does one that was there before. */
static bool is_unused(const struct run *run, int code) {
    return code == BLANCH_EINPUT && run->log_path && run->lock.taken && run->found == BL_FOUND_NOTHING && !run->aside &&
           !run->position.step;
}

void bl_run_leave_directory(struct run *run, int code) {
    if (!bl_run_writes(run)) return;
    const bool unused = is_unused(run, code);
    char *config = unused ? bl_format("%s/config.json", run->o.out) : NULL;
    char *network = unused ? bl_format("%s/network.json", run->o.out) : NULL;
    if (config && network) {
        remove(config);
        remove(network);
        remove(run->log_path);
        remove(run->o.out); // stays where it holds anything else
    }
    bl_lock_release(&run->lock);
    free(config), free(network);
}
