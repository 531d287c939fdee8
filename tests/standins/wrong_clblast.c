/* Stands in for CLBlast in tests/test_clblast.c: answers "success" and computes nothing. */
#include "qkv/base.h"

int CLBlastSgemm(int layout, int a_transpose, int b_transpose, size_t m, size_t n, size_t k, float alpha, cl_mem a,
                 size_t a_offset, size_t a_ld, cl_mem b, size_t b_offset, size_t b_ld, float beta, cl_mem c,
                 size_t c_offset, size_t c_ld, cl_command_queue *queue, cl_event *event);

int CLBlastSgemm(int layout, int a_transpose, int b_transpose, size_t m, size_t n, size_t k, float alpha, cl_mem a,
                 size_t a_offset, size_t a_ld, cl_mem b, size_t b_offset, size_t b_ld, float beta, cl_mem c,
                 size_t c_offset, size_t c_ld, cl_command_queue *queue, cl_event *event) {
    (void)layout, (void)a_transpose, (void)b_transpose, (void)m, (void)n, (void)k, (void)alpha, (void)a;
    (void)a_offset, (void)a_ld, (void)b, (void)b_offset, (void)b_ld, (void)beta, (void)c, (void)c_offset, (void)c_ld;
    return event ? clEnqueueMarkerWithWaitList(*queue, 0, NULL, event) : 0;
}
