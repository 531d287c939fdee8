#include "core.h"

#include <string.h>

/* No struct of this library will ever be larger; an uninitialised struct_size is. */
#define MOST 4096

/*
 * A struct grows at its end from version to version. A caller compiled with an older header gives a shorter one (what it
 * lacks is zero: off); one compiled with a newer header a longer one, whose tail must be off too.
 */
qkv_status qkvi_struct_read(void *out, size_t size, const void *in, const char *name) {
    if (!in) return qkvi_fail(QKV_INVALID_ARGUMENT, "%s is NULL", name);
    size_t given;
    memcpy(&given, in, sizeof given);
    if (given < sizeof(size_t) + sizeof(void *) || given > MOST)
        return qkvi_fail(QKV_INVALID_ARGUMENT,
                         "%s.struct_size is %zu: set the struct up with its INIT macro (%zu bytes in this version)",
                         name, given, size);
    const unsigned char *bytes = in;
    for (size_t i = size; i < given; i++)
        if (bytes[i] != 0)
            return qkvi_fail(QKV_UNSUPPORTED,
                             "%s.struct_size is %zu and byte %zu is not zero: a field this version (%s, %zu bytes) "
                             "does not know",
                             name, given, i, QKV_VERSION_STRING, size);
    memset(out, 0, size);
    memcpy(out, in, given < size ? given : size);
    memcpy(out, &size, sizeof size);
    return QKV_OK;
}
