/* How large tests may be on an implementation that nobody here has seen: from how fast it runs a small kernel. */
#ifndef TEST_SPEED_H
#define TEST_SPEED_H

#include "qkv.h"

/* Steps a second, a step being a multiplication and an addition that depend on the step before; the best of several
 * runs, compiling and the first launch left out. No more is measured than test_scale_of() needs to know. 0 where the
 * kernel cannot be run. */
double test_speed(cl_context context, cl_device_id device, cl_command_queue queue);

/* The scale for such a speed: 1 for what a slow CPU core reaches, in steps down to 0.05; 1 too where the speed is 0, not
 * known, since what cannot run a small kernel fails all tests soon enough. */
double test_scale_of(double speed);

#endif
