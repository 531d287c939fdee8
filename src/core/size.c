#include "core.h"

bool qkvi_add(size_t *out, size_t a, size_t b) {
    if (a > SIZE_MAX - b) return false;
    *out = a + b;
    return true;
}

bool qkvi_mul(size_t *out, size_t a, size_t b) {
    if (b != 0 && a > SIZE_MAX / b) return false;
    *out = a * b;
    return true;
}

bool qkvi_product(size_t *out, const size_t *sizes, size_t n) {
    size_t product = 1;
    bool zero = false, fits = true;
    for (size_t i = 0; i < n; i++) {
        zero = zero || sizes[i] == 0;
        fits = fits && qkvi_mul(&product, product, sizes[i]);
    }
    if (!fits && !zero) return false;
    *out = zero ? 0 : product;
    return true;
}

size_t qkvi_div_up(size_t a, size_t b) {
    return a / b + (a % b != 0);
}

size_t qkvi_round_up(size_t a, size_t b) {
    size_t rounded;
    return qkvi_mul(&rounded, qkvi_div_up(a, b), b) ? rounded : SIZE_MAX;
}

size_t qkvi_between(size_t value, size_t low, size_t high) {
    return value < low ? low : value > high ? high : value;
}

size_t qkvi_doubled(size_t low, size_t size) {
    while (low < size)
        low *= 2;
    return low;
}
