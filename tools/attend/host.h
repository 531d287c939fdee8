/* The parts of an encoder that are neither projection nor attention; they run on the host. */
#ifndef ATTEND_HOST_H
#define ATTEND_HOST_H

#include "config.h"

/*
 * x (rows, features) = layer_norm(x + residual), in place (Ba, Kiros and Hinton 2016):
 * (x - mean) / sqrt(variance + epsilon) * gain + bias over each row. residual may be NULL.
 */
void attend_add_norm(float *x, const float *residual, size_t rows, size_t features, const float *gain,
                     const float *bias, double epsilon);

void attend_activate(float *x, size_t count, attend_activation activation);

/* out (features) = the mean of x's rows, scaled to length 1. */
void attend_mean_pool(float *out, const float *x, size_t rows, size_t features);

/* out (rows, columns) = the mean of `count` matrices of that size that follow each other. */
void attend_mean_matrix(float *out, const float *matrices, size_t count, size_t rows, size_t columns);

#endif
