#include "support/compare.h"

#include <math.h>

static bool close_enough(double got, double expected, double bound) {
    if (isnan(expected)) return isnan(got);
    if (isnan(bound)) return true;
    if (isinf(expected)) return got == expected;
    return isfinite(got) && fabs(got - expected) <= bound;
}

void test_compare(const char *what, const float *got, const double *expected, const double *bound, size_t n,
                  const char *file, int line) {
    size_t wrong = 0, first = 0;
    for (size_t i = 0; i < n; i++)
        if (!close_enough((double)got[i], expected[i], bound[i]) && wrong++ == 0) first = i;
    if (wrong)
        test_fail(file, line, "%s: %zu of %zu wrong, first at %zu: got %.9g, expected %.9g, bound %.3g", what, wrong, n,
                  first, (double)got[first], expected[first], bound[first]);
}
