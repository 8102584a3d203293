/* What this source takes of POSIX, for Windows: as much of it as is taken, under its own names, in the headers in
 * include/, which are found before the compiler's. Paths and names are in the program's code page, which the command
 * line's manifest makes UTF-8.
 *
 * Folders are open descriptors as on other systems. What is open can be renamed, replaced and removed, as there, if it
 * was opened through here. Modes and owners are not looked at: what lies on the disk counts as this user's own. */
#ifndef BL_POSIX_H
#define BL_POSIX_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>
#include "windows/names.h"

/* --- files ------------------------------------------------------------------------------------ */

#define O_CLOEXEC 0x80 // _O_NOINHERIT
#define O_NONBLOCK 0   // nothing waits: pipes have names of their own here
#define O_DIRECTORY 0x1000000
#define O_NOFOLLOW 0x2000000
#define AT_FDCWD (-100)
#define AT_SYMLINK_NOFOLLOW 1
#define F_SETFL 4

int bl_open(const char *path, int flags, ...); // always binary
FILE *bl_fopen(const char *path, const char *mode);
int fsync(int fd);               // of a folder: nothing, which Windows writes through when it renames
int bl_remove(const char *path); // a file or an empty folder
/* Takes the place of what is there, whole or not at all. Where the file system cannot do that while somebody reads it
 * (NTFS can, FAT cannot), that is waited for a second, as for a virus scanner, and refused then. */
int bl_rename(const char *from, const char *to);
int bl_unlink(const char *path);
int bl_isatty(int fd); // 1: a console
int openat(int folder, const char *name, int flags, ...);
int mkdirat(int folder, const char *name, int mode);
int unlinkat(int folder, const char *name, int flags);
int renameat(int from_folder, const char *from, int to_folder, const char *to);
int getentropy(void *data, size_t size);
static inline int fcntl(int fd, int command, ...) {
    return 0;
}

/* Of the whole file, or of a folder; of the open file, and gone with it. */
#define LOCK_EX 2
#define LOCK_NB 4
int flock(int fd, int how);

/* --- what is known of them -------------------------------------------------------------------- */

#undef S_ISDIR
#undef S_ISREG
#undef S_ISCHR
#define S_IFLNK 0xA000
#define S_ISDIR(mode) (((mode)&0xF000) == 0x4000)
#define S_ISREG(mode) (((mode)&0xF000) == 0x8000)
#define S_ISCHR(mode) (((mode)&0xF000) == 0x2000)
#define S_ISLNK(mode) (((mode)&0xF000) == S_IFLNK)
#define S_ISBLK(mode) 0
#define S_IWGRP 020
#define S_IWOTH 002
#define S_ISVTX 01000

#undef stat
#undef fstat
#define stat bl_stat
#define fstat bl_fstat
struct bl_stat {
    uint64_t st_dev, st_ino;
    unsigned st_mode, st_nlink, st_uid, st_gid;
    int64_t st_size;            // bytes
    int64_t st_mtime, st_ctime; // in Windows' units
};
int bl_stat(const char *path, struct bl_stat *status);
int bl_fstat(int fd, struct bl_stat *status);
int lstat(const char *path, struct bl_stat *status);
int fstatat(int folder, const char *name, struct bl_stat *status, int flags);
static inline unsigned geteuid(void) {
    return 0;
}
static inline int fchmod(int fd, unsigned mode) {
    return 0;
}

struct statvfs {
    uint64_t f_bavail, f_frsize;
};
int fstatvfs(int fd, struct statvfs *disk);

/* --- folders ---------------------------------------------------------------------------------- */

enum { DT_UNKNOWN, DT_DIR, DT_REG };
struct dirent {
    unsigned char d_type;
    char d_name[1024];
};
typedef struct bl_dir DIR;
DIR *opendir(const char *path);
DIR *fdopendir(int fd); // takes the descriptor
struct dirent *readdir(DIR *dir);
int dirfd(DIR *dir);
int closedir(DIR *dir);

int fnmatch(const char *pattern, const char *text, int flags); // flags: 0
#define FNM_NOMATCH 1

/* --- what only other systems have: nothing is found ---------------------------------------------- */

typedef struct {
    size_t gl_pathc;
    char **gl_pathv;
} glob_t;
static inline int glob(const char *pattern, int flags, void *failed, glob_t *found) {
    return 1;
}
static inline void globfree(glob_t *found) {}
static inline int alphasort(const struct dirent **a, const struct dirent **b) {
    return 0;
}
static inline int scandir(const char *path, struct dirent ***entries, int (*take)(const struct dirent *),
                          int (*order)(const struct dirent **, const struct dirent **)) {
    return -1;
}
enum { RTLD_NOW, RTLD_LOCAL };
static inline void *dlopen(const char *name, int how) {
    return NULL;
}
static inline void *dlsym(void *library, const char *name) {
    return NULL;
}
static inline int dlclose(void *library) {
    return 0;
}
static inline int getloadavg(double *load, int count) {
    return -1;
}

/* --- the rest --------------------------------------------------------------------------------- */

enum { _SC_NPROCESSORS_ONLN = 1 };
long sysconf(int what);
int gethostname(char *name, size_t size);
static inline void sigfillset(sigset_t *set) {
    *set = 0;
}
#undef pthread_sigmask
static inline int pthread_sigmask(int how, const sigset_t *set, sigset_t *former) {
    return 0;
}

#endif
