/* Is the library that an .icd file names an OpenCL driver? Asked in a child of its own. */
#include <dlfcn.h>
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
