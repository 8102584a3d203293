/* Programs, kernels and launches. What a kernel takes is read from its source behind the preprocessor, as some names
 * are pasted together there. */
#include "recorder.h"
#include <ctype.h>
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* --- programs ------------------------------------------------------------------------------------ */

static cl_program new_program(cl_context context, char *source) {
    static int count;
    char path[4096];
    cl_program program = recorder_new(sizeof *program);
    program->references = 1, program->id = count++;
    program->context = context, program->source = source;
    program->options = recorder_copy("", 0);
    context->references++;
    recorder_program_path(program->id, path, sizeof path);
    FILE *out = fopen(path, "w");
    if (!out || fputs(source, out) < 0 || fclose(out)) recorder_stop("%s cannot be written", path);
    return program;
}

cl_program recorder_clCreateProgramWithSource(cl_context context, cl_uint count, const char **texts,
                                              const size_t *lengths, cl_int *error) {
    size_t total = 0, at = 0;
    for (cl_uint i = 0; i < count; i++) total += lengths && lengths[i] ? lengths[i] : strlen(texts[i]);
    char *source = malloc(total + 1);
    if (!source) recorder_stop("no memory");
    for (cl_uint i = 0; i < count; i++) {
        size_t size = lengths && lengths[i] ? lengths[i] : strlen(texts[i]);
        memcpy(source + at, texts[i], size), at += size;
    }
    source[total] = 0;
    if (error) *error = CL_SUCCESS;
    return new_program(context, source);
}

/* A binary is the magic, the options and the source, each with its final zero: another process can read it. */
static const char magic[] = "blanch recorder 1";

static size_t binary_size(cl_program program) {
    return sizeof magic + strlen(program->options) + strlen(program->source) + 2;
}

static void put_binary(cl_program program, char *to) {
    memcpy(to, magic, sizeof magic), to += sizeof magic;
    strcpy(to, program->options), to += strlen(to) + 1;
    strcpy(to, program->source);
}

cl_program recorder_clCreateProgramWithBinary(cl_context context, cl_uint count, const cl_device_id *devices,
                                              const size_t *sizes, const unsigned char **binaries, cl_int *status,
                                              cl_int *error) {
    const char *at = (const char *)binaries[0], *end = at + sizes[0];
    bool right = sizes[0] > sizeof magic + 1 && !memcmp(at, magic, sizeof magic) && !end[-1];
    const char *options = at + sizeof magic, *source = right ? options + strlen(options) + 1 : NULL;
    right = right && source < end;
    cl_int code = right ? CL_SUCCESS : CL_INVALID_BINARY;
    if (status) *status = code;
    if (error) *error = code;
    if (!right) return NULL;
    cl_program program = new_program(context, recorder_copy(source, strlen(source)));
    free(program->options);
    program->options = recorder_copy(options, strlen(options));
    return program;
}

cl_int recorder_clRetainProgram(cl_program program) {
    program->references++;
    return CL_SUCCESS;
}

cl_int recorder_clReleaseProgram(cl_program program) {
    if (--program->references) return CL_SUCCESS;
    recorder_clReleaseContext(program->context);
    free(program->source), free(program->options), free(program->text);
    free(program);
    return CL_SUCCESS;
}

/* --- building ------------------------------------------------------------------------------------ */

enum { MAX_WORDS = 128 };
struct command {
    const char *words[MAX_WORDS];
    int count;
};

static void add_word(struct command *command, const char *word) {
    if (command->count == MAX_WORDS - 1) recorder_stop("a program has more than %d build options", MAX_WORDS);
    command->words[command->count++] = word;
}

/* The words of text, which is cut up; of the options, definitions alone. */
static void add_words(struct command *command, char *text, bool definitions) {
    bool takes = false; // "-D NAME" in two words
    for (char *word = strtok(text, " "); word; word = strtok(NULL, " ")) {
        if (!definitions || takes || !strncmp(word, "-D", 2)) add_word(command, word);
        takes = !strcmp(word, "-D");
    }
}

/* All that comes through a pipe, until its end. */
static char *read_all(int from) {
    size_t size = 0, room = 1 << 16;
    char *text = malloc(room);
    for (ssize_t got = 1; text && got;) {
        got = read(from, text + size, room - size - 1);
        if (got < 0 && errno != EINTR) break;
        if (got > 0) size += (size_t)got;
        if (size + 1 == room) {
            char *larger = realloc(text, room *= 2);
            if (!larger) free(text);
            text = larger;
        }
    }
    if (!text) recorder_stop("no memory");
    text[size] = 0;
    return text;
}

/* What the command prints; NULL where it failed. */
static char *output_of(struct command *command) {
    int ends[2], status = -1;
    pid_t child;
    posix_spawn_file_actions_t actions;
    if (pipe(ends) || posix_spawn_file_actions_init(&actions)) recorder_stop("no pipe: %s", strerror(errno));
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_addclose(&actions, ends[0]);
    posix_spawn_file_actions_addclose(&actions, ends[1]);
    int error = posix_spawnp(&child, command->words[0], &actions, NULL, (char **)command->words, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    if (error) recorder_stop("%s cannot be run: %s", command->words[0], strerror(error));
    char *text = read_all(ends[0]);
    close(ends[0]);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (!status) return text;
    free(text);
    return NULL;
}

static char *preprocess(cl_program program) {
    char path[4096], compiler[] = RECORDER_PREPROCESSOR,
                     *options = recorder_copy(program->options, strlen(program->options));
    struct command command = {.count = 0};
    recorder_program_path(program->id, path, sizeof path);
    add_words(&command, compiler, false);
    const char *const fixed[] = {"-E", "-P", "-w", "-undef", "-D__OPENCL_VERSION__=120", "-Dkernel=__kernel"};
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++) add_word(&command, fixed[i]);
    add_words(&command, options, true);
    add_word(&command, "-xc");
    add_word(&command, path);
    char *text = output_of(&command);
    free(options);
    return text;
}

cl_int recorder_clBuildProgram(cl_program program, cl_uint count, const cl_device_id *devices, const char *options,
                               void(CL_CALLBACK *notify)(cl_program, void *), void *user) {
    const char *refuse = recorder_text(program->context->device, "refuse");
    if (options && *options) {
        free(program->options);
        program->options = recorder_copy(options, strlen(options));
    }
    bool refused = *refuse && strstr(program->options, refuse); // as a compiler does that has a limit
    recorder_note("{\"op\": %q, \"id\": %d, \"file\": \"%d.cl\", \"options\": %q}", refused ? "refused" : "program",
                  program->id, program->id, program->options);
    if (refused) return CL_BUILD_PROGRAM_FAILURE;
    free(program->text);
    program->text = preprocess(program);
    return program->text ? CL_SUCCESS
                         : recorder_refuse(CL_BUILD_PROGRAM_FAILURE, "program %d cannot be preprocessed", program->id);
}

cl_int recorder_clGetProgramInfo(cl_program program, cl_program_info what, size_t size, void *value, size_t *size_ret) {
    if (what == CL_PROGRAM_CONTEXT) ANSWER(cl_context, program->context);
    if (what == CL_PROGRAM_NUM_DEVICES) ANSWER(cl_uint, 1);
    if (what == CL_PROGRAM_DEVICES) ANSWER(cl_device_id, program->context->device);
    if (what == CL_PROGRAM_BINARY_SIZES) ANSWER(size_t, binary_size(program));
    if (what != CL_PROGRAM_BINARIES) return CL_INVALID_VALUE;
    if (size_ret) *size_ret = sizeof(char *);
    if (value && *(char **)value) put_binary(program, *(char **)value);
    return CL_SUCCESS;
}

cl_int recorder_clGetProgramBuildInfo(cl_program program, cl_device_id d, cl_program_build_info what, size_t size,
                                      void *value, size_t *size_ret) {
    if (what == CL_PROGRAM_BUILD_STATUS) ANSWER(cl_build_status, program->text ? CL_BUILD_SUCCESS : CL_BUILD_ERROR);
    const char *log = program->text ? "" : "1 warning\nprogram.cl:1:1: error: the description refuses this option\n";
    return recorder_answer_text(log, size, value, size_ret);
}

/* --- kernels ------------------------------------------------------------------------------------- */

static bool is_word(char c) {
    return isalnum((unsigned char)c) || c == '_';
}

/* The opening parenthesis of the definition `void NAME(`, or with an attribute between; NULL: there is none. */
static const char *find_kernel(const char *text, const char *name) {
    size_t length = strlen(name);
    for (const char *at = text; (at = strstr(at, name)); at += length) {
        const char *open = at + length, *before = at;
        while (isspace((unsigned char)*open)) open++;
        while (before > text && isspace((unsigned char)before[-1])) before--;
        if (*open != '(' || at == text || is_word(at[-1])) continue;
        if (before - text >= 4 && !strncmp(before - 4, "void", 4)) return open;
        if (before > text && before[-1] == ')') return open;
    }
    return NULL;
}

static bool has_word(const char *from, const char *to, const char *word) {
    size_t length = strlen(word);
    for (; from + length <= to; from++)
        if (!strncmp(from, word, length) && (from + length == to || !is_word(from[length])) && !is_word(from[-1]))
            return true;
    return false;
}

static size_t size_of_type(const char *from, const char *to) {
    static const char *const four[] = {"int", "uint", "float"}, *const eight[] = {"long", "ulong", "double"};
    for (int i = 0; i < 3; i++) {
        if (has_word(from, to, four[i])) return 4;
        if (has_word(from, to, eight[i])) return 8;
    }
    return 0;
}

/* Of the parameter `struct NAME ...`, whose members leave no gaps; 0 where it is none, or the program defines no such
 * struct. */
static size_t size_of_struct(const char *text, const char *parameter) {
    char name[48], head[64];
    size_t size = 0;
    if (sscanf(parameter, " struct %47[A-Za-z0-9_]", name) != 1) return 0;
    snprintf(head, sizeof head, "struct %s {", name);
    const char *at = strstr(text, head), *end = at ? strchr(at, '}') : NULL;
    if (!end) return 0;
    at += strlen(head);
    for (const char *stop; (stop = memchr(at, ';', (size_t)(end - at))); at = stop + 1) {
        size_t members = 1;
        for (const char *c = at; c < stop; c++) members += *c == ',';
        size += members * size_of_type(at, stop);
    }
    return size;
}

/* from is behind a parenthesis or a comma. */
static struct arg read_parameter(const char *text, const char *from, const char *to) {
    if (!memchr(from, '*', (size_t)(to - from))) {
        size_t plain = size_of_type(from, to);
        return (struct arg){.kind = ARG_VALUE, .size = plain ? plain : size_of_struct(text, from)};
    }
    bool local = has_word(from, to, "local") || has_word(from, to, "__local");
    return (struct arg){.kind = local ? ARG_LOCAL : ARG_BUFFER};
}

static bool read_parameters(cl_kernel kernel, const char *open) {
    const char *from = open + 1;
    int depth = 0;
    for (const char *at = open; *at; at++) {
        depth += *at == '(';
        depth -= *at == ')';
        if (depth && !(depth == 1 && *at == ',')) continue;
        if (kernel->count == MAX_ARGS) return false;
        kernel->args[kernel->count++] = read_parameter(kernel->program->text, from, at);
        from = at + 1;
        if (!depth) return true;
    }
    return false;
}

cl_kernel recorder_clCreateKernel(cl_program program, const char *name, cl_int *error) {
    const char *open = program->text ? find_kernel(program->text, name) : NULL;
    cl_kernel kernel = recorder_new(sizeof *kernel);
    kernel->references = 1, kernel->program = program, kernel->name = recorder_copy(name, strlen(name));
    program->references++;
    if (error) *error = CL_SUCCESS;
    if (open && read_parameters(kernel, open)) return kernel;
    recorder_clReleaseKernel(kernel);
    cl_int code = recorder_refuse(CL_INVALID_KERNEL_NAME, "no kernel %s in program %d", name, program->id);
    if (error) *error = code;
    return NULL;
}

cl_int recorder_clRetainKernel(cl_kernel kernel) {
    kernel->references++;
    return CL_SUCCESS;
}

cl_int recorder_clReleaseKernel(cl_kernel kernel) {
    if (--kernel->references) return CL_SUCCESS;
    recorder_clReleaseProgram(kernel->program);
    free(kernel->name);
    free(kernel);
    return CL_SUCCESS;
}

cl_int recorder_clGetKernelInfo(cl_kernel kernel, cl_kernel_info what, size_t size, void *value, size_t *size_ret) {
    if (what == CL_KERNEL_NUM_ARGS) ANSWER(cl_uint, (cl_uint)kernel->count);
    if (what == CL_KERNEL_FUNCTION_NAME) return recorder_answer_text(kernel->name, size, value, size_ret);
    return CL_INVALID_VALUE;
}

static size_t most_items(cl_kernel kernel) {
    cl_device_id d = kernel->program->context->device;
    size_t own = recorder_number(d, "kernel_work_group"); // as for a kernel that takes many registers
    return own ? own : recorder_number(d, "work_group");
}

cl_int recorder_clGetKernelWorkGroupInfo(cl_kernel kernel, cl_device_id d, cl_kernel_work_group_info what, size_t size,
                                         void *value, size_t *size_ret) {
    if (what == CL_KERNEL_WORK_GROUP_SIZE) ANSWER(size_t, most_items(kernel));
    if (what == CL_KERNEL_LOCAL_MEM_SIZE || what == CL_KERNEL_PRIVATE_MEM_SIZE) ANSWER(cl_ulong, 0);
    if (what == CL_KERNEL_PREFERRED_WORK_GROUP_SIZE_MULTIPLE)
        ANSWER(size_t, recorder_number(kernel->program->context->device, "wave"));
    return CL_INVALID_VALUE;
}

cl_int recorder_clSetKernelArg(cl_kernel kernel, cl_uint index, size_t size, const void *value) {
    if (index >= (cl_uint)kernel->count)
        return recorder_refuse(CL_INVALID_ARG_INDEX, "kernel %s takes %d arguments, not a %u.", kernel->name,
                               kernel->count, index + 1);
    struct arg *arg = &kernel->args[index];
    bool right = arg->kind == ARG_LOCAL    ? !value && size
                 : arg->kind == ARG_BUFFER ? size == sizeof(cl_mem)
                                           : value && (!arg->size || size == arg->size);
    if (!right)
        return recorder_refuse(CL_INVALID_ARG_SIZE, "kernel %s, argument %u: %zu bytes are not what it takes",
                               kernel->name, index, size);
    arg->size = size, arg->set = true;
    if (arg->kind == ARG_BUFFER) arg->mem = value ? *(const cl_mem *)value : NULL;
    return CL_SUCCESS;
}

/* --- launches ------------------------------------------------------------------------------------ */

static cl_int check_launch(cl_kernel kernel, const size_t *global, const size_t *local) {
    size_t items = local[0] * local[1] * local[2], used = 0,
           most = recorder_number(kernel->program->context->device, "local_memory");
    for (int i = 0; i < kernel->count; i++) {
        if (!kernel->args[i].set)
            return recorder_refuse(CL_INVALID_KERNEL_ARGS, "kernel %s: argument %d is not set", kernel->name, i);
        if (kernel->args[i].kind == ARG_LOCAL) used += kernel->args[i].size;
        if (kernel->args[i].mem && kernel->args[i].mem->mapped)
            return recorder_refuse(CL_INVALID_OPERATION, "kernel %s: argument %d is mapped", kernel->name, i);
    }
    if (used > most)
        return recorder_refuse(CL_OUT_OF_RESOURCES, "kernel %s: %zu bytes of local memory", kernel->name, used);
    if (items > most_items(kernel))
        return recorder_refuse(CL_INVALID_WORK_GROUP_SIZE, "kernel %s: groups of %zu items", kernel->name, items);
    for (int i = 0; i < 3; i++)
        if (!global[i] || (local[i] && global[i] % local[i]))
            return recorder_refuse(CL_INVALID_WORK_GROUP_SIZE, "kernel %s: %zu items in groups of %zu", kernel->name,
                                   global[i], local[i]);
    return CL_SUCCESS;
}

/* "buffer:BYTES, local:BYTES, value:BYTES". */
static void describe_args(cl_kernel kernel, char *to, size_t room) {
    static const char *const kinds[] = {"buffer", "local", "value"};
    size_t at = 0;
    *to = 0;
    for (int i = 0; i < kernel->count && at < room; i++) {
        const struct arg *arg = &kernel->args[i];
        size_t size = arg->kind != ARG_BUFFER ? arg->size : arg->mem ? arg->mem->size : 0;
        at += (size_t)snprintf(to + at, room - at, "%s%s:%zu", i ? " " : "", kinds[arg->kind], size);
    }
}

cl_int recorder_clEnqueueNDRangeKernel(cl_command_queue queue, cl_kernel kernel, cl_uint dimensions,
                                       const size_t *offset, const size_t *global, const size_t *local, cl_uint count,
                                       const cl_event *list, cl_event *event) {
    size_t g[3] = {1, 1, 1}, l[3] = {1, 1, 1};
    char args[MAX_ARGS * 32];
    for (cl_uint i = 0; i < dimensions; i++) g[i] = global[i], l[i] = local ? local[i] : 0;
    cl_int code = check_launch(kernel, g, l);
    if (code) return code;
    describe_args(kernel, args, sizeof args);
    recorder_note(
        "{\"op\": \"launch\", \"command\": %lld, \"device\": %d, \"queue\": %d, \"kernel\": %q, \"program\": %d, "
        "\"global\": [%zu, %zu, %zu], \"local\": [%zu, %zu, %zu], \"args\": %q}",
        recorder_command(queue, event), queue->context->device->index, queue->id, kernel->name, kernel->program->id,
        g[0], g[1], g[2], l[0], l[1], l[2], args);
    return CL_SUCCESS;
}
