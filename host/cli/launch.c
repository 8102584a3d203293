#include "cli/launch.h"
#include "cli/cli.h"
#include "dist/mpi.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const char launched[] = "BLANCH_LAUNCHED"; // in the environment of ranks: their standard input says when to stop

#define INTRODUCTION "blanch-rank " // PID NAME
enum { MOST_WATCHED = 64 };         // ranks

/* --- what is started ---------------------------------------------------------------------------- */

static int count_devices(const char *list) {
    int count = 1;
    for (const char *c = list; *c; c++) count += *c == ',';
    return count;
}

static int own_path(char *path, size_t size) {
    const ssize_t length = readlink("/proc/self/exe", path, size - 1);
    if (length > 0) return path[length] = 0, 0;
    snprintf(path, size, "blanch"); // elsewhere than on Linux, found as any program is
    return 0;
}

static const char *starter(void) {
    const char *given = getenv("BLANCH_MPIEXEC");
    return given && *given ? given : bl_ranks_starter();
}

/* mpiexec's own: ranks may be more than cores, whose use is the devices' matter, and those that live say what they lack
 * when one is lost. */
static int add_starter(const char **to, char count[16]) {
    int n = 0;
    to[n++] = starter();
    for (const char *const *option = bl_ranks_starter_options(); *option; option++) to[n++] = *option;
    to[n++] = "-n", to[n++] = count;
    return n;
}

/* --devices LIST, or --devices=LIST. */
static void add_arguments(const char **to, int n, const char *devices, int argc, char **argv) {
    to[n++] = "train";
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--devices"))
            i++;
        else if (strncmp(argv[i], "--devices=", 10))
            to[n++] = argv[i];
    }
    to[n++] = "--device-per-rank", to[n++] = devices, to[n] = NULL;
}

/* In a group of its own: Ctrl-C is the starter's, who asks for an end in order. */
static void become(const char *const *arguments, int input, int output) {
    setpgid(0, 0);
    setenv(launched, "1", 1);
    setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 0); // whoever is root here wants to be
    setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 0);
    // ranks say nothing on standard output, MPICH's mpiexec does
    if (dup2(input, STDIN_FILENO) >= 0 && dup2(output, STDERR_FILENO) >= 0 && dup2(output, STDOUT_FILENO) >= 0)
        execvp(arguments[0], (char *const *)arguments);
    fprintf(stderr, "blanch: %s cannot be run: %s; BLANCH_MPIEXEC=PATH names another\n", arguments[0], strerror(errno));
    _exit(2);
}

/* --- what is said ------------------------------------------------------------------------------- */

/* Of a rank, by its first line. Where one is lost MPICH's mpiexec kills the others before they can say so. */
struct process {
    int ended; // readable when it has; negative: the system does not tell
    char name[100];
};
struct lines {
    char text[4096], noise[300]; // the line so far; the first of MPI's own
    char held[4096];             // lines since a rank ended, of others than this program
    struct process process[MOST_WATCHED];
    int processes;
    const struct process *first; // that has ended; NULL: none yet
    size_t length;
    bool boxed, told; // within a box of MPI's; a line of this program's that ends it
};

static bool is_rule(const char *line, char of) {
    return strspn(line, (char[]){of, 0}) >= 20;
}

/* Of mpiexec, which has a lot to say of a rank that ends by another status than 0. */
static bool is_noise(struct lines *l) {
    static const char *const begins[] = {"=   ", "YOUR APPLICATION TERMINATED", "This typically refers",
                                         "Please see the FAQ"};
    const bool rule = is_rule(l->text, '-');
    const bool within = l->boxed || rule || is_rule(l->text, '=') || (*l->text == '[' && strchr(l->text, ':'));
    if (rule) l->boxed = !l->boxed;
    bool noise = within;
    for (int i = 0; i < BL_COUNT(begins); i++) noise |= !strncmp(l->text, begins[i], strlen(begins[i]));
    const bool names = strstr(l->text, "process rank") != NULL; // says more than the others
    if (noise && (!*l->noise || names) && strpbrk(l->text, "abcdefghijklmnopqrstuvwxyz"))
        snprintf(l->noise, sizeof l->noise, "%.290s", l->text);
    return noise;
}

/* A rank's first line, which is for this process alone. */
static bool is_introduction(struct lines *l) {
    struct process p = {.ended = -1};
    long pid;
    if (sscanf(l->text, INTRODUCTION "%ld %99[^\n]", &pid, p.name) != 2) return false;
    if (l->processes == MOST_WATCHED) return true;
#ifdef SYS_pidfd_open
    p.ended = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
#endif
    l->process[l->processes++] = p;
    return true;
}

/* What libraries of MPI say when a rank is gone, backtraces too, nobody needs; where all ended well it is told after
 * all.
 */
static void hold(struct lines *l) {
    const size_t used = strlen(l->held);
    snprintf(l->held + used, sizeof l->held - used, "%s\n", l->text);
}

static void end_line(struct lines *l) {
    l->text[l->length] = 0;
    l->length = 0;
    if (is_introduction(l)) return;
    if (is_noise(l)) return;
    const bool own = !strncmp(l->text, "blanch: ", 8);
    l->told |= own;
    if (l->first && !own)
        hold(l);
    else
        fprintf(stderr, "%s\n", l->text);
}

static void take(struct lines *l, const char *part, size_t length) {
    for (size_t i = 0; i < length; i++) {
        if (part[i] == '\n' || l->length + 1 == sizeof l->text)
            end_line(l);
        else
            l->text[l->length++] = part[i];
    }
}

/* Until the ranks have closed their ends. */
static void pass_on(struct lines *l, int from, int to) {
    char part[4096];
    bool asked = false;
    for (;;) {
        struct pollfd ready[1 + MOST_WATCHED] = {{.fd = from, .events = POLLIN}};
        for (int i = 0; i < l->processes; i++)
            ready[1 + i] = (struct pollfd){.fd = l->first ? -1 : l->process[i].ended, .events = POLLIN};
        const int count = poll(ready, 1 + (nfds_t)l->processes, 100);
        for (int i = 0; i < l->processes && count > 0 && !l->first; i++)
            if (ready[1 + i].revents) l->first = &l->process[i];
        if (blanch_stop_requested() && !asked) asked = write(to, "stop\n", 5) == 5;
        if (count < 0 && errno != EINTR) return;
        if (count <= 0 || !ready[0].revents) continue;
        const ssize_t length = read(from, part, sizeof part);
        if (length <= 0 && !(length < 0 && errno == EINTR)) break;
        if (length > 0) take(l, part, (size_t)length);
    }
    if (l->length) end_line(l);
}

/* --- the whole ---------------------------------------------------------------------------------- */

static int status_of(const struct lines *l, int status) {
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
    if (code == 0) fputs(l->held, stderr);
    if (((code <= 3 || code == 130) && l->told) || (code == 0 && l->processes)) return code;
    if (code == 0)
        fprintf(stderr, "blanch: %s has started no ranks\n", starter());
    else if (!l->told && l->first)
        fprintf(stderr, "blanch: %s is gone: killed, or out of memory\n", l->first->name);
    else if (!l->told)
        fprintf(stderr, "blanch: MPI has failed (status %d)%s%s\n", code, *l->noise ? ": " : "", l->noise);
    return 3;
}

static int run(const char *const *arguments) {
    int input[2], output[2], status;
    if (pipe(input) || pipe(output)) return bl_fail(BLANCH_ENOMEM, "no pipes to the ranks: %s", strerror(errno));
    const pid_t child = fork();
    if (!child) {
        close(input[1]), close(output[0]);
        become(arguments, input[0], output[1]);
    }
    close(input[0]), close(output[1]);
    if (child < 0) return bl_fail(BLANCH_ENOMEM, "the ranks cannot be started: %s", strerror(errno));
    struct lines lines = {.length = 0};
    pass_on(&lines, output[0], input[1]);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    close(input[1]), close(output[0]);
    for (int i = 0; i < lines.processes; i++)
        if (lines.process[i].ended >= 0) close(lines.process[i].ended);
    return status_of(&lines, status);
}

static bool has_empty(const char *list) {
    const size_t end = strlen(list);
    return !end || list[0] == ',' || list[end - 1] == ',' || strstr(list, ",,");
}

int bl_launch_ranks(const char *devices, int argc, char **argv) {
    char count[16], path[4096];
    if (has_empty(devices)) return bl_fail(BLANCH_EUSAGE, "--devices %s: an entry is empty", devices);
    snprintf(count, sizeof count, "%d", count_devices(devices));
    const char **arguments = bl_calloc((size_t)argc + 32, sizeof *arguments);
    if (!arguments) return BLANCH_ENOMEM;
    int n = add_starter(arguments, count);
    own_path(path, sizeof path);
    arguments[n++] = path;
    add_arguments(arguments, n, devices, argc, argv);
    int code = run(arguments);
    free(arguments);
    return code;
}

/* The end of the input is the starter's end. */
static void *watch(void *unused) {
    char word[8];
    while (read(STDIN_FILENO, word, sizeof word) < 0 && errno == EINTR) continue;
    blanch_stop_request();
    return NULL;
}

int bl_launched_begin(const struct bl_ranks *ranks) {
    pthread_t thread;
    if (!getenv(launched)) return 0;
    fprintf(stderr, INTRODUCTION "%d rank %d (%s)\n", ranks->own->pid, ranks->rank, ranks->own->host);
    if (ranks->rank) return 0;
    if (pthread_create(&thread, NULL, watch, NULL)) return bl_fail(BLANCH_ENOMEM, "the system starts no thread");
    pthread_detach(thread);
    return 0;
}
