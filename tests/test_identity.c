/* Which hardware a device is: what drivers answer, in each of the ways they have. The program answers for them. */
#include <stdlib.h>
#include <string.h>

#include "runtime/runtime.h"
#include "support/fixture.h"

/* What the library asks for, with the numbers of the extensions' specifications. */
#define UUID_KHR 0x106A
#define PCI_BUS_INFO_KHR 0x410F
#define PCI_BUS_ID_NV 0x4008
#define PCI_SLOT_ID_NV 0x4009
#define PCI_DOMAIN_ID_NV 0x400A
#define TOPOLOGY_AMD 0x4037

struct answer {
    cl_device_info name; /* 0: no more */
    size_t bytes;
    const void *value;
};

#define MOST_ANSWERS 4
struct driver {
    const char *extensions;
    struct answer answers[MOST_ANSWERS];
};

static const struct driver *asked;

cl_int CL_API_CALL clGetDeviceInfo(cl_device_id device, cl_device_info name, size_t size, void *value, size_t *bytes) {
    struct answer text = {CL_DEVICE_EXTENSIONS, strlen(asked->extensions) + 1, asked->extensions};
    const struct answer *found = name == CL_DEVICE_EXTENSIONS ? &text : NULL;
    (void)device;
    for (size_t i = 0; i < MOST_ANSWERS && asked->answers[i].name; i++)
        if (asked->answers[i].name == name) found = &asked->answers[i];
    if (!found || (value && size < found->bytes)) return CL_INVALID_VALUE;
    if (value) memcpy(value, found->value, found->bytes);
    if (bytes) *bytes = found->bytes;
    return CL_SUCCESS;
}

static const unsigned char uuid[16] = {0x0f, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xff};
static const unsigned char zeros[24];
static const cl_uint khr[4] = {1, 0x41, 0x1f, 7}, khr_unknown[4];
static const cl_uint nv_bus = 0x101, nv_slot = 0x1f << 3 | 2, nv_domain = 0x10;
/* type 1, then 17 bytes that mean nothing, bus, device, function */
static const unsigned char amd[24] = {1, 0, 0, 0, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 0xc3, 0, 1};
static const unsigned char amd_not_pcie[24] = {2, 0, 0, 0, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 3, 0, 1};

#define ANSWER(name, object)                                                                                           \
    { name, sizeof(object), &(object) }
#define UUID_TEXT "0f0102030405060708090a0b0c0d0eff"

static const struct {
    struct driver driver;
    const char *pci, *uuid;
} cases[] = {
    {{"", {ANSWER(UUID_KHR, uuid), ANSWER(PCI_BUS_INFO_KHR, khr)}}, "", ""}, /* numbers of nobody's */
    {{"cl_khr_pci_bus_info", {ANSWER(PCI_BUS_INFO_KHR, khr)}}, "0001:41:1f.7", ""},
    {{"cl_khr_fp16 cl_khr_pci_bus_info cl_khr_fp64", {ANSWER(PCI_BUS_INFO_KHR, khr)}}, "0001:41:1f.7", ""},
    {{"cl_khr_pci_bus_info_2", {ANSWER(PCI_BUS_INFO_KHR, khr)}}, "", ""}, /* a longer name is another extension */
    {{"xcl_khr_device_uuid", {ANSWER(UUID_KHR, uuid)}}, "", ""},
    {{"cl_khr_pci_bus_info", {{0, 0, NULL}}}, "", ""}, /* promised, not answered */
    {{"cl_khr_pci_bus_info", {{PCI_BUS_INFO_KHR, 8, khr}}}, "", ""},
    {{"cl_khr_pci_bus_info", {ANSWER(PCI_BUS_INFO_KHR, khr_unknown)}}, "", ""},
    {{"cl_khr_device_uuid", {ANSWER(UUID_KHR, uuid)}}, "", UUID_TEXT},
    {{"cl_khr_device_uuid", {{UUID_KHR, 16, zeros}}}, "", ""},
    {{"cl_khr_device_uuid cl_khr_pci_bus_info", {ANSWER(UUID_KHR, uuid), ANSWER(PCI_BUS_INFO_KHR, khr)}},
     "0001:41:1f.7",
     UUID_TEXT},
    {{"cl_nv_device_attribute_query",
      {ANSWER(PCI_BUS_ID_NV, nv_bus), ANSWER(PCI_SLOT_ID_NV, nv_slot), ANSWER(PCI_DOMAIN_ID_NV, nv_domain)}},
     "0010:01:1f.2",
     ""},
    {{"cl_nv_device_attribute_query", {ANSWER(PCI_BUS_ID_NV, nv_bus), ANSWER(PCI_SLOT_ID_NV, nv_slot)}},
     "0000:01:1f.2",
     ""},
    {{"cl_nv_device_attribute_query", {ANSWER(PCI_BUS_ID_NV, nv_bus)}}, "", ""},
    {{"cl_amd_device_attribute_query", {ANSWER(TOPOLOGY_AMD, amd)}}, "0000:c3:00.1", ""},
    {{"cl_amd_device_attribute_query", {ANSWER(TOPOLOGY_AMD, amd_not_pcie)}}, "", ""},
    /* The common way where there are two. */
    {{"cl_amd_device_attribute_query cl_khr_pci_bus_info", {ANSWER(TOPOLOGY_AMD, amd), ANSWER(PCI_BUS_INFO_KHR, khr)}},
     "0001:41:1f.7",
     ""},
    /* The vendor's where the common one says nothing. */
    {{"cl_amd_device_attribute_query cl_khr_pci_bus_info",
      {ANSWER(TOPOLOGY_AMD, amd), ANSWER(PCI_BUS_INFO_KHR, khr_unknown)}},
     "0000:c3:00.1",
     ""},
};

START_TEST(what_drivers_answer) {
    qkv_device_info info = {0};
    asked = &cases[_i].driver;
    TEST_TRUE(qkvi_device_identify(&info, NULL));
    ck_assert_str_eq(info.pci_address, cases[_i].pci);
    ck_assert_str_eq(info.uuid, cases[_i].uuid);
    qkvi_device_info_free(&info);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("identity");
    TCase *tcase = tcase_create("identity");
    tcase_add_loop_test(tcase, what_drivers_answer, 0, (int)TEST_COUNT(cases));
    suite_add_tcase(suite, tcase);
    return test_main(suite);
}
