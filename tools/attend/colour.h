/* A sequential, perceptually uniform colour scale. */
#ifndef ATTEND_COLOUR_H
#define ATTEND_COLOUR_H

#include <stdbool.h>
#include <stdint.h>

/* 0xRRGGBB for a part of the scale, 0 to 1; grey for NaN. */
uint32_t attend_colour(float part);

/* Whether white ink reads better on it than black. */
bool attend_colour_is_dark(float part);

#endif
