#include "api/internal.h"

qkv_status qkv_context_self_test(qkv_context *context, qkv_self_test_function function, void *user) {
    if (!context) return qkvi_fail(QKV_INVALID_ARGUMENT, "context is NULL");
    return qkvi_selftest_all(&context->programs, function, user);
}
