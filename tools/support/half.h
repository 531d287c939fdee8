/* What 16 bits of storage stand for; exact. */
#ifndef TOOL_HALF_H
#define TOOL_HALF_H

#include <stdint.h>

float tool_from_f16(uint16_t bits);
float tool_from_bf16(uint16_t bits);

#endif
