/* Stands between a program and the C library, and counts what the program changes below one folder: files and
 * folders created, bytes written, syncs, renames, removals, permissions. One of these calls can be made to fail, or
 * to be the last one. Loaded by LD_PRELOAD; knows nothing about the program. Processes that it starts are left alone.
 *
 * FAULT_ROOT   the folder, absolute
 * FAULT_HOW    eio: the call FAULT_AT fails; full: from that call on the disk is full, a write at that place is
 *              done by half; kill: the process is killed before that call; short: every write is done by half
 * FAULT_AT     the number of the call, from 1; 0 for none
 * FAULT_AFTER  end of a path: the process is killed once a file was renamed to such a path for the FAULT_TIMESth time
 * FAULT_TRACE  a file that gets a line for every call
 * FAULT_COUNT  a file that gets the number of calls when the program ends
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAX_FD 4096

static char root[PATH_MAX];
static char count_path[PATH_MAX];
static char after[PATH_MAX];
static atomic_long times;
static size_t root_length;
static enum { NONE, EIO_ONCE, FULL, KILL, SHORT } how;
static long at;
static atomic_long calls;
static atomic_int full;
static char *paths[MAX_FD];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int trace = -1;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void start(void) {
    const char *value = getenv("FAULT_ROOT");
    if (!value)
        return;
    snprintf(root, sizeof root, "%s", value);
    root_length = strlen(root);
    value = getenv("FAULT_AT");
    at = value ? atol(value) : 0;
    value = getenv("FAULT_HOW");
    if (value)
        how = !strcmp(value, "eio") ? EIO_ONCE
              : !strcmp(value, "full") ? FULL
              : !strcmp(value, "kill") ? KILL
              : !strcmp(value, "short") ? SHORT
                                        : NONE;
    value = getenv("FAULT_COUNT");
    if (value)
        snprintf(count_path, sizeof count_path, "%s", value);
    value = getenv("FAULT_AFTER");
    if (value)
        snprintf(after, sizeof after, "%s", value);
    value = getenv("FAULT_TIMES");
    times = value ? atol(value) : 1;
    value = getenv("FAULT_TRACE");
    if (value)
        trace = REAL(open)(value, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    unsetenv("LD_PRELOAD");
}

__attribute__((destructor)) static void end(void) {
    if (!count_path[0])
        return;
    int fd = REAL(open)(count_path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    char text[32];
    int length = snprintf(text, sizeof text, "%ld", atomic_load(&calls));
    if (fd >= 0 && REAL(write)(fd, text, (size_t)length) == length)
        REAL(close)(fd);
}

static int below(const char *path) {
    return root_length && !strncmp(path, root, root_length) &&
           (path[root_length] == '/' || !path[root_length]);
}

/* The path behind a descriptor, or nothing when it is not below the folder. */
static int path_of(int fd, char *path) {
    int known = 0;
    if (fd < 0 || fd >= MAX_FD)
        return 0;
    pthread_mutex_lock(&lock);
    if (paths[fd]) {
        snprintf(path, PATH_MAX, "%s", paths[fd]);
        known = 1;
    }
    pthread_mutex_unlock(&lock);
    return known;
}

/* The same for a path relative to a descriptor. */
static int path_at(int fd, const char *name, char *path) {
    char folder[PATH_MAX];
    if (name[0] == '/') {
        snprintf(path, PATH_MAX, "%s", name);
        return below(path);
    }
    if (!path_of(fd, folder))
        return 0;
    if (snprintf(path, PATH_MAX, "%.2000s/%.2000s", folder, name) < 0)
        return 0;
    return 1;
}

static void remember(int fd, const char *path) {
    if (fd < 0 || fd >= MAX_FD)
        return;
    pthread_mutex_lock(&lock);
    free(paths[fd]);
    paths[fd] = path ? strdup(path) : NULL;
    pthread_mutex_unlock(&lock);
}

/* Counts a call. Returns 0 when it is to be made, 1 when it is to be made by half, and -1 when it fails; `grows` for
 * calls that need room on the disk. */
static int next(const char *what, const char *path, const char *to, int grows) {
    long number = atomic_fetch_add(&calls, 1) + 1;
    int result = 0;
    if (number == at && how == KILL)
        kill(getpid(), SIGKILL);
    if (number == at && how == EIO_ONCE) {
        errno = EIO;
        result = -1;
    } else if (how == FULL && at && number >= at && grows) {
        if (!atomic_exchange(&full, 1) && !strcmp(what, "write"))
            result = 1;
        else {
            errno = ENOSPC;
            result = -1;
        }
    } else if (how == SHORT && !strcmp(what, "write"))
        result = 1;
    if (trace >= 0) {
        char line[3 * PATH_MAX];
        int saved = errno;
        int length = snprintf(line, sizeof line, "%s\t%s\t%s\n", what, path, to);
        if (REAL(write)(trace, line, (size_t)length) != length)
            abort();
        errno = saved;
    }
    return result;
}

static int opened(int fd, const char *path) {
    remember(fd, path);
    return fd;
}

#define OPEN(name, real)                                                                                     \
    int name(const char *path, int flags, ...) {                                                             \
        va_list list;                                                                                        \
        va_start(list, flags);                                                                               \
        mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(list, mode_t) : 0;                            \
        va_end(list);                                                                                        \
        if (!below(path))                                                                                    \
            return opened(REAL(real)(path, flags, mode), NULL);                                              \
        if (flags & (O_CREAT | O_TRUNC) && next("create", path, "", 1) < 0)                                  \
            return -1;                                                                                       \
        return opened(REAL(real)(path, flags, mode), path);                                                  \
    }
OPEN(open, open)
OPEN(open64, open64)

#define OPENAT(name, real)                                                                                   \
    int name(int folder, const char *file, int flags, ...) {                                                 \
        va_list list;                                                                                        \
        va_start(list, flags);                                                                               \
        mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(list, mode_t) : 0;                            \
        va_end(list);                                                                                        \
        char path[PATH_MAX];                                                                                 \
        if (!path_at(folder, file, path))                                                                    \
            return opened(REAL(real)(folder, file, flags, mode), NULL);                                      \
        if (flags & (O_CREAT | O_TRUNC) && next("create", path, "", 1) < 0)                                  \
            return -1;                                                                                       \
        return opened(REAL(real)(folder, file, flags, mode), path);                                          \
    }
OPENAT(openat, openat)
OPENAT(openat64, openat64)

int close(int fd) {
    remember(fd, NULL);
    return REAL(close)(fd);
}

ssize_t write(int fd, const void *bytes, size_t length) {
    char path[PATH_MAX];
    if (path_of(fd, path)) {
        int fate = next("write", path, "", 1);
        if (fate < 0)
            return -1;
        if (fate > 0 && length > 1)
            length /= 2;
    }
    return REAL(write)(fd, bytes, length);
}

#define PWRITE(name, offset_t)                                                                               \
    ssize_t name(int fd, const void *bytes, size_t length, offset_t place) {                                 \
        char path[PATH_MAX];                                                                                 \
        if (path_of(fd, path)) {                                                                             \
            int fate = next("write", path, "", 1);                                                           \
            if (fate < 0)                                                                                    \
                return -1;                                                                                   \
            if (fate > 0 && length > 1)                                                                      \
                length /= 2;                                                                                 \
        }                                                                                                    \
        return REAL(name)(fd, bytes, length, place);                                                         \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t writev(int fd, const struct iovec *parts, int n_parts) {
    char path[PATH_MAX];
    if (path_of(fd, path)) {
        int fate = next("write", path, "", 1);
        if (fate < 0)
            return -1;
        if (fate > 0 && n_parts > 1)
            n_parts /= 2;
    }
    return REAL(writev)(fd, parts, n_parts);
}

ssize_t copy_file_range(int from, off64_t *from_place, int to, off64_t *to_place, size_t length, unsigned flags) {
    char path[PATH_MAX];
    if (path_of(to, path)) {
        int fate = next("write", path, "", 1);
        if (fate < 0)
            return -1;
        /* The program asks for more than there is; half of what there is takes some smaller number. */
        if (fate > 0 && length > 100)
            length = 100;
    }
    return REAL(copy_file_range)(from, from_place, to, to_place, length, flags);
}

#define ON_FD(name, what)                                                                                    \
    int name(int fd) {                                                                                       \
        char path[PATH_MAX];                                                                                 \
        if (path_of(fd, path) && next(what, path, "", 0) < 0)                                                \
            return -1;                                                                                       \
        return REAL(name)(fd);                                                                               \
    }
ON_FD(fsync, "fsync")
ON_FD(fdatasync, "fsync")

#define TRUNCATE(name, offset_t)                                                                             \
    int name(int fd, offset_t length) {                                                                      \
        char path[PATH_MAX];                                                                                 \
        if (path_of(fd, path) && next("truncate", path, "", 1) < 0)                                          \
            return -1;                                                                                       \
        return REAL(name)(fd, length);                                                                       \
    }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

int rename(const char *from, const char *to) {
    if (below(from) && next("rename", from, to, 0) < 0)
        return -1;
    int result = REAL(rename)(from, to);
    size_t length = strlen(to), end = strlen(after);
    if (!result && end && length >= end && !strcmp(to + length - end, after) && atomic_fetch_sub(&times, 1) == 1)
        kill(getpid(), SIGKILL);
    return result;
}

int mkdir(const char *path, mode_t mode) {
    if (below(path) && next("mkdir", path, "", 1) < 0)
        return -1;
    return REAL(mkdir)(path, mode);
}

int unlink(const char *path) {
    if (below(path) && next("unlink", path, "", 0) < 0)
        return -1;
    return REAL(unlink)(path);
}

int rmdir(const char *path) {
    if (below(path) && next("unlink", path, "", 0) < 0)
        return -1;
    return REAL(rmdir)(path);
}

int unlinkat(int folder, const char *file, int flags) {
    char path[PATH_MAX];
    if (path_at(folder, file, path) && next("unlink", path, "", 0) < 0)
        return -1;
    return REAL(unlinkat)(folder, file, flags);
}

int chmod(const char *path, mode_t mode) {
    if (below(path) && next("chmod", path, "", 0) < 0)
        return -1;
    return REAL(chmod)(path, mode);
}

int fchmod(int fd, mode_t mode) {
    char path[PATH_MAX];
    if (path_of(fd, path) && next("chmod", path, "", 0) < 0)
        return -1;
    return REAL(fchmod)(fd, mode);
}
