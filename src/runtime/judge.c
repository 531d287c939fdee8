/* Verdicts on devices, in words. */
#include "runtime/list.h"

#include <math.h>
#include <stdlib.h>

const char *qkv_device_rule(void) {
    return "Of a piece of hardware that several platforms show, the fastest as measured stands for all, else the one "
           "of the vendor's own platform. Of the devices with a recorded measurement the fastest is taken; of the "
           "others the best by estimate: GPU, CPU, accelerator, software GPU, simulator, then the most compute units "
           "times lanes of a unit times clock (on the host's processor compute units alone), then the first listed. "
           "Between these two the estimate decides.";
}

/* How many times as fast, as the mean over the three kinds of work. */
static double times_as_fast(const qkv_device_info *a, const qkv_device_info *b) {
    return cbrt(qkvi_measured(a, QKV_DEVICE_ANY) / qkvi_measured(b, QKV_DEVICE_ANY));
}

static void praise(struct qkvi_text *text, const struct qkvi_ranking *ranking, const qkv_device_info *info) {
    if (ranking->measured)
        qkvi_text_add(
            text, "taken by auto: the fastest measured here (projection %.0f, prefill %.0f GFLOP/s, decode %.0f GB/s)",
            info->projection_gflops, info->prefill_gflops, info->decode_gbps);
    else
        qkvi_text_add(text, "taken by auto: the best %s here", qkv_device_kind_name(info->kind));
}

static void explain_twin(struct qkvi_text *text, const qkv_device_info *info, const qkv_device_info *twin) {
    qkvi_text_add(text, "usable; the same hardware as %s (%s)", twin->selector, twin->platform_name);
    if (qkvi_measured(info, QKV_DEVICE_ANY) > 0 && qkvi_measured(twin, QKV_DEVICE_ANY) > 0)
        qkvi_text_add(text, ", which is %.3g times as fast as measured", times_as_fast(twin, info));
    else
        qkvi_text_add(text, ", whose platform is preferred");
}

static void explain(struct qkvi_text *text, const struct qkv_device_list *list, const struct qkvi_ranking *ranking,
                    size_t index) {
    const qkv_device_info *info = &list->devices[index], *winner = &list->devices[ranking->chosen];
    size_t twin = qkvi_rank_twin(list, index, QKVI_ALL_KINDS, QKV_DEVICE_ANY);
    if (twin != index) {
        explain_twin(text, info, &list->devices[twin]);
    } else if (qkvi_measured(info, QKV_DEVICE_ANY) > 0 && ranking->fastest != index) {
        const qkv_device_info *fastest = &list->devices[ranking->fastest];
        qkvi_text_add(text, "usable; %s (%s) is %.3g times as fast as measured", fastest->selector, fastest->name,
                      times_as_fast(fastest, info));
    } else if (winner->kind != info->kind) {
        qkvi_text_add(text, "usable; auto prefers a %s (%s)", qkv_device_kind_name(winner->kind), winner->selector);
    } else if (qkvi_estimate(winner) > qkvi_estimate(info)) {
        bool clock = info->kind == QKV_DEVICE_GPU || info->kind == QKV_DEVICE_ACCELERATOR;
        qkvi_text_add(text, "usable; %s has more compute units%s (%s)", winner->selector,
                      clock ? " times lanes times clock" : "", winner->name);
    } else {
        qkvi_text_add(text, "usable; %s is listed first (%s)", winner->selector, winner->name);
    }
}

qkv_status qkvi_list_judge(struct qkv_device_list *list) {
    struct qkvi_ranking ranking = qkvi_rank(list, QKVI_ALL_KINDS, QKV_DEVICE_ANY);
    for (size_t i = 0; i < list->num_devices; i++) {
        qkv_device_info *info = &list->devices[i];
        if (!info->usable) continue;
        struct qkvi_text text = {0};
        info->is_auto = i == ranking.chosen;
        info->verdict = info->is_auto ? "use" : "usable";
        if (info->is_auto)
            praise(&text, &ranking, info);
        else
            explain(&text, list, &ranking, i);
        if (qkvi_device_embedded(info->device_id))
            qkvi_text_add(&text,
                          "; of the embedded profile: each kernel's self-test says whether its arithmetic will do");
        if (text.failed) {
            qkvi_text_free(&text);
            return qkvi_fail_memory("device list");
        }
        free((void *)(uintptr_t)info->reason);
        info->reason = text.data;
    }
    return QKV_OK;
}

qkv_status qkv_device_list_best(size_t *out_index, int *out_measured, const qkv_device_list *list,
                                qkv_device_work work) {
    if (!out_index) return qkvi_fail(QKV_INVALID_ARGUMENT, "out_index is NULL");
    if (!list) return qkvi_fail(QKV_INVALID_ARGUMENT, "list is NULL");
    if ((int)work < QKV_DEVICE_ANY || work > QKV_DEVICE_DECODE)
        return qkvi_fail(QKV_INVALID_ARGUMENT, "work is %d; it must be one of qkv_device_work", (int)work);
    struct qkvi_ranking ranking = qkvi_rank(list, QKVI_ALL_KINDS, work);
    if (ranking.chosen == QKVI_NO_INDEX)
        return qkvi_fail(QKV_NO_DEVICE, "none of the %zu OpenCL devices here can be used", list->num_devices);
    *out_index = ranking.chosen;
    if (out_measured) *out_measured = ranking.measured;
    return QKV_OK;
}
