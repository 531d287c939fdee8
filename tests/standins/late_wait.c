/* Preloaded, it has waitpid() take its time: what a process does until it is gone happens before the answer. */
#define _GNU_SOURCE 1 /* RTLD_NEXT */
#include <dlfcn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

pid_t waitpid(pid_t process, int *status, int options) {
    pid_t (*next)(pid_t, int *, int);
    void *symbol = dlsym(RTLD_NEXT, "waitpid");
    memcpy(&next, &symbol, sizeof next);
    (void)sleep(2);
    return next(process, status, options);
}
