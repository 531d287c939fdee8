/* .npy files: every byte of the header, the values, and that nothing is half written. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attend/npy.h"
#include "support/files.h"
#include "support/fixture.h"
#include "support/tiny_model.h"

static tool_error error;

static const struct {
    size_t rank, shape[4];
    const char *axes;
} cases[] = {
    {0, {0}, "()"},
    {1, {5}, "(5,)"},
    {1, {0}, "(0,)"},
    {2, {3, 4}, "(3, 4)"},
    {3, {2, 1, 7}, "(2, 1, 7)"},
    {4, {12, 3, 5, 11}, "(12, 3, 5, 11)"},
};

START_TEST(files) {
    size_t count = 1;
    for (size_t i = 0; i < cases[_i].rank; i++)
        count *= cases[_i].shape[i];
    float *values = test_alloc(count, sizeof *values);
    for (size_t i = 0; i < count; i++)
        values[i] = (float)i * 0.5f - 3.0f;
    char *folder = test_folder_create(), path[4200], header[256];
    snprintf(path, sizeof path, "%s/a.npy", folder);
    TEST_TRUE(npy_write(path, values, cases[_i].rank, cases[_i].shape, &error));
    tool_bytes bytes;
    TEST_TRUE(tool_read_file(&bytes, path, 1 << 20, &error));
    const unsigned char *at = (const unsigned char *)bytes.data;
    size_t length = at[8] + 256u * at[9], begin = 10 + length;
    TEST_TRUE(memcmp(at, "\x93NUMPY\1\0", 8) == 0);
    TEST_TRUE(begin % 64 == 0 && at[begin - 1] == '\n');
    snprintf(header, sizeof header, "{'descr': '<f4', 'fortran_order': False, 'shape': %s, }", cases[_i].axes);
    TEST_TRUE(memcmp(at + 10, header, strlen(header)) == 0);
    for (size_t i = 10 + strlen(header); i < begin - 1; i++)
        TEST_TRUE(at[i] == ' ');
    TEST_TRUE(bytes.size == begin + 4 * count);
    for (size_t i = 0; i < count; i++) {
        const unsigned char *four = at + begin + 4 * i;
        unsigned bits = four[0] | (unsigned)four[1] << 8 | (unsigned)four[2] << 16 | (unsigned)four[3] << 24;
        float value;
        memcpy(&value, &bits, sizeof value);
        TEST_TRUE(value == values[i]);
    }
    tool_bytes_free(&bytes);
    free(values);
    test_folder_remove(folder);
}
END_TEST

START_TEST(nothing_half_written) {
    char *folder = test_folder_create(), path[4200];
    snprintf(path, sizeof path, "%s/old", folder);
    test_folder_write(folder, "old", "old", 3);
    tool_output output;
    TEST_TRUE(tool_output_open(&output, path, &error));
    fputs("new", output.stream);
    tool_output_abort(&output);
    tool_bytes bytes;
    TEST_TRUE(tool_read_file(&bytes, path, 10, &error) && strcmp(bytes.data, "old") == 0);
    tool_bytes_free(&bytes);
    TEST_TRUE(tool_output_open(&output, path, &error));
    fputs("new", output.stream);
    TEST_TRUE(tool_output_commit(&output, &error));
    TEST_TRUE(tool_read_file(&bytes, path, 10, &error) && strcmp(bytes.data, "new") == 0);
    tool_bytes_free(&bytes);
    TEST_TRUE(!tool_read_file(&bytes, path, 2, &error));
    snprintf(path, sizeof path, "%s/none/x.npy", folder);
    const size_t shape[1] = {0};
    TEST_TRUE(!npy_write(path, NULL, 1, shape, &error));
    TEST_TRUE(strstr(error.text, "x.npy") != NULL);
    test_folder_remove(folder);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("npy");
    TCase *tests = tcase_create("npy");
    tcase_add_loop_test(tests, files, 0, (int)TEST_COUNT(cases));
    tcase_add_test(tests, nothing_half_written);
    suite_add_tcase(suite, tests);
    return test_main(suite);
}
