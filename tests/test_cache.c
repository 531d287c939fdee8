/* A second start builds and tests nothing, and whatever is wrong with the cache costs time and nothing else. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/cache_log.h"
#include "support/context.h"
#include "support/layer_job.h"
#include "support/store_files.h"
#include "support/tiny_model.h"

/* A layer in a context that knows nothing but what the folder holds; its results are right. */
static void start(const char *folder) {
    struct job job;
    qkv_context *context = cache_context(folder);
    TEST_TRUE(context != NULL);
    cl_command_queue queue = qkv_context_cl_queue(context);
    job_open(&job, context, queue, 1);
    test_memory_upload(&job.x);
    TEST_OK(qkv_layer_run(job.layer, queue, &job.args, 0, NULL, NULL));
    job_check(&job);
    job_close(&job);
    qkv_context_destroy(context);
}

START_TEST(a_second_start_builds_nothing) {
    char *folder = test_folder_create();
    start(folder);
    size_t built = cache_log.built, tested = cache_log.tested, loops = cache_log.loops;
    TEST_TRUE(built > 2 && tested >= 2 && cache_log.loaded == 0 && cache_log.quarantined == 0);
    start(folder);
    ck_assert_uint_eq(cache_log.built, 0);
    ck_assert_uint_eq(cache_log.tested, 0);
    TEST_TRUE(cache_log.loaded > 0 && cache_log.loops == loops);
    ck_assert_uint_eq(store_file_count(folder, "mark-"), 0);
    ck_assert_uint_eq(store_file_count(folder, "libqkv-new-"), 0);
    test_note("without a cache");
    start("");
    ck_assert_uint_eq(cache_log.built, built);
    ck_assert_uint_eq(cache_log.tested, tested);
    test_note("QKV_CACHE_DIR");
    TEST_TRUE(setenv("QKV_CACHE_DIR", folder, 1) == 0);
    start(NULL);
    ck_assert_uint_eq(cache_log.built, 0);
    start("");
    ck_assert_uint_eq(cache_log.built, built);
    TEST_TRUE(unsetenv("QKV_CACHE_DIR") == 0);
    test_folder_remove(folder);
}
END_TEST

static void set_or_unset(const char *name, const char *value) {
    TEST_TRUE((value ? setenv(name, value, 1) : unsetenv(name)) == 0);
}

START_TEST(tools_keep_things_where_they_belong) {
    char *home = getenv("HOME"), *cache = getenv("XDG_CACHE_HOME"), *dir = getenv("QKV_CACHE_DIR"), out[64];
    home = home ? strdup(home) : NULL, cache = cache ? strdup(cache) : NULL, dir = dir ? strdup(dir) : NULL;
    static const struct {
        const char *home, *cache, *expected;
    } cases[] = {{"/h", NULL, "/h/.cache/libqkv"}, {"/h", "/x", "/x/libqkv"}, {"/h", "x", "/h/.cache/libqkv"},
                 {NULL, "/x", "/x/libqkv"},        {NULL, "", NULL},          {"h", NULL, NULL}};
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        test_note("case %zu", i);
        set_or_unset("QKV_CACHE_DIR", NULL);
        set_or_unset("HOME", cases[i].home);
        set_or_unset("XDG_CACHE_HOME", cases[i].cache);
        const char *got = tool_cache_directory(out, sizeof out);
        TEST_TRUE((got == NULL) == (cases[i].expected == NULL) && (!got || !strcmp(got, cases[i].expected)));
        TEST_TRUE(tool_cache_directory(out, 5) == NULL);
        set_or_unset("QKV_CACHE_DIR", "");
        TEST_TRUE(tool_cache_directory(out, sizeof out) == NULL);
    }
    set_or_unset("HOME", home);
    set_or_unset("XDG_CACHE_HOME", cache);
    set_or_unset("QKV_CACHE_DIR", dir);
    free(home);
    free(cache);
    free(dir);
}
END_TEST

START_TEST(what_is_spoilt_is_made_again) {
    char *folder = test_folder_create();
    start(folder);
    const size_t probes = cache_log.probes;
    start(folder);
    size_t loaded = cache_log.loaded;
    store_files_spoil(folder, "program", true);
    start(folder);
    /* The test of what is to be kept may need more than the plan does. */
    TEST_TRUE(cache_log.built >= loaded && cache_log.tested == 0);
    start(folder);
    ck_assert_uint_eq(cache_log.built, 0);
    for (int cut = 1; cut >= 0; cut--) {
        test_note("ledger, cut %d", cut);
        store_files_spoil(folder, "ledger", cut);
        start(folder);
        TEST_TRUE(cache_log.tested >= 2);
        start(folder);
        ck_assert_uint_eq(cache_log.tested, 0);
        test_note("probes, cut %d", cut);
        store_files_spoil(folder, "probe", cut);
        start(folder);
        ck_assert_uint_eq(cache_log.built, probes);
        ck_assert_uint_eq(cache_log.probes, probes);
        start(folder);
        ck_assert_uint_eq(cache_log.built, 0);
    }
    test_folder_remove(folder);
}
END_TEST

START_TEST(an_unusable_folder_is_done_without) {
    char *folder = test_folder_create(), link[4200];
    snprintf(link, sizeof link, "%s/link", folder);
    TEST_TRUE(symlink(folder, link) == 0);
    start(link);
    TEST_TRUE(cache_log.built > 0 && cache_log.unusable == 1 && strstr(cache_log.warning, "symbolic link"));
    TEST_TRUE(chmod(folder, 0755) == 0);
    start(folder);
    TEST_TRUE(cache_log.built > 0 && cache_log.unusable == 1 && strstr(cache_log.warning, "0755"));
    TEST_TRUE(setenv("QKV_CACHE_SIZE", "much", 1) == 0 && chmod(folder, 0700) == 0);
    start(folder);
    TEST_TRUE(cache_log.built > 0 && cache_log.unusable == 1 && strstr(cache_log.warning, "QKV_CACHE_SIZE"));
    TEST_TRUE(setenv("QKV_CACHE_SIZE", "1", 1) == 0);
    start(folder);
    TEST_TRUE(cache_log.built > 0 && cache_log.unusable == 0 && store_file_count(folder, "") == 1);
    TEST_TRUE(unsetenv("QKV_CACHE_SIZE") == 0);
    test_folder_remove(folder);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("cache");
    TCase *tcase = tcase_create("cache");
    tcase_set_timeout(tcase, 200);
    tcase_add_test(tcase, a_second_start_builds_nothing);
    tcase_add_test(tcase, tools_keep_things_where_they_belong);
    tcase_add_test(tcase, what_is_spoilt_is_made_again);
    tcase_add_test(tcase, an_unusable_folder_is_done_without);
    suite_add_tcase(suite, tcase);
    return test_main(suite);
}
