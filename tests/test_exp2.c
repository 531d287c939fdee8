/* The kernels' own exp2() against double precision: with fma(), with the device's mad(), and with steps rounded twice. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "program/program.h"
#include "support/fixture.h"

#define LANES 8
#define MOST_ULP 2.0

/* After the source of a kernel that contains cl/exp2.clh: numbers first, first + step, ... as bits of the argument. */
static const char probe[] = "\n"
                            "kernel void exp2_probe(global float *out, uint first, uint step)\n"
                            "{\n"
                            "    const uint at = (uint)get_global_id(0) * VW;\n"
                            "    float x[VW];\n"
                            "    for (uint i = 0; i < VW; i++)\n"
                            "        x[i] = as_float(first + (at + i) * step);\n"
                            "    const vec y = qkv_exp2(QKV_VLOAD(x));\n"
                            "    QKV_VSTORE(y, out + at);\n"
                            "}\n";

/* What mad() may be at worst. A call keeps compilers from fusing the product after all. */
static const char twice_rounded[] =
    "#define PRODUCT(T) static T __attribute__((overloadable, noinline)) product(T a, T b) { return a * b; }\n"
    "PRODUCT(float)\n"
    "PRODUCT(float8)\n"
    "#undef mad\n"
    "#define mad(a, b, c) (product((a), (b)) + (c))\n";

struct setting {
    const char *name, *before, *options;
};
/* No more than the above: attributes are clang's, and a compiler need not know them, nor let go of its mad(). */
static const char twice_rounded_trial[] = "kernel void trial(global float *out, global float8 *wide)\n"
                                          "{\n"
                                          "    out[0] = mad(out[1], out[2], out[3]);\n"
                                          "    wide[0] = mad(wide[1], wide[2], wide[3]);\n"
                                          "}\n";
static const struct setting settings[] = {
    {"fma", "", "-cl-std=CL1.2 -DVW=8 -DQKV_USE_FMA=1"},
    {"mad", "", "-cl-std=CL1.2 -DVW=8 -DQKV_USE_FMA=0"},
    {"rounded twice", twice_rounded, "-cl-std=CL1.2 -DVW=8 -DQKV_USE_FMA=0"},
};

static cl_program program;
static cl_kernel kernel;

/* Any kernel that uses the function has its whole text; the shortest compiles fastest. */
static const struct qkvi_source *find_source(void) {
    const struct qkvi_source *found = NULL;
    for (size_t i = 0; i < qkvi_num_sources; i++)
        if (strstr(qkvi_sources[i].text, "vec qkv_exp2(vec x)") && (!found || qkvi_sources[i].length < found->length))
            found = &qkvi_sources[i];
    TEST_TRUE(found != NULL);
    return found;
}

/* What clBuildProgram() says; the program, and the log where it has one. */
static cl_int build_parts(const char **parts, cl_uint count, const char *options, char log[2000]) {
    const cl_device_id device = qkv_context_cl_device(test_context());
    cl_int error = CL_SUCCESS;
    program = clCreateProgramWithSource(test_cl_context(), count, parts, NULL, &error);
    TEST_CL(error);
    error = clBuildProgram(program, 1, &device, options, NULL, NULL);
    log[0] = '\0';
    (void)clGetProgramBuildInfo(program, device, CL_PROGRAM_BUILD_LOG, 1999, log, NULL);
    return error;
}

static bool builds_before(const struct setting *s) {
    const char *parts[] = {s->before, twice_rounded_trial};
    char log[2000];
    if (!s->before[0]) return true;
    const cl_int error = build_parts(parts, TEST_COUNT(parts), s->options, log);
    TEST_CL(clReleaseProgram(program));
    if (error == CL_SUCCESS) return true;
    test_skip("exp2, %s: this compiler cannot build what takes the place of its mad()", s->name);
    printf("OpenCL error %d: %s\n", (int)error, log);
    return false;
}

static void build(const struct setting *s) {
    const char *parts[] = {s->before, find_source()->text, probe};
    char log[2000];
    cl_int error = CL_SUCCESS;
    test_note("exp2 of %s, %s", find_source()->stem, s->name);
    if (build_parts(parts, TEST_COUNT(parts), s->options, log) != CL_SUCCESS)
        test_fail(__FILE__, __LINE__, "%s: %s", s->options, log);
    kernel = clCreateKernel(program, "exp2_probe", &error);
    TEST_CL(error);
}

static void release(void) {
    TEST_CL(clReleaseKernel(kernel));
    TEST_CL(clReleaseProgram(program));
}

/* count: a multiple of LANES. malloc'ed. */
static float *run(uint32_t first, uint32_t step, size_t count) {
    cl_int error = CL_SUCCESS;
    const size_t global = count / LANES;
    float *values = test_alloc(count, sizeof *values);
    cl_mem out = clCreateBuffer(test_cl_context(), CL_MEM_WRITE_ONLY, count * sizeof *values, NULL, &error);
    TEST_CL(error);
    TEST_CL(clSetKernelArg(kernel, 0, sizeof out, &out));
    TEST_CL(clSetKernelArg(kernel, 1, sizeof first, &first));
    TEST_CL(clSetKernelArg(kernel, 2, sizeof step, &step));
    TEST_CL(clEnqueueNDRangeKernel(test_queue(), kernel, 1, NULL, &global, NULL, 0, NULL, NULL));
    TEST_CL(clEnqueueReadBuffer(test_queue(), out, CL_TRUE, 0, count * sizeof *values, values, 0, NULL, NULL));
    TEST_CL(clReleaseMemObject(out));
    return values;
}

static float from_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint32_t to_bits(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* Errors in units in the last place of the exact result, which is normal for every argument asked for. */
static void check_range(float from, float to, size_t count) {
    const uint32_t first = to_bits(from), range = to_bits(to) - first;
    const uint32_t step = range > count ? range / (uint32_t)count : 1;
    count = (range / step + LANES) / LANES * LANES;
    float *got = run(first, step, count);
    for (size_t i = 0; i < count; i++) {
        const uint32_t bits = first + (uint32_t)i * step;
        if (bits > to_bits(to)) break; /* what fills the last vector */
        const double exact = exp2((double)from_bits(bits));
        const double ulp = ldexp(1, ilogb(exact) - 23);
        const double off = fabs((double)got[i] - exact) / ulp;
        if (!(off <= MOST_ULP))
            test_fail(__FILE__, __LINE__, "exp2(%.9g) is %.9g, off by %.3g ulp", (double)from_bits(bits),
                      (double)got[i], off);
    }
    free(got);
}

/* Every argument of the binade in which the polynomial is at its worst, and a part of all others. */
static void check_ranges(void) {
    const size_t count = test_is_simulator() ? 1024 : test_is_slow() ? 1 << 17 : 1 << 23;
    check_range(-0.25f, -0.5f, count);
    check_range(0.25f, 0.5f, count / 8);
    check_range(-0.0f, -126.0f, count / 8);
    check_range(0.0f, 127.0f, count / 8);
}

static void check_specials(void) {
    static const struct {
        float x, y;
    } cases[] = {{0.0f, 1.0f},       {-0.0f, 1.0f},        {1.0f, 2.0f},    {-1.0f, 0.5f},
                 {127.0f, 0x1p127f}, {-126.0f, 0x1p-126f}, {-127.0f, 0.0f}, {-150.0f, 0.0f},
                 {-1e30f, 0.0f},     {-INFINITY, 0.0f},    {-3.0f, 0.125f}, {10.0f, 1024.0f}};
    static const uint32_t nans[] = {0x7fc00000u, 0xffc00000u, 0x7fffffffu, 0xffffffffu, 0x7fc00001u};
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        float *got = run(to_bits(cases[i].x), 0, LANES);
        if (got[0] != cases[i].y)
            test_fail(__FILE__, __LINE__, "exp2(%g) is %.9g, not %g", (double)cases[i].x, (double)got[0],
                      (double)cases[i].y);
        free(got);
    }
    for (size_t i = 0; i < TEST_COUNT(nans); i++) {
        float *got = run(nans[i], 0, LANES);
        if (!isnan(got[0])) test_fail(__FILE__, __LINE__, "exp2 of NaN %#x is %.9g", nans[i], (double)got[0]);
        free(got);
    }
}

START_TEST(within_two_ulp) {
    if (!builds_before(&settings[_i])) return;
    build(&settings[_i]);
    check_specials();
    check_ranges();
    release();
}
END_TEST

int main(void) {
    Suite *suite = suite_create("exp2");
    TCase *tests = tcase_create("exp2");
    tcase_add_loop_test(tests, within_two_ulp, 0, TEST_COUNT(settings));
    suite_add_tcase(suite, tests);
    return test_main(suite);
}
