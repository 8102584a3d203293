/* The process, by POSIX. */
#include "process.h"
#include "base/base.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* --- standard streams ------------------------------------------------------------------------- */

/* Without this, the first file opened would take the number of a closed standard stream and receive its text. Standard
 * output gets a descriptor that cannot be written, so that a lost report is noticed. */
void bl_process_open_streams(void) {
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", fd == 2 ? O_WRONLY : O_RDONLY) < 0) _exit(2);
}

static bool reader_left(void) {
    struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};
    return poll(&out, 1, 0) == 1 && (out.revents & POLLERR);
}

void bl_process_end_unread(void) {
    if (!reader_left()) return;
    signal(SIGPIPE, SIG_DFL);
    raise(SIGPIPE);
}

int bl_terminal_columns(void) {
    struct winsize window;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &window) ? 0 : window.ws_col;
}

/* --- signals ---------------------------------------------------------------------------------- */

static volatile sig_atomic_t in_order, patient;

/* A terminal has the progress on the line where the cursor is, and ^C behind it. */
static void say(const char *text) {
    if (isatty(STDERR_FILENO) && write(STDERR_FILENO, "\n", 1) < 0) return;
    if (write(STDERR_FILENO, text, strlen(text)) < 0) return;
}

static void stop(int number) {
    const int former = errno;
    (void)number;
    if (patient) {
        blanch_stop_request();
        errno = former;
        return;
    }
    if (!in_order || blanch_stop_requested()) {
        say("blanch: interrupted\n");
        _exit(130);
    }
    blanch_stop_request();
    say("stopping as soon as nothing is lost by it; a second signal ends at once\n");
    errno = former;
}

int bl_process_catch_signals(void) {
    static const int numbers[] = {SIGHUP, SIGINT, SIGTERM};
    struct sigaction action = {.sa_handler = stop, .sa_flags = SA_RESTART}, former;
    signal(SIGPIPE, SIG_IGN); // a training outlives the reader of its progress
    signal(SIGXFSZ, SIG_IGN); // a file at its limit is an error like a full disk
    int failed = sigemptyset(&action.sa_mask);
    for (int i = 0; i < BL_COUNT(numbers); i++) sigaddset(&action.sa_mask, numbers[i]);
    for (int i = 0; !failed && i < BL_COUNT(numbers); i++) {
        failed = sigaction(numbers[i], NULL, &former);
        if (numbers[i] == SIGHUP && former.sa_handler == SIG_IGN) continue; // nohup
        if (!failed) failed = sigaction(numbers[i], &action, NULL);
    }
    return failed ? bl_fail(BLANCH_EUSAGE, "signals cannot be caught: %s", strerror(errno)) : 0;
}

void bl_end_in_order(void) {
    in_order = 1;
}

void bl_end_patiently(void) {
    patient = 1;
}

/* --- what it takes ---------------------------------------------------------------------------- */

/* Field 22 of /proc/self/stat: the start in clock ticks since the machine was booted. */
static double started_at(void) {
    FILE *file = fopen("/proc/self/stat", "r");
    char text[1024];
    size_t size = file ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file) fclose(file);
    text[size] = 0;
    const char *field = strrchr(text, ')');
    for (int i = 2; field && i < 22; i++)
        if ((field = strchr(field, ' '))) field++;
    return field && *field ? strtod(field, NULL) / (double)sysconf(_SC_CLK_TCK) : -1;
}

double bl_process_age(void) {
    double start = started_at();
    struct timespec now;
#ifdef CLOCK_BOOTTIME
    if (start >= 0 && clock_gettime(CLOCK_BOOTTIME, &now) == 0)
        return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec - start;
#endif
    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now) == 0) return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
    return 0;
}

uint64_t bl_process_peak_bytes(void) {
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
#ifdef __APPLE__
    return (uint64_t)usage.ru_maxrss;
#else
    return (uint64_t)usage.ru_maxrss * 1024;
#endif
}
