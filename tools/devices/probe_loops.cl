/* The library's own probe. */
#include "../../cl/probe_loops.cl"
