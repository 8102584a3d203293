/* Windows as posix.h says. */
#include <errno.h>
#include <fcntl.h>
#include <io.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>
#define RtlGenRandom SystemFunction036
BOOLEAN NTAPI RtlGenRandom(PVOID data, ULONG size);

/* --- errors ----------------------------------------------------------------------------------- */

static int errno_of(DWORD error) {
    static const struct {
        DWORD error;
        int number;
    } known[] = {
        {ERROR_FILE_NOT_FOUND, ENOENT},
        {ERROR_PATH_NOT_FOUND, ENOENT},
        {ERROR_INVALID_NAME, ENOENT},
        {ERROR_BAD_NETPATH, ENOENT},
        {ERROR_BAD_NET_NAME, ENOENT},
        {ERROR_BAD_PATHNAME, ENOENT},
        {ERROR_INVALID_DRIVE, ENOENT},
        {ERROR_NOT_READY, ENOENT},
        {ERROR_FILE_EXISTS, EEXIST},
        {ERROR_ALREADY_EXISTS, EEXIST},
        {ERROR_ACCESS_DENIED, EACCES},
        {ERROR_SHARING_VIOLATION, EACCES},
        {ERROR_WRITE_PROTECT, EROFS},
        {ERROR_DIRECTORY, ENOTDIR},
        {ERROR_DIR_NOT_EMPTY, ENOTEMPTY},
        {ERROR_DISK_FULL, ENOSPC},
        {ERROR_HANDLE_DISK_FULL, ENOSPC},
        {ERROR_LOCK_VIOLATION, EWOULDBLOCK},
        {ERROR_TOO_MANY_OPEN_FILES, EMFILE},
        {ERROR_NOT_ENOUGH_MEMORY, ENOMEM},
        {ERROR_FILENAME_EXCED_RANGE, ENAMETOOLONG},
        {ERROR_INVALID_HANDLE, EBADF},
        {ERROR_NOT_SAME_DEVICE, EXDEV},
        {ERROR_NOT_SUPPORTED, ENOTSUP},
        {ERROR_INVALID_PARAMETER, EINVAL},
        {ERROR_INVALID_FUNCTION, EINVAL},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].error == error) return known[i].number;
    return EIO;
}

static int fail(void) {
    errno = errno_of(GetLastError());
    return -1;
}

static int fail_with(int number) {
    errno = number;
    return -1;
}

/* Of a name that Windows does not allow nothing is there, and nothing can be made. */
static int fail_to_make(void) {
    return GetLastError() == ERROR_INVALID_NAME ? fail_with(EINVAL) : fail();
}

/* --- opening ---------------------------------------------------------------------------------- */

enum { SHARED = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE };

static HANDLE handle_of(int fd) {
    return (HANDLE)_get_osfhandle(fd);
}

static DWORD attributes_of(HANDLE handle) {
    BY_HANDLE_FILE_INFORMATION info;
    return GetFileType(handle) == FILE_TYPE_DISK && GetFileInformationByHandle(handle, &info) ? info.dwFileAttributes
                                                                                              : 0;
}

/* What was opened is not what was asked for: 0 or an error's number. */
static int refused(DWORD attributes, int flags) {
    if (flags & O_NOFOLLOW && attributes & FILE_ATTRIBUTE_REPARSE_POINT) return ELOOP;
    const bool folder = attributes & FILE_ATTRIBUTE_DIRECTORY;
    return flags & O_DIRECTORY ? (folder ? 0 : ENOTDIR) : folder ? EISDIR : 0;
}

int bl_open(const char *path, int flags, ...) {
    static const char null[] = "/dev/null";
    const int way = flags & (O_RDONLY | O_WRONLY | O_RDWR);
    const DWORD access = way == O_RDONLY   ? GENERIC_READ
                         : way == O_WRONLY ? GENERIC_WRITE
                                           : GENERIC_READ | GENERIC_WRITE;
    const DWORD create = (flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL) ? CREATE_NEW
                         : flags & O_TRUNC ? (flags & O_CREAT ? CREATE_ALWAYS : TRUNCATE_EXISTING)
                                           : (flags & O_CREAT ? OPEN_ALWAYS : OPEN_EXISTING);
    const DWORD links = flags & O_NOFOLLOW ? FILE_FLAG_OPEN_REPARSE_POINT : 0;
    const HANDLE handle = CreateFileA(strcmp(path, null) ? path : "NUL", access, SHARED, NULL, create,
                                      FILE_ATTRIBUTE_NORMAL | FILE_FLAG_BACKUP_SEMANTICS | links, NULL);
    if (handle == INVALID_HANDLE_VALUE) return flags & O_CREAT ? fail_to_make() : fail();
    const int cause = refused(attributes_of(handle), flags);
    const int fd = cause ? -1 : _open_osfhandle((intptr_t)handle, (flags & (O_APPEND | O_CLOEXEC)) | way | O_BINARY);
    if (fd < 0) CloseHandle(handle);
    return cause ? fail_with(cause) : fd;
}

FILE *bl_fopen(const char *path, const char *mode) {
    const int way = strchr(mode, '+') ? O_RDWR : *mode == 'r' ? O_RDONLY : O_WRONLY;
    const int how = *mode == 'w' ? O_CREAT | O_TRUNC : *mode == 'a' ? O_CREAT | O_APPEND : 0;
    const int fd = bl_open(path, way | how | (strchr(mode, 'x') ? O_EXCL : 0) | O_CLOEXEC, 0666);
    const char plain[] = {*mode, 'b', strchr(mode, '+') ? '+' : 0, 0};
    FILE *file = fd < 0 ? NULL : fdopen(fd, plain);
    if (!file && fd >= 0) close(fd);
    return file;
}

int bl_isatty(int fd) {
    DWORD mode;
    return GetConsoleMode(handle_of(fd), &mode) != 0;
}

int fsync(int fd) {
    if (attributes_of(handle_of(fd)) & FILE_ATTRIBUTE_DIRECTORY) return 0;
    return FlushFileBuffers(handle_of(fd)) ? 0 : fail();
}

int getentropy(void *data, size_t size) {
    return RtlGenRandom(data, (ULONG)size) ? 0 : fail_with(EIO);
}

/* --- names in folders ------------------------------------------------------------------------- */

/* The path of a name in an open folder; NULL with errno set. Always freed. */
static char *path_in(int folder, const char *name) {
    if (folder == AT_FDCWD) return strdup(name);
    const DWORD size = GetFinalPathNameByHandleA(handle_of(folder), NULL, 0, 0), more = (DWORD)strlen(name) + 2;
    char *path = size ? malloc(size + more) : NULL;
    if (!size) fail();
    if (!path) return NULL;
    const DWORD length = GetFinalPathNameByHandleA(handle_of(folder), path, size + more, 0);
    if (!length || length > size) return fail(), free(path), NULL;
    if (strcmp(name, ".")) {
        if (path[length - 1] != '\\') strcat(path, "\\");
        strcat(path, name);
    }
    return path;
}

int openat(int folder, const char *name, int flags, ...) {
    char *path = path_in(folder, name);
    const int fd = path ? bl_open(path, flags, 0600) : -1;
    return free(path), fd;
}

int unlinkat(int folder, const char *name, int flags) {
    char *path = path_in(folder, name);
    const int failed = path ? bl_unlink(path) : -1;
    return free(path), failed;
}

int renameat(int from_folder, const char *from, int to_folder, const char *to) {
    char *one = path_in(from_folder, from), *other = path_in(to_folder, to);
    const int failed = one && other ? bl_rename(one, other) : -1;
    return free(one), free(other), failed;
}

/* Roots exist, and say that they may not be made. */
static int make_folder(const char *path) {
    if (CreateDirectoryA(path, NULL)) return 0;
    fail_to_make();
    const int cause = errno;
    const DWORD there = GetFileAttributesA(path);
    return fail_with(there != INVALID_FILE_ATTRIBUTES && there & FILE_ATTRIBUTE_DIRECTORY ? EEXIST : cause);
}

int mkdirat(int folder, const char *name, int mode) {
    char *path = path_in(folder, name);
    const int failed = path ? make_folder(path) : -1;
    return free(path), failed;
}

int bl_unlink(const char *path) {
    return DeleteFileA(path) ? 0 : fail();
}

int bl_remove(const char *path) {
    const DWORD there = GetFileAttributesA(path);
    const bool folder = there != INVALID_FILE_ATTRIBUTES && there & FILE_ATTRIBUTE_DIRECTORY;
    return (folder ? RemoveDirectoryA(path) : DeleteFileA(path)) ? 0 : fail();
}

/* malloc'd; NULL: there is none. */
static wchar_t *full_path(const char *path) {
    const int size = MultiByteToWideChar(CP_ACP, 0, path, -1, NULL, 0);
    wchar_t *given = size > 0 ? malloc(sizeof *given * (size_t)size) : NULL;
    const bool read = given && MultiByteToWideChar(CP_ACP, 0, path, -1, given, size);
    const DWORD length = read ? GetFullPathNameW(given, 0, NULL, NULL) : 0;
    wchar_t *full = length ? malloc(sizeof *full * length) : NULL;
    if (full && !GetFullPathNameW(given, length, full, NULL)) free(full), full = NULL;
    return free(given), full;
}

/* Whoever has `to` open: NTFS can since Windows 10 1607. */
static bool replace_open(const char *from, const char *to) {
    enum { REPLACE_IF_EXISTS = 1, POSIX_SEMANTICS = 2, RENAME_INFO_EX = 22 }; // FILE_RENAME_FLAG_*, FileRenameInfoEx
    wchar_t *full = full_path(to);
    const size_t bytes = full ? sizeof *full * wcslen(full) : 0, size = sizeof(FILE_RENAME_INFO) + bytes;
    FILE_RENAME_INFO *info = full ? calloc(1, size) : NULL;
    const HANDLE handle = info ? CreateFileA(from, DELETE | SYNCHRONIZE, SHARED, NULL, OPEN_EXISTING,
                                             FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT, NULL)
                               : INVALID_HANDLE_VALUE;
    bool done = false;
    if (handle != INVALID_HANDLE_VALUE) {
        const DWORD flags = REPLACE_IF_EXISTS | POSIX_SEMANTICS;
        memcpy(info, &flags, sizeof flags);
        info->FileNameLength = (DWORD)bytes;
        memcpy(info->FileName, full, bytes);
        done = SetFileInformationByHandle(handle, (FILE_INFO_BY_HANDLE_CLASS)RENAME_INFO_EX, info, (DWORD)size);
        CloseHandle(handle);
    }
    free(full), free(info);
    return done;
}

int bl_rename(const char *from, const char *to) {
    enum { TRIES = 20, PAUSE_MS = 50 };
    for (int i = 1;; i++) {
        if (MoveFileExA(from, to, MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH)) return 0;
        const DWORD error = GetLastError();
        if (error != ERROR_SHARING_VIOLATION && error != ERROR_ACCESS_DENIED) return fail_with(errno_of(error));
        if (replace_open(from, to)) return 0;
        if (i == TRIES) return fail_with(errno_of(error));
        Sleep(PAUSE_MS);
    }
}

/* --- locks ------------------------------------------------------------------------------------ */

/* A folder is opened anew, in a way that excludes itself: to add files to it, and not shared with who may. Those who
 * read, make or remove it ask for neither. */
static int lock_folder(int fd) {
    char *path = path_in(fd, ".");
    if (!path) return -1;
    const HANDLE handle = CreateFileA(path, FILE_ADD_FILE | FILE_READ_ATTRIBUTES, FILE_SHARE_READ | FILE_SHARE_DELETE,
                                      NULL, OPEN_EXISTING, FILE_FLAG_BACKUP_SEMANTICS, NULL);
    const DWORD error = GetLastError();
    free(path);
    if (handle == INVALID_HANDLE_VALUE)
        return fail_with(error == ERROR_SHARING_VIOLATION ? EWOULDBLOCK : errno_of(error));
    const int locked = _open_osfhandle((intptr_t)handle, _O_NOINHERIT);
    if (locked < 0) return CloseHandle(handle), -1;
    const int failed = _dup2(locked, fd);
    close(locked);
    return failed;
}

/* A byte that no file has: a lock keeps others from what it covers, reading included. */
int flock(int fd, int how) {
    OVERLAPPED at = {.OffsetHigh = 0x40000000};
    if (attributes_of(handle_of(fd)) & FILE_ATTRIBUTE_DIRECTORY) return lock_folder(fd);
    return LockFileEx(handle_of(fd), LOCKFILE_EXCLUSIVE_LOCK | LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &at) ? 0 : fail();
}

/* --- what is known of files ------------------------------------------------------------------- */

static int64_t time_of(FILETIME time) {
    return (int64_t)((uint64_t)time.dwHighDateTime << 32 | time.dwLowDateTime);
}

static int describe(HANDLE handle, bool follow, struct bl_stat *status) {
    BY_HANDLE_FILE_INFORMATION info;
    FILE_STANDARD_INFO more;
    *status = (struct bl_stat){.st_mode = 0600, .st_nlink = 1};
    const DWORD type = GetFileType(handle);
    if (type == FILE_TYPE_CHAR) return status->st_mode |= 0x2000, 0;
    if (type == FILE_TYPE_PIPE) return status->st_mode |= 0x1000, 0;
    if (!GetFileInformationByHandle(handle, &info) ||
        !GetFileInformationByHandleEx(handle, FileStandardInfo, &more, sizeof more))
        return fail();
    const bool link = !follow && info.dwFileAttributes & FILE_ATTRIBUTE_REPARSE_POINT;
    const bool folder = info.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY;
    status->st_mode |= link ? S_IFLNK : folder ? 0x4000 | 0100 : 0x8000;
    status->st_dev = info.dwVolumeSerialNumber;
    status->st_ino = (uint64_t)info.nFileIndexHigh << 32 | info.nFileIndexLow;
    status->st_nlink = more.DeletePending ? 0 : info.nNumberOfLinks;
    status->st_size = more.EndOfFile.QuadPart;
    status->st_mtime = time_of(info.ftLastWriteTime), status->st_ctime = time_of(info.ftCreationTime);
    return 0;
}

static int look(const char *path, bool follow, struct bl_stat *status) {
    const HANDLE handle = CreateFileA(path, FILE_READ_ATTRIBUTES, SHARED, NULL, OPEN_EXISTING,
                                      FILE_FLAG_BACKUP_SEMANTICS | (follow ? 0 : FILE_FLAG_OPEN_REPARSE_POINT), NULL);
    if (handle == INVALID_HANDLE_VALUE) return fail();
    const int failed = describe(handle, follow, status);
    CloseHandle(handle);
    return failed;
}

int bl_stat(const char *path, struct bl_stat *status) {
    return look(path, true, status);
}

int lstat(const char *path, struct bl_stat *status) {
    return look(path, false, status);
}

int bl_fstat(int fd, struct bl_stat *status) {
    return describe(handle_of(fd), true, status);
}

int fstatat(int folder, const char *name, struct bl_stat *status, int flags) {
    char *path = path_in(folder, name);
    const int failed = path ? look(path, !(flags & AT_SYMLINK_NOFOLLOW), status) : -1;
    return free(path), failed;
}

int fstatvfs(int fd, struct statvfs *disk) {
    ULARGE_INTEGER bytes;
    char *path = path_in(fd, ".");
    const bool known = path && GetDiskFreeSpaceExA(path, &bytes, NULL, NULL);
    if (known) *disk = (struct statvfs){bytes.QuadPart, 1};
    if (path && !known) fail();
    free(path);
    return known ? 0 : -1;
}

/* --- folders ---------------------------------------------------------------------------------- */

struct bl_dir {
    int fd;
    HANDLE search;
    WIN32_FIND_DATAA found;
    bool first; // found holds an entry that was not given yet
    struct dirent entry;
};

DIR *fdopendir(int fd) {
    char *path = path_in(fd, "*");
    DIR *dir = path ? calloc(1, sizeof *dir) : NULL;
    if (dir) {
        dir->fd = fd, dir->first = true;
        dir->search = FindFirstFileA(path, &dir->found);
        if (dir->search == INVALID_HANDLE_VALUE) fail(), free(dir), dir = NULL;
    }
    return free(path), dir;
}

DIR *opendir(const char *path) {
    const int fd = bl_open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    const int cause = errno;
    if (fd >= 0 && !dir) close(fd);
    errno = cause;
    return dir;
}

struct dirent *readdir(DIR *dir) {
    if (!dir->first && !FindNextFileA(dir->search, &dir->found)) {
        if (GetLastError() != ERROR_NO_MORE_FILES) fail();
        return NULL;
    }
    dir->first = false;
    const DWORD is = dir->found.dwFileAttributes;
    dir->entry.d_type = is & FILE_ATTRIBUTE_REPARSE_POINT ? DT_UNKNOWN
                        : is & FILE_ATTRIBUTE_DIRECTORY   ? DT_DIR
                                                          : DT_REG;
    strcpy(dir->entry.d_name, dir->found.cFileName);
    return &dir->entry;
}

int dirfd(DIR *dir) {
    return dir->fd;
}

int closedir(DIR *dir) {
    FindClose(dir->search);
    const int failed = close(dir->fd);
    return free(dir), failed;
}

/* --- the rest --------------------------------------------------------------------------------- */

long sysconf(int what) {
    return (long)GetActiveProcessorCount(ALL_PROCESSOR_GROUPS);
}

int gethostname(char *name, size_t size) {
    DWORD length = (DWORD)size;
    return GetComputerNameExA(ComputerNamePhysicalDnsHostname, name, &length) ? 0 : fail();
}

/* One of [a-z] or [!a-z]; where it ends, NULL: it does not. */
static const char *match_set(const char *p, char c, bool *matched) {
    const bool inverted = *p == '!' || *p == '^';
    bool found = false;
    if (inverted) p++;
    for (const char *first = p; *p && (*p != ']' || p == first); p++) {
        const bool range = p[1] == '-' && p[2] && p[2] != ']';
        found |= range ? *p <= c && c <= p[2] : *p == c;
        if (range) p += 2;
    }
    *matched = found != inverted;
    return *p ? p + 1 : NULL;
}

int fnmatch(const char *p, const char *text, int flags) {
    for (; *p; text++) {
        if (*p == '*') {
            for (const char *rest = text;; rest++) {
                if (!fnmatch(p + 1, rest, flags)) return 0;
                if (!*rest) return FNM_NOMATCH;
            }
        }
        if (!*text) return FNM_NOMATCH;
        bool matched = *p == '?';
        const char *after = *p == '[' ? match_set(p + 1, *text, &matched) : NULL;
        if (!after && *p == '\\' && p[1]) p++;
        if (!after && !matched) matched = *p == *text;
        if (!matched) return FNM_NOMATCH;
        p = after ? after : p + 1;
    }
    return *text ? FNM_NOMATCH : 0;
}
