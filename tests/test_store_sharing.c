/* Several processes use one cache directory, and some of them die. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/store.h"
#include "support/fixture.h"
#include "support/store_files.h"
#include "support/tiny_model.h"

#define KIND "thing"
#define WRITERS 8

/* Every value says how long it is and of which byte, so that a mixture of two shows. */
static int write_and_read(const char *folder) {
    struct qkvi_store *store;
    unsigned char data[3000];
    uint32_t random = (uint32_t)getpid();
    if (qkvi_store_open(&store, folder) != QKV_OK) return 1;
    for (int i = 0; i < 300; i++) {
        char key[2] = {(char)('a' + i % 3), 0}, *got;
        random = random * 1664525u + 1013904223u;
        size_t size = 2 + (random >> 8) % (sizeof data - 2), got_size;
        memset(data, (int)(random >> 24), size);
        memcpy(data, &(uint16_t){(uint16_t)size}, 2);
        if (!qkvi_store_put(store, KIND, key, data, size)) return 2;
        if (!qkvi_store_get(&got, &got_size, store, KIND, key)) return 3;
        uint16_t said;
        memcpy(&said, got, 2);
        for (size_t at = 3; at < got_size; at++)
            if (got[at] != got[2]) return 4;
        if (said != got_size) return 5;
        free(got);
    }
    qkvi_store_close(store);
    return 0;
}

START_TEST(processes_share_a_folder) {
    char *folder = test_folder_create();
    pid_t children[WRITERS];
    for (int i = 0; i < WRITERS; i++) {
        children[i] = fork();
        if (children[i] == 0) _exit(write_and_read(folder));
        TEST_TRUE(children[i] > 0);
    }
    for (int i = 0; i < WRITERS; i++) {
        int status = 0;
        TEST_TRUE(waitpid(children[i], &status, 0) == children[i]);
        ck_assert_int_eq(status, 0);
    }
    ck_assert_uint_eq(store_file_count(folder, ""), 3);
    test_folder_remove(folder);
}
END_TEST

static int leave_mark(const char *folder) {
    struct qkvi_store *store;
    struct qkvi_mark mark;
    if (qkvi_store_open(&store, folder) != QKV_OK) return 1;
    return qkvi_mark_begin(&mark, store, "danger", 0) == QKVI_MARK_HELD ? 0 : 2;
}

START_TEST(a_mark_tells_a_crash_from_the_living) {
    char *folder = test_folder_create(), path[4400];
    struct qkvi_store *store = NULL;
    struct qkvi_mark mark, other;
    TEST_OK(qkvi_store_open(&store, folder));
    ck_assert_int_eq(qkvi_mark_begin(&mark, store, "danger", 0), QKVI_MARK_HELD);
    test_note("held by this process");
    ck_assert_int_eq(store_in_child(leave_mark, folder), 2);
    ck_assert_int_eq(qkvi_mark_begin(&other, store, "danger", 0), QKVI_MARK_BUSY);
    qkvi_marks_forget(store, "dan");
    ck_assert_int_eq(qkvi_mark_begin(&other, store, "danger", 0), QKVI_MARK_BUSY);
    qkvi_mark_end(&mark);
    ck_assert_uint_eq(store_file_count(folder, ""), 0);
    test_note("left by another");
    ck_assert_int_eq(store_in_child(leave_mark, folder), 0);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(qkvi_mark_begin(&other, store, "danger", 0), QKVI_MARK_LEFT);
    ck_assert_int_eq(qkvi_mark_begin(&mark, store, "other", 0), QKVI_MARK_HELD);
    qkvi_mark_end(&mark);
    qkvi_marks_forget(store, "other");
    ck_assert_int_eq(qkvi_mark_begin(&other, store, "danger", 0), QKVI_MARK_LEFT);
    qkvi_marks_forget(store, "dan");
    ck_assert_uint_eq(store_file_count(folder, ""), 0);
    ck_assert_int_eq(qkvi_mark_begin(&mark, store, "danger", 0), QKVI_MARK_HELD);
    qkvi_mark_end(&mark);
    test_note("ended before it was written");
    ck_assert_int_eq(store_in_child(leave_mark, folder), 0);
    TEST_TRUE(store_file(path, folder, "mark") && truncate(path, 3) == 0);
    ck_assert_int_eq(qkvi_mark_begin(&mark, store, "danger", 0), QKVI_MARK_HELD);
    qkvi_mark_end(&mark);
    qkvi_store_close(store);
    test_folder_remove(folder);
}
END_TEST

/* Left once more, where the one before is not counted any longer. */
static void die_again(const char *folder, long age, unsigned forgiven) {
    struct qkvi_store *store = NULL;
    struct qkvi_mark mark;
    char path[4400];
    TEST_TRUE(store_file(path, folder, "mark"));
    store_file_age(path, age);
    TEST_OK(qkvi_store_open(&store, folder));
    ck_assert_int_eq(qkvi_mark_begin(&mark, store, "danger", forgiven), QKVI_MARK_HELD);
    (void)close(mark.file); /* as the end of a process does */
    qkvi_store_close(store);
}

static enum qkvi_mark_state state_after(struct qkvi_store *store, const char *path, long age, unsigned forgiven) {
    struct qkvi_mark mark;
    store_file_age(path, age);
    enum qkvi_mark_state state = qkvi_mark_begin(&mark, store, "danger", forgiven);
    if (state == QKVI_MARK_HELD) TEST_TRUE(mark.deaths > 0);
    if (state == QKVI_MARK_HELD) qkvi_mark_end(&mark);
    return state;
}

#define HOUR 3600L
#define DAY (24 * HOUR)

START_TEST(deaths_count_for_ever_longer) {
    char *folder = test_folder_create(), path[4400];
    struct qkvi_store *store = NULL;
    TEST_OK(qkvi_store_open(&store, folder));
    ck_assert_int_eq(store_in_child(leave_mark, folder), 0);
    TEST_TRUE(store_file(path, folder, "mark"));
    test_note("once");
    ck_assert_int_eq(state_after(store, path, DAY - HOUR, 0), QKVI_MARK_LEFT);
    ck_assert_int_eq(state_after(store, path, -DAY, 0), QKVI_MARK_LEFT);
    die_again(folder, DAY + HOUR, 0);
    test_note("twice");
    ck_assert_int_eq(state_after(store, path, 10 * DAY - HOUR, 1), QKVI_MARK_LEFT);
    die_again(folder, 10 * DAY + HOUR, 0);
    test_note("three times");
    ck_assert_int_eq(state_after(store, path, 100 * DAY - HOUR, 2), QKVI_MARK_LEFT);
    ck_assert_int_eq(state_after(store, path, 0, 3), QKVI_MARK_HELD);
    test_note("what ended well begins anew");
    ck_assert_uint_eq(store_file_count(folder, ""), 0);
    ck_assert_int_eq(store_in_child(leave_mark, folder), 0);
    die_again(folder, 0, 1);
    for (int i = 0; i < 10; i++)
        die_again(folder, 0, 99);
    test_note("more often than is counted");
    ck_assert_int_eq(state_after(store, path, 10000 * DAY, 1), QKVI_MARK_LEFT);
    qkvi_store_close(store);
    test_folder_remove(folder);
}
END_TEST

/* Another text behind the key, or another key with the same beginning, is nobody's death. */
START_TEST(only_a_mark_is_one) {
    static const char *const texts[] = {"danger?", "danger+?", "danger and more", "dange", "anger+", "danger+++++++++"};
    char *folder = test_folder_create(), path[4400];
    struct qkvi_store *store = NULL;
    struct qkvi_mark mark;
    TEST_OK(qkvi_store_open(&store, folder));
    for (size_t i = 0; i < TEST_COUNT(texts); i++) {
        test_note("%s", texts[i]);
        ck_assert_int_eq(store_in_child(leave_mark, folder), 0);
        TEST_TRUE(store_file(path, folder, "mark"));
        store_file_write(path, texts[i], strlen(texts[i]));
        ck_assert_int_eq(qkvi_mark_begin(&mark, store, "danger", 0), QKVI_MARK_HELD);
        ck_assert_uint_eq(mark.deaths, 0);
        qkvi_mark_end(&mark);
    }
    qkvi_store_close(store);
    test_folder_remove(folder);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("store sharing");
    TCase *tcase = tcase_create("store sharing");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, processes_share_a_folder);
    tcase_add_test(tcase, a_mark_tells_a_crash_from_the_living);
    tcase_add_test(tcase, deaths_count_for_ever_longer);
    tcase_add_test(tcase, only_a_mark_is_one);
    suite_add_tcase(suite, tcase);
    return test_main(suite);
}
