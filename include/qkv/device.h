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
    const char *verdict;        /* "use" (the one "auto" takes), "usable" or "refused" */
    const char *advice;         /* what would help a device that is refused; "" for the others */
    const char *pci_address;    /* "0000:01:00.0", "" where the driver does not say */
    const char *uuid;           /* 32 hexadecimal digits, "" where the driver does not say */
    /* From qkv_device_record_measurement(), 0: none is recorded. */
    double projection_gflops;
    double prefill_gflops;
    double decode_gbps;
    uint32_t vendor_id;         /* the driver's CL_DEVICE_VENDOR_ID: PCI's for most, 0 if it says nothing */
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
 * How "auto" chooses; nothing else goes into it, so the choice is the same every time when nothing changed.
 * 1. Devices that cannot be used are refused: not available, without a compiler, older than OpenCL 1.2, big-endian, or of
 *    the embedded profile without 64-bit integers (cles_khr_int64). One of that profile that has them is usable, and its
 *    reason names the profile: rounding to nearest, infinities and NaN are optional there, so that self-tests may fail.
 * 2. Of a piece of hardware that several platforms show (equal PCI addresses, or equal UUIDs where not both drivers tell
 *    an address) one device stands for all: the fastest where they are measured, else by the platform: the hardware
 *    vendor's own, then rusticl, Clover, PoCL, and those that translate to another interface (clvk, OpenCLOn12, ANGLE).
 * 3. Of the devices that have a recorded measurement the fastest is taken: the largest product of its three figures.
 * 4. Of those that have none, the best by estimate: GPU before CPU, accelerator, software GPU, simulator; then the most
 *    compute units times lanes of a unit times clock, which is multiply-adds a second; then the first listed. Lanes by
 *    vendor_id: Intel 8, NVIDIA 128, AMD 64, Apple 128, others 32; a GPU that tells no clock counts with 1000 MHz. On the
 *    host's processor compute units alone: a clock reported there drifts.
 * 5. Where both kinds of devices are there, the estimate decides between these two.
 */

/* The same rule in a few lines of text, for programs that show it. Static, never NULL. */
QKV_API const char *qkv_device_rule(void);

/*
 * The index of the device a selector means:
 *   "auto"     chosen by the rule above
 *   "P:D"      platform P, device D, counted from 0
 *   "cpu"/"gpu" the same among the devices of that kind ("gpu": real ones, else software ones)
 *   other text a part, in any case, of a device's or platform's name; devices' names
 *              are tried first. It has a letter: "0" and "256" fit no name
 * NULL or "" means the environment variable QKV_DEVICE, and "auto" where that is unset.
 * Errors: QKV_NO_DEVICE (nothing fits, or what fits cannot be used, with the reason; lists
 * what there is), QKV_AMBIGUOUS_DEVICE (a text fits several; lists these).
 */
QKV_API qkv_status qkv_device_list_select(size_t *out_index, const qkv_device_list *list,
                                          const char *selector);

/* What a device is wanted for. */
typedef enum qkv_device_work {
    QKV_DEVICE_ANY = 0,        /* all three alike: what "auto" goes by */
    QKV_DEVICE_PROJECTION = 1, /* linear layers of many rows */
    QKV_DEVICE_PREFILL = 2,    /* attention of many queries */
    QKV_DEVICE_DECODE = 3      /* attention of one query over a long cache: memory bandwidth */
} qkv_device_work;

/*
 * The device that the rule above takes for one kind of work, that is with the one figure of it in step 3.
 * out_measured: may be NULL; 1 where every device that came into question is measured for this work, 0 where the
 * estimate had a say.
 * Errors: QKV_INVALID_ARGUMENT, QKV_NO_DEVICE (no device is usable).
 */
QKV_API qkv_status qkv_device_list_best(size_t *out_index, int *out_measured, const qkv_device_list *list,
                                        qkv_device_work work);

/* What this library reached on a device; 0: not known. */
typedef struct qkv_device_measurement {
    size_t struct_size;
    double projection_gflops;
    double prefill_gflops;
    double decode_gbps;
} qkv_device_measurement;

#define QKV_DEVICE_MEASUREMENT_INIT {sizeof(qkv_device_measurement), 0, 0, 0}

/*
 * Keeps a measurement in the folder that the environment variable QKV_CACHE_DIR names; lists that are created afterwards,
 * in any process with the same QKV_CACHE_DIR, give the figures and choose by them; so do contexts created with that folder
 * as their cache_dir. It replaces an earlier one; all zeros
 * removes that. It counts for the same device (name, vendor, platform, compute units), driver version and
 * library version only. `qkv-devices --measure` measures and records.
 * device: from a list or a context; its texts are read.
 * Errors: QKV_INVALID_ARGUMENT (a figure is negative or not finite), QKV_UNSUPPORTED (QKV_CACHE_DIR is not set, or
 * nothing can be kept there), QKV_OUT_OF_MEMORY.
 */
QKV_API qkv_status qkv_device_record_measurement(const qkv_device_info *device,
                                                 const qkv_device_measurement *measurement);

/* "GPU", "CPU", "accelerator", "software GPU", "simulator". Static text, never NULL. */
QKV_API const char *qkv_device_kind_name(qkv_device_kind kind);

#ifdef __cplusplus
}
#endif

#endif
