/* The properties of a device, one row each. */
#include <string.h>
#include <strings.h>

#include "devices/ids.h"
#include "devices/property.h"

const char *const property_sections[NUM_SECTIONS] = {
    [SECTION_CHOICE] = "The library's choice",
    [SECTION_NAMES] = "Names and versions",
    [SECTION_PROCESSOR] = "Processor",
    [SECTION_GROUPS] = "Work-groups",
    [SECTION_MEMORY] = "Memory",
    [SECTION_FLOATS] = "Floating point, as the driver says",
    [SECTION_VECTORS] = "Lanes of vectors",
    [SECTION_QUEUES] = "Queues and kernels",
    [SECTION_SHARED] = "Shared virtual memory and atomics",
    [SECTION_IMAGES] = "Images",
    [SECTION_LANGUAGES] = "Languages and extensions",
    [SECTION_VENDOR] = "Of this vendor only",
};

static const struct value_name types[] = {
    {CL_DEVICE_TYPE_CPU, "CPU"},       {CL_DEVICE_TYPE_GPU, "GPU"},         {CL_DEVICE_TYPE_ACCELERATOR, "accelerator"},
    {CL_DEVICE_TYPE_CUSTOM, "custom"}, {CL_DEVICE_TYPE_DEFAULT, "default"}, {0, NULL}};
static const struct value_name cache_types[] = {
    {0, "none"}, {CL_READ_ONLY_CACHE, "read-only"}, {CL_READ_WRITE_CACHE, "read-write"}, {0, NULL}};
static const struct value_name local_types[] = {
    {0, "none"}, {CL_LOCAL, "dedicated"}, {CL_GLOBAL, "part of global memory"}, {0, NULL}};
static const struct value_name fp_config[] = {{CL_FP_DENORM, "denormals"},
                                              {CL_FP_INF_NAN, "infinities and NaN"},
                                              {CL_FP_ROUND_TO_NEAREST, "round to nearest"},
                                              {CL_FP_ROUND_TO_ZERO, "round to zero"},
                                              {CL_FP_ROUND_TO_INF, "round to infinity"},
                                              {CL_FP_FMA, "fma"},
                                              {CL_FP_CORRECTLY_ROUNDED_DIVIDE_SQRT, "exact divide and sqrt"},
                                              {CL_FP_SOFT_FLOAT, "emulated in software"},
                                              {0, NULL}};
static const struct value_name queue_flags[] = {
    {CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE, "out of order"}, {CL_QUEUE_PROFILING_ENABLE, "profiling"}, {0, NULL}};
static const struct value_name exec_flags[] = {
    {CL_EXEC_KERNEL, "OpenCL kernels"}, {CL_EXEC_NATIVE_KERNEL, "native kernels"}, {0, NULL}};
static const struct value_name svm_flags[] = {
    {1, "coarse-grain buffers"}, {2, "fine-grain buffers"}, {4, "fine-grain system"}, {8, "atomics"}, {0, NULL}};
static const struct value_name atomic_flags[] = {
    {1, "relaxed"},           {2, "acquire-release"}, {4, "sequential"},   {8, "work-item scope"},
    {16, "work-group scope"}, {32, "device scope"},   {64, "all devices"}, {0, NULL}};
static const struct value_name affinity[] = {{CL_DEVICE_AFFINITY_DOMAIN_NUMA, "NUMA"},
                                             {CL_DEVICE_AFFINITY_DOMAIN_L4_CACHE, "L4 cache"},
                                             {CL_DEVICE_AFFINITY_DOMAIN_L3_CACHE, "L3 cache"},
                                             {CL_DEVICE_AFFINITY_DOMAIN_L2_CACHE, "L2 cache"},
                                             {CL_DEVICE_AFFINITY_DOMAIN_L1_CACHE, "L1 cache"},
                                             {CL_DEVICE_AFFINITY_DOMAIN_NEXT_PARTITIONABLE, "next"},
                                             {0, NULL}};
static const struct value_name partitions[] = {{CL_DEVICE_PARTITION_EQUALLY, "equally"},
                                               {CL_DEVICE_PARTITION_BY_COUNTS, "by counts"},
                                               {CL_DEVICE_PARTITION_BY_AFFINITY_DOMAIN, "by affinity domain"},
                                               {0x4052, "by names"},
                                               {0, NULL}};
static const struct value_name dot_flags[] = {{1, "4x8 bit packed"}, {2, "4x8 bit"}, {0, NULL}};
static const struct value_name enqueue_flags[] = {{1, "supported"}, {2, "replaceable default queue"}, {0, NULL}};

/* What the library or the tool works out. */
#define OWN(key, KEY, label, heading, section, type)                                                                   \
    { #key, "QKV_" #KEY, label, heading, section, type, 0, NULL, NULL }
/* What OpenCL 1.2's headers name. */
#define ASK(key, name, label, section, type)                                                                           \
    { #key, "CL_" #name, label, NULL, section, type, CL_##name, NULL, NULL }
#define COLUMN(key, name, label, heading, section, type)                                                               \
    { #key, "CL_" #name, label, heading, section, type, CL_##name, NULL, NULL }
/* What OpenCL 1.2 brought, and its headers name. */
#define ASK_1_2(key, name, label, section, type)                                                                       \
    { #key, "CL_" #name, label, NULL, section, type, CL_##name, NULL, "1.2" }
#define NAMED_1_2(key, name, label, section, type, names)                                                              \
    { #key, "CL_" #name, label, NULL, section, type, CL_##name, names, "1.2" }
#define NAMED(key, name, label, section, type, names)                                                                  \
    { #key, "CL_" #name, label, NULL, section, type, CL_##name, names, NULL }
/* What they do not. */
#define NEWER(key, name, label, section, type, needs)                                                                  \
    { #key, "CL_DEVICE_" #name, label, NULL, section, type, ID_##name, NULL, needs }
#define NEWER_NAMED(key, name, label, section, type, names, needs)                                                     \
    { #key, "CL_DEVICE_" #name, label, NULL, section, type, ID_##name, names, needs }
#define LANES(type, TYPE, text)                                                                                        \
    {"preferred_" #type "_width",                                                                                      \
     "CL_DEVICE_PREFERRED_VECTOR_WIDTH_" #TYPE,                                                                        \
     text ", preferred",                                                                                               \
     NULL,                                                                                                             \
     SECTION_VECTORS,                                                                                                  \
     VALUE_COUNT,                                                                                                      \
     CL_DEVICE_PREFERRED_VECTOR_WIDTH_##TYPE,                                                                          \
     NULL,                                                                                                             \
     NULL},                                                                                                            \
    {                                                                                                                  \
        "native_" #type "_width", "CL_DEVICE_NATIVE_VECTOR_WIDTH_" #TYPE, text ", native", NULL, SECTION_VECTORS,      \
            VALUE_COUNT, CL_DEVICE_NATIVE_VECTOR_WIDTH_##TYPE, NULL, NULL                                              \
    }

const struct property properties[] = {
    OWN(selector, SELECTOR, "selector", "SELECTOR", SECTION_CHOICE, VALUE_TEXT),
    COLUMN(name, DEVICE_NAME, "device", "DEVICE", SECTION_NAMES, VALUE_TEXT),
    OWN(kind, KIND, "kind", "KIND", SECTION_CHOICE, VALUE_TEXT),
    OWN(verdict, VERDICT, "verdict", "VERDICT", SECTION_CHOICE, VALUE_TEXT),
    OWN(reason, REASON, "because", NULL, SECTION_CHOICE, VALUE_TEXT),
    OWN(advice, ADVICE, "what would help", NULL, SECTION_CHOICE, VALUE_TEXT),
    OWN(usable, USABLE, "usable", NULL, SECTION_CHOICE, VALUE_FLAG),
    OWN(auto, AUTO, "taken by auto", NULL, SECTION_CHOICE, VALUE_FLAG),

    OWN(pci_address, PCI_ADDRESS, "hardware's PCI address", NULL, SECTION_CHOICE, VALUE_TEXT),
    OWN(uuid, UUID, "hardware's UUID", NULL, SECTION_CHOICE, VALUE_TEXT),
    OWN(projection_gflops, PROJECTION_GFLOPS, "measured, projection GFLOP/s", NULL, SECTION_CHOICE, VALUE_REAL),
    OWN(prefill_gflops, PREFILL_GFLOPS, "measured, prefill GFLOP/s", NULL, SECTION_CHOICE, VALUE_REAL),
    OWN(decode_gbps, DECODE_GBPS, "measured, decode GB/s", NULL, SECTION_CHOICE, VALUE_REAL),

    ASK(vendor, DEVICE_VENDOR, "vendor", SECTION_NAMES, VALUE_TEXT),
    ASK(vendor_id, DEVICE_VENDOR_ID, "vendor's number", SECTION_NAMES, VALUE_HEX),
    OWN(platform, PLATFORM, "platform", NULL, SECTION_NAMES, VALUE_TEXT),
    NAMED(types, DEVICE_TYPE, "types it reports", SECTION_NAMES, VALUE_SET, types),
    ASK(device_version, DEVICE_VERSION, "OpenCL", SECTION_NAMES, VALUE_TEXT),
    NEWER(numeric_version, NUMERIC_VERSION, "OpenCL, as a number", SECTION_NAMES, VALUE_VERSION, "3.0"),
    COLUMN(opencl_c_version, DEVICE_OPENCL_C_VERSION, "OpenCL C", "CL C", SECTION_NAMES, VALUE_LANGUAGE),
    ASK(driver_version, DRIVER_VERSION, "driver", SECTION_NAMES, VALUE_TEXT),
    ASK(profile, DEVICE_PROFILE, "profile", SECTION_NAMES, VALUE_TEXT),
    NEWER(conformance, LATEST_CONFORMANCE_VERSION_PASSED, "conformance tests passed", SECTION_NAMES, VALUE_TEXT, "3.0"),
    NEWER(device_uuid, UUID, "device UUID", SECTION_NAMES, VALUE_UUID, "cl_khr_device_uuid"),
    NEWER(driver_uuid, DRIVER_UUID, "driver UUID", SECTION_NAMES, VALUE_UUID, "cl_khr_device_uuid"),
    NEWER(luid_valid, LUID_VALID, "has a LUID", SECTION_NAMES, VALUE_FLAG, "cl_khr_device_uuid"),
    NEWER(luid, LUID, "LUID", SECTION_NAMES, VALUE_LUID, "cl_khr_device_uuid"),
    NEWER(pci_bus_info, PCI_BUS_INFO, "PCI address", SECTION_NAMES, VALUE_PCI, "cl_khr_pci_bus_info"),

    ASK(available, DEVICE_AVAILABLE, "available", SECTION_PROCESSOR, VALUE_FLAG),
    ASK(compiler_available, DEVICE_COMPILER_AVAILABLE, "has a compiler", SECTION_PROCESSOR, VALUE_FLAG),
    ASK_1_2(linker_available, DEVICE_LINKER_AVAILABLE, "has a linker", SECTION_PROCESSOR, VALUE_FLAG),
    COLUMN(compute_units, DEVICE_MAX_COMPUTE_UNITS, "compute units", "UNITS", SECTION_PROCESSOR, VALUE_COUNT),
    ASK(clock_mhz, DEVICE_MAX_CLOCK_FREQUENCY, "clock", SECTION_PROCESSOR, VALUE_MEGAHERTZ),
    ASK(address_bits, DEVICE_ADDRESS_BITS, "address bits", SECTION_PROCESSOR, VALUE_COUNT),
    ASK(little_endian, DEVICE_ENDIAN_LITTLE, "little-endian", SECTION_PROCESSOR, VALUE_FLAG),
    ASK_1_2(max_sub_devices, DEVICE_PARTITION_MAX_SUB_DEVICES, "sub-devices, at most", SECTION_PROCESSOR, VALUE_COUNT),
    NAMED_1_2(partitions, DEVICE_PARTITION_PROPERTIES, "can be partitioned", SECTION_PROCESSOR, VALUE_PARTITIONS,
              partitions),
    NAMED_1_2(affinity_domains, DEVICE_PARTITION_AFFINITY_DOMAIN, "affinity domains", SECTION_PROCESSOR, VALUE_SET,
              affinity),

    ASK(max_work_group_size, DEVICE_MAX_WORK_GROUP_SIZE, "work-group size, at most", SECTION_GROUPS, VALUE_COUNT),
    ASK(max_work_item_sizes, DEVICE_MAX_WORK_ITEM_SIZES, "along each axis", SECTION_GROUPS, VALUE_SIZES),
    ASK(max_dimensions, DEVICE_MAX_WORK_ITEM_DIMENSIONS, "axes", SECTION_GROUPS, VALUE_COUNT),
    NEWER(work_group_multiple, PREFERRED_WORK_GROUP_SIZE_MULTIPLE, "preferred multiple", SECTION_GROUPS, VALUE_COUNT,
          "3.0"),
    NEWER(max_subgroups, MAX_NUM_SUB_GROUPS, "subgroups in a group, at most", SECTION_GROUPS, VALUE_COUNT, "2.1"),
    NEWER(subgroup_progress, SUB_GROUP_INDEPENDENT_FORWARD_PROGRESS, "subgroups progress independently", SECTION_GROUPS,
          VALUE_FLAG, "2.1"),
    NEWER(subgroup_sizes, SUB_GROUP_SIZES_INTEL, "subgroup sizes", SECTION_GROUPS, VALUE_SIZES,
          "cl_intel_required_subgroup_size"),
    NEWER(non_uniform_groups, NON_UNIFORM_WORK_GROUP_SUPPORT, "non-uniform groups", SECTION_GROUPS, VALUE_FLAG, "3.0"),
    NEWER(group_functions, WORK_GROUP_COLLECTIVE_FUNCTIONS_SUPPORT, "collective functions", SECTION_GROUPS, VALUE_FLAG,
          "3.0"),

    COLUMN(global_memory, DEVICE_GLOBAL_MEM_SIZE, "memory", "MEMORY", SECTION_MEMORY, VALUE_BYTES),
    NEWER(free_memory, GLOBAL_FREE_MEMORY_AMD, "free now", SECTION_MEMORY, VALUE_KIBIBYTES,
          "cl_amd_device_attribute_query"),
    COLUMN(max_allocation, DEVICE_MAX_MEM_ALLOC_SIZE, "largest allocation", "LARGEST", SECTION_MEMORY, VALUE_BYTES),
    COLUMN(local_memory, DEVICE_LOCAL_MEM_SIZE, "local memory", "LOCAL", SECTION_MEMORY, VALUE_BYTES),
    NAMED(local_memory_type, DEVICE_LOCAL_MEM_TYPE, "local memory is", SECTION_MEMORY, VALUE_ONE_OF, local_types),
    ASK(constant_memory, DEVICE_MAX_CONSTANT_BUFFER_SIZE, "constant buffer, at most", SECTION_MEMORY, VALUE_BYTES),
    ASK(max_constant_args, DEVICE_MAX_CONSTANT_ARGS, "constant arguments, at most", SECTION_MEMORY, VALUE_COUNT),
    NAMED(cache_type, DEVICE_GLOBAL_MEM_CACHE_TYPE, "cache", SECTION_MEMORY, VALUE_ONE_OF, cache_types),
    ASK(cache_size, DEVICE_GLOBAL_MEM_CACHE_SIZE, "cache size", SECTION_MEMORY, VALUE_BYTES),
    ASK(cache_line, DEVICE_GLOBAL_MEM_CACHELINE_SIZE, "cache line", SECTION_MEMORY, VALUE_BYTES),
    ASK(host_unified, DEVICE_HOST_UNIFIED_MEMORY, "shared with the host", SECTION_MEMORY, VALUE_FLAG),
    ASK(error_correction, DEVICE_ERROR_CORRECTION_SUPPORT, "error correction", SECTION_MEMORY, VALUE_FLAG),
    ASK(base_alignment_bits, DEVICE_MEM_BASE_ADDR_ALIGN, "alignment of sub-buffers", SECTION_MEMORY, VALUE_BITS),
    ASK(type_alignment, DEVICE_MIN_DATA_TYPE_ALIGN_SIZE, "alignment of the largest type", SECTION_MEMORY, VALUE_BYTES),
    NEWER(max_global_variable, MAX_GLOBAL_VARIABLE_SIZE, "global variable, at most", SECTION_MEMORY, VALUE_BYTES,
          "2.0"),

    NAMED(single_fp, DEVICE_SINGLE_FP_CONFIG, "fp32", SECTION_FLOATS, VALUE_SET, fp_config),
    {"double_fp", "CL_DEVICE_DOUBLE_FP_CONFIG", "fp64", NULL, SECTION_FLOATS, VALUE_SET, CL_DEVICE_DOUBLE_FP_CONFIG,
     fp_config, "1.2 cl_khr_fp64"},
    NEWER_NAMED(half_fp, HALF_FP_CONFIG, "fp16", SECTION_FLOATS, VALUE_SET, fp_config, "cl_khr_fp16"),
    NEWER_NAMED(dot_product, INTEGER_DOT_PRODUCT_CAPABILITIES, "integer dot product", SECTION_FLOATS, VALUE_SET,
                dot_flags, "cl_khr_integer_dot_product"),

    LANES(char, CHAR, "char"),
    LANES(short, SHORT, "short"),
    LANES(int, INT, "int"),
    LANES(long, LONG, "long"),
    LANES(half, HALF, "half"),
    LANES(float, FLOAT, "float"),
    LANES(double, DOUBLE, "double"),

    NAMED(queue_properties, DEVICE_QUEUE_PROPERTIES, "queues", SECTION_QUEUES, VALUE_SET, queue_flags),
    NEWER_NAMED(device_queue_properties, QUEUE_ON_DEVICE_PROPERTIES, "queues on the device", SECTION_QUEUES, VALUE_SET,
                queue_flags, "2.0"),
    NEWER(max_device_queues, MAX_ON_DEVICE_QUEUES, "queues on the device, at most", SECTION_QUEUES, VALUE_COUNT, "2.0"),
    NEWER_NAMED(device_enqueue, DEVICE_ENQUEUE_CAPABILITIES, "enqueueing on the device", SECTION_QUEUES, VALUE_SET,
                enqueue_flags, "3.0"),
    NAMED(execution, DEVICE_EXECUTION_CAPABILITIES, "runs", SECTION_QUEUES, VALUE_SET, exec_flags),
    ASK(max_parameter_size, DEVICE_MAX_PARAMETER_SIZE, "kernel arguments, at most", SECTION_QUEUES, VALUE_BYTES),
    ASK(timer_resolution, DEVICE_PROFILING_TIMER_RESOLUTION, "profiling timer", SECTION_QUEUES, VALUE_NANOSECONDS),
    ASK_1_2(printf_buffer, DEVICE_PRINTF_BUFFER_SIZE, "printf buffer", SECTION_QUEUES, VALUE_BYTES),
    ASK_1_2(user_sync, DEVICE_PREFERRED_INTEROP_USER_SYNC, "user synchronises sharing", SECTION_QUEUES, VALUE_FLAG),

    NEWER_NAMED(svm, SVM_CAPABILITIES, "shared virtual memory", SECTION_SHARED, VALUE_SET, svm_flags, "2.0"),
    NEWER_NAMED(atomic_memory, ATOMIC_MEMORY_CAPABILITIES, "atomic operations", SECTION_SHARED, VALUE_SET, atomic_flags,
                "3.0"),
    NEWER_NAMED(atomic_fences, ATOMIC_FENCE_CAPABILITIES, "fences", SECTION_SHARED, VALUE_SET, atomic_flags, "3.0"),
    NEWER(svm_atomic_alignment, PREFERRED_PLATFORM_ATOMIC_ALIGNMENT, "alignment of shared atomics", SECTION_SHARED,
          VALUE_BYTES, "2.0"),
    NEWER(global_atomic_alignment, PREFERRED_GLOBAL_ATOMIC_ALIGNMENT, "alignment of global atomics", SECTION_SHARED,
          VALUE_BYTES, "2.0"),
    NEWER(local_atomic_alignment, PREFERRED_LOCAL_ATOMIC_ALIGNMENT, "alignment of local atomics", SECTION_SHARED,
          VALUE_BYTES, "2.0"),
    NEWER(generic_addresses, GENERIC_ADDRESS_SPACE_SUPPORT, "generic address space", SECTION_SHARED, VALUE_FLAG, "3.0"),

    ASK(images, DEVICE_IMAGE_SUPPORT, "images", SECTION_IMAGES, VALUE_FLAG),
    ASK(image_2d_width, DEVICE_IMAGE2D_MAX_WIDTH, "2D width, at most", SECTION_IMAGES, VALUE_COUNT),
    ASK(image_2d_height, DEVICE_IMAGE2D_MAX_HEIGHT, "2D height, at most", SECTION_IMAGES, VALUE_COUNT),
    ASK(image_3d_width, DEVICE_IMAGE3D_MAX_WIDTH, "3D width, at most", SECTION_IMAGES, VALUE_COUNT),
    ASK(image_3d_height, DEVICE_IMAGE3D_MAX_HEIGHT, "3D height, at most", SECTION_IMAGES, VALUE_COUNT),
    ASK(image_3d_depth, DEVICE_IMAGE3D_MAX_DEPTH, "3D depth, at most", SECTION_IMAGES, VALUE_COUNT),
    ASK_1_2(image_buffer_size, DEVICE_IMAGE_MAX_BUFFER_SIZE, "pixels from a buffer, at most", SECTION_IMAGES,
            VALUE_COUNT),
    ASK_1_2(image_array_size, DEVICE_IMAGE_MAX_ARRAY_SIZE, "images in an array, at most", SECTION_IMAGES, VALUE_COUNT),
    ASK(max_read_images, DEVICE_MAX_READ_IMAGE_ARGS, "images to read, at most", SECTION_IMAGES, VALUE_COUNT),
    ASK(max_write_images, DEVICE_MAX_WRITE_IMAGE_ARGS, "images to write, at most", SECTION_IMAGES, VALUE_COUNT),
    NEWER(max_read_write_images, MAX_READ_WRITE_IMAGE_ARGS, "images to do both, at most", SECTION_IMAGES, VALUE_COUNT,
          "2.0"),
    ASK(max_samplers, DEVICE_MAX_SAMPLERS, "samplers, at most", SECTION_IMAGES, VALUE_COUNT),
    NEWER(image_pitch_alignment, IMAGE_PITCH_ALIGNMENT, "pitch alignment, pixels", SECTION_IMAGES, VALUE_COUNT, "2.0"),
    NEWER(image_base_alignment, IMAGE_BASE_ADDRESS_ALIGNMENT, "base alignment, pixels", SECTION_IMAGES, VALUE_COUNT,
          "2.0"),

    ASK(extensions, DEVICE_EXTENSIONS, "extensions", SECTION_LANGUAGES, VALUE_WORDS),
    NEWER(opencl_c_versions, OPENCL_C_ALL_VERSIONS, "OpenCL C, all versions", SECTION_LANGUAGES, VALUE_VERSIONED,
          "3.0"),
    NEWER(opencl_c_features, OPENCL_C_FEATURES, "OpenCL C features", SECTION_LANGUAGES, VALUE_VERSIONED, "3.0"),
    NEWER(intermediate_languages, IL_VERSION, "intermediate languages", SECTION_LANGUAGES, VALUE_WORDS, "2.1"),
    NEWER(spir_versions, SPIR_VERSIONS, "SPIR", SECTION_LANGUAGES, VALUE_WORDS, "cl_khr_spir"),
    ASK_1_2(built_in_kernels, DEVICE_BUILT_IN_KERNELS, "built-in kernels", SECTION_LANGUAGES, VALUE_LIST),
    NEWER(pipes, PIPE_SUPPORT, "pipes", SECTION_LANGUAGES, VALUE_FLAG, "3.0"),

    NEWER(nv_capability_major, COMPUTE_CAPABILITY_MAJOR_NV, "compute capability, major", SECTION_VENDOR, VALUE_COUNT,
          "cl_nv_device_attribute_query"),
    NEWER(nv_capability_minor, COMPUTE_CAPABILITY_MINOR_NV, "compute capability, minor", SECTION_VENDOR, VALUE_COUNT,
          "cl_nv_device_attribute_query"),
    NEWER(nv_registers, REGISTERS_PER_BLOCK_NV, "registers of a group", SECTION_VENDOR, VALUE_COUNT,
          "cl_nv_device_attribute_query"),
    NEWER(nv_warp, WARP_SIZE_NV, "warp", SECTION_VENDOR, VALUE_COUNT, "cl_nv_device_attribute_query"),
    NEWER(nv_timeout, KERNEL_EXEC_TIMEOUT_NV, "long kernels are stopped", SECTION_VENDOR, VALUE_FLAG,
          "cl_nv_device_attribute_query"),
    NEWER(nv_integrated, INTEGRATED_MEMORY_NV, "integrated", SECTION_VENDOR, VALUE_FLAG,
          "cl_nv_device_attribute_query"),
    NEWER(nv_pci_domain, PCI_DOMAIN_ID_NV, "PCI domain", SECTION_VENDOR, VALUE_HEX, "cl_nv_device_attribute_query"),
    NEWER(nv_pci_bus, PCI_BUS_ID_NV, "PCI bus", SECTION_VENDOR, VALUE_HEX, "cl_nv_device_attribute_query"),
    NEWER(nv_pci_slot, PCI_SLOT_ID_NV, "PCI slot", SECTION_VENDOR, VALUE_HEX, "cl_nv_device_attribute_query"),
    NEWER(amd_board, BOARD_NAME_AMD, "board", SECTION_VENDOR, VALUE_TEXT, "cl_amd_device_attribute_query"),
    NEWER(amd_pci_address, TOPOLOGY_AMD, "PCI address, AMD's", SECTION_VENDOR, VALUE_PCI_AMD,
          "cl_amd_device_attribute_query"),
    NEWER(amd_simds, SIMD_PER_COMPUTE_UNIT_AMD, "SIMD units in a compute unit", SECTION_VENDOR, VALUE_COUNT,
          "cl_amd_device_attribute_query"),
    NEWER(amd_simd_width, SIMD_WIDTH_AMD, "SIMD width", SECTION_VENDOR, VALUE_COUNT, "cl_amd_device_attribute_query"),
    NEWER(amd_wavefront, WAVEFRONT_WIDTH_AMD, "wavefront", SECTION_VENDOR, VALUE_COUNT,
          "cl_amd_device_attribute_query"),
    NEWER(amd_gfx_major, GFXIP_MAJOR_AMD, "gfx, major", SECTION_VENDOR, VALUE_COUNT, "cl_amd_device_attribute_query"),
    NEWER(amd_gfx_minor, GFXIP_MINOR_AMD, "gfx, minor", SECTION_VENDOR, VALUE_COUNT, "cl_amd_device_attribute_query"),
    NEWER(intel_ip_version, IP_VERSION_INTEL, "IP version", SECTION_VENDOR, VALUE_HEX,
          "cl_intel_device_attribute_query"),
    NEWER(intel_device_id, DEVICE_ID_INTEL, "device's number", SECTION_VENDOR, VALUE_HEX,
          "cl_intel_device_attribute_query"),
    NEWER(intel_slices, NUM_SLICES_INTEL, "slices", SECTION_VENDOR, VALUE_COUNT, "cl_intel_device_attribute_query"),
    NEWER(intel_sub_slices, NUM_SUB_SLICES_PER_SLICE_INTEL, "sub-slices in a slice", SECTION_VENDOR, VALUE_COUNT,
          "cl_intel_device_attribute_query"),
    NEWER(intel_eus, NUM_EUS_PER_SUB_SLICE_INTEL, "execution units in a sub-slice", SECTION_VENDOR, VALUE_COUNT,
          "cl_intel_device_attribute_query"),
    NEWER(intel_threads, NUM_THREADS_PER_EU_INTEL, "threads in an execution unit", SECTION_VENDOR, VALUE_COUNT,
          "cl_intel_device_attribute_query"),
};
const size_t num_properties = sizeof properties / sizeof properties[0];

const struct property *property_find(const char *name) {
    for (size_t i = 0; i < num_properties; i++)
        if (strcasecmp(name, properties[i].key) == 0 || strcasecmp(name, properties[i].raw) == 0) return &properties[i];
    return NULL;
}
