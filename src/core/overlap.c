#include "core.h"

/*
 * Two views share a byte iff the bounded linear equation sum(step_i * x_i) = distance, 0 <= x_i <= limit_i, has a
 * solution; its terms are the axes of both views, those of one with the sign turned, and the bytes of an element of
 * each. Depth-first over the steps from large to small, cut where the rest cannot reach the target, settles the
 * layouts people build in a few steps (compare numpy.shares_memory). The budget bounds the others.
 */
#define MAX_TERMS (2 * (QKV_MAX_RANK + 1))
#define BUDGET 20000

struct term {
    int64_t step;  /* > 0 */
    int64_t limit; /* > 0 */
};

struct search {
    struct term terms[MAX_TERMS];
    int64_t reach[MAX_TERMS + 1]; /* the most that terms i.. can add up to */
    int n;
    int budget;
};

static void add_term(struct search *s, int64_t step, int64_t limit, int64_t *target) {
    if (limit <= 0 || step == 0) return;
    if (step < 0) {
        *target -= step * limit;
        step = -step;
    }
    for (int i = 0; i < s->n; i++)
        if (s->terms[i].step == step) {
            s->terms[i].limit += limit;
            return;
        }
    int at = s->n++;
    while (at > 0 && s->terms[at - 1].step < step) {
        s->terms[at] = s->terms[at - 1];
        at--;
    }
    s->terms[at] = (struct term){step, limit};
}

/* Both directions of substitution keep 0 <= x <= limit: -step * x with x = limit - x'. */
static void add_axes(struct search *s, const qkv_tensor *t, int sign, int64_t *target) {
    int64_t size = (int64_t)qkv_dtype_size((qkv_dtype)t->dtype);
    for (uint32_t i = 0; i < t->rank; i++)
        add_term(s, sign * t->stride[i] * size, (int64_t)t->shape[i] - 1, target);
    add_term(s, sign, size - 1, target);
}

static bool solve(struct search *s, int at, int64_t target) {
    if (target < 0 || target > s->reach[at]) return false;
    if (at == s->n) return target == 0;
    if (--s->budget < 0) return true;
    int64_t step = s->terms[at].step;
    int64_t most = target / step;
    if (most > s->terms[at].limit) most = s->terms[at].limit;
    int64_t excess = target - s->reach[at + 1];
    int64_t least = excess > 0 ? (excess + step - 1) / step : 0;
    for (int64_t x = most; x >= least; x--)
        if (solve(s, at + 1, target - x * step)) return true;
    return false;
}

bool qkvi_view_overlap(const qkv_tensor *a, const qkv_tensor *b) {
    if (a->memory.buffer != b->memory.buffer) return false;
    int64_t a_low, a_high, b_low, b_high;
    if (!qkvi_view_extent(a, &a_low, &a_high) || !qkvi_view_extent(b, &b_low, &b_high)) return false;
    int64_t a_size = (int64_t)qkv_dtype_size((qkv_dtype)a->dtype),
            b_size = (int64_t)qkv_dtype_size((qkv_dtype)b->dtype);
    if ((a_high + 1) * a_size <= b_low * b_size || (b_high + 1) * b_size <= a_low * a_size) return false;

    struct search s = {.n = 0, .budget = BUDGET};
    int64_t target = (int64_t)b->offset * b_size - (int64_t)a->offset * a_size;
    add_axes(&s, a, 1, &target);
    add_axes(&s, b, -1, &target);
    s.reach[s.n] = 0;
    for (int i = s.n - 1; i >= 0; i--)
        s.reach[i] = s.reach[i + 1] + s.terms[i].step * s.terms[i].limit;
    return solve(&s, 0, target);
}
