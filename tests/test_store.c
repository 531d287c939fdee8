/* What is kept on disk comes back as it was or not at all, whatever happened to the disk. */
#ifdef __linux__
#define _GNU_SOURCE 1
#endif
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __linux__
#include <sched.h>
#include <sys/mount.h>
#endif

#include "core/store.h"
#include "support/fixture.h"
#include "support/store_files.h"
#include "support/tiny_model.h"

#define KIND "thing"
static const char value[] = "what is kept under the key, long enough to be cut in the middle";

static bool holds_value(struct qkvi_store *store, const char *key, const void *data, size_t size) {
    char *got;
    size_t got_size;
    if (!qkvi_store_get(&got, &got_size, store, KIND, key)) return false;
    bool same = got_size == size && !memcmp(got, data, size) && got[size] == 0;
    free(got);
    if (!same) test_fail(__FILE__, __LINE__, "an entry came back changed");
    return true;
}

static struct qkvi_store *open_store(const char *folder) {
    struct qkvi_store *store = NULL;
    TEST_OK(qkvi_store_open(&store, folder));
    return store;
}

START_TEST(what_is_put_comes_back) {
    char *folder = test_folder_create(), *large = test_alloc(300000, 1), long_key[5000];
    struct qkvi_store *store = open_store(folder), *other = open_store(folder);
    for (size_t i = 0; i < 300000; i++)
        large[i] = (char)(i * 31 >> 3);
    memset(long_key, 'k', sizeof long_key - 1);
    long_key[sizeof long_key - 1] = 0;
    TEST_TRUE(!holds_value(store, "a", "", 0));
    TEST_TRUE(qkvi_store_put(store, KIND, "a", value, sizeof value));
    TEST_TRUE(qkvi_store_put(store, KIND, "", NULL, 0));
    TEST_TRUE(qkvi_store_put(store, KIND, long_key, large, 300000));
    TEST_TRUE(holds_value(other, "a", value, sizeof value));
    TEST_TRUE(holds_value(other, "", "", 0));
    TEST_TRUE(holds_value(other, long_key, large, 300000));
    TEST_TRUE(qkvi_store_put(other, KIND, "a", "new", 3));
    TEST_TRUE(holds_value(store, "a", "new", 3));
    char *got;
    size_t size;
    TEST_TRUE(!qkvi_store_get(&got, &size, store, "other", "a"));
    qkvi_store_remove(store, KIND, "a");
    TEST_TRUE(!holds_value(other, "a", "", 0));
    TEST_TRUE(!qkvi_store_put(store, "../up", "a", value, sizeof value));
    TEST_TRUE(!qkvi_store_put(store, "", "a", value, sizeof value));
    qkvi_store_close(store);
    qkvi_store_close(other);
    qkvi_store_close(NULL);
    free(large);
    test_folder_remove(folder);
}
END_TEST

START_TEST(damaged_entries_are_absent) {
    char *folder = test_folder_create(), path[4400];
    struct qkvi_store *store = open_store(folder);
    TEST_TRUE(qkvi_store_put(store, KIND, "key", value, sizeof value));
    TEST_TRUE(store_file(path, folder, KIND));
    size_t size;
    char *whole = store_file_read(&size, path), *bad = test_alloc(size + 1, 1);
    for (size_t length = 0; length < size; length++) {
        test_note("cut to %zu of %zu bytes", length, size);
        store_file_write(path, whole, length);
        TEST_TRUE(!holds_value(store, "key", value, sizeof value));
    }
    for (size_t at = 0; at < size; at++) {
        test_note("byte %zu of %zu is another", at, size);
        memcpy(bad, whole, size);
        bad[at] ^= (char)(1 << at % 8);
        store_file_write(path, bad, size);
        TEST_TRUE(!holds_value(store, "key", value, sizeof value));
    }
    memcpy(bad, whole, size);
    test_note("a byte too many");
    store_file_write(path, bad, size + 1);
    TEST_TRUE(!holds_value(store, "key", value, sizeof value));
    test_note("of a size that no memory holds");
    store_file_write(path, whole, size);
    TEST_TRUE(truncate(path, (off_t)1 << 40) == 0 || truncate(path, (off_t)1 << 30) == 0);
    TEST_TRUE(!holds_value(store, "key", value, sizeof value));
    test_note("whole again");
    store_file_write(path, whole, size);
    TEST_TRUE(holds_value(store, "key", value, sizeof value));
    test_note("others may write it");
    TEST_TRUE(chmod(path, 0666) == 0);
    TEST_TRUE(!holds_value(store, "key", value, sizeof value));
    TEST_TRUE(qkvi_store_put(store, KIND, "key", value, sizeof value));
    TEST_TRUE(holds_value(store, "key", value, sizeof value));
    free(whole);
    free(bad);
    qkvi_store_close(store);
    test_folder_remove(folder);
}
END_TEST

/* A file with the right name whose key is another; a link to a good entry; something that is no file. */
START_TEST(foreign_entries_are_absent) {
    char *folder = test_folder_create(), path[4400], away[4500];
    struct qkvi_store *store = open_store(folder);
    TEST_TRUE(qkvi_store_put(store, KIND, "libqkv 0.1.0", value, sizeof value));
    TEST_TRUE(store_file(path, folder, KIND));
    size_t size;
    char *foreign = store_file_read(&size, path);
    TEST_TRUE(unlink(path) == 0);
    TEST_TRUE(qkvi_store_put(store, KIND, "libqkv 9.1.0", value, sizeof value));
    TEST_TRUE(store_file(path, folder, KIND));
    store_file_write(path, foreign, size);
    test_note("another version's entry under this one's name");
    TEST_TRUE(!holds_value(store, "libqkv 9.1.0", value, sizeof value));
    TEST_TRUE(qkvi_store_put(store, KIND, "libqkv 9.1.0", value, sizeof value));
    snprintf(away, sizeof away, "%s/elsewhere", folder);
    TEST_TRUE(rename(path, away) == 0 && symlink(away, path) == 0);
    test_note("a link to a good entry");
    TEST_TRUE(!holds_value(store, "libqkv 9.1.0", value, sizeof value));
    TEST_TRUE(qkvi_store_put(store, KIND, "libqkv 9.1.0", "x", 1));
    TEST_TRUE(holds_value(store, "libqkv 9.1.0", "x", 1));
    TEST_TRUE(unlink(path) == 0 && mkfifo(path, 0600) == 0);
    test_note("a pipe");
    TEST_TRUE(!holds_value(store, "libqkv 9.1.0", value, sizeof value));
    free(foreign);
    qkvi_store_close(store);
    test_folder_remove(folder);
}
END_TEST

START_TEST(only_a_folder_of_ones_own_is_used) {
    char *parent = test_folder_create(), folder[4200], link[4200], slash[4300];
    struct qkvi_store *store = NULL;
    struct stat s;
    snprintf(folder, sizeof folder, "%s/a/b", parent);
    snprintf(link, sizeof link, "%s/link", parent);
    snprintf(slash, sizeof slash, "%s///", link);
    mode_t mask = umask(0);
    TEST_OK(qkvi_store_open(&store, folder));
    (void)umask(mask);
    TEST_TRUE(stat(folder, &s) == 0 && (s.st_mode & 07777) == 0700);
    qkvi_store_close(store);
    TEST_TRUE(symlink(folder, link) == 0);
    TEST_FAILS(QKV_UNSUPPORTED, "link", qkvi_store_open(&store, link));
    TEST_FAILS(QKV_UNSUPPORTED, "link", qkvi_store_open(&store, slash));
    TEST_FAILS(QKV_INVALID_ARGUMENT, "empty", qkvi_store_open(&store, ""));
    for (unsigned mode = 0701; mode <= 0777; mode++) {
        if (!(mode & 077)) continue;
        TEST_TRUE(chmod(folder, mode) == 0);
        TEST_FAILS(QKV_UNSUPPORTED, "others", qkvi_store_open(&store, folder));
    }
    TEST_TRUE(chmod(folder, 0700) == 0);
    if (geteuid() != 0)
        test_skip("a folder of another user: only root can give one away");
    else {
        TEST_TRUE(chown(folder, 65534, (gid_t)-1) == 0);
        TEST_FAILS(QKV_UNSUPPORTED, "user", qkvi_store_open(&store, folder));
    }
    TEST_TRUE(rmdir(folder) == 0 && unlink(link) == 0);
    store_file_write(folder, "", 0);
    TEST_FAILS(QKV_UNSUPPORTED, NULL, qkvi_store_open(&store, folder));
    snprintf(slash, sizeof slash, "%s/below", folder);
    TEST_FAILS(QKV_UNSUPPORTED, NULL, qkvi_store_open(&store, slash));
    TEST_TRUE(unlink(folder) == 0);
    snprintf(folder, sizeof folder, "%s/a", parent);
    TEST_TRUE(rmdir(folder) == 0);
    test_folder_remove(parent);
}
END_TEST

static int keep_in_read_only(const char *folder) {
    struct qkvi_store *store;
    char *got;
    size_t size;
    if (geteuid() == 0 && seteuid(65534) != 0) return 77;
    if (qkvi_store_open(&store, folder) != QKV_OK) return 1;
    if (!qkvi_store_get(&got, &size, store, KIND, "old")) return 2;
    free(got);
    if (qkvi_store_put(store, KIND, "new", value, sizeof value)) return 3;
    struct qkvi_mark mark;
    if (qkvi_mark_begin(&mark, store, "mark", 0) != QKVI_MARK_NONE) return 4;
    qkvi_store_remove(store, KIND, "old");
    if (!qkvi_store_get(&got, &size, store, KIND, "old")) return 5;
    free(got);
    qkvi_store_close(store);
    return 0;
}

START_TEST(a_read_only_folder_is_read) {
    char *folder = test_folder_create(), path[4400];
    struct qkvi_store *store = open_store(folder);
    TEST_TRUE(qkvi_store_put(store, KIND, "old", value, sizeof value));
    qkvi_store_close(store);
    TEST_TRUE(store_file(path, folder, KIND));
    if (geteuid() == 0) TEST_TRUE(chown(path, 65534, (gid_t)-1) == 0 && chown(folder, 65534, (gid_t)-1) == 0);
    TEST_TRUE(chmod(folder, 0500) == 0);
    int status = store_in_child(keep_in_read_only, folder);
    TEST_TRUE(chmod(folder, 0700) == 0);
    if (status == 77)
        test_skip("a read-only folder: this process may not become another user");
    else
        ck_assert_int_eq(status, 0);
    test_folder_remove(folder);
}
END_TEST

/* A home that may not be written: the cache is not there and cannot be made. */
static int open_below_read_only(const char *home) {
    struct qkvi_store *store;
    char folder[4400];
    if (geteuid() == 0 && seteuid(65534) != 0) return 77;
    (void)snprintf(folder, sizeof folder, "%s/.cache/libqkv", home);
    if (qkvi_store_open(&store, folder) != QKV_UNSUPPORTED) return 1;
    return strstr(qkv_error_message(), "cannot be made") ? 0 : 2;
}

START_TEST(a_read_only_home_is_told) {
    char *home = test_folder_create();
    TEST_TRUE(chmod(home, 0555) == 0);
    int status = store_in_child(open_below_read_only, home);
    TEST_TRUE(chmod(home, 0700) == 0);
    if (status == 77)
        test_skip("a read-only home: this process may not become another user");
    else
        ck_assert_int_eq(status, 0);
    test_folder_remove(home);
}
END_TEST

/* As a user whom modes stop. */
static int keep_under_a_strange_umask(const char *home) {
    struct qkvi_store *store;
    char folder[4400], *got;
    size_t size;
    if (geteuid() == 0 && seteuid(65534) != 0) return 77;
    (void)umask(0777);
    (void)snprintf(folder, sizeof folder, "%s/a/b", home);
    for (int i = 0; i < 2; i++) {
        if (qkvi_store_open(&store, folder) != QKV_OK) return 1;
        if (i == 0 && !qkvi_store_put(store, KIND, "key", value, sizeof value)) return 2;
        if (!qkvi_store_get(&got, &size, store, KIND, "key") || size != sizeof value) return 3;
        free(got);
        qkvi_store_close(store);
    }
    return 0;
}

START_TEST(the_umask_does_not_matter) {
    char *home = test_folder_create();
    TEST_TRUE(chmod(home, 0777) == 0);
    int status = store_in_child(keep_under_a_strange_umask, home);
    TEST_TRUE(chmod(home, 0700) == 0);
    if (status == 77)
        test_skip("a strange umask: this process may not become another user");
    else
        ck_assert_int_eq(status, 0);
    test_folder_remove(home);
}
END_TEST

static int keep_beyond_file_limit(const char *folder) {
    struct rlimit most = {50, 50};
    struct qkvi_store *store;
    if (setrlimit(RLIMIT_FSIZE, &most) != 0) return 77;
    if (qkvi_store_open(&store, folder) != QKV_OK) return 1;
    return qkvi_store_put(store, KIND, "key", value, sizeof value) ? 2 : 0;
}

/* In a name space of its own, so that nothing is mounted for anybody else. */
static int keep_on_full_disk(const char *folder) {
#ifdef __linux__
    struct qkvi_store *store;
    char *large = calloc(1, 20000), *got;
    size_t size, kept = 0;
    if (!large || unshare(geteuid() == 0 ? CLONE_NEWNS : CLONE_NEWNS | CLONE_NEWUSER) != 0) return 77;
    (void)mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
    if (mount("none", folder, "tmpfs", 0, "size=64k,mode=0700") != 0) return 77;
    if (qkvi_store_open(&store, folder) != QKV_OK) return 1;
    char key[16];
    for (int i = 0; i < 10; i++) {
        snprintf(key, sizeof key, "%d", i);
        kept += qkvi_store_put(store, KIND, key, large, 20000);
    }
    if (kept == 0 || kept > 3) return 2;
    if (!qkvi_store_get(&got, &size, store, KIND, "0") || size != 20000) return 3;
    qkvi_store_remove(store, KIND, "0");
    if (!qkvi_store_put(store, KIND, "9", large, 20000)) return 4; /* nothing of the failures is left in the way */
    return 0;
#else
    (void)folder;
    return 77;
#endif
}

START_TEST(a_full_disk_is_no_error) {
    char *folder = test_folder_create();
    int status = store_in_child(keep_beyond_file_limit, folder);
    ck_assert_int_eq(status, 0);
    struct qkvi_store *store = open_store(folder);
    TEST_TRUE(!holds_value(store, "key", value, sizeof value));
    qkvi_store_close(store);
    status = store_in_child(keep_on_full_disk, folder);
    if (status == 77)
        test_skip("a full disk: this process may not mount a small one");
    else
        ck_assert_int_eq(status, 0);
    test_folder_remove(folder);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("store");
    TCase *tcase = tcase_create("store");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, what_is_put_comes_back);
    tcase_add_test(tcase, damaged_entries_are_absent);
    tcase_add_test(tcase, foreign_entries_are_absent);
    tcase_add_test(tcase, only_a_folder_of_ones_own_is_used);
    tcase_add_test(tcase, a_read_only_folder_is_read);
    tcase_add_test(tcase, a_read_only_home_is_told);
    tcase_add_test(tcase, the_umask_does_not_matter);
    tcase_add_test(tcase, a_full_disk_is_no_error);
    suite_add_tcase(suite, tcase);
    return test_main(suite);
}
