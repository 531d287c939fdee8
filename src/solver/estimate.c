#include "solver/solver.h"

/*
 * What runs on each kind of device, whatever the operation: on CPUs vectors, then tiles, then one work-item an element;
 * elsewhere vectors come last, for work-groups of one work-item leave a GPU's lanes idle and cost its compiler most.
 */
double qkvi_estimate_plain(const struct qkvi_problem *problem, const struct qkvi_limits *limits) {
    (void)problem;
    (void)limits;
    return 1000;
}

double qkvi_estimate_vector(const struct qkvi_problem *problem, const struct qkvi_limits *limits) {
    (void)problem;
    return limits->cpu ? 1 : 2000;
}

double qkvi_estimate_tile(const struct qkvi_problem *problem, const struct qkvi_limits *limits) {
    (void)problem;
    return limits->gpu ? 0.5 : 50;
}
