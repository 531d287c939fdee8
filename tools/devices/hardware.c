/* GPUs and accelerators that the machine has but OpenCL does not show: without a driver, or without permission. */
#include <errno.h>
#include <glob.h>
#include <grp.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/machine.h"

static const struct {
    const char *hardware, *debian, *fedora, *arch;
} packages[] = {
    {"hardware", "Debian, Ubuntu", "Fedora", "Arch"},
    {"any CPU", "pocl-opencl-icd", "pocl", "pocl"},
    {"Intel GPU", "intel-opencl-icd", "intel-compute-runtime", "intel-compute-runtime"},
    {"AMD GPU (Mesa)", "mesa-opencl-icd", "mesa-libOpenCL", "opencl-mesa"},
    {"AMD GPU (ROCm)", "rocm-opencl-icd or AMD's own", "rocm-opencl", "rocm-opencl-runtime"},
    {"NVIDIA GPU", "nvidia-opencl-icd (non-free)", "NVIDIA's own driver", "opencl-nvidia"},
};

void print_packages(FILE *out) {
    fputs("\nThese packages bring a driver:\n\n", out);
    for (size_t i = 0; i < sizeof packages / sizeof packages[0]; i++)
        fprintf(out, "  %-14s  %-28s  %-21s  %s\n", packages[i].hardware, packages[i].debian, packages[i].fedora,
                packages[i].arch);
    fputs("\nmacOS brings its own; Windows gets it with the graphics driver. Where in doubt, PoCL runs on every\n"
          "CPU:  sudo apt-get install pocl-opencl-icd\n",
          out);
}

#define VENDOR_NVIDIA 0x10de
#define VENDOR_INTEL 0x8086
static const struct vendor {
    unsigned long id;
    const char *name, *fix;
} vendors[] = {
    {VENDOR_NVIDIA, "NVIDIA", "install NVIDIA's driver with its OpenCL part (Debian: nvidia-opencl-icd)"},
    {0x1002, "AMD", "install ROCm's OpenCL, or mesa-opencl-icd and set RUSTICL_ENABLE=radeonsi"},
    {VENDOR_INTEL, "Intel", "install intel-opencl-icd, or mesa-opencl-icd and set RUSTICL_ENABLE=iris"},
};

static bool read_hex(unsigned long *value, const char *folder, const char *name) {
    char path[PATH_MAX], text[32] = "";
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "r");
    if (!file) return false;
    bool good = fgets(text, sizeof text, file) != NULL;
    fclose(file);
    *value = strtoul(text, NULL, 16);
    return good;
}

/* Some drivers do not know the domain, and say 0. */
static bool same_address(const char *told, const char *address) {
    static const char unknown[] = "0000:";
    const char *colon = strchr(address, ':');
    if (strcmp(told, address) == 0) return true;
    return colon && strncmp(told, unknown, strlen(unknown)) == 0 && strcmp(told + strlen(unknown), colon + 1) == 0;
}

static bool shows_address(const json_t *machine, const char *address) {
    size_t index;
    const json_t *device;
    json_array_foreach(json_object_get(machine, "devices"), index, device) {
        const char *told = json_string_value(json_object_get(device, "pci_address"));
        if (told && same_address(told, address)) return true;
    }
    return false;
}

/* One of which nobody knows where it is may be the one in question. */
static bool shows_somewhere(const json_t *machine, unsigned long vendor) {
    size_t index;
    const json_t *device;
    json_array_foreach(json_object_get(machine, "devices"), index, device) {
        const char *kind = json_string_value(json_object_get(device, "kind"));
        const char *told = json_string_value(json_object_get(device, "pci_address"));
        if (kind && (strcmp(kind, "GPU") == 0 || strcmp(kind, "accelerator") == 0) && !(told && *told) &&
            json_integer_value(json_object_get(device, "vendor_id")) == (json_int_t)vendor)
            return true;
    }
    return false;
}

/* Display controllers (class 3) and processing accelerators (class 0x12) of those who make drivers for them. Intel's
 * accelerators are no devices of OpenCL; a part of a GPU for virtual machines (physfn) is none of its own. */
static void check_pci(json_t *machine, const char *folder) {
    unsigned long class, id;
    char whole[PATH_MAX];
    const char *address = strrchr(folder, '/') + 1;
    if (!read_hex(&class, folder, "class") || !read_hex(&id, folder, "vendor")) return;
    const bool accelerator = class >> 16 == 0x12;
    if ((class >> 16 != 3 && !accelerator) || (accelerator && id == VENDOR_INTEL)) return;
    snprintf(whole, sizeof whole, "%s/physfn", folder);
    if (access(whole, F_OK) == 0 || shows_address(machine, address) || shows_somewhere(machine, id)) return;
    for (size_t i = 0; i < sizeof vendors / sizeof vendors[0]; i++)
        if (vendors[i].id == id)
            add_problem(machine, vendors[i].fix, "There is %s of %s at PCI address %s, but no OpenCL driver shows it",
                        accelerator ? "an accelerator" : "a GPU", vendors[i].name, address);
}

/* The last part of what the link says. */
static bool link_end(char end[64], const char *folder, const char *name) {
    char path[PATH_MAX], target[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    const ssize_t length = readlink(path, target, sizeof target - 1);
    if (length <= 0) return false;
    target[length] = '\0';
    const char *slash = strrchr(target, '/');
    snprintf(end, 64, "%.63s", slash ? slash + 1 : target);
    return true;
}

/*
 * Is a file of /dev/dri or /dev/accel in nobody's way? NVIDIA's driver makes such ones and its OpenCL does not use them;
 * Intel's in /dev/accel are NPUs; and what is shown needs no more.
 */
static bool is_harmless(const json_t *machine, const char *root, const char *path) {
    char folder[PATH_MAX], end[64];
    const char *name = strrchr(path, '/') + 1;
    const bool render = strncmp(name, "renderD", 7) == 0, accelerator = strncmp(name, "accel", 5) == 0;
    unsigned long vendor;
    if (!render && !accelerator) return false;
    snprintf(folder, sizeof folder, "%s/sys/class/%s/%s", root, render ? "drm" : "accel", name);
    if (read_hex(&vendor, folder, "device/vendor")) {
        if (accelerator && vendor == VENDOR_INTEL) return true;
        /* Mesa's driver is another matter. */
        if (vendor == VENDOR_NVIDIA && !(link_end(end, folder, "device/driver") && strcmp(end, "nouveau") == 0))
            return true;
    }
    return link_end(end, folder, "device") && shows_address(machine, end);
}

/* A device file that no group of users owns. What is changed in /dev by hand is gone at the next start. */
static void node_fix(char *fix, size_t size, const char *path) {
    const char *name = strrchr(path, '/') + 1;
    const char *group = !getgrnam("render") && getgrnam("video") ? "video" : "render";
    if (strncmp(name, "nvidia", 6) == 0)
        snprintf(fix, size,
                 "its driver makes that file: write \"options nvidia NVreg_DeviceFileMode=0666\" to "
                 "/etc/modprobe.d/nvidia-opencl.conf, and start the machine anew");
    else
        snprintf(fix, size,
                 "give it to the group %s by a rule: write KERNEL==\"%s\", GROUP=\"%s\", MODE=\"0660\" to "
                 "/etc/udev/rules.d/70-opencl.rules, sudo udevadm trigger; then sudo usermod -aG %s $USER, and log in "
                 "anew. In a container: let it be started with that group (--group-add)",
                 group, name, group, group);
}

static void check_node(json_t *machine, const char *root, const char *path) {
    struct stat status;
    char fix[PATH_MAX + 400], group_name[64];
    if (access(path, R_OK | W_OK) == 0 || errno != EACCES || stat(path, &status) != 0) return;
    if (is_harmless(machine, root, path)) return;
    const struct group *group = getgrgid(status.st_gid);
    if (group)
        snprintf(group_name, sizeof group_name, "%s", group->gr_name);
    else
        snprintf(group_name, sizeof group_name, "%lu", (unsigned long)status.st_gid);
    /* Nobody is to join root's group for this. */
    if (status.st_gid != 0 && (status.st_mode & (S_IRGRP | S_IWGRP)) == (S_IRGRP | S_IWGRP))
        snprintf(fix, sizeof fix, "sudo usermod -aG %s $USER, and log in anew", group_name);
    else
        node_fix(fix, sizeof fix, path);
    add_problem(machine, fix, "This user may not open %s, which the group %s owns: a driver cannot show that device",
                path, group_name);
}

void find_hardware_problems(json_t *machine, const char *root) {
    static const char *const nodes[] = {"/dev/dri/renderD*", "/dev/kfd",          "/dev/nvidiactl", "/dev/nvidia[0-9]*",
                                        "/dev/nvidia-uvm",   "/dev/accel/accel*", "/dev/mali*",     "/dev/kgsl-3d0"};
    char pattern[PATH_MAX];
    glob_t found;
    for (size_t i = 0; i < sizeof nodes / sizeof nodes[0]; i++) {
        snprintf(pattern, sizeof pattern, "%s%s", root, nodes[i]);
        if (glob(pattern, 0, NULL, &found) != 0) continue;
        for (size_t n = 0; n < found.gl_pathc; n++)
            check_node(machine, root, found.gl_pathv[n]);
        globfree(&found);
    }
    snprintf(pattern, sizeof pattern, "%s/sys/bus/pci/devices/*", root);
    if (glob(pattern, 0, NULL, &found) != 0) return;
    for (size_t n = 0; n < found.gl_pathc; n++)
        check_pci(machine, found.gl_pathv[n]);
    globfree(&found);
}
