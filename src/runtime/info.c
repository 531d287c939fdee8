#include "runtime.h"

#include <stdlib.h>
#include <string.h>

/* Longer than any text of a driver's; a size beyond it is not to be believed. */
#define MAX_TEXT ((size_t)1 << 20)

/* Some drivers pad names with blanks on either side. */
static void trim(char *text) {
    size_t begin = strspn(text, " \t\n");
    size_t length = strlen(text + begin);
    memmove(text, text + begin, length + 1);
    while (length > 0 && strchr(" \t\n", text[length - 1]))
        text[--length] = '\0';
}

char *qkvi_device_text(cl_device_id device, cl_device_info name) {
    size_t bytes = 0;
    if (clGetDeviceInfo(device, name, 0, NULL, &bytes) != CL_SUCCESS || bytes == 0 || bytes > MAX_TEXT)
        return qkvi_strdup("");
    char *text = calloc(bytes + 1, 1);
    if (text && clGetDeviceInfo(device, name, bytes, text, NULL) != CL_SUCCESS) text[0] = '\0';
    if (text) trim(text);
    return text;
}

char *qkvi_platform_text(cl_platform_id platform, cl_platform_info name) {
    size_t bytes = 0;
    if (clGetPlatformInfo(platform, name, 0, NULL, &bytes) != CL_SUCCESS || bytes == 0 || bytes > MAX_TEXT)
        return qkvi_strdup("");
    char *text = calloc(bytes + 1, 1);
    if (text && clGetPlatformInfo(platform, name, bytes, text, NULL) != CL_SUCCESS) text[0] = '\0';
    if (text) trim(text);
    return text;
}

/* The driver's own answer to "how large" tells a cl_uint from a cl_ulong on either byte order. */
uint64_t qkvi_device_number(cl_device_id device, cl_device_info name) {
    size_t bytes = 0;
    uint32_t small = 0;
    uint64_t large = 0;
    if (clGetDeviceInfo(device, name, 0, NULL, &bytes) != CL_SUCCESS) return 0;
    if (bytes == sizeof small) return clGetDeviceInfo(device, name, bytes, &small, NULL) == CL_SUCCESS ? small : 0;
    if (bytes == sizeof large) return clGetDeviceInfo(device, name, bytes, &large, NULL) == CL_SUCCESS ? large : 0;
    return 0;
}
