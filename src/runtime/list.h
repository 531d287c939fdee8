/* The list of devices behind qkv_device_list, and the choice among them. */
#ifndef QKVI_LIST_H
#define QKVI_LIST_H

#include "runtime/runtime.h"

struct qkv_device_list {
    qkv_platform_info *platforms;
    qkv_device_info *devices;
    size_t num_platforms, num_devices;
};

/* Marks the one "auto" takes and gives every usable device its reason. */
qkv_status qkvi_list_judge(struct qkv_device_list *list);

#endif
