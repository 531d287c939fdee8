#include "colour.h"

#include <math.h>
#include <stddef.h>

/* Ten evenly spaced points of viridis (S. van der Walt and N. Smith, matplotlib, CC0). */
static const uint8_t viridis[][3] = {
    {0x44, 0x01, 0x54}, {0x48, 0x28, 0x78}, {0x3E, 0x49, 0x89}, {0x31, 0x68, 0x8E}, {0x26, 0x82, 0x8E},
    {0x1F, 0x9E, 0x89}, {0x35, 0xB7, 0x79}, {0x6D, 0xCD, 0x59}, {0xB4, 0xDE, 0x2C}, {0xFD, 0xE7, 0x25},
};
enum { INTERVALS = sizeof viridis / sizeof viridis[0] - 1 };

uint32_t attend_colour(float part) {
    if (isnan(part)) return 0x808080;
    const float at = fminf(1.0f, fmaxf(0.0f, part)) * INTERVALS;
    const size_t low = at >= INTERVALS ? INTERVALS - 1 : (size_t)at;
    const float rest = at - (float)low;
    uint32_t colour = 0;
    for (int channel = 0; channel < 3; channel++) {
        const float mixed = (float)viridis[low][channel] * (1.0f - rest) + (float)viridis[low + 1][channel] * rest;
        colour = colour << 8 | (uint32_t)lroundf(mixed);
    }
    return colour;
}

bool attend_colour_is_dark(float part) {
    return isnan(part) || part < 0.6f;
}
