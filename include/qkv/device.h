/* Which OpenCL devices there are, which one "auto" takes, and why. */
#ifndef QKV_DEVICE_H
#define QKV_DEVICE_H

#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a device really is; drivers' type bits alone do not tell. In the order
 * in which "auto" prefers them. */
typedef enum qkv_device_kind {
    QKV_DEVICE_GPU = 1,
    QKV_DEVICE_CPU = 2,
    QKV_DEVICE_ACCELERATOR = 3,
    QKV_DEVICE_SOFTWARE_GPU = 4, /* a graphics driver drawing on the CPU: llvmpipe, softpipe, swrast */
    QKV_DEVICE_SIMULATOR = 5     /* Oclgrind: reports every type at once */
} qkv_device_kind;

/* Texts live as long as the list they come from. */
typedef struct qkv_platform_info {
    size_t struct_size;
    const char *name;
    const char *vendor;
    const char *version;
    size_t num_devices;
    const char *note; /* empty, or why the platform shows no device */
} qkv_platform_info;

typedef struct qkv_device_info {
    size_t struct_size;
    const char *selector; /* "P:D", platform and device index: names exactly this device here */
    const char *name;
    const char *vendor;
    const char *platform_name;
    const char *device_version; /* "OpenCL 3.0 ..." */
    const char *opencl_c_version;
    const char *driver_version;
    qkv_device_kind kind;
    uint64_t type;              /* the driver's CL_DEVICE_TYPE bits */
    uint32_t compute_units;
    uint32_t clock_mhz;
    uint64_t global_memory;     /* bytes */
    uint64_t max_allocation;    /* bytes */
    uint64_t local_memory;      /* bytes */
    uint64_t max_work_group_size;
    uint32_t native_float_width; /* lanes of the device's own float vectors, 0 if it says nothing */
    int usable;                 /* 1: the library can work on it */
    int is_auto;                /* 1: the one "auto" takes */
    const char *reason;         /* why it is the one, is not, or cannot be used; "" for a wrapped context */
    cl_platform_id platform_id;
    cl_device_id device_id;
} qkv_device_info;

typedef struct qkv_device_list qkv_device_list;

/*
 * Asks every platform for its devices. An empty list is a success: a machine
 * without any OpenCL platform has zero platforms. A platform that fails to
 * answer is listed with its error as note.
 * Ownership: destroy the list when its texts are no longer needed.
 * Errors: QKV_INVALID_ARGUMENT, QKV_OUT_OF_MEMORY.
 */
QKV_API qkv_status qkv_device_list_create(qkv_device_list **out);
QKV_API void qkv_device_list_destroy(qkv_device_list *list);

QKV_API size_t qkv_device_list_num_platforms(const qkv_device_list *list);
QKV_API size_t qkv_device_list_num_devices(const qkv_device_list *list);

/* NULL if index is too large. The struct belongs to the list. */
QKV_API const qkv_platform_info *qkv_device_list_platform(const qkv_device_list *list, size_t index);
QKV_API const qkv_device_info *qkv_device_list_device(const qkv_device_list *list, size_t index);

/*
 * The index of the device a selector means:
 *   "auto"     the most preferred usable kind: GPU, CPU, accelerator, software GPU,
 *              simulator; among equals the most compute units times clock, then
 *              the first listed
 *   "P:D"      platform P, device D, counted from 0
 *   "cpu"/"gpu" the best device of that kind ("gpu": a real one, else a software one)
 *   other text a part, in any case, of a device's or platform's name; devices' names
 *              are tried first
 * NULL or "" means the environment variable QKV_DEVICE, and "auto" where that is unset.
 * Errors, each listing what there is: QKV_NO_DEVICE (nothing fits, or what fits
 * cannot be used, with the reason), QKV_AMBIGUOUS_DEVICE (a text fits several).
 */
QKV_API qkv_status qkv_device_list_select(size_t *out_index, const qkv_device_list *list,
                                          const char *selector);

/* "GPU", "CPU", "accelerator", "software GPU", "simulator". Static text, never NULL. */
QKV_API const char *qkv_device_kind_name(qkv_device_kind kind);

#ifdef __cplusplus
}
#endif

#endif
