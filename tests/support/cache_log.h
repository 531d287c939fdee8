/* Contexts with a cache, and what the library says while they start. */
#ifndef TEST_CACHE_LOG_H
#define TEST_CACHE_LOG_H

#include <spawn.h>
#include <stdbool.h>

#include "qkv.h"

/* Since the last cache_context(). `probes`: those of what was built that only probe the device. */
struct cache_log {
    size_t built, probes, loaded, tested, quarantined, unusable;
    size_t untrusted;                   /* binaries that are not kept */
    size_t lacking;                     /* told of what the compiler lacks */
    size_t loops;                       /* told that loops are cut short */
    char warning[1000];                 /* the last one of these */
    void (*on_build)(const char *what); /* NULL, or told of every program of a solver's that was built */
};
extern struct cache_log cache_log;

/* NULL on failure. folder: as qkv_context_options has it. */
qkv_context *cache_context(const char *folder);

/* Starts arguments[0], which ends with NULL, and destroys the actions. One process a suite may write the simulator's log:
 * this one does not. */
pid_t cache_start_process(char *const *arguments, posix_spawn_file_actions_t *actions);

#endif
