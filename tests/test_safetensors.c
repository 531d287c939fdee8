/* Safetensors files: values of every dtype, and a table of files that lie. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "attend/safetensors.h"
#include "support/fixture.h"
#include "support/half.h"
#include "support/tiny_model.h"

static tool_error error;

/* A file of an 8-byte length, a header and zeros. length -1: the header's own. */
struct file_case {
    const char *name;
    const char *header;
    long long length;
    size_t data_bytes;
    const char *message; /* a part of the error; NULL: the file is good */
};

#define F32_4(name, begin, end) "\"" name "\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[" begin "," end "]}"

static const struct file_case cases[] = {
    {"one tensor", "{" F32_4("a", "0", "16") "}", -1, 16, NULL},
    {"two in any order", "{" F32_4("a", "16", "32") "," F32_4("b", "0", "16") "}", -1, 32, NULL},
    {"padded header, metadata", "{\"__metadata__\":{\"format\":\"pt\"}," F32_4("a", "0", "16") "}   ", -1, 16, NULL},
    {"no tensors", "{}", -1, 0, NULL},
    {"empty tensor", "{\"a\":{\"dtype\":\"F32\",\"shape\":[0,4],\"data_offsets\":[0,0]}}", -1, 0, NULL},
    {"scalar", "{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", -1, 4, NULL},
    {"header longer than the file", "{}", 1000, 0, "claims a header of 1000 bytes"},
    {"header over the cap", "{}", 100000001, 0, "claims a header"},
    {"header of 2^63", "{}", INT64_MIN, 0, "claims a header"},
    {"header of 2^64-2", "{}", -2, 0, "claims a header"},
    {"header cut short", "{" F32_4("a", "0", "16") "}", 20, 16, "not valid JSON"},
    {"empty header", "", -1, 0, "not valid JSON"},
    {"not JSON", "{\"a\":", -1, 16, "not valid JSON"},
    {"an array", "[]", -1, 0, "not an object"},
    {"tensor twice", "{" F32_4("a", "0", "16") "," F32_4("a", "16", "32") "}", -1, 32, "duplicate"},
    {"overlap", "{" F32_4("a", "0", "16") "," F32_4("b", "8", "24") "}", -1, 24, "overlaps"},
    {"same span", "{" F32_4("a", "0", "16") "," F32_4("b", "0", "16") "}", -1, 16, "overlaps"},
    {"hole", "{" F32_4("a", "0", "16") "," F32_4("b", "20", "36") "}", -1, 36, "hole"},
    {"hole at the start", "{" F32_4("a", "4", "20") "}", -1, 20, "hole"},
    {"data left over", "{" F32_4("a", "0", "16") "}", -1, 20, "end at byte 16 of 20"},
    {"data cut off", "{" F32_4("a", "0", "16") "}", -1, 15, "do not lie"},
    {"backwards", "{" F32_4("a", "16", "0") "}", -1, 16, "do not lie"},
    {"negative offset", "{" F32_4("a", "-16", "0") "}", -1, 16, "two numbers"},
    {"offset over 2^63", "{" F32_4("a", "0", "18446744073709551616") "}", -1, 16, "not valid JSON"},
    {"one offset", "{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0]}}", -1, 16, "two numbers"},
    {"no offsets", "{\"a\":{\"dtype\":\"F32\",\"shape\":[4]}}", -1, 16, "two numbers"},
    {"real offsets", "{" F32_4("a", "0.0", "16.0") "}", -1, 16, "two numbers"},
    {"shape too large", "{\"a\":{\"dtype\":\"F32\",\"shape\":[5],\"data_offsets\":[0,16]}}", -1, 16, "needs 20 bytes"},
    {"negative axis", "{\"a\":{\"dtype\":\"F32\",\"shape\":[-4],\"data_offsets\":[0,16]}}", -1, 16, "axis 0"},
    {"axis not a number", "{\"a\":{\"dtype\":\"F32\",\"shape\":[\"4\"],\"data_offsets\":[0,16]}}", -1, 16, "axis 0"},
    {"no shape", "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,16]}}", -1, 16, "no shape"},
    {"nine axes", "{\"a\":{\"dtype\":\"F32\",\"shape\":[4,1,1,1,1,1,1,1,1],\"data_offsets\":[0,16]}}", -1, 16,
     "no shape"},
    {"overflowing shape", "{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296,4],\"data_offsets\":[0,16]}}", -1,
     16, "overflows"},
    {"overflow to the right size",
     "{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387905,4],\"data_offsets\":[0,16]}}", -1, 16, "overflows"},
    {"unknown dtype", "{\"a\":{\"dtype\":\"F31\",\"shape\":[4],\"data_offsets\":[0,16]}}", -1, 16, "unknown dtype F31"},
    {"no dtype", "{\"a\":{\"shape\":[4],\"data_offsets\":[0,16]}}", -1, 16, "no dtype"},
    {"entry not an object", "{\"a\":3}", -1, 16, "not an object"},
    {"escapes in a name", "{\"\\u001b[31m\":3}", -1, 16, "?[31m"},
};

static bool open_case(safetensors *out, const struct file_case *c) {
    char *folder = test_folder_create(), path[4200];
    size_t header = strlen(c->header), size = 8 + header + c->data_bytes;
    unsigned char *bytes = test_alloc(size, 1);
    uint64_t length = c->length == -1 ? header : (uint64_t)c->length;
    for (size_t i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(length >> (8 * i));
    memcpy(bytes + 8, c->header, header);
    test_folder_write(folder, "model.safetensors", bytes, size);
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    bool ok = safetensors_open(out, path, &error);
    free(bytes);
    test_folder_remove(folder);
    return ok;
}

START_TEST(headers) {
    const struct file_case *c = &cases[_i];
    safetensors file;
    test_note("%s", c->name);
    bool ok = open_case(&file, c);
    if (ok) safetensors_close(&file);
    if (ok != (c->message == NULL)) test_fail(__FILE__, __LINE__, "%s", ok ? "opened" : error.text);
    if (!ok && (strstr(error.text, c->message) == NULL || strstr(error.text, "model.safetensors") == NULL))
        test_fail(__FILE__, __LINE__, "unexpected message: %s", error.text);
}
END_TEST

/* A header of many tiny values is refused before it takes a multiple of the file's size. */
START_TEST(header_of_many_values) {
    const size_t header = 3000000;
    char *text = test_alloc(header + 1, 1);
    memset(text, ',', header);
    for (size_t i = 0; i < header; i += 2)
        text[i] = '0';
    text[0] = '{';
    const struct file_case c = {"many values", text, -1, 0, "JSON values"};
    safetensors file;
    TEST_TRUE(!open_case(&file, &c));
    TEST_TRUE(strstr(error.text, c.message) != NULL);
    free(text);
}
END_TEST

START_TEST(too_short_or_missing) {
    safetensors file;
    char *folder = test_folder_create(), path[4200];
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    TEST_TRUE(!safetensors_open(&file, path, &error));
    test_folder_write(folder, "model.safetensors", "\1\0\0\0", 4);
    TEST_TRUE(!safetensors_open(&file, path, &error));
    TEST_TRUE(!safetensors_open(&file, folder, &error));
    test_folder_remove(folder);
}
END_TEST

/* IEEE 754 binary16: 1, smallest subnormal, largest, infinity, NaN, -0; and bfloat16. */
START_TEST(small_floats) {
    TEST_TRUE(tool_from_f16(0x3C00) == 1.0f);
    TEST_TRUE(tool_from_f16(0x0001) == 0x1p-24f);
    TEST_TRUE(tool_from_f16(0x83FF) == -1023.0f * 0x1p-24f);
    TEST_TRUE(tool_from_f16(0x0400) == 0x1p-14f);
    TEST_TRUE(tool_from_f16(0x7BFF) == 65504.0f);
    TEST_TRUE(isinf(tool_from_f16(0xFC00)) && tool_from_f16(0xFC00) < 0.0f);
    TEST_TRUE(isnan(tool_from_f16(0x7E01)));
    TEST_TRUE(tool_from_f16(0x8000) == 0.0f && signbit(tool_from_f16(0x8000)));
    TEST_TRUE(tool_from_bf16(0x3F80) == 1.0f && tool_from_bf16(0xC040) == -3.0f);
}
END_TEST

/* Reading past a tensor, a dtype that is no float, and a file that shrinks after it was opened. */
START_TEST(reading) {
    const struct file_case good = {"good",
                                   "{" F32_4("a", "0", "16") ",\"i\":{\"dtype\":\"I64\",\"shape\":[1],"
                                                             "\"data_offsets\":[16,24]}}",
                                   -1, 24, NULL};
    char *folder = test_folder_create(), path[4200];
    size_t header = strlen(good.header);
    unsigned char *bytes = test_alloc(8 + header + 24, 1);
    const float wanted[4] = {1.0f, -2.5f, 0.0f, 3e-39f};
    float got[4];
    bytes[0] = (unsigned char)header;
    memcpy(bytes + 8, good.header, header);
    memcpy(bytes + 8 + header, wanted, sizeof wanted);
    test_folder_write(folder, "model.safetensors", bytes, 8 + header + 24);
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    safetensors file;
    TEST_TRUE(safetensors_open(&file, path, &error));
    const safetensors_tensor *a = safetensors_find(&file, "a"), *i = safetensors_find(&file, "i");
    TEST_TRUE(a != NULL && i != NULL && safetensors_find(&file, "b") == NULL);
    TEST_TRUE(safetensors_read(&file, a, 0, 4, got, &error) && memcmp(got, wanted, sizeof wanted) == 0);
    TEST_TRUE(safetensors_read(&file, a, 1, 2, got, &error) && got[0] == -2.5f);
    TEST_TRUE(!safetensors_read(&file, a, 3, 2, got, &error));
    TEST_TRUE(!safetensors_read(&file, a, UINT64_MAX, 1, got, &error));
    TEST_TRUE(!safetensors_read(&file, i, 0, 1, got, &error));
    TEST_TRUE(truncate(path, (off_t)(8 + header + 8)) == 0);
    TEST_TRUE(!safetensors_read(&file, a, 0, 4, got, &error));
    TEST_TRUE(strstr(error.text, "while it is being read") != NULL);
    safetensors_close(&file);
    free(bytes);
    test_folder_remove(folder);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("safetensors");
    TCase *tests = tcase_create("safetensors");
    tcase_add_loop_test(tests, headers, 0, (int)TEST_COUNT(cases));
    tcase_add_test(tests, header_of_many_values);
    tcase_add_test(tests, too_short_or_missing);
    tcase_add_test(tests, small_floats);
    tcase_add_test(tests, reading);
    suite_add_tcase(suite, tests);
    return test_main(suite);
}
