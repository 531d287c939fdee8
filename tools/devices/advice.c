/* What to install on a machine where OpenCL finds nothing usable. */
#include <stdlib.h>
#include <string.h>

#include "devices/devices.h"

static const struct {
    const char *hardware, *debian, *fedora, *arch;
} drivers[] = {
    {"hardware", "Debian, Ubuntu", "Fedora", "Arch"},
    {"any CPU", "pocl-opencl-icd", "pocl", "pocl"},
    {"Intel GPU", "intel-opencl-icd", "intel-compute-runtime", "intel-compute-runtime"},
    {"AMD GPU (Mesa)", "mesa-opencl-icd", "mesa-libOpenCL", "opencl-mesa"},
    {"AMD GPU (ROCm)", "rocm-opencl-icd or AMD's own", "rocm-opencl", "rocm-opencl-runtime"},
    {"NVIDIA GPU", "nvidia-opencl-icd (non-free)", "NVIDIA's own driver", "opencl-nvidia"},
};

static int is_mesa(const char *name) {
    return strstr(name, "rusticl") != NULL || strstr(name, "Clover") != NULL;
}

void print_advice(FILE *out, const qkv_device_list *list) {
    const char *vendors = getenv("OCL_ICD_VENDORS");
    size_t platforms = qkv_device_list_num_platforms(list);

    if (platforms == 0)
        fputs("No OpenCL platform was found: no driver is installed, or the loader does not see it.\n", out);
    else
        fputs("No usable OpenCL device was found.\n", out);
    if (vendors && vendors[0]) fprintf(out, "Only what OCL_ICD_VENDORS names was asked: %s\n", vendors);
    for (size_t p = 0; p < platforms; p++) {
        if (!is_mesa(qkv_device_list_platform(list, p)->name)) continue;
        fputs("Mesa's rusticl shows a device only if RUSTICL_ENABLE names its driver, as in\n"
              "RUSTICL_ENABLE=radeonsi (AMD), iris (Intel), nouveau (NVIDIA) or llvmpipe (software).\n",
              out);
        break;
    }

    fputs("\nThese packages bring a driver:\n\n", out);
    for (size_t i = 0; i < sizeof drivers / sizeof drivers[0]; i++)
        fprintf(out, "  %-14s  %-28s  %-21s  %s\n", drivers[i].hardware, drivers[i].debian, drivers[i].fedora,
                drivers[i].arch);
    fputs("\nmacOS brings its own; Windows gets it with the graphics driver. Where in doubt, PoCL runs on every\n"
          "CPU:  sudo apt-get install pocl-opencl-icd\n"
          "On Linux a GPU also needs the user in the groups that own /dev/dri/renderD* (render, video).\n",
          out);
}
