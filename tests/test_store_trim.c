/* What is removed where the cache's limit is reached, and what never is. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/store.h"
#include "support/fixture.h"
#include "support/store_files.h"
#include "support/tiny_model.h"

static struct qkvi_store *open_store(const char *folder, const char *limit) {
    struct qkvi_store *store = NULL;
    TEST_TRUE(setenv("QKV_CACHE_SIZE", limit, 1) == 0);
    TEST_OK(qkvi_store_open(&store, folder));
    TEST_TRUE(unsetenv("QKV_CACHE_SIZE") == 0);
    return store;
}

static bool is_kept(struct qkvi_store *store, const char *kind) {
    char *got = NULL;
    size_t size;
    bool kept = qkvi_store_get(&got, &size, store, kind, "key");
    free(got);
    return kept;
}

START_TEST(the_longest_unused_go_first) {
    char *folder = test_folder_create(), data[2000] = "", kind[2] = "a", path[4400];
    char *got;
    size_t size;
    struct qkvi_store *store = open_store(folder, "10K");
    for (int i = 0; i < 4; i++) {
        kind[0] = (char)('a' + i);
        TEST_TRUE(qkvi_store_put(store, kind, "key", data, sizeof data));
        TEST_TRUE(store_file(path, folder, kind));
        store_file_age(path, 100000 - 10000 * i);
    }
    test_folder_write(folder, "libqkv-new-1-1", data, 1);
    snprintf(path, sizeof path, "%s/libqkv-new-1-1", folder);
    store_file_age(path, 7200);
    test_folder_write(folder, "libqkv-new-1-2", data, 1);
    test_folder_write(folder, "note.txt", data, sizeof data);
    /* The first one was used again: the second one is now the oldest. */
    TEST_TRUE(qkvi_store_get(&got, &size, store, "a", "key"));
    free(got);
    TEST_TRUE(qkvi_store_put(store, "e", "key", data, sizeof data));
    TEST_TRUE(qkvi_store_put(store, "f", "key", data, sizeof data));
    for (const char *kept = "acdef"; *kept; kept++) {
        kind[0] = *kept;
        test_note("entry %s", kind);
        TEST_TRUE(qkvi_store_get(&got, &size, store, kind, "key"));
        free(got);
    }
    TEST_TRUE(!qkvi_store_get(&got, &size, store, "b", "key"));
    TEST_TRUE(store_file_count(folder, "libqkv-new-") == 1 && store_file_count(folder, "note") == 1);
    char *large = test_alloc(11000, 1);
    TEST_TRUE(!qkvi_store_put(store, "a", "large", large, 11000));
    free(large);
    qkvi_store_close(store);
    test_folder_remove(folder);
}
END_TEST

START_TEST(a_limit_that_is_none_is_refused) {
    static const char *const wrong[] = {"-1", "x", "10X", "10KK", " 1", "99999999999999999999", "99999999999G"};
    char *folder = test_folder_create();
    struct qkvi_store *store;
    for (size_t i = 0; i < TEST_COUNT(wrong); i++) {
        TEST_TRUE(setenv("QKV_CACHE_SIZE", wrong[i], 1) == 0);
        TEST_FAILS(QKV_INVALID_ARGUMENT, "QKV_CACHE_SIZE", qkvi_store_open(&store, folder));
    }
    TEST_TRUE(unsetenv("QKV_CACHE_SIZE") == 0);
    test_folder_remove(folder);
}
END_TEST

/* A measurement or a passed self-test frees nothing that counts, however long ago it was used. */
START_TEST(small_ones_go_last) {
    char *folder = test_folder_create(), path[4400];
    char *data = test_alloc(30000, 1);
    struct qkvi_store *store = open_store(folder, "64K");
    TEST_TRUE(qkvi_store_put(store, "small", "key", data, 300));
    TEST_TRUE(store_file(path, folder, "small"));
    store_file_age(path, 1000000);
    for (char kind[2] = "a"; *kind <= 'd'; ++*kind)
        TEST_TRUE(qkvi_store_put(store, kind, "key", data, 30000));
    TEST_TRUE(is_kept(store, "small") && is_kept(store, "d"));
    ck_assert_uint_eq(store_file_count(folder, ""), 3);
    free(data);
    qkvi_store_close(store);
    test_folder_remove(folder);
}
END_TEST

START_TEST(a_smaller_limit_holds_from_the_start) {
    char *folder = test_folder_create(), path[4400];
    char *data = test_alloc(30000, 1);
    struct qkvi_store *store = open_store(folder, "1M");
    for (char kind[2] = "a"; *kind <= 'd'; ++*kind)
        TEST_TRUE(qkvi_store_put(store, kind, "key", data, 30000));
    qkvi_store_close(store);
    test_folder_write(folder, "libqkv-new-77-0", data, 10);
    (void)snprintf(path, sizeof path, "%s/libqkv-new-77-0", folder);
    store_file_age(path, 7200);
    store = open_store(folder, "70K");
    ck_assert_uint_eq(store_file_count(folder, ""), 2);
    qkvi_store_close(store);
    store = open_store(folder, "1K");
    ck_assert_uint_eq(store_file_count(folder, ""), 0);
    free(data);
    qkvi_store_close(store);
    test_folder_remove(folder);
}
END_TEST

/* Somebody names a folder that is not empty. */
START_TEST(what_others_put_there_stays) {
    static const char *const names[] = {"new-house-plan.txt",
                                        "new-x",
                                        "libqkv-new-",
                                        "libqkv-new-1",
                                        "libqkv-new-1-",
                                        "libqkv-new-1-2.txt",
                                        "backup-0123456789abcdef0123456789abcdef",
                                        "mark-twain",
                                        "program-0123456789abcdef0123456789abcdef"};
    char *folder = test_folder_create(), path[4400];
    char *data = test_alloc(5000, 1);
    for (size_t i = 0; i < TEST_COUNT(names); i++) {
        test_folder_write(folder, names[i], data, 5000);
        (void)snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        store_file_age(path, 1000000);
    }
    struct qkvi_store *store = open_store(folder, "10K");
    for (char kind[2] = "a"; *kind <= 'c'; ++*kind)
        TEST_TRUE(qkvi_store_put(store, kind, "key", data, 4500));
    TEST_TRUE(!is_kept(store, "a") && is_kept(store, "b") && is_kept(store, "c"));
    ck_assert_uint_eq(store_file_count(folder, ""), TEST_COUNT(names) + 2);
    free(data);
    qkvi_store_close(store);
    test_folder_remove(folder);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("store trim");
    TCase *tcase = tcase_create("store trim");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, the_longest_unused_go_first);
    tcase_add_test(tcase, a_limit_that_is_none_is_refused);
    tcase_add_test(tcase, small_ones_go_last);
    tcase_add_test(tcase, a_smaller_limit_holds_from_the_start);
    tcase_add_test(tcase, what_others_put_there_stays);
    suite_add_tcase(suite, tcase);
    return test_main(suite);
}
