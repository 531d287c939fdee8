/* One layer on host data, with the liar at work: what became of it. */
#ifndef TEST_LIE_CASE_H
#define TEST_LIE_CASE_H

#include "support/layer_case.h"
#include "support/liar_client.h"

/* How a kernel is lied about, followed by "=", its name and `how`, and what is told of a solver that has no other kernel. */
struct lie_way {
    const char *lie, *how;
    qkv_status status;
    const char *word; /* in the reason */
};
#define LIE_WAYS 6
extern const struct lie_way lie_ways[LIE_WAYS];

/* Heads wide enough for every regime of every solver. */
struct problem {
    struct layer_case c;
    size_t max_seq; /* that plans are made for, where it is more than the run has */
    float *weights; /* NULL: not asked for */
    struct layer_data data;
    struct layer_reference reference;
};
void problem_open(struct problem *p); /* ends all lies; so does closing it */
void problem_close(struct problem *p);
/* On host data, with its result compared. */
qkv_status problem_run(const struct problem *p, qkv_context *context);

struct outcome {
    qkv_status status;
    char solvers[2][16]; /* of linear layers and attention; "" without a result */
    char message[8192];
    char log[16384]; /* warnings and errors */
};
/* Creates a context and a layer, runs it, compares, destroys all, and fails the test if anything is left. */
void try_layer(struct outcome *out, const struct problem *p, const char *solver);

#endif
