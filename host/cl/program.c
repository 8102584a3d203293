/* Programs: built from embedded source once per file and defines, kept on disk as binaries. */
#include "cl/entry.h"
#include "cl/internal.h"
#include "cl/kernels.h"
#include "cl/program.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ENTRY_NAME = 96 }; // bytes

struct program {
    struct program *next;
    char *file, *options;
    cl_program raw;
    struct bl_kernel *kernels;
    char *key;      // of its binary in the cache, until that holds it as far as it can
    bool loaded;    // built from the cache's binary
    cl_int refused; // by the compiler, which is not asked again; 0: it was built
    char *log;      // of a refused one
};

/* --- sources ---------------------------------------------------------------------------------- */

/* NULL with errno set where it cannot be read whole. A zero byte follows the text. */
static char *read_file(const char *path) {
    FILE *f = fopen(path, "rbe");
    if (!f) return NULL;
    char *data = NULL;
    long length = fseek(f, 0, SEEK_END) ? -1 : ftell(f);
    if (length >= 0 && !fseek(f, 0, SEEK_SET) && (data = bl_calloc((size_t)length + 1, 1)) &&
        fread(data, 1, (size_t)length, f) != (size_t)length)
        free(data), data = NULL;
    int cause = errno;
    fclose(f);
    errno = cause;
    return data;
}

/* Kernels name their own folder's files alone. */
static bool leads_out(const char *name) {
    return *name == '/' || !strncmp(name, "../", 3) || strstr(name, "/../");
}

/* A file of kernels/. */
static int file_text(const char *name, char **text) {
    const char *folder = getenv("BLANCH_KERNELS");
    if (folder && *folder) {
        if (leads_out(name))
            return bl_fail(BLANCH_EINPUT, "BLANCH_KERNELS: #include \"%s\" leads out of %s", name, folder);
        char *path = bl_format("%s/%s", folder, name);
        if (!path) return BLANCH_ENOMEM;
        *text = read_file(path);
        int code = *text ? 0 : bl_fail(BLANCH_EINPUT, "BLANCH_KERNELS: %s cannot be read: %s", path, strerror(errno));
        free(path);
        return code;
    }
    for (const struct bl_kernel_source *s = bl_kernel_sources; s->name; s++) {
        if (strcmp(s->name, name)) continue;
        *text = bl_strdup(s->text);
        return *text ? 0 : BLANCH_ENOMEM;
    }
    return bl_fail(BLANCH_EDEVICE, "no kernel file '%s' is embedded", name);
}

/* The first line `#include "NAME"` of a text gives way to kernels/NAME. *found: there was one. */
static int include_one(char **text, bool *found) {
    static const char word[] = "\n#include \"";
    char *line = strstr(*text, word), *end = line ? strchr(line + sizeof word - 1, '"') : NULL, *included = NULL;
    if (!(*found = end != NULL)) return 0;
    *line = *end = 0;
    int code = file_text(line + sizeof word - 1, &included);
    char *whole = code ? NULL : bl_format("%s\n%s%s", *text, included, end + 1);
    if (!code && !whole) code = BLANCH_ENOMEM;
    free(*text), free(included);
    *text = whole;
    return code;
}

/* kernels/FILE.cl with what it includes: drivers find no files, and the cache's key is to see them. */
static int source_of(const char *file, char **text, size_t *size) {
    enum { MOST = 100 }; // files that include each other would have no end
    char *name = bl_format("%s.cl", file);
    int code = name ? file_text(name, text) : BLANCH_ENOMEM;
    bool found = true;
    for (int i = 0; !code && found && i < MOST; i++) code = include_one(text, &found);
    if (!code && found) {
        free(*text);
        code = bl_fail(BLANCH_EINPUT, "kernels/%s.cl includes more than %d files", file, MOST);
    }
    free(name);
    *size = code ? 0 : strlen(*text);
    return code;
}

static char *options_of(const struct bl_define *defines, int count) {
    char *options = bl_strdup("-cl-std=CL1.2 -cl-mad-enable -w");
    for (int i = 0; i < count && options; i++) {
        char *longer = bl_format("%s -D%s=%ld", options, defines[i].name, defines[i].value);
        free(options);
        options = longer;
    }
    return options;
}

uint64_t bl_device_hash(const struct blanch_device *dev) {
    const struct blanch_device_info *info = &dev->info;
    const char *parts[] = {info->name,    info->vendor,        info->driver,
                           info->version, info->platform_name, dev->platform_version};
    uint64_t hash = BL_HASH_START;
    for (int i = 0; i < BL_COUNT(parts); i++) hash = bl_hash(hash, parts[i], strlen(parts[i]) + 1);
    const int64_t numbers[] = {info->compute_units, (int64_t)info->kind}; // a sub-device; BLANCH_KIND
    return bl_hash(hash, numbers, sizeof numbers);
}

uint64_t bl_memory_limit(const struct blanch_device *dev) {
    return dev->memory_limit;
}

int bl_kernels_hash(uint64_t *hash) {
    *hash = BL_HASH_START;
    for (const struct bl_kernel_source *s = bl_kernel_sources; s->name; s++) {
        char *text;
        int code = file_text(s->name, &text);
        if (code) return code;
        *hash = bl_hash(*hash, text, strlen(text) + 1);
        free(text);
    }
    return 0;
}

/* All that a binary depends on, in clear. */
static char *key_of(const struct blanch_device *dev, const char *options, const char *text) {
    const struct blanch_device_info *info = &dev->info;
    if (!dev->cache.path) return NULL;
    return bl_format("%s\n%s\n%s\n%s\n%s\n%s\n%s\n%s", options, info->name, info->vendor, info->driver, info->version,
                     info->platform_name, dev->platform_version, text);
}

/* The name of a program's file in the cache. */
static void entry_name(const struct program *program, char name[ENTRY_NAME]) {
    char base[64];
    snprintf(base, sizeof base, "%s", program->file);
    for (char *c = base; *c; c++)
        if (*c == '/') *c = '-';
    const uint64_t hash = bl_hash(BL_HASH_START, program->key, strlen(program->key));
    snprintf(name, ENTRY_NAME, "%s-%016llx.bin", base, (unsigned long long)hash);
}

/* --- building --------------------------------------------------------------------------------- */

static char *log_of(const struct blanch_device *dev, cl_program raw) {
    size_t size = 0;
    char *log = NULL;
    clGetProgramBuildInfo(raw, dev->id, CL_PROGRAM_BUILD_LOG, 0, NULL, &size);
    if (size && (log = bl_calloc(size + 1, 1)) &&
        clGetProgramBuildInfo(raw, dev->id, CL_PROGRAM_BUILD_LOG, size, log, NULL))
        log[0] = 0;
    return log;
}

/* The first line of a compiler's log that speaks of an error, else the first that says anything. */
static const char *telling_line(const char *log, int *length) {
    const char *first = NULL;
    for (const char *line = log, *end; *line; line = *end ? end + 1 : end) {
        end = line + strcspn(line, "\n");
        *length = (int)(end - line);
        const char *word = strstr(line, "error");
        if (word && word < end) return line;
        if (!first && strspn(line, " \t\r") < (size_t)*length) first = line;
    }
    *length = first ? (int)strcspn(first, "\n") : 0;
    return first ? first : "";
}

/* Keeps the log beside the programs in the cache, where there is one; where it is. NULL: no memory. */
static char *keep_log(const struct blanch_device *dev, const struct program *program) {
    char name[ENTRY_NAME];
    if (!program->key || !dev->cache.path) return bl_strdup("BLANCH_VERBOSE=1 prints all that the compiler says");
    entry_name(program, name);
    memcpy(strrchr(name, '.'), ".log", sizeof ".log");
    bl_cache_write(&dev->cache, name, &(struct bl_part){program->log, strlen(program->log)}, 1);
    return bl_format("all that the compiler says: %s/%s", dev->cache.path, name);
}

/* One line, which the log follows. */
static int fail_refused(const struct blanch_device *dev, const struct program *program) {
    enum { MOST = 200 }; // of the log's line
    int length = 0,
        code = bl_cl_fail(program->refused, "building kernels/%s.cl with %s", program->file, program->options);
    const char *line = telling_line(program->log ? program->log : "", &length);
    if (!length) return bl_fail(code, "%s: the compiler gives no reason", blanch_error_message());
    char *place = keep_log(dev, program);
    bl_fail(code, "%s: %.*s (%s)", blanch_error_message(), length < MOST ? length : MOST, line, place ? place : "");
    free(place);
    return bl_fail_more(code, program->log);
}

/* NULL unless the cached binary loads and builds. */
static cl_program from_binary(const struct blanch_device *dev, const struct program *program) {
    char name[ENTRY_NAME];
    size_t size = 0, body_size = 0;
    entry_name(program, name);
    char *data = bl_cache_read(&dev->cache, name, &size);
    const unsigned char *body = data ? bl_entry_body(data, size, program->key, &body_size) : NULL;
    cl_int status = 0, error = 0;
    cl_program raw =
        body ? clCreateProgramWithBinary(dev->context, 1, &dev->id, &body_size, &body, &status, &error) : NULL;
    free(data);
    if (raw && !error && !status && !clBuildProgram(raw, 1, &dev->id, program->options, NULL, NULL)) return raw;
    if (raw) bl_cl_release(clReleaseProgram, raw, "a program");
    return NULL;
}

static bool has_entry(const struct blanch_device *dev, const struct program *program) {
    char name[ENTRY_NAME];
    if (!program->key) return false;
    entry_name(program, name);
    char *path = bl_format("%s/%s", dev->cache.path, name);
    const bool there = path && !access(path, F_OK);
    free(path);
    return there;
}

static bool is_refusal(cl_int error) {
    return error == CL_BUILD_PROGRAM_FAILURE || error == CL_COMPILE_PROGRAM_FAILURE ||
           error == CL_LINK_PROGRAM_FAILURE || error == CL_INVALID_BUILD_OPTIONS;
}

static int from_source(const struct blanch_device *dev, struct program *program, const char *text, size_t size) {
    cl_int error;
    program->raw = clCreateProgramWithSource(dev->context, 1, &text, &size, &error);
    if (error) return bl_cl_fail(error, "kernels/%s.cl", program->file);
    error = clBuildProgram(program->raw, 1, &dev->id, program->options, NULL, NULL);
    if (!error) return 0;
    if (!is_refusal(error)) return bl_cl_fail(error, "building kernels/%s.cl with %s", program->file, program->options);
    program->refused = error;
    program->log = log_of(dev, program->raw);
    return fail_refused(dev, program);
}

static void save_binary(const struct blanch_device *dev, const struct program *program) {
    char name[ENTRY_NAME];
    size_t size = 0;
    if (clGetProgramInfo(program->raw, CL_PROGRAM_BINARY_SIZES, sizeof size, &size, NULL) || !size) return;
    unsigned char *data = bl_malloc(size);
    entry_name(program, name);
    if (data && !clGetProgramInfo(program->raw, CL_PROGRAM_BINARIES, sizeof data, &data, NULL))
        bl_entry_write(&dev->cache, name, program->key, data, size);
    free(data);
}

static void program_free(struct program *program) {
    for (struct bl_kernel *k = program->kernels, *next; k; k = next) {
        next = k->next;
        if (k->raw) bl_cl_release(clReleaseKernel, k->raw, "a kernel");
        free(k->name);
        free(k);
    }
    if (program->raw) bl_cl_release(clReleaseProgram, program->raw, "a program");
    free(program->file), free(program->options), free(program->key), free(program->log);
    free(program);
}

/* PoCL compiles kernels as they are launched, for the groups that they have, and keeps them itself; a program's binary
 * it makes by compiling every kernel a second time, for any groups. That takes longer than all else at a first start,
 * and spares later ones a thirtieth of a second a program: so it is done at the end, of one program, and of others for
 * a twentieth of the time that the device was open, unless something failed: where a disk is full, PoCL's compiler ends
 * the process before anyone is told what did, and who interrupts does not wait. */
static void save_late(const struct blanch_device *dev) {
    const double now = bl_now(), end = now + (now - dev->opened) / 20;
    bool one = false;
    for (const struct program *p = dev->programs; p && (!one || bl_now() < end); p = p->next) {
        if (!p->key || !p->kernels || p->loaded || p->refused) continue;
        save_binary(dev, p);
        one = true;
    }
}

void bl_programs_free(struct blanch_device *dev) {
    if (dev->saves_late && !*blanch_error_message()) save_late(dev);
    for (struct program *p = dev->programs, *next; p; p = next) next = p->next, program_free(p);
    dev->programs = NULL;
}

static int program_build(struct blanch_device *dev, struct program *program, bool use_cache) {
    char *text = NULL;
    size_t size = 0;
    int code = source_of(program->file, &text, &size);
    if (code) return code;
    if (!program->key) program->key = key_of(dev, program->options, text);
    program->raw = use_cache && program->key ? from_binary(dev, program) : NULL;
    program->loaded = program->raw != NULL;
    if (!program->raw) code = from_source(dev, program, text, size);
    free(text);
    return code;
}

static int program_get(struct blanch_device *dev, const char *file, const struct bl_define *defines, int count,
                       struct program **out) {
    char *options = options_of(defines, count);
    if (!options) return BLANCH_ENOMEM;
    for (struct program *p = dev->programs; p; p = p->next)
        if (!strcmp(p->file, file) && !strcmp(p->options, options)) {
            free(options);
            *out = p;
            return p->refused ? fail_refused(dev, p) : 0;
        }
    struct program *program = bl_calloc(1, sizeof *program);
    if (!program) return free(options), BLANCH_ENOMEM;
    program->options = options, program->file = bl_strdup(file);
    int code = program->file ? program_build(dev, program, true) : BLANCH_ENOMEM;
    if (code && !program->refused) return program_free(program), code;
    program->next = dev->programs;
    *out = dev->programs = program;
    return code;
}

/* A binary that loads but lacks the kernel is not what it should be: built anew from source, it replaces the entry. */
static int create_raw(struct blanch_device *dev, struct program *program, const char *function, cl_kernel *raw) {
    cl_int error;
    *raw = clCreateKernel(program->raw, function, &error);
    if (error && program->loaded && !program->kernels) {
        bl_cl_release(clReleaseProgram, program->raw, "a program");
        int code = program_build(dev, program, false);
        if (code) return code;
        *raw = clCreateKernel(program->raw, function, &error);
    }
    if (error) return bl_cl_fail(error, "kernel %s of kernels/%s.cl", function, program->file);
    if (dev->saves_late && !program->loaded && !has_entry(dev, program)) return 0; // one that is no good is replaced
    if (program->key && !program->loaded) save_binary(dev, program); // only now: some drivers compile for a kernel
    free(program->key);
    program->key = NULL;
    return 0;
}

static cl_int describe(struct bl_kernel *k) {
    cl_uint args = 0;
    cl_ulong local = 0;
    cl_device_id id = k->dev->id;
    cl_int error = clGetKernelInfo(k->raw, CL_KERNEL_NUM_ARGS, sizeof args, &args, NULL);
    size_t most = 0;
    if (!error) error = clGetKernelWorkGroupInfo(k->raw, id, CL_KERNEL_WORK_GROUP_SIZE, sizeof most, &most, NULL);
    if (!error) error = clGetKernelWorkGroupInfo(k->raw, id, CL_KERNEL_LOCAL_MEM_SIZE, sizeof local, &local, NULL);
    k->args = (int)args, k->local_memory = local, k->work_group = most ? most : 1;
    return error;
}

static int kernel_new(struct blanch_device *dev, struct program *program, const char *function,
                      struct bl_kernel **out) {
    struct bl_kernel *k = bl_calloc(1, sizeof *k);
    if (!k) return BLANCH_ENOMEM;
    *k = (struct bl_kernel){.dev = dev, .name = bl_strdup(function)};
    int code = create_raw(dev, program, function, &k->raw);
    cl_int error = code ? 0 : describe(k);
    if (error) code = bl_cl_fail(error, "kernel %s of kernels/%s.cl", function, program->file);
    if (code || !k->name) {
        if (k->raw) bl_cl_release(clReleaseKernel, k->raw, "a kernel");
        free(k->name), free(k);
        return code ? code : BLANCH_ENOMEM;
    }
    k->cached = program->loaded;
    k->next = program->kernels;
    *out = program->kernels = k;
    return 0;
}

int bl_kernel_get(struct blanch_device *dev, const char *file, const char *function, const struct bl_define *defines,
                  int count, struct bl_kernel **kernel) {
    struct program *program;
    int code = program_get(dev, file, defines, count, &program);
    if (code) return code;
    for (struct bl_kernel *k = program->kernels; k; k = k->next)
        if (!strcmp(k->name, function)) return *kernel = k, 0;
    return kernel_new(dev, program, function, kernel);
}

const char *bl_kernel_name(const struct bl_kernel *kernel) {
    return kernel->name;
}
bool bl_kernel_cached(const struct bl_kernel *kernel) {
    return kernel->cached;
}
size_t bl_kernel_items(const struct bl_kernel *kernel) {
    return kernel->work_group;
}
