/* Programs: built from embedded source once per file and defines, kept on disk as binaries. */
#include "cl/internal.h"
#include "cl/kernels.h"
#include "cl/program.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct program {
    struct program *next;
    char *file, *options;
    cl_program raw;
    struct bl_kernel *kernels;
    char *cache_path; // of its binary; NULL: no cache
    bool loaded;      // built from the cache's binary
    bool saved;       // the cache holds it, as far as it can
};

/* --- files ------------------------------------------------------------------------------------ */

static bool make_folder(char *path) {
    for (char *slash = path + 1; *slash; slash++) {
        if (*slash != '/') continue;
        *slash = 0;
        bool failed = mkdir(path, 0777) && errno != EEXIST;
        *slash = '/';
        if (failed) return false;
    }
    return !mkdir(path, 0777) || errno == EEXIST;
}

char *bl_cache_folder(const char *name) {
    const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char *path = NULL;
    if (base && *base)
        path = bl_format("%s/blanch/%s", base, name);
    else if (home && *home)
        path = bl_format("%s/.cache/blanch/%s", home, name);
    if (path && make_folder(path)) return path;
    free(path);
    return NULL;
}

/* NULL with errno set where it cannot be read whole. A zero byte follows the text. */
static char *read_file(const char *path, size_t *size) {
    FILE *f = fopen(path, "rb");
    if (!f) return NULL;
    char *data = NULL;
    long length = fseek(f, 0, SEEK_END) ? -1 : ftell(f);
    if (length >= 0 && !fseek(f, 0, SEEK_SET) && (data = bl_calloc((size_t)length + 1, 1))) {
        *size = fread(data, 1, (size_t)length, f);
        if (*size != (size_t)length) free(data), data = NULL;
    }
    int cause = errno;
    fclose(f);
    errno = cause;
    return data;
}

/* Drivers end the process on a damaged binary (PoCL asserts), so an entry says how long it is and what it hashes to. */
struct entry_header {
    char magic[8];
    uint64_t size, hash;
};
#define ENTRY_MAGIC "blanch1"

/* Through a temporary file, so that another process never reads half. A cache that cannot be written is no error. */
static void write_entry(const char *path, const void *data, size_t size) {
    const struct entry_header header = {ENTRY_MAGIC, size, bl_hash(BL_HASH_START, data, size)};
    char *temporary = bl_format("%s.XXXXXX", path);
    int fd = temporary ? mkstemp(temporary) : -1;
    FILE *f = fd >= 0 ? fdopen(fd, "wb") : NULL;
    if (f) {
        bool whole = fwrite(&header, sizeof header, 1, f) == 1 && fwrite(data, 1, size, f) == size;
        whole = !fclose(f) && whole;
        if (!whole || rename(temporary, path)) remove(temporary);
    } else if (fd >= 0) {
        close(fd);
        remove(temporary);
    }
    free(temporary);
}

/* The program's bytes within data; NULL where the entry is not whole. */
static const unsigned char *entry_body(const char *data, size_t size, size_t *body_size) {
    struct entry_header header;
    if (size <= sizeof header) return NULL;
    memcpy(&header, data, sizeof header);
    const char *body = data + sizeof header;
    *body_size = size - sizeof header;
    bool whole = !memcmp(header.magic, ENTRY_MAGIC, sizeof header.magic) && header.size == *body_size &&
                 header.hash == bl_hash(BL_HASH_START, body, *body_size);
    return whole ? (const unsigned char *)body : NULL;
}

/* --- sources ---------------------------------------------------------------------------------- */

/* A file of kernels/. */
static int file_text(const char *name, char **text) {
    const char *folder = getenv("BLANCH_KERNELS");
    size_t size;
    if (folder && *folder) {
        char *path = bl_format("%s/%s", folder, name);
        if (!path) return BLANCH_ENOMEM;
        *text = read_file(path, &size);
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
    char *name = bl_format("%s.cl", file);
    int code = name ? file_text(name, text) : BLANCH_ENOMEM;
    for (bool found = true; !code && found;) code = include_one(text, &found);
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

static char *cache_path(const struct blanch_device *dev, const char *file, const char *options, const char *text,
                        size_t size) {
    if (!dev->cache) return NULL;
    const struct blanch_device_info *info = &dev->info;
    const char *parts[] = {options,       info->name,          info->vendor,         info->driver,
                           info->version, info->platform_name, dev->platform_version};
    uint64_t hash = bl_hash(BL_HASH_START, text, size);
    for (int i = 0; i < BL_COUNT(parts); i++) hash = bl_hash(hash, parts[i], strlen(parts[i]) + 1);
    char base[64];
    snprintf(base, sizeof base, "%s", file);
    for (char *c = base; *c; c++)
        if (*c == '/') *c = '-';
    return bl_format("%s/%s-%016llx.bin", dev->cache, base, (unsigned long long)hash);
}

/* --- building --------------------------------------------------------------------------------- */

static int build_log(const struct blanch_device *dev, cl_program raw, cl_int error, const char *file,
                     const char *options) {
    size_t size = 0;
    char *log = NULL;
    clGetProgramBuildInfo(raw, dev->id, CL_PROGRAM_BUILD_LOG, 0, NULL, &size);
    if (size && (log = bl_calloc(size + 1, 1)) &&
        clGetProgramBuildInfo(raw, dev->id, CL_PROGRAM_BUILD_LOG, size, log, NULL))
        log[0] = 0;
    int code = bl_cl_fail(error, "building kernels/%s.cl with %s", file, options);
    if (log) code = bl_fail(code, "%s\n%s", blanch_error_message(), log);
    free(log);
    return code;
}

/* NULL unless the cached binary loads and builds. */
static cl_program from_binary(const struct blanch_device *dev, const char *path, const char *options) {
    size_t size = 0, body_size = 0;
    char *data = path ? read_file(path, &size) : NULL;
    const unsigned char *body = data ? entry_body(data, size, &body_size) : NULL;
    cl_int status = 0, error = 0;
    cl_program raw =
        body ? clCreateProgramWithBinary(dev->context, 1, &dev->id, &body_size, &body, &status, &error) : NULL;
    free(data);
    if (raw && !error && !status && !clBuildProgram(raw, 1, &dev->id, options, NULL, NULL)) return raw;
    if (raw) bl_cl_released(clReleaseProgram(raw), "a program");
    return NULL;
}

static int from_source(const struct blanch_device *dev, const char *file, const char *text, size_t size,
                       const char *options, cl_program *raw) {
    cl_int error;
    *raw = clCreateProgramWithSource(dev->context, 1, &text, &size, &error);
    if (error) return bl_cl_fail(error, "kernels/%s.cl", file);
    error = clBuildProgram(*raw, 1, &dev->id, options, NULL, NULL);
    return error ? build_log(dev, *raw, error, file, options) : 0;
}

static void save_binary(struct program *program) {
    size_t size = 0;
    if (clGetProgramInfo(program->raw, CL_PROGRAM_BINARY_SIZES, sizeof size, &size, NULL) || !size) return;
    unsigned char *data = bl_malloc(size);
    if (data && !clGetProgramInfo(program->raw, CL_PROGRAM_BINARIES, sizeof data, &data, NULL))
        write_entry(program->cache_path, data, size);
    free(data);
}

static void program_free(struct program *program) {
    for (struct bl_kernel *k = program->kernels, *next; k; k = next) {
        next = k->next;
        if (k->raw) bl_cl_released(clReleaseKernel(k->raw), "a kernel");
        free(k->name);
        free(k);
    }
    if (program->raw) bl_cl_released(clReleaseProgram(program->raw), "a program");
    free(program->file), free(program->options), free(program->cache_path);
    free(program);
}

void bl_programs_free(struct blanch_device *dev) {
    for (struct program *p = dev->programs, *next; p; p = next) next = p->next, program_free(p);
    dev->programs = NULL;
}

static int program_build(struct blanch_device *dev, struct program *program, bool use_cache) {
    char *text = NULL;
    size_t size = 0;
    int code = source_of(program->file, &text, &size);
    if (code) return code;
    if (!program->cache_path) program->cache_path = cache_path(dev, program->file, program->options, text, size);
    program->raw = use_cache ? from_binary(dev, program->cache_path, program->options) : NULL;
    program->loaded = program->saved = program->raw != NULL;
    if (!program->raw) code = from_source(dev, program->file, text, size, program->options, &program->raw);
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
            return 0;
        }
    struct program *program = bl_calloc(1, sizeof *program);
    if (!program) return free(options), BLANCH_ENOMEM;
    program->options = options, program->file = bl_strdup(file);
    int code = program->file ? program_build(dev, program, true) : BLANCH_ENOMEM;
    if (code) return program_free(program), code;
    program->next = dev->programs;
    *out = dev->programs = program;
    return 0;
}

/* A binary that loads but lacks the kernel is not what it should be: built anew from source, it replaces the entry. */
static int create_raw(struct blanch_device *dev, struct program *program, const char *function, cl_kernel *raw) {
    cl_int error;
    *raw = clCreateKernel(program->raw, function, &error);
    if (error && program->loaded && !program->kernels) {
        bl_cl_released(clReleaseProgram(program->raw), "a program");
        int code = program_build(dev, program, false);
        if (code) return code;
        *raw = clCreateKernel(program->raw, function, &error);
    }
    if (error) return bl_cl_fail(error, "kernel %s of kernels/%s.cl", function, program->file);
    if (!program->saved) { // saved only now: some drivers compile when the first kernel is made
        if (program->cache_path) save_binary(program);
        program->saved = true;
    }
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
        if (k->raw) bl_cl_released(clReleaseKernel(k->raw), "a kernel");
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
