/* Reads what the liar is to say. */
#include "liar/lies.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_LIES 32

static struct lie lies[MAX_LIES];
static size_t num_lies;

static const char *const kind_names[NUM_LIE_KINDS] = {
    "fail",   "crash",  "delay", "hide",  "device", "size",  "kernel", "most", "refuse", "lack", "reject",
    "loaded", "launch", "lazy",  "short", "wrong",  "fault", "skip",   "late", "only",   "many"};

struct parameter {
    const char *name;
    unsigned code;
};
#define DEVICE(name)                                                                                                   \
    { #name, CL_DEVICE_##name }
static const struct parameter device_parameters[] = {
    DEVICE(TYPE),
    DEVICE(NAME),
    DEVICE(VENDOR),
    DEVICE(VERSION),
    DEVICE(OPENCL_C_VERSION),
    DEVICE(PROFILE),
    DEVICE(EXTENSIONS),
    DEVICE(PLATFORM),
    DEVICE(AVAILABLE),
    DEVICE(COMPILER_AVAILABLE),
    DEVICE(ENDIAN_LITTLE),
    DEVICE(MAX_COMPUTE_UNITS),
    DEVICE(MAX_CLOCK_FREQUENCY),
    DEVICE(MAX_WORK_GROUP_SIZE),
    DEVICE(MAX_WORK_ITEM_SIZES),
    DEVICE(MAX_WORK_ITEM_DIMENSIONS),
    DEVICE(LOCAL_MEM_SIZE),
    DEVICE(LOCAL_MEM_TYPE),
    DEVICE(GLOBAL_MEM_SIZE),
    DEVICE(GLOBAL_MEM_CACHE_SIZE),
    DEVICE(MAX_MEM_ALLOC_SIZE),
    DEVICE(MAX_CONSTANT_BUFFER_SIZE),
    DEVICE(MAX_PARAMETER_SIZE),
    DEVICE(MEM_BASE_ADDR_ALIGN),
    DEVICE(NATIVE_VECTOR_WIDTH_FLOAT),
    DEVICE(PREFERRED_VECTOR_WIDTH_FLOAT),
    DEVICE(HOST_UNIFIED_MEMORY),
    DEVICE(QUEUE_PROPERTIES),
    DEVICE(PARTITION_MAX_SUB_DEVICES),
    {"DRIVER_VERSION", CL_DRIVER_VERSION},
};
static const struct parameter kernel_parameters[] = {
    {"WORK_GROUP_SIZE", CL_KERNEL_WORK_GROUP_SIZE},
    {"LOCAL_MEM_SIZE", CL_KERNEL_LOCAL_MEM_SIZE},
    {"PRIVATE_MEM_SIZE", CL_KERNEL_PRIVATE_MEM_SIZE},
    {"PREFERRED_WORK_GROUP_SIZE_MULTIPLE", CL_KERNEL_PREFERRED_WORK_GROUP_SIZE_MULTIPLE},
};

static bool find_parameter(unsigned *code, const struct parameter *list, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++)
        if (!strcmp(list[i].name, name)) {
            *code = list[i].code;
            return true;
        }
    return false;
}

static bool find_call(unsigned *code, const char *name) {
    for (unsigned i = 0; i < NUM_CALLS; i++)
        if (!strcmp(cl_call_names[i], name)) {
            *code = i;
            return true;
        }
    return false;
}

/* The subject's code, and whether the value is what such a lie needs. */
static bool check(struct lie *lie) {
    char *end;
    lie->number = strtoull(lie->value, &end, 0);
    while (*end == ',')
        (void)strtoull(end + 1, &end, 0);
    lie->is_number = *lie->value && (*end == '\0' || (lie->kind == LIE_FAIL && *end == ':'));
    switch (lie->kind) {
    case LIE_FAIL:
        lie->error = *end == ':' ? strtol(end + 1, &end, 0) : 0;
        return find_call(&lie->code, lie->subject) && lie->is_number && lie->number && lie->error && *end == '\0';
    case LIE_CRASH:
    case LIE_DELAY:
        return find_call(&lie->code, lie->subject) && lie->is_number;
    case LIE_DEVICE:
        return find_parameter(&lie->code, device_parameters, sizeof device_parameters / sizeof *device_parameters,
                              lie->subject);
    case LIE_SIZE:
        return lie->is_number && find_parameter(&lie->code, device_parameters,
                                                sizeof device_parameters / sizeof *device_parameters, lie->subject);
    case LIE_KERNEL:
        return (lie->is_number || !strcmp(lie->value, "fail")) &&
               find_parameter(&lie->code, kernel_parameters, sizeof kernel_parameters / sizeof *kernel_parameters,
                              lie->subject);
    case LIE_REFUSE:
    case LIE_LAUNCH:
        lie->error = *lie->value ? strtol(lie->value, &end, 0) : CL_BUILD_PROGRAM_FAILURE;
        return *lie->subject && *end == '\0' && lie->error;
    case LIE_LOADED:
        return !strcmp(lie->value, "absent") || !strcmp(lie->value, "wrong");
    case LIE_LATE:
        lie->error = strtol(lie->value, &end, 0);
        return lie->error < 0 && *end == '\0';
    case LIE_SKIP:
        return lie->is_number && lie->number;
    case LIE_MOST:
        return lie->is_number &&
               (!strcmp(lie->subject, "group") || !strcmp(lie->subject, "item") || !strcmp(lie->subject, "arguments") ||
                !strcmp(lie->subject, "local") || !strcmp(lie->subject, "allocation"));
    default:
        return *lie->subject != '\0';
    }
}

static bool parse(struct lie *lie, const char *item, size_t length) {
    const char *equals = memchr(item, '=', length);
    if (!equals) return false;
    const char *subject = equals + 1, *last = item + length;
    const char *colon = memchr(subject, ':', (size_t)(last - subject));
    const char *subject_end = colon ? colon : last;
    memset(lie, 0, sizeof *lie);
    while (lie->kind < NUM_LIE_KINDS && (strlen(kind_names[lie->kind]) != (size_t)(equals - item) ||
                                         strncmp(kind_names[lie->kind], item, (size_t)(equals - item))))
        lie->kind++;
    if (lie->kind == NUM_LIE_KINDS || (size_t)(subject_end - subject) >= sizeof lie->subject ||
        (colon && (size_t)(last - colon) > sizeof lie->value))
        return false;
    memcpy(lie->subject, subject, (size_t)(subject_end - subject));
    if (colon) memcpy(lie->value, colon + 1, (size_t)(last - colon - 1));
    return check(lie);
}

bool lies_tell(const char *text) {
    num_lies = 0;
    while (*text) {
        size_t blank = strspn(text, " ;"), length = strcspn(text + blank, ";");
        text += blank;
        if (length == 0) break;
        if (num_lies == MAX_LIES || !parse(&lies[num_lies], text, length)) {
            fprintf(stderr, "the liar does not understand \"%.*s\"\n", (int)length, text);
            num_lies = 0;
            return false;
        }
        num_lies++;
        text += length;
    }
    return true;
}

const struct lie *lies_nth(enum lie_kind kind, size_t n) {
    for (size_t i = 0; i < num_lies; i++)
        if (lies[i].kind == kind && n-- == 0) return &lies[i];
    return NULL;
}

const struct lie *lies_about(enum lie_kind kind, const char *subject) {
    for (size_t i = 0; i < num_lies; i++)
        if (lies[i].kind == kind && (!strcmp(lies[i].subject, "*") || !strcmp(lies[i].subject, subject)))
            return &lies[i];
    return NULL;
}

const struct lie *lies_about_code(enum lie_kind kind, unsigned code) {
    for (size_t i = 0; i < num_lies; i++)
        if (lies[i].kind == kind && lies[i].code == code) return &lies[i];
    return NULL;
}

unsigned long long lies_number(const struct lie *lie, size_t n) {
    const char *at = lie->value;
    for (const char *comma; n > 0 && (comma = strchr(at, ',')) != NULL; n--)
        at = comma + 1;
    return strtoull(at, NULL, 0);
}
