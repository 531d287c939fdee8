#include "support/random.h"

#include <stdlib.h>

#include "support/fixture.h"

/* splitmix64 (Steele, Lea, Flood 2014): any seed will do, and streams are independent enough for test data. */
uint64_t test_random_bits(struct test_random *random) {
    random->state += 0x9e3779b97f4a7c15u;
    uint64_t z = random->state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

struct test_random test_random_start(uint64_t seed, uint64_t stream) {
    struct test_random random = {seed};
    random.state = test_random_bits(&random) ^ (stream * 0xd1342543de82ef95u);
    return random;
}

size_t test_random_below(struct test_random *random, size_t n) {
    return (size_t)(test_random_bits(random) >> 11) % n;
}

size_t test_random_between(struct test_random *random, size_t low, size_t high) {
    return low + test_random_below(random, high - low + 1);
}

bool test_random_once_in(struct test_random *random, size_t n) {
    return test_random_below(random, n) == 0;
}

float test_random_float(struct test_random *random) {
    int32_t v = (int32_t)(test_random_bits(random) >> 40) - (1 << 23);
    return (float)v / (float)(1 << 23);
}

float *test_random_floats(struct test_random *random, size_t n, float magnitude) {
    float *values = test_alloc(n, sizeof(float));
    for (size_t i = 0; i < n; i++)
        values[i] = magnitude * test_random_float(random);
    return values;
}

size_t test_random_size(struct test_random *random, size_t cap) {
    static const size_t sizes[] = {1,  2,  3,  4,  5,  7,  8,  11, 13, 15, 16, 17, 19, 23,  31,  32, 33,
                                   37, 47, 48, 49, 53, 61, 63, 64, 65, 67, 79, 95, 97, 127, 128, 129};
    size_t n = 0;
    while (n < sizeof sizes / sizeof sizes[0] && sizes[n] <= cap)
        n++;
    return sizes[test_random_below(random, n ? n : 1)];
}
