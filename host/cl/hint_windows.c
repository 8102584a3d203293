/* Why a driver that is installed shows no device: the loader's list of drivers is in the registry. Those that Windows
 * knows through their cards alone are not looked at. */
#include "cl/hint.h"
#include "base/base.h"
#include <stdlib.h>
#include <windows.h>
#include <delayimp.h>

/* --- the loader ------------------------------------------------------------------------------- */

/* OpenCL.dll comes with drivers. The program is linked so that it is looked for at the first call (docs/windows.md);
 * where it is missing, or an old one that lacks a function, each call says that there is no platform. */
static INT_PTR WINAPI absent(void) {
    return -1001; // CL_PLATFORM_NOT_FOUND_KHR
}

static FARPROC WINAPI replace(unsigned what, PDelayLoadInfo info) {
    if (what == dliFailLoadLib) return (FARPROC)GetModuleHandleA(NULL); // has none of the functions
    return what == dliFailGetProc ? (FARPROC)absent : NULL;
}

PfnDliHook __pfnDliFailureHook2 = replace;

/* --- drivers ---------------------------------------------------------------------------------- */

static const char vendors[] = "SOFTWARE\\Khronos\\OpenCL\\Vendors";

/* Adds a line, which it frees; NULL for no memory. */
static int add(char **hints, char *hint) {
    char *both = hint ? bl_format("%s%s\n", *hints, hint) : NULL;
    free(hint);
    if (!both) return BLANCH_ENOMEM;
    free(*hints);
    *hints = both;
    return 0;
}

/* value: 0 where the driver is in use. */
static int look_at(char **hints, const char *library, DWORD value) {
    if (value) return 0;
    const HMODULE loaded = LoadLibraryA(library);
    if (loaded) return FreeLibrary(loaded), 0;
    return add(hints, bl_format("%s: its library does not load (Windows' error %lu): install the driver again", library,
                                GetLastError()));
}

char *bl_hints(void) {
    char *hints = bl_format("%s", ""), name[1024];
    HKEY key;
    if (!hints || RegOpenKeyExA(HKEY_LOCAL_MACHINE, vendors, 0, KEY_READ, &key)) return hints;
    int code = 0;
    for (DWORD i = 0; !code; i++) {
        DWORD length = sizeof name, type, value, size = sizeof value;
        if (RegEnumValueA(key, i, name, &length, NULL, &type, (BYTE *)&value, &size)) break;
        if (type == REG_DWORD) code = look_at(&hints, name, value);
    }
    RegCloseKey(key);
    return code ? free(hints), NULL : hints;
}
