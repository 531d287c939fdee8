/* Random inputs that need not be stored. */
#include "bench.h"

#include <math.h>
#include <stdlib.h>

/* "lowbias32" of hash-prospector: a bijection of 32-bit words. */
static uint32_t mix(uint32_t x)
{
    x ^= x >> 16;
    x *= UINT32_C(0x7feb352d);
    x ^= x >> 15;
    x *= UINT32_C(0x846ca68b);
    x ^= x >> 16;
    return x;
}

float bench_value(enum bench_seed seed, size_t index)
{
    uint32_t bits = mix((uint32_t)index ^ mix((uint32_t)seed));
    return (float)(bits >> 8) * 0x1p-23f - 1.0f;
}

float *bench_values(enum bench_seed seed, size_t first, size_t count, float scale)
{
    float *values = malloc((count ? count : 1) * sizeof *values);
    for (size_t i = 0; values && i < count; ++i) {
        values[i] = bench_value(seed, first + i) * scale;
    }
    return values;
}

float bench_half_value(float value)
{
    int exponent = 0;
    (void)frexpf(value, &exponent);
    float unit = ldexpf(1.0f, exponent < -13 ? -24 : exponent - 11);
    return rintf(value / unit) * unit;
}

uint16_t bench_half_bits(float value)
{
    float size = fabsf(bench_half_value(value));
    int exponent = 0;
    float fraction = frexpf(size, &exponent);
    unsigned bits = exponent < -13 ? (unsigned)ldexpf(size, 24)
                                   : ((unsigned)(exponent + 14) << 10) + (unsigned)(fraction * 2048.0f) - 1024u;
    return (uint16_t)(bits | (value < 0 ? 0x8000u : 0u));
}

float bench_weight_scale(size_t in_features)
{
    return (float)(1.0 / sqrt((double)in_features));
}
