/* Which device this is: in names, for what is kept of it on disk; and which piece of hardware, so that it is recognised
 * when two platforms show it. */
#include "runtime.h"

#include <stdlib.h>
#include <string.h>

/* From the extensions' specifications; not every system's headers have them. */
#define DEVICE_UUID_KHR 0x106A
#define DEVICE_PCI_BUS_INFO_KHR 0x410F
#define DEVICE_PCI_BUS_ID_NV 0x4008
#define DEVICE_PCI_SLOT_ID_NV 0x4009
#define DEVICE_PCI_DOMAIN_ID_NV 0x400A
#define DEVICE_TOPOLOGY_AMD 0x4037
#define TOPOLOGY_TYPE_PCIE_AMD 1

struct pci {
    cl_uint domain, bus, device, function;
};

static bool query(cl_device_id device, cl_device_info name, void *out, size_t bytes) {
    size_t size = 0;
    return clGetDeviceInfo(device, name, 0, NULL, &size) == CL_SUCCESS && size == bytes &&
           clGetDeviceInfo(device, name, bytes, out, NULL) == CL_SUCCESS;
}

static bool pci_khr(struct pci *out, cl_device_id device) {
    return query(device, DEVICE_PCI_BUS_INFO_KHR, out, sizeof *out);
}

/* The slot holds device and function; the domain came later than the rest. */
static bool pci_nvidia(struct pci *out, cl_device_id device) {
    cl_uint bus, slot, domain = 0;
    if (!query(device, DEVICE_PCI_BUS_ID_NV, &bus, sizeof bus)) return false;
    if (!query(device, DEVICE_PCI_SLOT_ID_NV, &slot, sizeof slot)) return false;
    if (!query(device, DEVICE_PCI_DOMAIN_ID_NV, &domain, sizeof domain)) domain = 0;
    *out = (struct pci){domain, bus & 0xff, slot >> 3, slot & 7};
    return true;
}

/* A type and 20 bytes, the last three of which are bus, device and function. It has no domain. */
static bool pci_amd(struct pci *out, cl_device_id device) {
    struct {
        cl_uint type;
        unsigned char data[20];
    } topology;
    if (!query(device, DEVICE_TOPOLOGY_AMD, &topology, sizeof topology)) return false;
    if (topology.type != TOPOLOGY_TYPE_PCIE_AMD) return false;
    *out = (struct pci){0, topology.data[17], topology.data[18], topology.data[19]};
    return true;
}

/* Vendors' numbers mean other things to other drivers, so the extension must be there. */
static bool has_extension(const char *extensions, const char *name) {
    size_t length = strlen(name);
    for (const char *at = extensions; (at = strstr(at, name)) != NULL; at += length)
        if ((at == extensions || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0')) return true;
    return false;
}

static void find_pci(struct qkvi_text *text, const char *extensions, cl_device_id device) {
    static const struct {
        const char *extension;
        bool (*find)(struct pci *, cl_device_id);
    } ways[] = {
        {"cl_khr_pci_bus_info", pci_khr},
        {"cl_nv_device_attribute_query", pci_nvidia},
        {"cl_amd_device_attribute_query", pci_amd},
    };
    struct pci pci;
    for (size_t i = 0; i < QKVI_COUNT(ways); i++) {
        if (!has_extension(extensions, ways[i].extension) || !ways[i].find(&pci, device)) continue;
        /* 0000:00:00.0 is the host bridge: what a driver says that does not know. */
        if ((pci.domain | pci.bus | pci.device | pci.function) == 0) continue;
        qkvi_text_add(text, "%04x:%02x:%02x.%x", pci.domain, pci.bus, pci.device, pci.function);
        return;
    }
}

static void find_uuid(struct qkvi_text *text, const char *extensions, cl_device_id device) {
    unsigned char uuid[16];
    bool says = false;
    if (!has_extension(extensions, "cl_khr_device_uuid") || !query(device, DEVICE_UUID_KHR, uuid, sizeof uuid)) return;
    for (size_t i = 1; i < sizeof uuid; i++)
        says = says || uuid[i] != uuid[0];
    for (size_t i = 0; says && i < sizeof uuid; i++)
        qkvi_text_add(text, "%02x", uuid[i]);
}

static char *take(struct qkvi_text *text) {
    char *result = text->failed ? NULL : text->data ? text->data : qkvi_strdup("");
    if (result != text->data) qkvi_text_free(text);
    return result;
}

bool qkvi_device_identify(qkv_device_info *info, cl_device_id device) {
    struct qkvi_text pci = {0}, uuid = {0};
    char *extensions = qkvi_device_text(device, CL_DEVICE_EXTENSIONS);
    if (!extensions) return false;
    find_pci(&pci, extensions, device);
    find_uuid(&uuid, extensions, device);
    free(extensions);
    info->pci_address = take(&pci);
    info->uuid = take(&uuid);
    return info->pci_address && info->uuid;
}

static const char *or_empty(const char *text) {
    return text ? text : "";
}

void qkvi_device_key(struct qkvi_text *out, const qkv_device_info *info) {
    char *platform_version = qkvi_platform_text(info->platform_id, CL_PLATFORM_VERSION);
    qkvi_text_add(out, "libqkv %s\nplatform %s\n%s\ndevice %s\n%s\n%s\ndriver %s\nunits %u\n", QKV_VERSION_STRING,
                  or_empty(info->platform_name), or_empty(platform_version), or_empty(info->name),
                  or_empty(info->vendor), or_empty(info->device_version), or_empty(info->driver_version),
                  info->compute_units);
    out->failed = out->failed || !platform_version;
    free(platform_version);
}
