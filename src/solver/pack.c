#include "solver/solver.h"

cl_long8 qkvi_matrix_pack(const struct qkvi_matrix *m) {
    return (cl_long8){{m->offset, m->row_inner, m->row_outer_stride, m->row_stride, m->col_inner, m->col_outer_stride,
                       m->col_stride, 0}};
}

cl_long8 qkvi_view4_pack(const struct qkvi_view4 *v) {
    return (cl_long8){{v->offset, v->stride[0], v->stride[1], v->stride[2], v->stride[3], 0, 0, 0}};
}
