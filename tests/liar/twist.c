/* Answers that are not the driver's, and limits that are lower than what it says. */
#include "liar/lies.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static cl_icd_dispatch driver;

/* ---- answers ---- */

static bool driver_shows(cl_device_id device) {
    char name[256] = "";
    (void)driver.clGetDeviceInfo(device, CL_DEVICE_NAME, sizeof name - 1, name, NULL);
    const struct lie *lie;
    for (size_t i = 0; (lie = lies_nth(LIE_HIDE, i)) != NULL; i++)
        if (!strcmp(lie->subject, "*") || strstr(name, lie->subject)) return false;
    return true;
}

static cl_int CL_API_CALL get_devices(cl_platform_id platform, cl_device_type type, cl_uint n, cl_device_id *out,
                                      cl_uint *count) {
    cl_device_id all[256];
    cl_uint found = 0, shown = 0;
    if (!lies_nth(LIE_HIDE, 0)) return driver.clGetDeviceIDs(platform, type, n, out, count);
    cl_int error = driver.clGetDeviceIDs(platform, type, 256, all, &found);
    if (error != CL_SUCCESS) return error;
    for (cl_uint i = 0; i < found && i < 256; i++)
        if (driver_shows(all[i])) {
            if (out && shown < n) out[shown] = all[i];
            shown++;
        }
    if (count) *count = shown;
    return shown ? CL_SUCCESS : CL_DEVICE_NOT_FOUND;
}

/* Writes the lie in the form of the true answer: of `bytes`, made of numbers of 4 or of 8 bytes. */
static void write_number(void *out, size_t bytes, const struct lie *lie) {
    const size_t width = bytes == sizeof(cl_uint) ? sizeof(cl_uint) : sizeof(cl_ulong);
    for (size_t i = 0; (i + 1) * width <= bytes; i++) {
        const cl_ulong large = lies_number(lie, i);
        const cl_uint small = large > 0xffffffffu ? 0xffffffffu : (cl_uint)large;
        memcpy((char *)out + i * width, width == sizeof small ? (const void *)&small : (const void *)&large, width);
    }
}

static cl_int CL_API_CALL get_device_info(cl_device_id device, cl_device_info what, size_t n, void *value,
                                          size_t *size) {
    const struct lie *lie = lies_about_code(LIE_DEVICE, what), *larger = lies_about_code(LIE_SIZE, what);
    size_t bytes = 0;
    if (larger && !value && size) {
        *size = (size_t)larger->number;
        return CL_SUCCESS;
    }
    /* Who believed the size has memory of another one; the driver is asked for what there is. */
    if (larger && driver.clGetDeviceInfo(device, what, 0, NULL, &bytes) == CL_SUCCESS && n > bytes) n = bytes;
    if (!lie) return driver.clGetDeviceInfo(device, what, n, value, size);
    if (!strcmp(lie->value, "fail")) return CL_INVALID_VALUE;
    cl_int error = driver.clGetDeviceInfo(device, what, 0, NULL, &bytes);
    if (error != CL_SUCCESS) return error;
    if (!lie->is_number) bytes = strlen(lie->value) + 1;
    if (size) *size = bytes;
    if (value && n < bytes) return CL_INVALID_VALUE;
    if (value && lie->is_number)
        write_number(value, bytes, lie);
    else if (value)
        memcpy(value, lie->value, bytes);
    return CL_SUCCESS;
}

static cl_int CL_API_CALL get_work_group_info(cl_kernel kernel, cl_device_id device, cl_kernel_work_group_info what,
                                              size_t n, void *value, size_t *size) {
    const struct lie *lie = lies_about_code(LIE_KERNEL, what);
    if (lie && !lie->is_number) return CL_INVALID_VALUE;
    cl_int error = driver.clGetKernelWorkGroupInfo(kernel, device, what, n, value, size);
    if (lie && value && error == CL_SUCCESS) write_number(value, n, lie);
    return error;
}

/* ---- builds ---- */

/* A kernel's declaration is the one place of a source where its name has a parenthesis behind it. */
static bool declares(const char *source, const char *kernel) {
    const size_t length = strlen(kernel);
    for (const char *at = source; (at = strstr(at, kernel)) != NULL; at++)
        if (at > source && strchr(" \n*", at[-1]) && at[length] == '(') return true;
    return false;
}

/* The error of it, or 0. */
static cl_int refusal(cl_program program) {
    size_t bytes = 0;
    const struct lie *lie;
    if (!lies_nth(LIE_REFUSE, 0)) return CL_SUCCESS;
    if (driver.clGetProgramInfo(program, CL_PROGRAM_SOURCE, 0, NULL, &bytes) != CL_SUCCESS) return CL_SUCCESS;
    char *source = calloc(bytes + 1, 1);
    if (source) (void)driver.clGetProgramInfo(program, CL_PROGRAM_SOURCE, bytes, source, NULL);
    cl_int refused = CL_SUCCESS;
    for (size_t i = 0; source && !refused && (lie = lies_nth(LIE_REFUSE, i)) != NULL; i++)
        if (!strcmp(lie->subject, "*") || declares(source, lie->subject)) refused = (cl_int)lie->error;
    free(source);
    return refused;
}

static bool is_letter(char c) {
    return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* What is lacking is renamed in the source: the program's own names stay whole, OpenCL's are nobody's then. */
static void rename_lacking(char *source) {
    const struct lie *lie;
    for (size_t i = 0; (lie = lies_nth(LIE_LACK, i)) != NULL; i++)
        for (char *at = source; (at = strstr(at, lie->subject)) != NULL; at++)
            if (at == source || !is_letter(at[-1])) *at = *at == 'z' ? 'y' : 'z';
}

static cl_program create_lacking(cl_context context, cl_uint n, const char **texts, const size_t *lengths,
                                 cl_int *error) {
    size_t total = 0, used = 0;
    for (cl_uint i = 0; i < n; i++)
        total += lengths && lengths[i] ? lengths[i] : strlen(texts[i]);
    char *source = calloc(total + 1, 1);
    for (cl_uint i = 0; source && i < n; i++) {
        const size_t length = lengths && lengths[i] ? lengths[i] : strlen(texts[i]);
        memcpy(source + used, texts[i], length);
        used += length;
    }
    if (source) rename_lacking(source);
    const char *text = source;
    cl_program made = source ? driver.clCreateProgramWithSource(context, 1, &text, NULL, error) : NULL;
    if (!source && error) *error = CL_OUT_OF_HOST_MEMORY;
    free(source);
    return made;
}

/* Programs that were created from binaries. An address is given again only after a program of that address is gone. */
#define MOST_LOADED 256
static cl_program loaded[MOST_LOADED];
static size_t num_loaded;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void remember_origin(cl_program program, bool from_binary) {
    size_t i = 0;
    (void)pthread_mutex_lock(&lock);
    while (i < num_loaded && loaded[i] != program)
        i++;
    if (from_binary && i == num_loaded && i < MOST_LOADED) loaded[num_loaded++] = program;
    if (!from_binary && i < num_loaded) loaded[i] = loaded[--num_loaded];
    (void)pthread_mutex_unlock(&lock);
}

/* What the lie about a loaded program's kernel says; NULL where there is none. */
static const char *way_loaded(cl_program program, const char *kernel) {
    const struct lie *lie = lies_about(LIE_LOADED, kernel);
    bool known = false;
    (void)pthread_mutex_lock(&lock);
    for (size_t i = 0; i < num_loaded; i++)
        known = known || loaded[i] == program;
    (void)pthread_mutex_unlock(&lock);
    return lie && known ? lie->value : NULL;
}

static cl_program CL_API_CALL create_loaded(cl_context context, cl_uint n, const cl_device_id *devices,
                                            const size_t *sizes, const unsigned char **binaries, cl_int *statuses,
                                            cl_int *error) {
    cl_program made = driver.clCreateProgramWithBinary(context, n, devices, sizes, binaries, statuses, error);
    if (made) remember_origin(made, true);
    return made;
}

static bool is_rejected(const char *options) {
    const struct lie *lie;
    for (size_t i = 0; options && (lie = lies_nth(LIE_REJECT, i)) != NULL; i++)
        if (strstr(options, lie->subject)) return true;
    return false;
}

static cl_program CL_API_CALL create_program(cl_context context, cl_uint n, const char **texts, const size_t *lengths,
                                             cl_int *error) {
    cl_program made = lies_nth(LIE_LACK, 0) ? create_lacking(context, n, texts, lengths, error)
                                            : driver.clCreateProgramWithSource(context, n, texts, lengths, error);
    if (made) remember_origin(made, false);
    return made;
}

static cl_int CL_API_CALL build_program(cl_program program, cl_uint n, const cl_device_id *devices, const char *options,
                                        void(CL_CALLBACK *notify)(cl_program, void *), void *user) {
    if (is_rejected(options)) return CL_INVALID_BUILD_OPTIONS;
    const cl_int refused = refusal(program);
    if (refused) return refused;
    return driver.clBuildProgram(program, n, devices, options, notify, user);
}

static cl_int CL_API_CALL get_build_info(cl_program program, cl_device_id device, cl_program_build_info what, size_t n,
                                         void *value, size_t *size) {
    static const char log[] = "refused by the liar";
    if (what != CL_PROGRAM_BUILD_LOG || !refusal(program))
        return driver.clGetProgramBuildInfo(program, device, what, n, value, size);
    if (value && n < sizeof log) return CL_INVALID_VALUE;
    if (value) memcpy(value, log, sizeof log);
    if (size) *size = sizeof log;
    return CL_SUCCESS;
}

/* ---- memory and launches ---- */

static bool exceeds(const char *what, unsigned long long used) {
    const struct lie *lie = lies_about(LIE_MOST, what);
    return lie && used > lie->number;
}

static cl_mem CL_API_CALL create_buffer(cl_context context, cl_mem_flags flags, size_t n, void *host, cl_int *error) {
    if (exceeds("allocation", n)) {
        if (error) *error = CL_MEM_OBJECT_ALLOCATION_FAILURE;
        return NULL;
    }
    cl_mem made = driver.clCreateBuffer(context, flags, n, host, error);
    if (made) spoil_count(made, 1);
    return made;
}

static cl_int CL_API_CALL retain_buffer(cl_mem buffer) {
    cl_int error = driver.clRetainMemObject(buffer);
    if (error == CL_SUCCESS) spoil_count(buffer, 1);
    return error;
}

static cl_int CL_API_CALL release_buffer(cl_mem buffer) {
    spoil_count(buffer, -1);
    return driver.clReleaseMemObject(buffer);
}

static cl_kernel CL_API_CALL create_kernel(cl_program program, const char *name, cl_int *error) {
    const char *way = way_loaded(program, name);
    if (way && !strcmp(way, "absent")) {
        if (error) *error = CL_INVALID_KERNEL_NAME;
        return NULL;
    }
    cl_kernel made = driver.clCreateKernel(program, name, error);
    if (made) spoil_count(made, 1);
    if (made) (void)record_kernel(made, RECORD_MADE);
    return made;
}

static cl_int CL_API_CALL retain_kernel(cl_kernel kernel) {
    cl_int error = driver.clRetainKernel(kernel);
    if (error == CL_SUCCESS) spoil_count(kernel, 1);
    return error;
}

static cl_int CL_API_CALL release_kernel(cl_kernel kernel) {
    (void)record_kernel(kernel, RECORD_RELEASED);
    spoil_count(kernel, -1);
    return driver.clReleaseKernel(kernel);
}

static cl_int CL_API_CALL set_kernel_arg(cl_kernel kernel, cl_uint index, size_t n, const void *value) {
    cl_int error = driver.clSetKernelArg(kernel, index, n, value);
    if (error == CL_SUCCESS) spoil_remember_argument(kernel, index, n, value);
    return error;
}

static bool exceeds_items(const struct launch *l) {
    const struct lie *lie = lies_about(LIE_MOST, "item");
    for (cl_uint i = 0; lie && l->local && i < l->dims; i++)
        if (l->local[i] > lies_number(lie, i)) return true;
    return false;
}

static cl_int check_limits(const struct launch *l) {
    size_t items = 1;
    cl_device_id device = NULL;
    cl_ulong bytes = 0;
    for (cl_uint i = 0; l->local && i < l->dims; i++)
        items *= l->local[i];
    if (exceeds("group", items)) return CL_INVALID_WORK_GROUP_SIZE;
    if (exceeds_items(l)) return CL_INVALID_WORK_ITEM_SIZE;
    if (exceeds("arguments", spoil_argument_bytes(l->kernel))) return CL_OUT_OF_RESOURCES;
    (void)driver.clGetCommandQueueInfo(l->queue, CL_QUEUE_DEVICE, sizeof device, &device, NULL);
    (void)driver.clGetKernelWorkGroupInfo(l->kernel, device, CL_KERNEL_LOCAL_MEM_SIZE, sizeof bytes, &bytes, NULL);
    return exceeds("local", bytes) ? CL_OUT_OF_RESOURCES : CL_SUCCESS;
}

static cl_int spoil(const struct launch *launch, const char *how) {
    char *end;
    double part = strtod(how, &end);
    return spoil_launch(launch, end > how ? part : 1e-3, *end == ':' ? strtol(end + 1, NULL, 10) : -1);
}

/* Is it one of those that lies about launches are about? */
static bool is_meant(const struct launch *l) {
    char options[1024];
    const struct lie *only = lies_nth(LIE_ONLY, 0), *many = lies_nth(LIE_MANY, 0);
    const unsigned long axis = many ? strtoul(many->subject, NULL, 10) : 0;
    if (many && (axis >= l->dims || l->global[axis] <= (l->local ? l->local[axis] : 1))) return false;
    if (only) record_options(options, sizeof options, l->kernel);
    return !only || strstr(options, only->subject) != NULL;
}

static bool is_skipped(const char *name, size_t nth) {
    const struct lie *skip = lies_about(LIE_SKIP, name);
    if (!skip || nth != skip->number) return false;
    lies_fire();
    return true;
}

/* The command that fails is one that nobody sees: without an event there is nothing to see it by. */
static cl_int fail_late(const struct launch *l, cl_int state) {
    cl_context context = NULL;
    cl_int error = driver.clGetCommandQueueInfo(l->queue, CL_QUEUE_CONTEXT, sizeof context, &context, NULL);
    if (error != CL_SUCCESS || !l->event) return error;
    *l->event = driver.clCreateUserEvent(context, &error);
    return error == CL_SUCCESS ? driver.clSetUserEventStatus(*l->event, state) : error;
}

static cl_int CL_API_CALL enqueue_kernel(cl_command_queue queue, cl_kernel kernel, cl_uint dims, const size_t *offset,
                                         const size_t *global, const size_t *local, cl_uint n, const cl_event *wait,
                                         cl_event *event) {
    char name[128] = "";
    size_t fewer[3] = {1, 1, 1};
    struct launch launch = {queue, kernel, dims, offset, global, local, n, wait, event};
    (void)driver.clGetKernelInfo(kernel, CL_KERNEL_FUNCTION_NAME, sizeof name - 1, name, NULL);
    cl_int error = check_limits(&launch);
    if (error != CL_SUCCESS) return error;
    if (fault_has_lost(queue)) return CL_OUT_OF_RESOURCES;
    const struct lie *fault = lies_about(LIE_FAULT, name);
    if (fault && fault_strikes(fault, &launch)) return CL_SUCCESS;
    const size_t nth = record_kernel(kernel, RECORD_LAUNCHED);
    const bool meant = is_meant(&launch);
    const struct lie *wrong = lies_about(LIE_WRONG, name), *failing = lies_about(LIE_LAUNCH, name);
    if (failing) return (cl_int)failing->error;
    if (wrong && meant) return spoil(&launch, wrong->value);
    cl_program program = NULL;
    (void)driver.clGetKernelInfo(kernel, CL_KERNEL_PROGRAM, sizeof program, &program, NULL);
    const char *way = way_loaded(program, name);
    if (way && !strcmp(way, "wrong")) return spoil(&launch, "");
    const struct lie *late = lies_about(LIE_LATE, name);
    if (late && meant) return fail_late(&launch, (cl_int)late->error);
    bool nothing = meant && (lies_about(LIE_LAZY, name) || is_skipped(name, nth));
    if (meant && lies_about(LIE_SHORT, name) && dims <= 3) {
        memcpy(fewer, global, dims * sizeof *global);
        fewer[0] -= local ? local[0] : 1;
        nothing = nothing || fewer[0] == 0;
        global = fewer;
    }
    if (nothing) return driver.clEnqueueMarkerWithWaitList(queue, n, wait, event);
    return driver.clEnqueueNDRangeKernel(queue, kernel, dims, offset, global, local, n, wait, event);
}

void twist_table(cl_icd_dispatch *table, const cl_icd_dispatch *true_ones) {
    driver = *true_ones;
    spoil_begin(&driver);
    fault_table(table, &driver);
    record_begin(&driver);
    table->clGetDeviceIDs = get_devices;
    table->clGetDeviceInfo = get_device_info;
    table->clGetKernelWorkGroupInfo = get_work_group_info;
    table->clCreateProgramWithSource = create_program;
    table->clCreateProgramWithBinary = create_loaded;
    table->clBuildProgram = build_program;
    table->clGetProgramBuildInfo = get_build_info;
    table->clCreateBuffer = create_buffer;
    table->clRetainMemObject = retain_buffer;
    table->clReleaseMemObject = release_buffer;
    table->clCreateKernel = create_kernel;
    table->clRetainKernel = retain_kernel;
    table->clSetKernelArg = set_kernel_arg;
    table->clReleaseKernel = release_kernel;
    table->clEnqueueNDRangeKernel = enqueue_kernel;
}
