/* Status codes, error messages, log callback. */
#ifndef QKV_STATUS_H
#define QKV_STATUS_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One list: the enum, qkv_status_name() and qkv_status_text() come from it. */
#define QKV_STATUS_LIST(X)                                                           \
    X(QKV_OK, 0, "success")                                                          \
    X(QKV_INVALID_ARGUMENT, 1, "an argument is missing or has a value it cannot have") \
    X(QKV_INVALID_SHAPE, 2, "a tensor's rank, shape or stride does not fit")         \
    X(QKV_INVALID_DTYPE, 3, "a tensor's dtype does not fit")                         \
    X(QKV_OUT_OF_BOUNDS, 4, "a tensor reaches outside its buffer")                   \
    X(QKV_OVERLAP, 5, "an output shares elements with another argument")             \
    X(QKV_OVERFLOW, 6, "a size is larger than can be represented")                   \
    X(QKV_WRONG_CONTEXT, 7, "an object belongs to another OpenCL context or device") \
    X(QKV_UNSUPPORTED, 8, "valid, but not supported by this library or device")      \
    X(QKV_NO_DEVICE, 9, "no OpenCL device fits the selector")                        \
    X(QKV_AMBIGUOUS_DEVICE, 10, "several OpenCL devices fit the selector")           \
    X(QKV_OUT_OF_MEMORY, 11, "host memory is exhausted")                             \
    X(QKV_OUT_OF_DEVICE_MEMORY, 12, "device memory is exhausted or an allocation too large") \
    X(QKV_BUILD_FAILED, 13, "a kernel did not compile on this device")               \
    X(QKV_SELF_TEST_FAILED, 14, "a kernel computes wrong results on this device")    \
    X(QKV_DEVICE_LOST, 15, "the device or its context is lost")                      \
    X(QKV_OPENCL_ERROR, 16, "an OpenCL call failed")

typedef enum qkv_status {
#define QKV_STATUS_ENUM(name, value, text) name = value,
    QKV_STATUS_LIST(QKV_STATUS_ENUM)
#undef QKV_STATUS_ENUM
    QKV_STATUS_FORCE_INT = 0x7fffffff
} qkv_status;

/* "QKV_INVALID_SHAPE" for QKV_INVALID_SHAPE; "QKV_UNKNOWN" for a value not in the list.
 * Static text, never NULL. */
QKV_API const char *qkv_status_name(qkv_status status);

/* The list's one-line explanation of a status. Static text, never NULL. */
QKV_API const char *qkv_status_text(qkv_status status);

/*
 * What the last failing call on this thread said: the argument, what it was,
 * what was expected; for QKV_BUILD_FAILED the compiler's log too. Empty if no
 * call failed yet; a call that succeeds may leave the message of something it worked round. Thread-local; valid
 * until the next libqkv call on this thread. Never NULL.
 */
QKV_API const char *qkv_error_message(void);

typedef enum qkv_log_level {
    QKV_LOG_ERROR = 1,   /* no solver is left for what a call asks: it is about to fail */
    QKV_LOG_WARNING = 2, /* worked around, told once a context: a solver refused or quarantined, CLBlast replaced */
    QKV_LOG_INFO = 3,    /* decisions: which device, which solver and why */
    QKV_LOG_DEBUG = 4    /* builds and their options */
} qkv_log_level;

/*
 * Receives one message, without a trailing newline; `message` is valid during
 * the call only. May be called from any thread that uses the library, never
 * with one of its locks held. It must not call back into the library.
 */
typedef void (*qkv_log_function)(void *user, qkv_log_level level, const char *message);

#ifdef __cplusplus
}
#endif

#endif
