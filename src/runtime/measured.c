/* Measurements of devices, kept from one process to the next where the user allows that. */
#include "runtime/list.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/store.h"

#define KIND "measurement"
/* Whole numbers of flops and bytes a second: a decimal point would depend on the locale. */
#define FORMAT "projection_flops %" PRIu64 "\nprefill_flops %" PRIu64 "\ndecode_bytes %" PRIu64 "\n"
#define SCAN "projection_flops %" SCNu64 "\nprefill_flops %" SCNu64 "\ndecode_bytes %" SCNu64 "\n%n"

static void recall(struct qkvi_store *store, qkv_device_info *info) {
    struct qkvi_text key = {0};
    char *data = NULL;
    size_t size = 0;
    uint64_t projection, prefill, decode;
    int end = -1;
    qkvi_device_key(&key, info);
    if (!key.failed && qkvi_store_get(&data, &size, store, KIND, qkvi_text_get(&key)) &&
        sscanf(data, SCAN, &projection, &prefill, &decode, &end) == 3 && end >= 0 && (size_t)end == size) {
        info->projection_gflops = 1e-9 * (double)projection;
        info->prefill_gflops = 1e-9 * (double)prefill;
        info->decode_gbps = 1e-9 * (double)decode;
    }
    free(data);
    qkvi_text_free(&key);
}

void qkvi_list_recall(struct qkv_device_list *list, const char *cache_dir) {
    struct qkvi_store *store;
    if (!cache_dir || !*cache_dir || list->num_devices == 0) return;
    if (qkvi_store_open(&store, cache_dir) != QKV_OK) return;
    for (size_t i = 0; i < list->num_devices; i++)
        recall(store, &list->devices[i]);
    qkvi_store_close(store);
}

static bool sane(double rate) {
    return rate >= 0 && rate < 1e9;
}

static qkv_status put(struct qkvi_store *store, const char *key, const qkv_device_measurement *m,
                      const char *directory) {
    uint64_t projection = (uint64_t)llround(1e9 * m->projection_gflops);
    uint64_t prefill = (uint64_t)llround(1e9 * m->prefill_gflops), decode = (uint64_t)llround(1e9 * m->decode_gbps);
    char text[160];
    if (projection == 0 && prefill == 0 && decode == 0) {
        qkvi_store_remove(store, KIND, key);
        return QKV_OK;
    }
    int length = snprintf(text, sizeof text, FORMAT, projection, prefill, decode);
    if (length > 0 && qkvi_store_put(store, KIND, key, text, (size_t)length)) return QKV_OK;
    return qkvi_fail(QKV_UNSUPPORTED, "the measurement could not be written to QKV_CACHE_DIR (%s)", directory);
}

qkv_status qkv_device_record_measurement(const qkv_device_info *device, const qkv_device_measurement *measurement) {
    qkv_device_info info;
    qkv_device_measurement m;
    struct qkvi_store *store = NULL;
    struct qkvi_text key = {0};
    qkv_status status = qkvi_struct_read(&info, sizeof info, device, "device");
    if (!status) status = qkvi_struct_read(&m, sizeof m, measurement, "measurement");
    if (status) return status;
    if (!info.name || !info.platform_name || !info.driver_version)
        return qkvi_fail(QKV_INVALID_ARGUMENT, "device: a text of it is NULL; take it from a list or a context");
    if (!sane(m.projection_gflops) || !sane(m.prefill_gflops) || !sane(m.decode_gbps))
        return qkvi_fail(QKV_INVALID_ARGUMENT, "measurement: %g, %g, %g; each must be a rate, 0 where it is not known",
                         m.projection_gflops, m.prefill_gflops, m.decode_gbps);
    const char *directory = getenv("QKV_CACHE_DIR");
    if (!directory || !*directory) return qkvi_fail(QKV_UNSUPPORTED, "QKV_CACHE_DIR is not set, so nothing is kept");
    qkvi_device_key(&key, &info);
    status = key.failed ? qkvi_fail_memory("measurement") : qkvi_store_open(&store, directory);
    if (!status) status = put(store, qkvi_text_get(&key), &m, directory);
    qkvi_store_close(store);
    qkvi_text_free(&key);
    return status;
}
