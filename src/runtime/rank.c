/* Which device is taken: the rule that include/qkv/device.h states, step by step. */
#include "runtime/list.h"

#include <string.h>

static bool on_host(const qkv_device_info *info) {
    return info->kind != QKV_DEVICE_GPU && info->kind != QKV_DEVICE_ACCELERATOR;
}

/* What drivers call a compute unit differs in size: Intel's an EU, NVIDIA's an SM, AMD's a CU (a pair of them, on some).
 * NVIDIA's SMs of 64 lanes and Intel's EUs of 16 are off by two, which no pair of an integrated and a discrete GPU is.
 * Vendors are PCI's; Apple's OpenCL has numbers of its own for them, whose last 12 bits are the generation. */
static double lanes_per_unit(uint32_t vendor_id) {
    static const struct {
        uint32_t vendor, mask;
        double lanes;
    } vendors[] = {
        {0x8086, ~0u, 8},           {0x10de, ~0u, 128},         {0x1002, ~0u, 64}, /* Intel, NVIDIA, AMD */
        {0x01024000, ~0xfffu, 8},   {0x01022000, ~0xfffu, 128}, {0x01021000, ~0xfffu, 64},
        {0x01027000, ~0xfffu, 128}, /* Apple's own */
    };
    for (size_t i = 0; i < QKVI_COUNT(vendors); i++)
        if ((vendor_id & vendors[i].mask) == vendors[i].vendor) return vendors[i].lanes;
    return 32; /* a core of a Mali; the others have no second GPU beside them */
}

double qkvi_estimate(const qkv_device_info *info) {
    const double units = info->compute_units, unknown_mhz = 1000;
    if (on_host(info)) return units;
    return units * lanes_per_unit(info->vendor_id) * (info->clock_mhz ? info->clock_mhz : unknown_mhz);
}

double qkvi_measured(const qkv_device_info *info, qkv_device_work work) {
    switch (work) {
    case QKV_DEVICE_PROJECTION:
        return info->projection_gflops;
    case QKV_DEVICE_PREFILL:
        return info->prefill_gflops;
    case QKV_DEVICE_DECODE:
        return info->decode_gbps;
    case QKV_DEVICE_ANY:
        break;
    }
    return info->projection_gflops * info->prefill_gflops * info->decode_gbps;
}

/* Devices of one platform are different ones whatever they say: parts of a GPU share its address. An address counts for
 * more than a UUID, which different drivers make up in different ways. */
bool qkvi_same_hardware(const qkv_device_info *a, const qkv_device_info *b) {
    if (a->platform_id == b->platform_id || a->kind != b->kind) return false;
    if (*a->pci_address && *b->pci_address) return !strcmp(a->pci_address, b->pci_address);
    return *a->uuid && !strcmp(a->uuid, b->uuid);
}

/* Whose compiler is likely to know the hardware best; 0 is the vendor's own. */
static size_t platform_rank(const qkv_device_info *info) {
    static const char *const others[] = {"rusticl", "clover",     "portable computing language",
                                         "clvk",    "openclon12", "angle"};
    for (size_t i = 0; i < QKVI_COUNT(others); i++)
        if (qkvi_text_has(info->platform_name, others[i])) return i + 1;
    return 0;
}

static bool better_platform(const qkv_device_info *a, const qkv_device_info *b) {
    return platform_rank(a) < platform_rank(b);
}

static bool better_estimate(const qkv_device_info *a, const qkv_device_info *b) {
    if (a->kind != b->kind) return a->kind < b->kind;
    return qkvi_estimate(a) > qkvi_estimate(b);
}

typedef bool (*better_function)(const qkv_device_info *, const qkv_device_info *);

/*
 * The fastest of the measured ones and the best of the others, then the better of these two. Comparing any two devices by
 * measurement where both have one and else by estimate would be no order: it can go round in a circle.
 */
static struct qkvi_ranking pick(const struct qkv_device_list *list, const bool *candidates, qkv_device_work work,
                                better_function better) {
    size_t fastest = QKVI_NO_INDEX, other = QKVI_NO_INDEX;
    const qkv_device_info *devices = list->devices;
    for (size_t i = 0; i < list->num_devices; i++) {
        if (!candidates[i]) continue;
        double speed = qkvi_measured(&devices[i], work);
        if (speed > 0) {
            if (fastest == QKVI_NO_INDEX || speed > qkvi_measured(&devices[fastest], work)) fastest = i;
        } else if (other == QKVI_NO_INDEX || better(&devices[i], &devices[other])) {
            other = i;
        }
    }
    struct qkvi_ranking ranking = {.chosen = fastest, .fastest = fastest, .measured = other == QKVI_NO_INDEX};
    if (fastest == QKVI_NO_INDEX) {
        ranking = (struct qkvi_ranking){.chosen = other, .fastest = QKVI_NO_INDEX};
    } else if (other != QKVI_NO_INDEX) {
        bool keep = better(&devices[fastest], &devices[other]) ||
                    (fastest < other && !better(&devices[other], &devices[fastest]));
        ranking.chosen = keep ? fastest : other;
    }
    return ranking;
}

static bool comes_into_question(const qkv_device_info *info, unsigned kinds) {
    return info->usable && (kinds & QKVI_KIND(info->kind)) != 0;
}

size_t qkvi_rank_twin(const struct qkv_device_list *list, size_t index, unsigned kinds, qkv_device_work work) {
    bool group[QKVI_MAX_DEVICES] = {false};
    for (size_t i = 0; i < list->num_devices; i++)
        group[i] = i == index || (comes_into_question(&list->devices[i], kinds) &&
                                  qkvi_same_hardware(&list->devices[i], &list->devices[index]));
    return pick(list, group, work, better_platform).chosen;
}

struct qkvi_ranking qkvi_rank(const struct qkv_device_list *list, unsigned kinds, qkv_device_work work) {
    bool all[QKVI_MAX_DEVICES] = {false}, single[QKVI_MAX_DEVICES] = {false};
    for (size_t i = 0; i < list->num_devices; i++) {
        all[i] = comes_into_question(&list->devices[i], kinds);
        single[i] = all[i] && qkvi_rank_twin(list, i, kinds, work) == i;
    }
    struct qkvi_ranking ranking = pick(list, single, work, better_estimate);
    /* Drivers that contradict each other (A is B, B is C, A is not C) might leave nobody. */
    return ranking.chosen == QKVI_NO_INDEX ? pick(list, all, work, better_estimate) : ranking;
}
