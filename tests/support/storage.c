#include "support/storage.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "support/fixture.h"

/* Bits of the significand with its leading one, and the exponent of the smallest normal number. */
static int significand(qkv_dtype dtype) {
    return dtype == QKV_F16 ? 11 : dtype == QKV_BF16 ? 8 : 24;
}

static int lowest_exponent(qkv_dtype dtype) {
    return dtype == QKV_F16 ? -14 : -126;
}

double storage_unit(qkv_dtype dtype) {
    return ldexp(1, -significand(dtype));
}

/* fp32 and bfloat16 may lose what is below the smallest normal number. */
double storage_error(double value, qkv_dtype dtype) {
    const double least = dtype == QKV_F16 ? 0x1p-25 : (double)FLT_MIN;
    return fmax(storage_unit(dtype) * fabs(value), least);
}

/* The nearest number with so many bits, in the exponents there are. rint() rounds ties to even. */
static double nearest(double value, qkv_dtype dtype) {
    int exponent;
    if (value == 0 || !isfinite(value)) return value;
    (void)frexp(value, &exponent); /* |value| in [2^(exponent-1), 2^exponent) */
    int lowest = lowest_exponent(dtype), bits = significand(dtype);
    int quantum = (exponent - 1 < lowest ? lowest : exponent - 1) - (bits - 1);
    double rounded = ldexp(rint(ldexp(value, -quantum)), quantum);
    return dtype == QKV_F16 && fabs(rounded) > 65504 ? copysign(INFINITY, value) : rounded;
}

static uint16_t f16_bits(double value) {
    int exponent;
    uint16_t sign = signbit(value) ? 0x8000u : 0;
    if (isnan(value)) return sign | 0x7e00u;
    if (isinf(value)) return sign | 0x7c00u;
    if (fabs(value) < 0x1p-14) return (uint16_t)(sign | (unsigned)ldexp(fabs(value), 24));
    double fraction = frexp(fabs(value), &exponent);
    return (uint16_t)(sign | (unsigned)(exponent + 14) << 10 | ((unsigned)ldexp(fraction, 11) & 0x3ffu));
}

static double f16_value(uint16_t bits) {
    int exponent = bits >> 10 & 31, fraction = bits & 0x3ff;
    double magnitude = exponent == 31 ? (fraction ? NAN : INFINITY)
                       : exponent     ? ldexp(1024 + fraction, exponent - 25)
                                      : ldexp(fraction, -24);
    return bits & 0x8000u ? -magnitude : magnitude;
}

void *storage_from(const double *values, size_t n, qkv_dtype dtype) {
    unsigned char *stored = test_alloc(n, qkv_dtype_size(dtype));
    for (size_t i = 0; i < n; i++) {
        float f = (float)nearest(values[i], dtype);
        uint32_t bits;
        memcpy(&bits, &f, sizeof bits);
        uint16_t half = dtype == QKV_F16 ? f16_bits((double)f) : (uint16_t)(bits >> 16);
        if (dtype == QKV_F32)
            memcpy(stored + i * sizeof f, &f, sizeof f);
        else
            memcpy(stored + i * sizeof half, &half, sizeof half);
    }
    return stored;
}

double *storage_values(const void *stored, size_t n, qkv_dtype dtype) {
    double *values = test_alloc(n, sizeof *values);
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = 0;
        uint16_t half = 0;
        float f;
        if (dtype == QKV_F32)
            memcpy(&bits, (const unsigned char *)stored + i * sizeof bits, sizeof bits);
        else
            memcpy(&half, (const unsigned char *)stored + i * sizeof half, sizeof half);
        if (dtype == QKV_BF16) bits = (uint32_t)half << 16;
        memcpy(&f, &bits, sizeof f);
        values[i] = dtype == QKV_F16 ? f16_value(half) : (double)f;
    }
    return values;
}
