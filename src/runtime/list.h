/* The list of devices behind qkv_device_list, and the choice among them. */
#ifndef QKVI_LIST_H
#define QKVI_LIST_H

#include "runtime/runtime.h"

/* More are left out of the list. */
#define QKVI_MAX_DEVICES 256

struct qkv_device_list {
    qkv_platform_info *platforms;
    qkv_device_info *devices;
    size_t num_platforms, num_devices;
};

/* ---- rank.c: arithmetic on what the list says; no OpenCL, so that made-up devices can be ranked ---- */
#define QKVI_NO_INDEX SIZE_MAX
#define QKVI_ALL_KINDS (~0u)
#define QKVI_KIND(kind) (1u << (kind))

/* Two platforms show one piece of hardware. */
bool qkvi_same_hardware(const qkv_device_info *a, const qkv_device_info *b);
/* What was measured for this work, any unit, larger is better; 0: nothing. */
double qkvi_measured(const qkv_device_info *info, qkv_device_work work);
/* Millions of multiply-adds a second, roughly; on the host's processor compute units. Only of one kind comparable. */
double qkvi_estimate(const qkv_device_info *info);

struct qkvi_ranking {
    size_t chosen;  /* QKVI_NO_INDEX: none is usable */
    size_t fastest; /* of those that are measured; QKVI_NO_INDEX: none is */
    bool measured;  /* every device that came into question is */
};
/* The rule of qkv/device.h among the usable devices of the kinds in a bit mask. */
struct qkvi_ranking qkvi_rank(const struct qkv_device_list *list, unsigned kinds, qkv_device_work work);
/* The device that stands for the hardware of device `index`: often that device itself. */
size_t qkvi_rank_twin(const struct qkv_device_list *list, size_t index, unsigned kinds, qkv_device_work work);

/* ---- judge.c ---- */
/* Marks the one "auto" takes and gives every usable device its verdict and reason. */
qkv_status qkvi_list_judge(struct qkv_device_list *list);

/* ---- measured.c ---- */
/* Fills in what was recorded for these devices in cache_dir (NULL or "": nothing). Whatever is wrong with the records,
 * they are as good as absent. */
void qkvi_list_recall(struct qkv_device_list *list, const char *cache_dir);

#endif
