#include "support/error_case.h"

#include <string.h>

void error_expect(qkv_status got, qkv_status a, qkv_status b, const char *word, const char *what) {
    if (got != a && got != b)
        test_fail(__FILE__, __LINE__, "%s: got %s, expected %s%s%s; message: \"%s\"", what, qkv_status_name(got),
                  qkv_status_name(a), a == b ? "" : " or ", a == b ? "" : qkv_status_name(b), qkv_error_message());
    if (word && !test_has_word(qkv_error_message(), word))
        test_fail(__FILE__, __LINE__, "%s: %s, but the message does not name \"%s\": \"%s\"", what,
                  qkv_status_name(got), word, qkv_error_message());
}

/* One way to spoil a tensor. false: it does not apply to this slot. */
struct spoil {
    const char *what;
    bool (*apply)(qkv_tensor *t, const struct error_slot *slot, cl_mem foreign);
    qkv_status a, b; /* either is right where the headers leave the choice */
};

static bool dtype_half(qkv_tensor *t, const struct error_slot *slot, cl_mem foreign) {
    (void)foreign;
    t->dtype = QKV_F16;
    return !slot->halves && !slot->broadcast; /* masks too may be stored so */
}

/* What a mask does not take either, and of the same size as what the others do. */
static bool dtype_other(qkv_tensor *t, const struct error_slot *slot, cl_mem foreign) {
    (void)foreign;
    t->dtype = slot->integers ? QKV_F32 : QKV_I32;
    return true;
}

static bool dtype_bool(qkv_tensor *t, const struct error_slot *slot, cl_mem foreign) {
    (void)foreign;
    t->dtype = QKV_BOOL;
    return !slot->broadcast;
}

static bool dtype_unknown(qkv_tensor *t, const struct error_slot *slot, cl_mem foreign) {
    (void)slot, (void)foreign;
    t->dtype = 77;
    return true;
}

static bool rank_less(qkv_tensor *t, const struct error_slot *slot, cl_mem foreign) {
    (void)foreign;
    const bool applies = !slot->broadcast && t->rank > 1;
    t->rank = 1;
    return applies;
}

static bool rank_more(qkv_tensor *t, const struct error_slot *slot, cl_mem foreign) {
    (void)slot, (void)foreign;
    t->shape[t->rank] = 1, t->stride[t->rank] = 1;
    for (t->rank++; t->rank < 5; t->rank++)
        t->shape[t->rank] = 1, t->stride[t->rank] = 1;
    return true;
}

static bool rank_beyond(qkv_tensor *t, const struct error_slot *slot, cl_mem foreign) {
    (void)slot, (void)foreign;
    t->rank = QKV_MAX_RANK + 1;
    return true;
}

static bool last_axis_longer(qkv_tensor *t, const struct error_slot *slot, cl_mem foreign) {
    (void)slot, (void)foreign;
    t->shape[t->rank - 1]++;
    return true;
}

static bool first_axis_longer(qkv_tensor *t, const struct error_slot *slot, cl_mem foreign) {
    (void)foreign;
    t->shape[0]++;
    return !slot->leads;
}

static bool past_the_end(qkv_tensor *t, const struct error_slot *slot, cl_mem foreign) {
    (void)slot, (void)foreign;
    t->offset += 1u << 20;
    return true;
}

static bool before_the_start(qkv_tensor *t, const struct error_slot *slot, cl_mem foreign) {
    (void)slot, (void)foreign;
    t->offset = 0;
    t->stride[t->rank - 1] = -t->stride[t->rank - 1];
    return true;
}

static bool offset_overflows(qkv_tensor *t, const struct error_slot *slot, cl_mem foreign) {
    (void)slot, (void)foreign;
    t->offset = UINT64_MAX - 3;
    return true;
}

static bool stride_overflows(qkv_tensor *t, const struct error_slot *slot, cl_mem foreign) {
    (void)slot, (void)foreign;
    t->stride[t->rank - 1] = INT64_MAX / 2;
    return true;
}

static bool zero_stride(qkv_tensor *t, const struct error_slot *slot, cl_mem foreign) {
    (void)foreign;
    if (t->rank > 1) t->stride[t->rank - 2] = 0;
    return slot->output && t->rank > 1;
}

static bool crosses_itself(qkv_tensor *t, const struct error_slot *slot, cl_mem foreign) {
    (void)foreign;
    if (t->rank > 1) t->stride[t->rank - 2] = 1;
    return slot->output && t->rank > 1;
}

static bool other_context(qkv_tensor *t, const struct error_slot *slot, cl_mem foreign) {
    (void)slot;
    t->memory.buffer = foreign;
    return true;
}

static bool no_buffer(qkv_tensor *t, const struct error_slot *slot, cl_mem foreign) {
    (void)slot, (void)foreign;
    t->memory.buffer = NULL;
    return true;
}

static bool unknown_storage(qkv_tensor *t, const struct error_slot *slot, cl_mem foreign) {
    (void)slot, (void)foreign;
    t->storage = 9;
    return true;
}

static bool reserved_word(qkv_tensor *t, const struct error_slot *slot, cl_mem foreign) {
    (void)slot, (void)foreign;
    t->reserved[2] = 1;
    return true;
}

static const struct spoil spoils[] = {
    {"dtype F16", dtype_half, QKV_INVALID_DTYPE, QKV_INVALID_DTYPE},
    {"dtype of another kind", dtype_other, QKV_INVALID_DTYPE, QKV_INVALID_DTYPE},
    {"dtype BOOL", dtype_bool, QKV_INVALID_DTYPE, QKV_INVALID_DTYPE},
    {"dtype 77", dtype_unknown, QKV_INVALID_DTYPE, QKV_INVALID_DTYPE},
    {"rank 1", rank_less, QKV_INVALID_SHAPE, QKV_INVALID_SHAPE},
    {"rank 5", rank_more, QKV_INVALID_SHAPE, QKV_INVALID_SHAPE},
    {"rank 7", rank_beyond, QKV_INVALID_SHAPE, QKV_INVALID_SHAPE},
    {"last axis longer", last_axis_longer, QKV_INVALID_SHAPE, QKV_INVALID_SHAPE},
    {"first axis longer", first_axis_longer, QKV_INVALID_SHAPE, QKV_INVALID_SHAPE},
    {"past the end", past_the_end, QKV_OUT_OF_BOUNDS, QKV_OUT_OF_BOUNDS},
    {"before the start", before_the_start, QKV_OUT_OF_BOUNDS, QKV_OUT_OF_BOUNDS},
    {"offset overflows", offset_overflows, QKV_OUT_OF_BOUNDS, QKV_OVERFLOW},
    {"stride overflows", stride_overflows, QKV_OUT_OF_BOUNDS, QKV_OVERFLOW},
    {"stride 0 on an output", zero_stride, QKV_INVALID_SHAPE, QKV_INVALID_SHAPE},
    {"output crosses itself", crosses_itself, QKV_INVALID_SHAPE, QKV_OVERLAP},
    {"buffer of another context", other_context, QKV_WRONG_CONTEXT, QKV_WRONG_CONTEXT},
    {"no buffer", no_buffer, QKV_INVALID_ARGUMENT, QKV_INVALID_ARGUMENT},
    {"unknown storage", unknown_storage, QKV_INVALID_ARGUMENT, QKV_UNSUPPORTED},
    {"reserved word set", reserved_word, QKV_INVALID_ARGUMENT, QKV_UNSUPPORTED},
};

void error_check_slots(struct error_slot *slots, size_t num_slots, cl_mem foreign, error_run run, void *user) {
    for (size_t i = 0; i < num_slots; i++) {
        const qkv_tensor whole = *slots[i].tensor;
        for (size_t n = 0; n < TEST_COUNT(spoils); n++) {
            test_note("%s: %s", slots[i].name, spoils[n].what);
            if (spoils[n].apply(slots[i].tensor, &slots[i], foreign))
                error_expect(run(user), spoils[n].a, spoils[n].b, slots[i].name, spoils[n].what);
            *slots[i].tensor = whole;
        }
        if (slots[i].required) {
            test_note("%s: NULL", slots[i].name);
            *slots[i].arg = NULL;
            error_expect(run(user), QKV_INVALID_ARGUMENT, QKV_INVALID_ARGUMENT, slots[i].name, "NULL");
            *slots[i].arg = slots[i].tensor;
        }
    }
    test_note("whole again");
    TEST_OK(run(user));
}

void error_check_overlaps(struct error_slot *slots, size_t num_slots, error_run run, void *user) {
    for (size_t i = 0; i < num_slots; i++)
        for (size_t j = 0; j < num_slots; j++) {
            if (i == j || !slots[i].output) continue;
            const qkv_tensor whole = *slots[i].tensor;
            test_note("%s shares elements with %s", slots[i].name, slots[j].name);
            slots[i].tensor->memory = slots[j].tensor->memory;
            slots[i].tensor->offset = slots[j].tensor->offset;
            error_expect(run(user), QKV_OVERLAP, QKV_OVERLAP, slots[i].name, "overlap");
            *slots[i].tensor = whole;
        }
}
