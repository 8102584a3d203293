/* The signals that end a command: SIGHUP, SIGINT (Ctrl-C), SIGTERM. */
#include "common.h"
#include "launch.h"
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

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

int bl_catch_signals(void) {
    static const int numbers[] = {SIGHUP, SIGINT, SIGTERM};
    struct sigaction action = {.sa_handler = stop, .sa_flags = SA_RESTART}, former;
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
