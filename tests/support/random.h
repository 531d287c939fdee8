/* Seeded pseudo-random numbers: the same seed gives the same cases on every machine. */
#ifndef TEST_RANDOM_H
#define TEST_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct test_random {
    uint64_t state;
};

/* A generator of its own for each (seed, stream): a case does not depend on how many ran before it. */
struct test_random test_random_start(uint64_t seed, uint64_t stream);
uint64_t test_random_bits(struct test_random *random);
/* 0 .. n-1; n is at least 1. */
size_t test_random_below(struct test_random *random, size_t n);
/* low .. high, both included. */
size_t test_random_between(struct test_random *random, size_t low, size_t high);
/* true once in n. */
bool test_random_once_in(struct test_random *random, size_t n);
/* Uniform in [-1, 1). */
float test_random_float(struct test_random *random);
/* n floats, uniform in [-magnitude, magnitude), malloc'ed. */
float *test_random_floats(struct test_random *random, size_t n, float magnitude);
/* One of the sizes that break tiles (1, primes, one off 16, 32, 48, 64, 128), at most `cap`. */
size_t test_random_size(struct test_random *random, size_t cap);

#endif
