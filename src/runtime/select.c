#include "runtime/list.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NONE QKVI_NO_INDEX

static size_t best(const struct qkv_device_list *list, unsigned kinds) {
    return qkvi_rank(list, kinds, QKV_DEVICE_ANY).chosen;
}

static bool equals(const char *a, const char *b) {
    while (*a && tolower((unsigned char)*a) == tolower((unsigned char)*b))
        a++, b++;
    return tolower((unsigned char)*a) == tolower((unsigned char)*b);
}

static const char *name_of(const qkv_device_info *info, bool platform) {
    return platform ? info->platform_name : info->name;
}

static bool name_fits(const qkv_device_info *info, const char *part, bool platform) {
    return qkvi_text_has(name_of(info, platform), part);
}

static void add_device(struct qkvi_text *text, const qkv_device_info *info) {
    qkvi_text_add(text, "\n  %-5s %s [%s]%s%s", info->selector, info->name, info->platform_name,
                  info->usable ? "" : " ", info->usable ? "" : info->reason);
}

/* Lists what there is, so that the user need not start another program to see it. */
static qkv_status fail_listing(const struct qkv_device_list *list, const char *selector, const char *what) {
    struct qkvi_text text = {0};
    if (list->num_devices == 0) qkvi_text_add(&text, " none");
    for (size_t i = 0; i < list->num_devices; i++)
        add_device(&text, &list->devices[i]);
    qkv_status status =
        qkvi_fail(QKV_NO_DEVICE, "device \"%s\" %s; devices here:%s", selector, what, qkvi_text_get(&text));
    qkvi_text_free(&text);
    return status;
}

/* Only those that it fits. */
static qkv_status fail_ambiguous(const struct qkv_device_list *list, const char *part, bool platform) {
    struct qkvi_text text = {0};
    for (size_t i = 0; i < list->num_devices; i++)
        if (name_fits(&list->devices[i], part, platform)) add_device(&text, &list->devices[i]);
    qkv_status status =
        qkvi_fail(QKV_AMBIGUOUS_DEVICE, "device \"%s\" fits several devices:%s", part, qkvi_text_get(&text));
    qkvi_text_free(&text);
    return status;
}

/* Bytes of other scripts count as letters. */
static bool has_letter(const char *text) {
    while (*text && !isalpha((unsigned char)*text) && !((unsigned char)*text & 0x80))
        text++;
    return *text != '\0';
}

/* "P:D" with nothing else; false if the text is not of that form. */
static bool parse_pair(const char *text, unsigned long *platform, unsigned long *device) {
    char *end;
    if (!isdigit((unsigned char)*text)) return false;
    errno = 0;
    *platform = strtoul(text, &end, 10);
    if (errno || *end != ':' || !isdigit((unsigned char)end[1])) return false;
    *device = strtoul(end + 1, &end, 10);
    return !errno && *end == '\0';
}

static size_t find_pair(const struct qkv_device_list *list, unsigned long platform, unsigned long device) {
    for (size_t i = 0; i < list->num_devices; i++) {
        unsigned long p, d;
        if (parse_pair(list->devices[i].selector, &p, &d) && p == platform && d == device) return i;
    }
    return NONE;
}

/* How many devices a part of a name fits; an exact name beats every partial one. */
static size_t find_name(const struct qkv_device_list *list, const char *part, bool platform, size_t *first) {
    size_t count = 0, exact = NONE, num_exact = 0;
    for (size_t i = 0; i < list->num_devices; i++) {
        if (!name_fits(&list->devices[i], part, platform)) continue;
        if (count++ == 0) *first = i;
        if (equals(name_of(&list->devices[i], platform), part) && num_exact++ == 0) exact = i;
    }
    if (num_exact == 1) *first = exact;
    return num_exact == 1 ? 1 : count;
}

static qkv_status resolve(size_t *out, const struct qkv_device_list *list, const char *selector) {
    unsigned long platform, device;
    size_t index = NONE;
    if (equals(selector, "auto")) {
        index = best(list, QKVI_ALL_KINDS);
    } else if (equals(selector, "cpu")) {
        index = best(list, QKVI_KIND(QKV_DEVICE_CPU));
    } else if (equals(selector, "gpu")) {
        index = best(list, QKVI_KIND(QKV_DEVICE_GPU) | QKVI_KIND(QKV_DEVICE_SOFTWARE_GPU));
    } else if (parse_pair(selector, &platform, &device)) {
        index = find_pair(list, platform, device);
    } else if (!has_letter(selector)) {
        /* A number that happens to stand in a name, and was meant as an index. */
        return fail_listing(list, selector, "is no part of a name: that has a letter; write an index as P:D");
    } else {
        bool of_platform = false;
        size_t count = find_name(list, selector, of_platform, &index);
        if (count == 0) count = find_name(list, selector, of_platform = true, &index);
        if (count > 1) return fail_ambiguous(list, selector, of_platform);
    }
    if (index == NONE)
        return fail_listing(list, selector, "fits none (known: auto, cpu, gpu, P:D, or a part of a name)");
    if (!list->devices[index].usable) return fail_listing(list, selector, list->devices[index].reason);
    *out = index;
    return QKV_OK;
}

qkv_status qkv_device_list_select(size_t *out_index, const qkv_device_list *list, const char *selector) {
    if (!out_index) return qkvi_fail(QKV_INVALID_ARGUMENT, "out_index is NULL");
    if (!list) return qkvi_fail(QKV_INVALID_ARGUMENT, "list is NULL");
    bool from_environment = !selector || !*selector;
    if (from_environment) selector = getenv("QKV_DEVICE");
    if (!selector || !*selector) return resolve(out_index, list, "auto");
    qkv_status status = resolve(out_index, list, selector);
    return status && from_environment ? qkvi_fail_prefix(status, "environment variable QKV_DEVICE") : status;
}
