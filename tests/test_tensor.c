/* Views: dense, slice, permute, split, heads. */
#include <stdlib.h>
#include <string.h>

#include "support/buffers.h"

/* Views are arithmetic: any pointer will do for the buffer, and none is read. */
static cl_mem some_buffer(void) {
    static int anything;
    return (cl_mem)(void *)&anything;
}

static qkv_tensor dense(size_t rank, const size_t *shape) {
    qkv_tensor t;
    memset(&t, 0xff, sizeof t);
    TEST_OK(qkv_tensor_dense(&t, some_buffer(), QKV_F32, rank, shape));
    return t;
}

START_TEST(size_and_dtypes) {
    ck_assert_uint_eq(sizeof(qkv_tensor), 168);
    ck_assert_uint_eq(qkv_dtype_size(QKV_F32), 4);
    ck_assert_uint_eq(qkv_dtype_size(QKV_F16), 2);
    ck_assert_uint_eq(qkv_dtype_size(QKV_BF16), 2);
    ck_assert_uint_eq(qkv_dtype_size(QKV_BOOL), 1);
    ck_assert_uint_eq(qkv_dtype_size((qkv_dtype)0), 0);
    ck_assert_uint_eq(qkv_dtype_size((qkv_dtype)7), 0);
    ck_assert_uint_eq(qkv_dtype_size(QKV_I32), 4);
    ck_assert_uint_eq(qkv_dtype_size(QKV_I64), 8);
}
END_TEST

START_TEST(dense_views) {
    static const size_t shape[] = {2, 3, 5, 7, 1, 4};
    static const int64_t strides[] = {420, 140, 28, 4, 4, 1};
    qkv_tensor t = dense(6, shape);
    ck_assert_uint_eq(t.storage, QKV_STORAGE_BUFFER);
    ck_assert_uint_eq(t.dtype, QKV_F32);
    ck_assert_ptr_eq(t.memory.buffer, some_buffer());
    ck_assert_uint_eq(t.offset, 0);
    ck_assert_uint_eq(t.rank, 6);
    ck_assert_uint_eq(t.reserved_flags, 0);
    for (size_t i = 0; i < 6; i++) {
        ck_assert_uint_eq(t.shape[i], shape[i]);
        ck_assert_int_eq(t.stride[i], strides[i]);
    }
    for (size_t i = 0; i < 5; i++)
        ck_assert_uint_eq(t.reserved[i], 0);
    ck_assert_uint_eq(qkv_tensor_count(&t), 840);
    t = dense(0, NULL);
    ck_assert_uint_eq(qkv_tensor_count(&t), 1);
    static const size_t empty[] = {3, 0, 5};
    t = dense(3, empty);
    ck_assert_uint_eq(qkv_tensor_count(&t), 0);
}
END_TEST

START_TEST(dense_refuses) {
    static const size_t shape[] = {2, 3}, huge[] = {SIZE_MAX / 2, 3};
    qkv_tensor t, before;
    memset(&t, 0x11, sizeof t);
    before = t;
    TEST_FAILS(QKV_INVALID_ARGUMENT, "out", qkv_tensor_dense(NULL, some_buffer(), QKV_F32, 2, shape));
    TEST_FAILS(QKV_INVALID_ARGUMENT, "shape", qkv_tensor_dense(&t, some_buffer(), QKV_F32, 2, NULL));
    TEST_FAILS(QKV_INVALID_SHAPE, "rank", qkv_tensor_dense(&t, some_buffer(), QKV_F32, QKV_MAX_RANK + 1, shape));
    TEST_FAILS(QKV_INVALID_DTYPE, "dtype", qkv_tensor_dense(&t, some_buffer(), (qkv_dtype)9, 2, shape));
    TEST_FAILS(QKV_OVERFLOW, NULL, qkv_tensor_dense(&t, some_buffer(), QKV_F32, 2, huge));
    TEST_TRUE(memcmp(&t, &before, sizeof t) == 0);
}
END_TEST

START_TEST(count_saturates) {
    static const size_t shape[] = {2, 3};
    qkv_tensor t = dense(2, shape);
    t.shape[0] = UINT64_MAX / 2, t.shape[1] = 5;
    ck_assert_uint_eq(qkv_tensor_count(&t), SIZE_MAX);
}
END_TEST

START_TEST(slice) {
    static const size_t shape[] = {4, 6, 5};
    qkv_tensor t = dense(3, shape), s;
    TEST_OK(qkv_tensor_slice(&s, &t, 1, 2, 3));
    ck_assert_uint_eq(s.offset, 10);
    ck_assert_uint_eq(s.shape[1], 3);
    ck_assert_int_eq(s.stride[0], 30);
    ck_assert_int_eq(s.stride[1], 5);
    TEST_OK(qkv_tensor_slice(&s, &s, 2, 1, 4)); /* in place */
    ck_assert_uint_eq(s.offset, 11);
    ck_assert_uint_eq(s.shape[2], 4);
    TEST_OK(qkv_tensor_slice(&s, &t, 0, 4, 0)); /* empty, at the end */
    ck_assert_uint_eq(qkv_tensor_count(&s), 0);
    qkv_tensor reversed = t;
    reversed.offset = 3 * 30, reversed.stride[0] = -30;
    TEST_OK(qkv_tensor_slice(&s, &reversed, 0, 1, 2));
    ck_assert_uint_eq(s.offset, 60);
    ck_assert_int_eq(s.stride[0], -30);
    qkv_tensor before = s;
    TEST_FAILS(QKV_INVALID_SHAPE, "axis", qkv_tensor_slice(&s, &t, 3, 0, 1));
    TEST_FAILS(QKV_INVALID_SHAPE, NULL, qkv_tensor_slice(&s, &t, 1, 4, 3));
    TEST_FAILS(QKV_INVALID_SHAPE, NULL, qkv_tensor_slice(&s, &t, 1, 7, 0));
    TEST_FAILS(QKV_INVALID_SHAPE, NULL, qkv_tensor_slice(&s, &t, 1, 2, SIZE_MAX));
    TEST_FAILS(QKV_INVALID_ARGUMENT, "out", qkv_tensor_slice(NULL, &t, 0, 0, 1));
    TEST_FAILS(QKV_INVALID_ARGUMENT, "in", qkv_tensor_slice(&s, NULL, 0, 0, 1));
    TEST_TRUE(memcmp(&s, &before, sizeof s) == 0);
}
END_TEST

START_TEST(permute) {
    static const size_t shape[] = {2, 3, 4}, order[] = {2, 0, 1}, twice[] = {0, 1, 1}, outside[] = {0, 1, 3};
    qkv_tensor t = dense(3, shape), p;
    TEST_OK(qkv_tensor_permute(&p, &t, order));
    for (size_t i = 0; i < 3; i++) {
        ck_assert_uint_eq(p.shape[i], t.shape[order[i]]);
        ck_assert_int_eq(p.stride[i], t.stride[order[i]]);
    }
    qkv_tensor in_place = t;
    TEST_OK(qkv_tensor_permute(&in_place, &in_place, order));
    TEST_TRUE(memcmp(&in_place, &p, sizeof p) == 0);
    /* a wrong order is an argument's value or a shape's: either status, as the header lists both */
    TEST_TRUE(qkv_tensor_permute(&p, &t, twice) != QKV_OK && test_has_word(qkv_error_message(), "order"));
    TEST_TRUE(qkv_tensor_permute(&p, &t, outside) != QKV_OK && test_has_word(qkv_error_message(), "order"));
    TEST_TRUE(memcmp(&in_place, &p, sizeof p) == 0);
    TEST_FAILS(QKV_INVALID_ARGUMENT, "order", qkv_tensor_permute(&p, &t, NULL));
    TEST_FAILS(QKV_INVALID_ARGUMENT, "in", qkv_tensor_permute(&p, NULL, order));
    TEST_FAILS(QKV_INVALID_ARGUMENT, "out", qkv_tensor_permute(NULL, &t, order));
}
END_TEST

START_TEST(split) {
    static const size_t shape[] = {3, 12}, full[] = {1, 1, 1, 1, 1, 6};
    qkv_tensor t = dense(2, shape), s;
    TEST_OK(qkv_tensor_split(&s, &t, 1, 4));
    ck_assert_uint_eq(s.rank, 3);
    ck_assert_uint_eq(s.shape[0], 3);
    ck_assert_uint_eq(s.shape[1], 3);
    ck_assert_uint_eq(s.shape[2], 4);
    ck_assert_int_eq(s.stride[0], 12);
    ck_assert_int_eq(s.stride[1], 4);
    ck_assert_int_eq(s.stride[2], 1);
    TEST_OK(qkv_tensor_split(&t, &t, 0, 1)); /* in place, the first axis */
    ck_assert_uint_eq(t.shape[0], 3);
    ck_assert_uint_eq(t.shape[1], 1);
    ck_assert_uint_eq(t.shape[2], 12);
    ck_assert_int_eq(t.stride[0], 12);
    ck_assert_int_eq(t.stride[2], 1);
    t = dense(2, shape);
    TEST_TRUE(qkv_tensor_split(&s, &t, 1, 5) != QKV_OK && test_has_word(qkv_error_message(), "inner"));
    TEST_TRUE(qkv_tensor_split(&s, &t, 1, 0) != QKV_OK && test_has_word(qkv_error_message(), "inner"));
    TEST_FAILS(QKV_INVALID_SHAPE, "axis", qkv_tensor_split(&s, &t, 2, 1));
    t = dense(6, full);
    TEST_FAILS(QKV_INVALID_SHAPE, NULL, qkv_tensor_split(&s, &t, 5, 2));
    TEST_FAILS(QKV_INVALID_ARGUMENT, "in", qkv_tensor_split(&s, NULL, 0, 1));
    TEST_FAILS(QKV_INVALID_ARGUMENT, "out", qkv_tensor_split(NULL, &t, 0, 1));
}
END_TEST

START_TEST(heads) {
    static const size_t shape[] = {2, 5, 12}, flat[] = {5, 12};
    qkv_tensor t = dense(3, shape), h;
    TEST_OK(qkv_tensor_heads(&h, &t, 3));
    static const size_t expected[] = {2, 3, 5, 4};
    static const int64_t strides[] = {60, 4, 12, 1};
    ck_assert_uint_eq(h.rank, 4);
    for (size_t i = 0; i < 4; i++) {
        ck_assert_uint_eq(h.shape[i], expected[i]);
        ck_assert_int_eq(h.stride[i], strides[i]);
    }
    TEST_OK(qkv_tensor_heads(&t, &t, 3));
    TEST_TRUE(memcmp(&t, &h, sizeof t) == 0);
    TEST_FAILS(QKV_INVALID_SHAPE, NULL, qkv_tensor_heads(&h, &t, 3)); /* rank 4 */
    t = dense(2, flat);
    TEST_FAILS(QKV_INVALID_SHAPE, NULL, qkv_tensor_heads(&h, &t, 3));
    t = dense(3, shape);
    TEST_FAILS(QKV_INVALID_SHAPE, "num_heads", qkv_tensor_heads(&h, &t, 5));
    TEST_TRUE(qkv_tensor_heads(&h, &t, 0) != QKV_OK && test_has_word(qkv_error_message(), "num_heads"));
    TEST_FAILS(QKV_INVALID_ARGUMENT, "in", qkv_tensor_heads(&h, NULL, 3));
    TEST_FAILS(QKV_INVALID_ARGUMENT, "out", qkv_tensor_heads(NULL, &t, 3));
}
END_TEST

/* Random chains of views name the elements that index arithmetic on the dense array names. */
START_TEST(chains_of_views) {
    for (size_t n = 0; n < 200; n++) {
        struct test_random random = test_random_start(test_seed(), n);
        size_t shape[] = {test_random_between(&random, 1, 6), test_random_between(&random, 1, 6),
                          12 * test_random_between(&random, 1, 2)};
        static const size_t order[] = {3, 1, 0, 2};
        size_t begin = test_random_below(&random, shape[1]), length = shape[1] - begin;
        qkv_tensor t = dense(3, shape);
        test_note("seed %llu, case %zu: (%zu, %zu, %zu) from %zu", (unsigned long long)test_seed(), n, shape[0],
                  shape[1], shape[2], begin);
        TEST_OK(qkv_tensor_slice(&t, &t, 1, begin, length));
        TEST_OK(qkv_tensor_split(&t, &t, 2, 4));
        TEST_OK(qkv_tensor_permute(&t, &t, order));
        size_t num_heads = shape[2] / 4, at = 0;
        for (size_t d = 0; d < 4; d++)
            for (size_t s = 0; s < length; s++)
                for (size_t b = 0; b < shape[0]; b++)
                    for (size_t h = 0; h < num_heads; h++, at++)
                        TEST_TRUE(test_view_element(&t, at) == (b * shape[1] + begin + s) * shape[2] + h * 4 + d);
        TEST_TRUE(at == qkv_tensor_count(&t));
    }
}
END_TEST

START_TEST(version_and_status) {
    ck_assert_str_eq(qkv_version_string(), QKV_VERSION_STRING);
    ck_assert_uint_eq(qkv_version_number(), QKV_VERSION_MAJOR * 1000000 + QKV_VERSION_MINOR * 1000 + QKV_VERSION_PATCH);
#define CHECK_STATUS(status, value, text)                                                                              \
    ck_assert_int_eq(status, value);                                                                                   \
    ck_assert_str_eq(qkv_status_name(status), #status);                                                                \
    ck_assert_str_eq(qkv_status_text(status), text);
    QKV_STATUS_LIST(CHECK_STATUS)
#undef CHECK_STATUS
    ck_assert_str_eq(qkv_status_name((qkv_status)12345), "QKV_UNKNOWN");
    ck_assert_ptr_nonnull(qkv_status_text((qkv_status)12345));
}
END_TEST

/* A call that succeeds leaves the message alone. */
START_TEST(message_stays) {
    static const size_t shape[] = {2, 3};
    qkv_tensor t = dense(2, shape), s;
    TEST_FAILS(QKV_INVALID_SHAPE, "axis", qkv_tensor_slice(&s, &t, 7, 0, 1));
    char copy[256];
    strncpy(copy, qkv_error_message(), sizeof copy - 1);
    copy[sizeof copy - 1] = '\0';
    TEST_OK(qkv_tensor_slice(&s, &t, 0, 0, 1));
    TEST_TRUE(strncmp(copy, qkv_error_message(), sizeof copy - 1) == 0);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("tensor");
    TCase *tcase = tcase_create("tensor");
    tcase_add_test(tcase, version_and_status);
    tcase_add_test(tcase, size_and_dtypes);
    tcase_add_test(tcase, dense_views);
    tcase_add_test(tcase, dense_refuses);
    tcase_add_test(tcase, count_saturates);
    tcase_add_test(tcase, slice);
    tcase_add_test(tcase, permute);
    tcase_add_test(tcase, split);
    tcase_add_test(tcase, heads);
    tcase_add_test(tcase, chains_of_views);
    tcase_add_test(tcase, message_stays);
    suite_add_tcase(suite, tcase);
    return test_main(suite);
}
