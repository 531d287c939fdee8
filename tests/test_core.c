/* Units of src/core: checked sizes, text, structs, views that overlap. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/core.h"
#include "support/buffers.h"

START_TEST(checked_sizes) {
    size_t out = 7;
    TEST_TRUE(qkvi_add(&out, 2, 3) && out == 5);
    TEST_TRUE(qkvi_add(&out, SIZE_MAX, 0) && out == SIZE_MAX);
    TEST_TRUE(!qkvi_add(&out, SIZE_MAX, 1) && out == SIZE_MAX);
    TEST_TRUE(qkvi_mul(&out, 6, 7) && out == 42);
    TEST_TRUE(qkvi_mul(&out, SIZE_MAX, 0) && out == 0);
    TEST_TRUE(qkvi_mul(&out, 0, SIZE_MAX) && out == 0);
    TEST_TRUE(!qkvi_mul(&out, SIZE_MAX / 2 + 1, 2) && out == 0);
    static const size_t sizes[] = {3, 5, 7}, huge[] = {SIZE_MAX / 2, 3, 1};
    TEST_TRUE(qkvi_product(&out, sizes, 3) && out == 105);
    TEST_TRUE(qkvi_product(&out, sizes, 0) && out == 1);
    TEST_TRUE(!qkvi_product(&out, huge, 3) && out == 1);
    TEST_TRUE(qkvi_div_up(10, 5) == 2 && qkvi_div_up(11, 5) == 3 && qkvi_div_up(0, 5) == 0);
    TEST_TRUE(qkvi_div_up(SIZE_MAX, 2) == SIZE_MAX / 2 + 1);
    TEST_TRUE(qkvi_round_up(10, 8) == 16 && qkvi_round_up(16, 8) == 16 && qkvi_round_up(0, 8) == 0);
    TEST_TRUE(qkvi_round_up(SIZE_MAX - 1, 256) == SIZE_MAX);
}
END_TEST

START_TEST(text_grows) {
    struct qkvi_text text = {0};
    ck_assert_str_eq(qkvi_text_get(&text), "");
    qkvi_text_add(&text, "%s", "");
    ck_assert_str_eq(qkvi_text_get(&text), "");
    for (int i = 0; i < 1000; i++)
        qkvi_text_add(&text, "%04d,", i);
    TEST_TRUE(!text.failed && text.length == 5000 && strlen(qkvi_text_get(&text)) == 5000);
    TEST_TRUE(strncmp(qkvi_text_get(&text) + 4995, "0999,", 5) == 0);
    qkvi_text_free(&text);
    ck_assert_str_eq(qkvi_text_get(&text), "");
    TEST_TRUE(qkvi_strdup(NULL) == NULL);
    char *copy = qkvi_strdup("query");
    ck_assert_str_eq(copy, "query");
    free(copy);
}
END_TEST

START_TEST(failures_are_recorded) {
    TEST_FAILS(QKV_INVALID_SHAPE, "rank", qkvi_fail(QKV_INVALID_SHAPE, "x: rank %d", 9));
    ck_assert_str_eq(qkv_error_message(), "x: rank 9");
    TEST_FAILS(QKV_OVERFLOW, "layer", qkvi_fail_prefix(QKV_OVERFLOW, "layer %s", "wq"));
    ck_assert_str_eq(qkv_error_message(), "layer wq: x: rank 9");
    TEST_FAILS(QKV_OUT_OF_MEMORY, "plan", qkvi_fail_memory("plan"));
    char longest[5000];
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    TEST_FAILS(QKV_OVERFLOW, NULL, qkvi_fail(QKV_OVERFLOW, "%s", longest));
}
END_TEST

struct sample {
    size_t struct_size;
    size_t first;
    size_t second;
};

START_TEST(struct_sizes) {
    struct sample out = {9, 9, 9};
    struct {
        struct sample known;
        size_t tail[2];
    } in = {{sizeof(struct sample), 1, 2}, {0, 0}};
    TEST_OK(qkvi_struct_read(&out, sizeof out, &in, "args"));
    TEST_TRUE(out.first == 1 && out.second == 2);
    in.known.struct_size = offsetof(struct sample, second); /* an older caller: what it lacks is off */
    TEST_OK(qkvi_struct_read(&out, sizeof out, &in, "args"));
    TEST_TRUE(out.first == 1 && out.second == 0);
    in.known.struct_size = sizeof in; /* a newer caller that uses nothing new */
    TEST_OK(qkvi_struct_read(&out, sizeof out, &in, "args"));
    TEST_TRUE(out.first == 1 && out.second == 2);
    in.tail[1] = 1;
    TEST_FAILS(QKV_UNSUPPORTED, "args", qkvi_struct_read(&out, sizeof out, &in, "args"));
    in.known.struct_size = 0;
    TEST_FAILS(QKV_INVALID_ARGUMENT, "args", qkvi_struct_read(&out, sizeof out, &in, "args"));
    in.known.struct_size = sizeof(size_t) - 1;
    TEST_FAILS(QKV_INVALID_ARGUMENT, "args", qkvi_struct_read(&out, sizeof out, &in, "args"));
    TEST_FAILS(QKV_INVALID_ARGUMENT, "args", qkvi_struct_read(&out, sizeof out, NULL, "args"));
}
END_TEST

/* A view of a buffer that is never read. */
static qkv_tensor view(size_t rank, const size_t *shape, const int64_t *stride, size_t offset) {
    static int anything;
    qkv_tensor t;
    memset(&t, 0, sizeof t);
    t.storage = QKV_STORAGE_BUFFER, t.dtype = QKV_F32;
    t.memory.buffer = (cl_mem)(void *)&anything;
    t.rank = (uint32_t)rank, t.offset = offset;
    for (size_t i = 0; i < rank; i++)
        t.shape[i] = shape[i], t.stride[i] = stride[i];
    return t;
}

/* Every pair of elements' bytes, however long that takes. */
static bool overlap_by_search(const qkv_tensor *a, const qkv_tensor *b) {
    size_t sa = qkv_dtype_size((qkv_dtype)a->dtype), sb = qkv_dtype_size((qkv_dtype)b->dtype);
    for (size_t i = 0; i < qkv_tensor_count(a); i++)
        for (size_t j = 0; j < qkv_tensor_count(b); j++) {
            size_t first = test_view_element(a, i) * sa, second = test_view_element(b, j) * sb;
            if (first < second + sb && second < first + sa) return true;
        }
    return false;
}

/* What people build: slices and heads of one array, interleaved: the answer is exact. */
START_TEST(overlap_of_slices) {
    for (size_t n = 0; n < 2000; n++) {
        struct test_random random = test_random_start(test_seed(), n);
        size_t shape[] = {test_random_between(&random, 1, 3), test_random_between(&random, 1, 4),
                          4 * test_random_between(&random, 1, 3)};
        int64_t strides[] = {(int64_t)(shape[1] * shape[2]), (int64_t)shape[2], 1};
        qkv_tensor v[2];
        for (size_t i = 0; i < 2; i++) {
            v[i] = view(3, shape, strides, 5);
            for (size_t axis = 0; axis < 3; axis++) {
                size_t begin = test_random_below(&random, shape[axis]);
                TEST_OK(
                    qkv_tensor_slice(&v[i], &v[i], axis, begin, test_random_between(&random, 0, shape[axis] - begin)));
            }
            if (test_random_once_in(&random, 2) && v[i].shape[2] % 2 == 0)
                TEST_OK(qkv_tensor_split(&v[i], &v[i], 2, 2));
        }
        test_note("seed %llu, case %zu", (unsigned long long)test_seed(), n);
        TEST_TRUE(qkvi_view_overlap(&v[0], &v[1]) == overlap_by_search(&v[0], &v[1]));
        TEST_TRUE(qkvi_view_overlap(&v[1], &v[0]) == overlap_by_search(&v[0], &v[1]));
    }
}
END_TEST

/* Any strides: "no" must be true; "yes" may be said too often, but not for views far from each other. */
START_TEST(overlap_of_anything) {
    size_t missed = 0, needless = 0;
    for (size_t n = 0; n < 3000; n++) {
        struct test_random random = test_random_start(test_seed() + 1, n);
        qkv_tensor v[2];
        for (size_t i = 0; i < 2; i++) {
            size_t shape[3], rank = test_random_between(&random, 1, 3);
            int64_t strides[3], lowest = 0;
            for (size_t axis = 0; axis < rank; axis++) {
                shape[axis] = test_random_between(&random, 1, 5);
                strides[axis] = (int64_t)test_random_below(&random, 25) - 12;
                if (strides[axis] < 0) lowest += strides[axis] * (int64_t)(shape[axis] - 1);
            }
            v[i] = view(rank, shape, strides, (size_t)-lowest + test_random_below(&random, 40));
        }
        bool said = qkvi_view_overlap(&v[0], &v[1]), truth = overlap_by_search(&v[0], &v[1]);
        missed += truth && !said;
        needless += said && !truth;
    }
    TEST_TRUE(missed == 0);
    printf("overlap: %zu of 3000 random pairs were called overlapping without need\n", needless);
}
END_TEST

START_TEST(overlap_counts_bytes) {
    static const size_t shape[] = {4};
    static const int64_t stride[] = {1};
    qkv_tensor floats = view(1, shape, stride, 2), bytes = view(1, shape, stride, 4);
    bytes.dtype = QKV_BOOL; /* bytes 4..7, before the floats' 8..23 */
    TEST_TRUE(!qkvi_view_overlap(&floats, &bytes));
    bytes.offset = 5;
    TEST_TRUE(qkvi_view_overlap(&floats, &bytes));
    bytes.offset = 24;
    TEST_TRUE(!qkvi_view_overlap(&floats, &bytes));
}
END_TEST

START_TEST(view_checks) {
    static const size_t shape[] = {3, 4};
    static const int64_t strides[] = {4, 1}, repeated[] = {0, 1}, crossing[] = {2, 1}, down[] = {-4, 1};
    qkv_tensor t = view(2, shape, strides, 0);
    TEST_OK(qkvi_view_check(&t, "x", true));
    TEST_OK(qkvi_view_check(&t, "x", false));
    for (size_t i = 0; i < 2; i++)
        t.stride[i] = repeated[i];
    TEST_OK(qkvi_view_check(&t, "x", true));
    TEST_FAILS(QKV_INVALID_SHAPE, "x", qkvi_view_check(&t, "x", false));
    for (size_t i = 0; i < 2; i++)
        t.stride[i] = crossing[i];
    TEST_OK(qkvi_view_check(&t, "x", true));
    TEST_TRUE(qkvi_view_check(&t, "x", false) != QKV_OK && test_has_word(qkv_error_message(), "x"));
    for (size_t i = 0; i < 2; i++)
        t.stride[i] = down[i];
    t.offset = 8;
    int64_t lowest = -1, highest = -1;
    TEST_OK(qkvi_view_check(&t, "x", false));
    TEST_TRUE(qkvi_view_extent(&t, &lowest, &highest) && lowest == 0 && highest == 11);
    t.shape[1] = 0;
    TEST_TRUE(!qkvi_view_extent(&t, &lowest, &highest));
    t.shape[1] = 4, t.stride[0] = INT64_MAX / 2;
    TEST_TRUE(qkvi_view_check(&t, "x", true) != QKV_OK);
    TEST_TRUE(qkvi_view_check(NULL, "x", true) != QKV_OK && test_has_word(qkv_error_message(), "x"));
}
END_TEST

int main(void) {
    Suite *suite = suite_create("core");
    TCase *tcase = tcase_create("core");
    tcase_add_test(tcase, checked_sizes);
    tcase_add_test(tcase, text_grows);
    tcase_add_test(tcase, failures_are_recorded);
    tcase_add_test(tcase, struct_sizes);
    tcase_add_test(tcase, overlap_of_slices);
    tcase_add_test(tcase, overlap_of_anything);
    tcase_add_test(tcase, overlap_counts_bytes);
    tcase_add_test(tcase, view_checks);
    suite_add_tcase(suite, tcase);
    return test_main(suite);
}
