/* The regime of attention_vector.c for few query rows: dims along the vector lanes, keys split over work-groups. */
#ifndef QKVI_ATTENTION_VECTOR_DECODE_H
#define QKVI_ATTENTION_VECTOR_DECODE_H

#include "solver/solver.h"

struct qkvi_decode;

/* `width`: the device's lanes. *out is NULL where no run of the problem can use the regime. */
qkv_status qkvi_decode_create(struct qkvi_decode **out, struct qkvi_programs *programs,
                              const struct qkvi_attention_problem *problem, unsigned width);
void qkvi_decode_destroy(struct qkvi_decode *decode); /* NULL is allowed, as in all below */
/* Is this run for the regime? */
bool qkvi_decode_takes(const struct qkvi_decode *decode, const struct qkvi_attention_run *run);
qkv_status qkvi_decode_run(const struct qkvi_decode *decode, struct qkvi_chain *chain,
                           const struct qkvi_attention_run *run);
/* As struct qkvi_solver's. */
bool qkvi_decode_workspace(size_t *out_bytes, const struct qkvi_decode *decode);
void qkvi_decode_describe(const struct qkvi_decode *decode, struct qkvi_text *text);

#endif
