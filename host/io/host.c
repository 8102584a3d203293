/* This machine, by POSIX. */
#include "io/document.h"
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>
#ifdef __APPLE__
#include <sys/sysctl.h>
#endif

#ifdef __APPLE__
static void read_cpu(char *text, size_t size) {
    if (sysctlbyname("machdep.cpu.brand_string", text, &size, NULL, 0)) *text = 0;
}
#else
/* The value behind the first of the keys in a file of lines "key<separator>value", less blanks and quotes. */
static void read_line(const char *path, const char *key, char separator, char *text, size_t size) {
    FILE *file = fopen(path, "r");
    char line[512];
    while (file && !*text && fgets(line, sizeof line, file)) {
        char *value = strchr(line, separator);
        size_t length = strlen(key);
        if (!value || strncmp(line, key, length) || line + length + strspn(line + length, " \t") != value) continue;
        value += 1 + strspn(value + 1, " \t\"");
        snprintf(text, size, "%.*s", (int)strcspn(value, "\"\r\n"), value);
    }
    if (file) fclose(file);
}

static void read_cpu(char *text, size_t size) {
    static const char *const keys[] = {"model name", "Model", "Hardware", "cpu model", "cpu"};
    for (int i = 0; i < BL_COUNT(keys) && !*text; i++) read_line("/proc/cpuinfo", keys[i], ':', text, size);
}
#endif

static double memory_bytes(void) {
#ifdef __APPLE__
    uint64_t bytes = 0;
    size_t size = sizeof bytes;
    return sysctlbyname("hw.memsize", &bytes, &size, NULL, 0) ? 0 : (double)bytes;
#else
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    return pages > 0 && size > 0 ? (double)pages * (double)size : 0;
#endif
}

const struct bl_host *bl_host(void) {
    static struct bl_host host;
    static bool known;
    struct utsname name;
    if (known) return &host;
    read_cpu(host.cpu, sizeof host.cpu);
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    host.cores = cores > 0 ? (double)cores : 0;
    host.memory = memory_bytes();
#ifndef __APPLE__
    read_line("/etc/os-release", "PRETTY_NAME", '=', host.os, sizeof host.os);
#endif
    if (!uname(&name)) {
        snprintf(host.kernel, sizeof host.kernel, "%.127s", name.release);
        if (!*host.os) snprintf(host.os, sizeof host.os, "%.127s", name.sysname);
    }
    known = true;
    return &host;
}
