/* OpenCL.dll comes with drivers. The program is linked so that it is looked for at the first call (docs/windows.md);
 * where it is missing, or an old one that lacks a function, each call says that there is no platform. */
#include "cl/cl_raw.h"
#include <windows.h>
#include <delayimp.h>

static INT_PTR WINAPI absent(void) {
    return -1001; // CL_PLATFORM_NOT_FOUND_KHR
}

static FARPROC WINAPI replace(unsigned what, PDelayLoadInfo info) {
    if (what == dliFailLoadLib) return (FARPROC)GetModuleHandleA(NULL); // has none of the functions
    return what == dliFailGetProc ? (FARPROC)absent : NULL;
}

PfnDliHook __pfnDliFailureHook2 = replace;
