/* Version: semantic versioning, https://semver.org. */
#ifndef QKV_VERSION_H
#define QKV_VERSION_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

#define QKV_VERSION_MAJOR 0
#define QKV_VERSION_MINOR 1
#define QKV_VERSION_PATCH 0
#define QKV_VERSION_STRING "0.1.0"

/* The version of the library that is running, which may differ from the
 * QKV_VERSION_* macros the application was compiled with. Static text. */
QKV_API const char *qkv_version_string(void);

/* major * 1000000 + minor * 1000 + patch of the running library. */
QKV_API unsigned qkv_version_number(void);

#ifdef __cplusplus
}
#endif

#endif
