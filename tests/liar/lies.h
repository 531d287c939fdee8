/* The liar's parts: what was told, and what is done about it. */
#ifndef TEST_LIAR_LIES_H
#define TEST_LIAR_LIES_H

#include "liar/liar.h"

#include <CL/cl_layer.h>

enum lie_kind {
    LIE_FAIL,
    LIE_CRASH,
    LIE_DELAY,
    LIE_HIDE,
    LIE_DEVICE,
    LIE_SIZE,
    LIE_KERNEL,
    LIE_MOST,
    LIE_REFUSE,
    LIE_LACK,
    LIE_REJECT,
    LIE_LOADED,
    LIE_LAUNCH,
    LIE_LAZY,
    LIE_SHORT,
    LIE_WRONG,
    LIE_FAULT,
    LIE_SKIP,
    LIE_LATE,
    LIE_ONLY,
    LIE_MANY,
    NUM_LIE_KINDS
};

struct lie {
    enum lie_kind kind;
    char subject[64];          /* what follows '=' */
    char value[64];            /* what follows the first ':'; "" */
    unsigned code;             /* of CALL and PARAM */
    unsigned long long number; /* the first */
    bool is_number;            /* the value is a number, or a list of them */
    long error;
};

/* ---- lies.c ---- */
bool lies_tell(const char *text);
/* The first lie of this kind about this name, or about '*'; NULL. */
const struct lie *lies_about(enum lie_kind kind, const char *subject);
const struct lie *lies_about_code(enum lie_kind kind, unsigned code);
/* The nth number of its value, the last where there are fewer. */
unsigned long long lies_number(const struct lie *lie, size_t n);
/* The nth lie of this kind, or NULL. */
const struct lie *lies_nth(enum lie_kind kind, size_t n);

/* ---- twist.c: replaces the functions whose answers are lies; `driver` is what they twist ---- */
void twist_table(cl_icd_dispatch *table, const cl_icd_dispatch *driver);

/* Did a lie that happens once happen? */
void lies_fire(void);

/* ---- record.c: which kernels were launched ---- */
void record_begin(const cl_icd_dispatch *driver);
void record_forget(void);
/* The options of the kernel's program; "" where nobody knows. */
void record_options(char *out, size_t bytes, cl_kernel kernel);
enum record_what { RECORD_MADE, RECORD_LAUNCHED, RECORD_RELEASED };
/* How often it was launched is returned when it is. */
size_t record_kernel(cl_kernel kernel, enum record_what happened);
size_t record_list(char *out, size_t bytes, bool launched);

/* ---- spoil.c: kernels that compute something else ---- */
void spoil_begin(const cl_icd_dispatch *driver);
void spoil_remember_argument(cl_kernel kernel, cl_uint index, size_t bytes, const void *value);
/* References to a buffer or kernel that the program gains or gives up. */
void spoil_count(void *object, long more);
/* What a kernel's arguments take, each at a multiple of its own size. */
size_t spoil_argument_bytes(cl_kernel kernel);
/* What its arguments take of local memory: not every driver counts that in what it says of the kernel. A buffer that is
 * NULL counts by the size of its handle. */
size_t spoil_local_bytes(cl_kernel kernel);
struct launch {
    cl_command_queue queue;
    cl_kernel kernel;
    cl_uint dims;
    const size_t *offset, *global, *local;
    cl_uint num_wait;
    const cl_event *wait;
    cl_event *event;
};
/* argument: the only one to spoil; negative for all. */
cl_int spoil_launch(const struct launch *launch, double part, long argument);

/* ---- fault.c: launches that take their context with them ---- */
void fault_table(cl_icd_dispatch *table, const cl_icd_dispatch *driver);
void fault_forget(void);
bool fault_has_lost(cl_command_queue queue);
/* Is it such a launch? Then its context is lost from here on. */
bool fault_strikes(const struct lie *lie, const struct launch *launch);

#endif
