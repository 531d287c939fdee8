#include "support/cache_log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/fixture.h"

extern char **environ;

struct cache_log cache_log;

static bool begins_with(const char *text, const char *beginning) {
    return !strncmp(text, beginning, strlen(beginning));
}

static void listen(void *user, qkv_log_level level, const char *message) {
    struct cache_log *log = user;
    bool built = begins_with(message, "built ");
    log->built += built;
    log->probes += begins_with(message, "built probe");
    log->loaded += begins_with(message, "loaded ");
    log->tested += begins_with(message, "tested ");
    log->lacking += strstr(message, "refuses the option -cl-std") || strstr(message, "convert fp16 in integers");
    log->loops += level == QKV_LOG_WARNING && strstr(message, "leaves a work-item's loops");
    bool binaries = begins_with(message, "binaries are not kept");
    bool quarantined = !binaries && strstr(message, "an earlier process ended");
    bool unusable = begins_with(message, "nothing is cached");
    log->quarantined += quarantined && level != QKV_LOG_DEBUG;
    log->unusable += unusable;
    log->untrusted += binaries;
    if (level == QKV_LOG_WARNING && (quarantined || unusable))
        (void)snprintf(log->warning, sizeof log->warning, "%s", message);
    if (built && log->on_build && !begins_with(message, "built probe")) log->on_build(message);
}

qkv_context *cache_context(const char *folder) {
    qkv_context *context = NULL;
    qkv_context_options options = QKV_CONTEXT_OPTIONS_INIT;
    options.log = listen;
    options.log_user = &cache_log;
    options.cache_dir = folder;
    memset(&cache_log, 0, sizeof cache_log);
    return qkv_context_create(&context, NULL, &options) == QKV_OK ? context : NULL;
}

pid_t cache_start_process(char *const *arguments, posix_spawn_file_actions_t *actions) {
    const char *log = getenv("OCLGRIND_LOG");
    char *saved = log ? strdup(log) : NULL;
    pid_t pid;
    TEST_TRUE(unsetenv("OCLGRIND_LOG") == 0);
    TEST_TRUE(posix_spawn(&pid, arguments[0], actions, NULL, arguments, environ) == 0);
    (void)posix_spawn_file_actions_destroy(actions);
    if (saved) TEST_TRUE(setenv("OCLGRIND_LOG", saved, 1) == 0);
    free(saved);
    return pid;
}
