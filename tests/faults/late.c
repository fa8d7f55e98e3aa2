/* Results show late, as on a network file system whose client remembers that a name was not there.

   Loaded into every process of a run, it answers for the one that the test itself started (LATE_PARENT),
   which is Snakemake; jobs, on their own machine as it were, see their files at once. Regular files below
   results/ are not there for it until LATE_SECONDS after they were made or changed. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static double late = 0;

__attribute__((constructor)) static void begin(void)
{
    const char *parent = getenv("LATE_PARENT"), *seconds = getenv("LATE_SECONDS");
    if (parent && seconds && atol(parent) == (long)getppid())
        late = atof(seconds);
}

static int shown(int found, const char *path, mode_t mode, const struct timespec *changed)
{
    struct timespec now;
    if (found != 0 || late <= 0 || !S_ISREG(mode) || !strstr(path, "results/"))
        return found;
    clock_gettime(CLOCK_REALTIME, &now);
    if (now.tv_sec - changed->tv_sec + 1e-9 * (now.tv_nsec - changed->tv_nsec) >= late)
        return 0;
    errno = ENOENT;
    return -1;
}

#define ASK(name, kind)                                                     \
    int name(const char *path, struct kind *to)                             \
    {                                                                       \
        static int (*real)(const char *, struct kind *);                    \
        if (!real)                                                          \
            real = dlsym(RTLD_NEXT, #name);                                 \
        int found = real(path, to);                                         \
        return shown(found, path, found ? 0 : to->st_mode, &to->st_ctim);   \
    }
#define ASK_AT(name, kind)                                                  \
    int name(int folder, const char *path, struct kind *to, int flags)      \
    {                                                                       \
        static int (*real)(int, const char *, struct kind *, int);          \
        if (!real)                                                          \
            real = dlsym(RTLD_NEXT, #name);                                 \
        int found = real(folder, path, to, flags);                          \
        return shown(found, path, found ? 0 : to->st_mode, &to->st_ctim);   \
    }

ASK(stat, stat)
ASK(stat64, stat64)
ASK(lstat, stat)
ASK(lstat64, stat64)
ASK_AT(fstatat, stat)
ASK_AT(fstatat64, stat64)
