/* What a disk can do to a process, for files below one directory: preloaded into the gateway by shim.rs.
 *
 * SHIM_BELOW    the directory
 * SHIM_CONTROL  a file whose first letter says what happens now: f a sync fails, w a write fails, n the disk is full,
 *               r it is read only, k the process dies before the next write, s before the next sync
 * SHIM_TRACE    a file that gets a record of every write, sync, truncation and removal that has succeeded:
 *               kind, length of the name, length of the data, offset (u32, u32, u32, u64), name, data
 * SHIM_CLOCK    a file with the seconds by which the wall clock is wrong */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

static void *next(const char *name) { return dlsym(RTLD_NEXT, name); }

/* The name of the file behind a descriptor, below the directory; NULL if it is elsewhere. */
static const char *below(int fd, char *name) {
    const char *root = getenv("SHIM_BELOW");
    char link[64];
    if (!root) return NULL;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, name, PATH_MAX - 1);
    if (len <= 0) return NULL;
    name[len] = 0;
    size_t prefix = strlen(root);
    return strncmp(name, root, prefix) == 0 && name[prefix] == '/' ? name + prefix + 1 : NULL;
}

static char told(void) {
    const char *path = getenv("SHIM_CONTROL");
    char letter = 0;
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) return 0;
    if (read(fd, &letter, 1) != 1) letter = 0;
    close(fd);
    return letter;
}

/* What happens to a write: 0, or an error. */
static int write_fails(void) {
    switch (told()) {
    case 'w': return EIO;
    case 'n': return ENOSPC;
    case 'r': return EROFS;
    case 'k': kill(getpid(), SIGKILL); pause();
    default: return 0;
    }
}

static int sync_fails(void) {
    switch (told()) {
    case 'f': return EIO;
    case 's': kill(getpid(), SIGKILL); pause();
    default: return 0;
    }
}

static void trace(char kind, const char *name, const void *data, size_t len, uint64_t offset) {
    static int fd = -1;
    static ssize_t (*real)(int, const struct iovec *, int);
    const char *path = getenv("SHIM_TRACE");
    if (!path) return;
    if (fd < 0) fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (!real) real = next("writev");
    uint32_t head[3] = { (uint32_t)kind, (uint32_t)strlen(name), (uint32_t)len };
    struct iovec parts[4] = {
        { head, sizeof head }, { &offset, sizeof offset }, { (void *)name, head[1] }, { (void *)data, data ? len : 0 },
    };
    if (real(fd, parts, 4) < 0) abort();
}

#define LOCKED(what) pthread_mutex_lock(&one_at_a_time); what; pthread_mutex_unlock(&one_at_a_time)

static ssize_t at(const char *symbol, int fd, const void *data, size_t len, off64_t offset) {
    ssize_t (*real)(int, const void *, size_t, off64_t) = next(symbol);
    char name[PATH_MAX];
    const char *ours = below(fd, name);
    if (!ours) return real(fd, data, len, offset);
    int error = write_fails();
    if (error) { errno = error; return -1; }
    ssize_t done;
    LOCKED({
        done = real(fd, data, len, offset);
        if (done > 0) trace('W', ours, data, (size_t)done, (uint64_t)offset);
    });
    return done;
}

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t offset) { return at("pwrite64", fd, data, len, offset); }
ssize_t pwrite(int fd, const void *data, size_t len, off_t offset) { return at("pwrite64", fd, data, len, offset); }

ssize_t write(int fd, const void *data, size_t len) {
    ssize_t (*real)(int, const void *, size_t) = next("write");
    char name[PATH_MAX];
    const char *ours = below(fd, name);
    if (!ours) return real(fd, data, len);
    int error = write_fails();
    if (error) { errno = error; return -1; }
    ssize_t done;
    LOCKED({
        off64_t offset = lseek64(fd, 0, SEEK_CUR);
        done = real(fd, data, len);
        if (done > 0) trace('W', ours, data, (size_t)done, (uint64_t)offset);
    });
    return done;
}

static int synced(const char *symbol, int fd) {
    int (*real)(int) = next(symbol);
    char name[PATH_MAX];
    const char *ours = below(fd, name);
    if (!ours) return real(fd);
    int error = sync_fails();
    if (error) { errno = error; return -1; }
    int done;
    LOCKED({
        done = real(fd);
        if (done == 0) trace('S', ours, NULL, 0, 0);
    });
    return done;
}

int fsync(int fd) { return synced("fsync", fd); }
int fdatasync(int fd) { return synced("fdatasync", fd); }

static int cut(int fd, off64_t len) {
    int (*real)(int, off64_t) = next("ftruncate64");
    char name[PATH_MAX];
    const char *ours = below(fd, name);
    if (!ours) return real(fd, len);
    int error = write_fails();
    if (error) { errno = error; return -1; }
    int done;
    LOCKED({
        done = real(fd, len);
        if (done == 0) trace('T', ours, NULL, 0, (uint64_t)len);
    });
    return done;
}

int ftruncate64(int fd, off64_t len) { return cut(fd, len); }
int ftruncate(int fd, off_t len) { return cut(fd, len); }

int unlink(const char *path) {
    int (*real)(const char *) = next("unlink");
    const char *root = getenv("SHIM_BELOW");
    size_t prefix = root ? strlen(root) : 0;
    if (!root || strncmp(path, root, prefix) != 0 || path[prefix] != '/') return real(path);
    int done;
    LOCKED({
        done = real(path);
        if (done == 0) trace('U', path + prefix + 1, NULL, 0, 0);
    });
    return done;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int (*real)(clockid_t, struct timespec *) = next("clock_gettime");
    int done = real(clock, now);
    const char *path = getenv("SHIM_CLOCK");
    char text[32];
    int fd = done == 0 && clock == CLOCK_REALTIME && path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) return done;
    ssize_t len = read(fd, text, sizeof text - 1);
    close(fd);
    if (len > 0) {
        text[len] = 0;
        now->tv_sec += atol(text);
    }
    return done;
}
