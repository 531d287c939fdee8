#include "runtime.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/*
 * QKV_LIMITS lowers what the library believes of a device, so that small devices can be tried on a large one: a
 * comma-separated list of group=N (work-items), rows=N (of them along the second axis), local=BYTES,
 * allocation=BYTES, arguments=BYTES, private=BYTES, width=4|8|16, or one of these names.
 */
struct profile {
    const char *name, *limits;
};
static const struct profile profiles[] = {
    {"group-1", "group=1"},
    {"group-64", "group=64"},
    {"local-8k", "local=8192"},
    {"allocation-16m", "allocation=16777216"},
    {"small", "group=64,local=8192,allocation=16777216,private=99328,width=4"},
    /* Apple's CPU device: kernels with barriers get work-groups of one item. */
    {"apple-cpu", "group=1,rows=1,local=32768,private=65536,width=4"},
};

/* Lanes the vector kernels use. Drivers that do not know (0, or 1 for "scalarised by us") get 8, which AVX2 has and
 * 128-bit machines split in two. */
static uint32_t vector_width(const qkv_device_info *info) {
    uint32_t width = info->native_float_width;
    return width >= 16 ? 16 : width >= 8 || width <= 1 ? 8 : 4;
}

static void lower(size_t *limit, unsigned long long value) {
    if (value < *limit) *limit = (size_t)value;
}

/* Along the first axis a group may be allowed fewer items than it has altogether. Apple's CPU device, for one, takes
 * groups along that axis only. */
static void read_group(struct qkvi_limits *limits, const qkv_device_info *info) {
    size_t sizes[16] = {0};
    cl_int error = clGetDeviceInfo(info->device_id, CL_DEVICE_MAX_WORK_ITEM_SIZES, sizeof sizes, sizes, NULL);
    limits->max_work_group_size = info->max_work_group_size ? (size_t)info->max_work_group_size : 1;
    limits->max_group_rows = error == CL_SUCCESS && sizes[1] ? sizes[1] : 1;
    if (error == CL_SUCCESS && sizes[0]) lower(&limits->max_work_group_size, sizes[0]);
}

/* No device may have less than this, but those of the embedded profile, which say so. */
#define LEAST_ARGUMENTS 1024

static size_t argument_bytes(const qkv_device_info *info) {
    size_t bytes = 0;
    cl_int error = clGetDeviceInfo(info->device_id, CL_DEVICE_MAX_PARAMETER_SIZE, sizeof bytes, &bytes, NULL);
    return error == CL_SUCCESS && bytes ? bytes : LEAST_ARGUMENTS;
}

/*
 * CPU drivers keep a work-item's arrays on the stack of one of their threads, and a stack that overflows ends the process.
 * Threads get what the system gives where nobody asks for more: 8 MiB as a rule with glibc (`ulimit -s`), 512 KiB on macOS,
 * 128 KiB with musl. Three quarters of it are for arrays: 97 of 128 KiB, which 64 queries of 128 dims take with 128 keys a
 * block. The rest is for registers, functions that are called and what the driver keeps there.
 */
#define LEAST_STACK ((size_t)128 << 10)
#define ARRAYS_OF_STACK(bytes) ((bytes) / 128 * 97)

static size_t private_bytes(void) {
    pthread_attr_t attributes;
    size_t stack = 0;
    if (pthread_attr_init(&attributes) == 0) {
        if (pthread_attr_getstacksize(&attributes, &stack) != 0) stack = 0;
        (void)pthread_attr_destroy(&attributes);
    }
    return ARRAYS_OF_STACK(stack < LEAST_STACK ? LEAST_STACK : stack);
}

static bool apply(struct qkvi_limits *limits, const char *item, size_t length) {
    const char *equals = memchr(item, '=', length);
    char *end;
    if (!equals) return false;
    errno = 0;
    unsigned long long value = strtoull(equals + 1, &end, 10);
    if (errno || end != item + length || value == 0) return false;
    size_t key = (size_t)(equals - item);
    if (key == 5 && !strncmp(item, "group", key))
        lower(&limits->max_work_group_size, value);
    else if (key == 4 && !strncmp(item, "rows", key))
        lower(&limits->max_group_rows, value);
    else if (key == 5 && !strncmp(item, "local", key))
        lower(&limits->local_memory, value);
    else if (key == 10 && !strncmp(item, "allocation", key))
        lower(&limits->max_allocation, value);
    else if (key == 9 && !strncmp(item, "arguments", key))
        lower(&limits->max_arguments, value);
    else if (key == 7 && !strncmp(item, "private", key))
        lower(&limits->private_bytes, value);
    else if (key == 5 && !strncmp(item, "width", key) && (value == 4 || value == 8 || value == 16))
        limits->vector_width = (uint32_t)value;
    else
        return false;
    return true;
}

static qkv_status apply_list(struct qkvi_limits *limits, const char *variable, const char *text) {
    for (const char *item = text; *item;) {
        size_t length = strcspn(item, ",");
        if (!apply(limits, item, length))
            return qkvi_fail(QKV_INVALID_ARGUMENT,
                             "environment variable %s: \"%.*s\" is not group=N, rows=N, local=BYTES, allocation=BYTES, "
                             "arguments=BYTES, private=BYTES or width=4|8|16",
                             variable, (int)length, item);
        item += length + (item[length] == ',');
    }
    return QKV_OK;
}

qkv_status qkvi_limits_read(struct qkvi_limits *limits, const qkv_device_info *info) {
    *limits = (struct qkvi_limits){
        .local_memory = (size_t)info->local_memory,
        /* 0: the driver did not say; then clCreateBuffer decides. */
        .max_allocation =
            info->max_allocation == 0 || info->max_allocation > SIZE_MAX ? SIZE_MAX : (size_t)info->max_allocation,
        .max_arguments = argument_bytes(info),
        .private_bytes = private_bytes(),
        .max_iterations = SIZE_MAX,
        .compute_units = info->compute_units ? info->compute_units : 1,
        .vector_width = vector_width(info),
        /* A software GPU runs on a CPU too, but its compiler is a GPU's: explicit vectors gain nothing there. */
        .cpu = info->kind == QKV_DEVICE_CPU || info->kind == QKV_DEVICE_SIMULATOR,
        .gpu = info->kind == QKV_DEVICE_GPU,
        .simulator = info->kind == QKV_DEVICE_SIMULATOR,
    };
    read_group(limits, info);
    const char *width = getenv("QKV_VECTOR_WIDTH");
    if (width && *width) {
        struct qkvi_text text = {0};
        qkvi_text_add(&text, "width=%s", width);
        qkv_status status = apply_list(limits, "QKV_VECTOR_WIDTH", qkvi_text_get(&text));
        qkvi_text_free(&text);
        if (status) return status;
    }
    const char *given = getenv("QKV_LIMITS");
    if (!given || !*given) return QKV_OK;
    for (size_t i = 0; i < QKVI_COUNT(profiles); i++)
        if (!strcmp(given, profiles[i].name)) return apply_list(limits, "QKV_LIMITS", profiles[i].limits);
    return apply_list(limits, "QKV_LIMITS", given);
}
