/* Is the library that an .icd file names an OpenCL driver? Whose is the loader? Asked in children of their own. */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "devices/child.h"
#include "devices/property.h"

typedef cl_int(CL_API_CALL *get_platforms)(cl_uint, cl_platform_id *, cl_uint *);
typedef void *(CL_API_CALL *get_address)(const char *);

/* A driver gives it by name, or through clGetExtensionFunctionAddress(). */
static get_platforms find_platforms(void *library) {
    get_platforms function = NULL;
    get_address address = NULL;
    void *symbol = dlsym(library, "clIcdGetPlatformIDsKHR");
    void *lookup = dlsym(library, "clGetExtensionFunctionAddress");
    memcpy(&address, &lookup, sizeof address);
    if (!symbol && address) symbol = address("clIcdGetPlatformIDsKHR");
    memcpy(&function, &symbol, sizeof function);
    return function;
}

/* {"error": ...} or {"platforms": n}. */
int child_driver(const char *name) {
    json_t *line = json_object();
    cl_uint count = 0;
    void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    get_platforms function = library ? find_platforms(library) : NULL;
    if (!library)
        json_object_set_new(line, "error", text_value(dlerror()));
    else if (!function)
        json_object_set_new(line, "error", json_string("it is no OpenCL driver: it has no clIcdGetPlatformIDsKHR()"));
    else
        json_object_set_new(line, "platforms", json_integer(function(0, NULL, &count) == CL_SUCCESS ? count : 0));
    child_tell(line);
    return 0;
}

/* {"vendor": ...} of the loader, which gets no driver to load for this. */
int child_loader(void) {
    typedef cl_int(CL_API_CALL * loader_info)(cl_uint, size_t, void *, size_t *);
    enum { LOADER_VENDOR = 4 };
    char vendor[128] = "";
    loader_info function = NULL;
    get_address address = NULL;
    json_t *line = json_object();
    (void)setenv("OCL_ICD_VENDORS", "/dev/null/none", 1);
    (void)unsetenv("OCL_ICD_FILENAMES");
    /* By name: newer headers call it deprecated. */
    void *program = dlopen(NULL, RTLD_NOW);
    void *lookup = program ? dlsym(program, "clGetExtensionFunctionAddress") : NULL;
    memcpy(&address, &lookup, sizeof address);
    void *symbol = address ? address("clGetICDLoaderInfoOCLICD") : NULL;
    memcpy(&function, &symbol, sizeof function);
    if (function) (void)function(LOADER_VENDOR, sizeof vendor, vendor, NULL);
    json_object_set_new(line, "vendor", text_value(vendor));
    child_tell(line);
    return 0;
}
