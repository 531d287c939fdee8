/* fp16 to fp32 and back as the kernels do it: every half, and every number halfway between two and beside that. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "program/program.h"
#include "support/fixture.h"
#include "support/storage.h"

#define LANES 16

/* After the source of a kernel that contains cl/storage.clh. */
static const char probe[] =
    "\n"
    "#define COPY(N) \\\n"
    "    for (int i = 0; i < 16; i += N) \\\n"
    "        storage_store##N(out, at + i, storage_load##N(in, at + i, from), to)\n"
    "kernel void storage_probe(global const void *in, global void *out, int from, int to, int n)\n"
    "{\n"
    "    const long at = (long)get_global_id(0) * 16;\n"
    "    if (n == 4) { COPY(4); }\n"
    "    else if (n == 8) { COPY(8); }\n"
    "    else if (n == 16) { COPY(16); }\n"
    "    else\n"
    "        for (int i = 0; i < 16; i++)\n"
    "            storage_store(out, at + i, storage_load(in, at + i, from), to);\n"
    "}\n";

static const struct setting {
    const char *name, *options;
} settings[] = {{"the compiler's own", "-cl-std=CL1.2"}, {"in integers", "-cl-std=CL1.2 -DQKV_SOFT_HALF=1"}};
static const cl_int widths[] = {1, 4, 8, 16};

static cl_program program;
static cl_kernel kernel;

static const struct qkvi_source *find_source(void) {
    const struct qkvi_source *found = NULL;
    for (size_t i = 0; i < qkvi_num_sources; i++)
        if (strstr(qkvi_sources[i].text, "QKV_SOFT_HALF") && (!found || qkvi_sources[i].length < found->length))
            found = &qkvi_sources[i];
    TEST_TRUE(found != NULL);
    return found;
}

/* false after a counted skip, where the compiler lacks what it is asked for. */
static bool build(const struct setting *s) {
    const cl_device_id device = qkv_context_cl_device(test_context());
    const char *parts[] = {find_source()->text, probe};
    cl_int error = CL_SUCCESS;
    program = clCreateProgramWithSource(test_cl_context(), TEST_COUNT(parts), parts, NULL, &error);
    TEST_CL(error);
    error = clBuildProgram(program, 1, &device, s->options, NULL, NULL);
    if (error != CL_SUCCESS) {
        char log[2000] = "";
        (void)clGetProgramBuildInfo(program, device, CL_PROGRAM_BUILD_LOG, sizeof log - 1, log, NULL);
        TEST_CL(clReleaseProgram(program));
        if (strstr(s->options, "SOFT")) test_fail(__FILE__, __LINE__, "%s: %s", s->options, log);
        test_skip("fp16, %s: does not build", s->name);
        return false;
    }
    kernel = clCreateKernel(program, "storage_probe", &error);
    TEST_CL(error);
    return true;
}

static void release(void) {
    TEST_CL(clReleaseKernel(kernel));
    TEST_CL(clReleaseProgram(program));
}

/* count: a multiple of LANES. malloc'ed. */
static void *convert(const void *values, size_t count, cl_int from, cl_int to, cl_int width) {
    cl_int error = CL_SUCCESS;
    const size_t global = count / LANES, bytes = count * qkv_dtype_size((qkv_dtype)to);
    void *got = test_alloc(bytes, 1);
    cl_mem in = clCreateBuffer(test_cl_context(), CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR,
                               count * qkv_dtype_size((qkv_dtype)from), (void *)(uintptr_t)values, &error);
    TEST_CL(error);
    cl_mem out = clCreateBuffer(test_cl_context(), CL_MEM_WRITE_ONLY, bytes, NULL, &error);
    TEST_CL(error);
    TEST_CL(clSetKernelArg(kernel, 0, sizeof in, &in));
    TEST_CL(clSetKernelArg(kernel, 1, sizeof out, &out));
    TEST_CL(clSetKernelArg(kernel, 2, sizeof from, &from));
    TEST_CL(clSetKernelArg(kernel, 3, sizeof to, &to));
    TEST_CL(clSetKernelArg(kernel, 4, sizeof width, &width));
    TEST_CL(clEnqueueNDRangeKernel(test_queue(), kernel, 1, NULL, &global, NULL, 0, NULL, NULL));
    TEST_CL(clEnqueueReadBuffer(test_queue(), out, CL_TRUE, 0, bytes, got, 0, NULL, NULL));
    TEST_CL(clReleaseMemObject(in));
    TEST_CL(clReleaseMemObject(out));
    return got;
}

static uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

START_TEST(every_half) {
    enum { HALVES = 65536 };
    static uint16_t halves[HALVES];
    if (!build(&settings[_i])) return;
    for (size_t i = 0; i < HALVES; i++)
        halves[i] = (uint16_t)i;
    double *expected = storage_values(halves, HALVES, QKV_F16);
    for (size_t w = 0; w < TEST_COUNT(widths); w++) {
        float *got = convert(halves, HALVES, QKV_F16, QKV_F32, widths[w]);
        uint16_t *back = convert(got, HALVES, QKV_F32, QKV_F16, widths[w]);
        for (size_t i = 0; i < HALVES; i++) {
            bool good = isnan(expected[i]) ? isnan(got[i]) && (back[i] & 0x7fffu) > 0x7c00u
                                           : bits_of(got[i]) == bits_of((float)expected[i]) && back[i] == halves[i];
            if (!good)
                test_fail(__FILE__, __LINE__, "%s, width %d: %#x is %g, and that is %#x", settings[_i].name, widths[w],
                          halves[i], (double)got[i], back[i]);
        }
        free(got);
        free(back);
    }
    free(expected);
    release();
}
END_TEST

/* Floats to be rounded: each finite half's value, what lies halfway to the next, the neighbours of both, with either sign;
 * then one of each `stride` of all floats, infinities, NaN and denormals among them. */
static size_t choose_floats(float *out, size_t step, uint32_t stride) {
    size_t count = 0;
    for (uint32_t i = 0; i < 0x7c00u; i += (uint32_t)step) {
        const uint16_t pair[2] = {(uint16_t)i, (uint16_t)(i + 1)};
        double *values = storage_values(pair, 2, QKV_F16);
        /* What would follow the largest one if exponents went on. */
        const double next = isinf(values[1]) ? 65536 : values[1];
        const float at[] = {(float)values[0], (float)((values[0] + next) / 2)};
        for (size_t k = 0; k < 2; k++)
            for (uint32_t beside = 0; beside < 3; beside++) {
                const uint32_t bits = bits_of(at[k]) + beside - (bits_of(at[k]) > 0);
                out[count++] = float_of(bits);
                out[count++] = float_of(bits | 0x80000000u);
            }
        free(values);
    }
    for (uint64_t bits = 0; bits <= UINT32_MAX; bits += stride)
        out[count++] = float_of((uint32_t)bits);
    static const uint32_t special[] = {0x7f800000u, 0xff800000u, 0x7fc00000u, 0xffc00000u, 0x7f800001u, 0xff801000u,
                                       0x7fffffffu, 0xffffffffu, 1u,          0x80000001u, 0x7f7fffffu, 0xff7fffffu};
    for (size_t i = 0; i < TEST_COUNT(special); i++)
        out[count++] = float_of(special[i]);
    while (count % LANES)
        out[count++] = 0;
    return count;
}

START_TEST(rounding) {
    /* 37 divides no power of two: all positions within an exponent come up. */
    const bool all = !test_is_simulator() || test_is_thorough();
    const size_t step = all ? 1 : 37;
    const uint32_t stride = all ? 9973 : 1000003;
    float *values = test_alloc(12 * (size_t)0x7c00 + UINT32_MAX / stride + 64, sizeof *values);
    if (!build(&settings[_i])) {
        free(values);
        return;
    }
    const size_t count = choose_floats(values, step, stride);
    double *wide = test_alloc(count, sizeof *wide);
    for (size_t i = 0; i < count; i++)
        wide[i] = (double)values[i];
    uint16_t *expected = storage_from(wide, count, QKV_F16);
    for (size_t w = 0; w < TEST_COUNT(widths); w++) {
        uint16_t *got = convert(values, count, QKV_F32, QKV_F16, widths[w]);
        for (size_t i = 0; i < count; i++)
            if (isnan(values[i]) ? (got[i] & 0x7fffu) <= 0x7c00u : got[i] != expected[i])
                test_fail(__FILE__, __LINE__, "%s, width %d: %.9g (%#x) is %#x, not %#x", settings[_i].name, widths[w],
                          wide[i], bits_of(values[i]), got[i], expected[i]);
        free(got);
    }
    free(values);
    free(wide);
    free(expected);
    release();
}
END_TEST

int main(void) {
    Suite *suite = suite_create("storage");
    TCase *tests = tcase_create("storage");
    tcase_set_timeout(tests, 200);
    tcase_add_loop_test(tests, every_half, 0, TEST_COUNT(settings));
    tcase_add_loop_test(tests, rounding, 0, TEST_COUNT(settings));
    suite_add_tcase(suite, tests);
    return test_main(suite);
}
