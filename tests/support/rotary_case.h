/* One rotary embedding: random x, positions and angles in random views and dtypes, run, and compared with the reference. */
#ifndef TEST_ROTARY_CASE_H
#define TEST_ROTARY_CASE_H

#include "support/buffers.h"

enum rotary_positions { POSITIONS_FIRST, POSITIONS_I32, POSITIONS_I64 };
enum rotary_angles {
    ANGLES_PLAN,   /* the plan's */
    ANGLES_ROWS,   /* cos, sin (rows, pairs) */
    ANGLES_SHARED, /* (1, seq, pairs), without positions */
    ANGLES_TOKENS  /* (batch, seq, pairs), without positions */
};

struct rotary_case {
    size_t batch, num_heads, seq, head_dim, rotary_dim;
    bool interleaved;
    double base, position_scale, magnitude; /* 0 as in the description */
    bool own_frequencies;
    size_t num_rows; /* max_position, or the rows of cos and sin */
    enum rotary_positions positions;
    size_t positions_shape; /* 0: (batch, seq), 1: (1, seq), 2: (seq) */
    int64_t first_position;
    enum rotary_angles angles;
    qkv_dtype x, out, cos, sin; /* 0: F32 */
    bool in_place, inverse, views, tokens_first;
    bool outside; /* some positions are none of the table's */
};

void rotary_note(const struct rotary_case *c, const char *solver, size_t number);
/* NULL after a counted skip. */
qkv_rotary *rotary_make(const struct rotary_case *c, const double *frequencies, const char *solver);
/* (rotary_dim / 2), malloc'ed; what the description's base means, or numbers of the case's own. */
double *rotary_frequencies(const struct rotary_case *c);
/* A plan of its own for one case and solver: run once, every result and guard band compared. */
void rotary_check_case(const struct rotary_case *c, const char *solver, size_t number);

#endif
