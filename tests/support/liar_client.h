/* The liar of liar/liar.h in the test's own process. */
#ifndef TEST_LIAR_CLIENT_H
#define TEST_LIAR_CLIENT_H

#include "liar/liar.h"
#include "support/sweep.h"

/* To be called first in main(), before any OpenCL call: loaders read their environment once. The layer lies beside the
 * program. */
void liar_place(const char *program);
/* The layer, silent and deaf at first; NULL after a counted skip where the loader has none. */
const struct liar_interface *liar_meet(void);
/* Fails the calls of a sweep. Only after liar_meet(). */
extern const struct saboteur liar_saboteur;
/* Only calls made meanwhile count, as IN_LIBRARY of interpose.h. */
void liar_step(int more);
/* printf-style lies; ones that are not understood fail the test. */
void liar_tell(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
