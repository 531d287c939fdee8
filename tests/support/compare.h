/* Elementwise comparison with a double-precision reference and its bound. */
#ifndef TEST_COMPARE_H
#define TEST_COMPARE_H

#include "support/fixture.h"

/*
 * |got - expected| <= bound for every element. Where the reference is NaN or infinite, `got` is the same;
 * a bound of NaN leaves the element unchecked. `what` names the result in the message.
 */
#define TEST_CLOSE(what, got, expected, bound, n)                                                                      \
    test_compare((what), (got), (expected), (bound), (n), __FILE__, __LINE__)
void test_compare(const char *what, const float *got, const double *expected, const double *bound, size_t n,
                  const char *file, int line);

#endif
