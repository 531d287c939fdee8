/* The library's own probe. */
#include "../../cl/probe.cl"
