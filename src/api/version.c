#include "qkv.h"

const char *qkv_version_string(void) {
    return QKV_VERSION_STRING;
}

unsigned qkv_version_number(void) {
    return QKV_VERSION_MAJOR * 1000000u + QKV_VERSION_MINOR * 1000u + QKV_VERSION_PATCH;
}
