/* The process, by Windows. */
#include "base/base.h"
#include "process.h"
#include <fcntl.h>
#include <io.h>
#include <stdio.h>
#include <string.h>
#include <windows.h>
#include <psapi.h>

/* --- standard streams ------------------------------------------------------------------------- */

/* Files are the same bytes on every system, and so is what is printed. A console shows UTF-8 and takes the sequences by
 * which a bar is drawn again. */
void bl_process_open_streams(void) {
    for (int fd = 0; fd <= 2; fd++) {
        if (_get_osfhandle(fd) < 0 && open("NUL", fd == 2 ? O_WRONLY : O_RDONLY) < 0) _exit(2);
        _setmode(fd, O_BINARY);
    }
    DWORD mode;
    const HANDLE console = GetStdHandle(STD_ERROR_HANDLE);
    SetConsoleOutputCP(CP_UTF8);
    if (GetConsoleMode(console, &mode)) SetConsoleMode(console, mode | ENABLE_VIRTUAL_TERMINAL_PROCESSING);
    setvbuf(stderr, NULL, _IONBF, 0);
}

/* A writer is told, as of any file that cannot be written. */
void bl_process_end_unread(void) {}

int bl_terminal_columns(void) {
    CONSOLE_SCREEN_BUFFER_INFO info;
    if (!GetConsoleScreenBufferInfo(GetStdHandle(STD_ERROR_HANDLE), &info)) return 0;
    return info.srWindow.Right - info.srWindow.Left + 1;
}

/* --- signals ---------------------------------------------------------------------------------- */

static volatile bool in_order;

static void say(const char *text) {
    DWORD written;
    WriteFile(GetStdHandle(STD_ERROR_HANDLE), text, (DWORD)strlen(text), &written, NULL);
}

/* In a thread of the system's own. Where a window is closed the process is ended when this returns, or after some
 * seconds: what has been begun in order has that time. */
static BOOL WINAPI stop(DWORD event) {
    if (!in_order || blanch_stop_requested()) {
        say("blanch: interrupted\n");
        ExitProcess(130);
    }
    blanch_stop_request();
    say("stopping as soon as nothing is lost by it; a second signal ends at once\n");
    if (event != CTRL_C_EVENT && event != CTRL_BREAK_EVENT) Sleep(INFINITE);
    return TRUE;
}

int bl_process_catch_signals(void) {
    if (SetConsoleCtrlHandler(stop, TRUE)) return 0;
    return bl_fail(BLANCH_EUSAGE, "signals cannot be caught: Windows' error %lu", GetLastError());
}

void bl_end_in_order(void) {
    in_order = true;
}
void bl_end_patiently(void) {
    in_order = true;
}

/* --- what it takes ---------------------------------------------------------------------------- */

static double seconds_of(FILETIME time) {
    return 1e-7 * (double)((uint64_t)time.dwHighDateTime << 32 | time.dwLowDateTime);
}

double bl_process_age(void) {
    FILETIME begin, end, kernel, user, now;
    GetSystemTimeAsFileTime(&now);
    if (!GetProcessTimes(GetCurrentProcess(), &begin, &end, &kernel, &user)) return 0;
    return seconds_of(now) - seconds_of(begin);
}

uint64_t bl_process_peak_bytes(void) {
    PROCESS_MEMORY_COUNTERS counters;
    return GetProcessMemoryInfo(GetCurrentProcess(), &counters, sizeof counters) ? counters.PeakWorkingSetSize : 0;
}
