#include "host.h"

#include <math.h>

static void norm_row(float *x, size_t features, const float *gain, const float *bias, double epsilon) {
    double sum = 0.0, squares = 0.0;
    for (size_t i = 0; i < features; i++)
        sum += (double)x[i];
    const double mean = sum / (double)features;
    for (size_t i = 0; i < features; i++)
        squares += ((double)x[i] - mean) * ((double)x[i] - mean);
    const double scale = 1.0 / sqrt(squares / (double)features + epsilon);
    for (size_t i = 0; i < features; i++)
        x[i] = (float)(((double)x[i] - mean) * scale * (double)gain[i] + (double)bias[i]);
}

void attend_add_norm(float *x, const float *residual, size_t rows, size_t features, const float *gain,
                     const float *bias, double epsilon) {
    if (residual != NULL)
        for (size_t i = 0; i < rows * features; i++)
            x[i] += residual[i];
    for (size_t row = 0; row < rows; row++)
        norm_row(x + row * features, features, gain, bias, epsilon);
}

void attend_activate(float *x, size_t count, attend_activation activation) {
    const float root_half = 0.70710678118654752f, root_two_over_pi = 0.79788456080286536f;
    switch (activation) {
    case ATTEND_GELU:
        for (size_t i = 0; i < count; i++)
            x[i] = 0.5f * x[i] * (1.0f + erff(x[i] * root_half));
        break;
    case ATTEND_GELU_TANH:
        for (size_t i = 0; i < count; i++)
            x[i] = 0.5f * x[i] * (1.0f + tanhf(root_two_over_pi * (x[i] + 0.044715f * x[i] * x[i] * x[i])));
        break;
    case ATTEND_RELU:
        for (size_t i = 0; i < count; i++)
            x[i] = x[i] < 0.0f ? 0.0f : x[i];
        break;
    }
}

void attend_mean_pool(float *out, const float *x, size_t rows, size_t features) {
    double squares = 0.0;
    for (size_t i = 0; i < features; i++) {
        double sum = 0.0;
        for (size_t row = 0; row < rows; row++)
            sum += (double)x[row * features + i];
        const double mean = sum / (double)rows;
        squares += mean * mean;
        out[i] = (float)mean;
    }
    const double length = sqrt(squares);
    for (size_t i = 0; i < features && length > 0.0; i++)
        out[i] = (float)((double)out[i] / length);
}

void attend_mean_matrix(float *out, const float *matrices, size_t count, size_t rows, size_t columns) {
    const size_t size = rows * columns;
    for (size_t i = 0; i < size; i++) {
        double sum = 0.0;
        for (size_t matrix = 0; matrix < count; matrix++)
            sum += (double)matrices[matrix * size + i];
        out[i] = (float)(sum / (double)count);
    }
}
