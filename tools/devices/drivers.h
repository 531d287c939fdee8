/* The drivers that the OpenCL loader is told to load, and those that this tool keeps from it. */
#ifndef QKV_TOOLS_DEVICES_DRIVERS_H
#define QKV_TOOLS_DEVICES_DRIVERS_H

#include "devices/child.h"
#include "devices/machine.h"

/* ---- icd.c ---- */
struct icd {
    char *file;           /* the .icd file; "" where a variable names the library itself */
    const char *variable; /* that leads to it; NULL: the usual folder */
    char *line;           /* the library's name as the loader takes it: the first line, blanks and all */
    char *library;        /* and without them; "" where nothing is named */
    int error;            /* errno, where the file cannot be read */
    bool unheeded;        /* this loader does not read the variable */
    bool accused;         /* what is wrong with it is among the problems already */
};
struct icds {
    struct icd *items;
    size_t count, capacity;
    char *folder;         /* that was searched, or NULL */
    const char *variable; /* that names the folder, or NULL */
    int error;            /* errno, where it cannot be read */
};
/* As the environment had it at the first call: the original files, whatever the loader is told later. */
struct icds *icd_known(void);
void icd_forget(void);
/* The .icd file, or the variable that stands for it. */
const char *icd_owner(const struct icd *icd);

/* ---- machine.c ---- */
/* NULL where the child did not finish. */
json_t *list_devices(struct child_end *end, const char *selector, double seconds);
/* What the tool waits for, on a terminal; NULL wipes the line. */
void show_waiting(const char *format, ...)
#ifdef __GNUC__
    __attribute__((format(printf, 1, 2)))
#endif
    ;
/* How long a driver alone may take: short, because it is asked for only where something is wrong already. */
double driver_seconds(double seconds);
/* What to do where a process could not be started. */
const char *start_fix(const struct child_end *end);

/* ---- parting.c ---- */
/*
 * Tries each driver alone, names those that do not survive, and leaves the loader the others. False where that could not
 * be done; why is among the problems, with what happened when all were listed together.
 */
bool drivers_part(json_t *machine, const struct options *options, const char *what);
bool drivers_parted(void);
void drivers_join(void); /* ends it, and removes what it left on disk */

#endif
