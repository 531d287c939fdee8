#include "npy.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "../support/files.h"

enum { PREFIX_BYTES = 10, ALIGNMENT = 64 };

/* The whole header, padded so that the data starts at a multiple of 64; returns its length, 0 if the shape
 * has too many axes. */
static size_t format_header(char *out, size_t out_size, size_t rank, const size_t *shape) {
    char axes[128] = "";
    size_t end = 0;
    for (size_t i = 0; i < rank; i++) {
        /* One axis needs its comma to be a tuple. */
        end += (size_t)snprintf(axes + end, sizeof axes - end, "%s%zu%s", i == 0 ? "" : ", ", shape[i],
                                rank == 1 ? "," : "");
        if (end >= sizeof axes) return 0;
    }
    int length = snprintf(out + PREFIX_BYTES, out_size - PREFIX_BYTES,
                          "{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }", axes);
    size_t used = PREFIX_BYTES + (size_t)length + 1;
    size_t total = (used + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (length < 0 || total > out_size) return 0;
    memset(out + used - 1, ' ', total - used);
    out[total - 1] = '\n';
    size_t text = total - PREFIX_BYTES;
    memcpy(out, "\x93NUMPY\x01\x00", 8);
    out[8] = (char)(text & 0xff);
    out[9] = (char)(text >> 8);
    return total;
}

static void write_values(FILE *file, const float *values, size_t count) {
    unsigned char block[4096];
    size_t filled = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        for (int byte = 0; byte < 4; byte++)
            block[filled++] = (unsigned char)(bits >> (8 * byte));
        if (filled == sizeof block || i + 1 == count) {
            fwrite(block, 1, filled, file);
            filled = 0;
        }
    }
}

bool npy_write(const char *path, const float *values, size_t rank, const size_t *shape, tool_error *error) {
    char header[256];
    size_t count = 1, bytes = format_header(header, sizeof header, rank, shape);
    if (bytes == 0) return tool_fail(error, "%s: %zu axes are too many", path, rank);
    for (size_t i = 0; i < rank; i++)
        if (!tool_multiply(&count, count, shape[i])) return tool_fail(error, "%s: the shape overflows", path);
    tool_output output;
    if (!tool_output_open(&output, path, error)) return false;
    fwrite(header, 1, bytes, output.stream);
    write_values(output.stream, values, count);
    return tool_output_commit(&output, error);
}
