/* Every file that is compiled for Windows begins with this: these of the C library are posix.h's own. */
#define fopen bl_fopen
#define isatty bl_isatty
#define open bl_open
#define remove bl_remove
#define rename bl_rename
#define unlink bl_unlink
