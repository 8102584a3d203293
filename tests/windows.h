/* What the tests take of POSIX beside what the program takes, for Windows; included before all else there. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "base/base.h"

static inline int setenv(const char *name, const char *value, int replace) {
    return replace || !getenv(name) ? _putenv_s(name, value) : 0;
}

static inline int unsetenv(const char *name) {
    return _putenv_s(name, "");
}

/* In the folder where the test runs, under the name that stands behind the template's last slash. */
static inline char *mkdtemp(char *path) {
    const char *name = strrchr(path, '/') + 1;
    memmove(path, name, strlen(name) + 1);
    char *digits = path + strlen(path) - 6;
    for (int i = 0; i < 1000; i++) {
        snprintf(digits, 7, "%06d", i);
        if (!mkdirat(AT_FDCWD, path, 0700)) return path;
    }
    return NULL;
}
