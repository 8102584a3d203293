/* This machine, by Windows. */
#include "io/document.h"
#include <stdio.h>
#include <string.h>
#include <windows.h>

/* A text of the machine's registry; "" where there is none. */
static void read_text(const char *key, const char *name, char *text, size_t size) {
    DWORD bytes = (DWORD)size;
    if (RegGetValueA(HKEY_LOCAL_MACHINE, key, name, RRF_RT_REG_SZ, NULL, text, &bytes)) *text = 0;
}

const struct bl_host *bl_host(void) {
    static struct bl_host host;
    static bool known;
    MEMORYSTATUSEX memory = {.dwLength = sizeof memory};
    char build[32];
    if (known) return &host;
    read_text("HARDWARE\\DESCRIPTION\\System\\CentralProcessor\\0", "ProcessorNameString", host.cpu, sizeof host.cpu);
    host.cpu[strcspn(host.cpu, "\r\n")] = 0;
    read_text("SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion", "ProductName", host.os, sizeof host.os);
    read_text("SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion", "CurrentBuild", build, sizeof build);
    if (!*host.os) snprintf(host.os, sizeof host.os, "Windows");
    snprintf(host.kernel, sizeof host.kernel, "%s", build);
    host.cores = GetActiveProcessorCount(ALL_PROCESSOR_GROUPS);
    host.memory = GlobalMemoryStatusEx(&memory) ? (double)memory.ullTotalPhys : 0;
    known = true;
    return &host;
}
