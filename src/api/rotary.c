#include "api/internal.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#define MAX_DIM 512
#define DEFAULT_BASE 10000.0
/* Positions are exact in a double. */
#define MAX_POSITION ((uint64_t)1 << 53)

struct qkv_rotary {
    qkv_context *context;
    struct qkvi_plan plan;
    struct qkvi_rotary_table table; /* without a buffer where desc.max_position was 0 */
    char *description;
};

/* ---- creating ---- */

static qkv_status check_dims(qkv_rotary_desc *desc) {
    if (desc->head_dim < 1 || desc->head_dim > MAX_DIM)
        return qkvi_fail(QKV_INVALID_ARGUMENT, "desc.head_dim is %zu; it must be 1 to %d", desc->head_dim, MAX_DIM);
    if (desc->rotary_dim == 0 && desc->head_dim % 2 != 0)
        return qkvi_fail(QKV_INVALID_ARGUMENT, "desc.head_dim is %zu, which is odd: set desc.rotary_dim",
                         desc->head_dim);
    if (desc->rotary_dim == 0) desc->rotary_dim = desc->head_dim;
    if (desc->rotary_dim % 2 != 0 || desc->rotary_dim > desc->head_dim)
        return qkvi_fail(QKV_INVALID_ARGUMENT, "desc.rotary_dim is %zu; it must be even and at most head_dim (%zu)",
                         desc->rotary_dim, desc->head_dim);
    if (desc->interleaved != 0 && desc->interleaved != 1)
        return qkvi_fail(QKV_INVALID_ARGUMENT, "desc.interleaved is %d; it must be 0 or 1", desc->interleaved);
    return QKV_OK;
}

static qkv_status check_numbers(qkv_rotary_desc *desc) {
    const struct {
        const char *name;
        double *value, standard, most;
    } numbers[] = {
        {"base", &desc->base, DEFAULT_BASE, DBL_MAX},
        {"position_scale", &desc->position_scale, 1, DBL_MAX},
        {"magnitude", &desc->magnitude, 1, FLT_MAX},
    };
    for (size_t i = 0; i < QKVI_COUNT(numbers); i++) {
        if (*numbers[i].value == 0) *numbers[i].value = numbers[i].standard;
        if (!(*numbers[i].value > 0 && *numbers[i].value <= numbers[i].most))
            return qkvi_fail(QKV_INVALID_ARGUMENT, "desc.%s is %g; it must be positive and finite", numbers[i].name,
                             *numbers[i].value);
    }
    if (desc->max_position > MAX_POSITION)
        return qkvi_fail(QKV_UNSUPPORTED, "desc.max_position is %zu; the most is 2^53", desc->max_position);
    return QKV_OK;
}

/* Angles of one position, one for each pair. */
static qkv_status list_frequencies(double *frequencies, const qkv_rotary_desc *desc) {
    for (size_t p = 0; p < desc->rotary_dim / 2; p++) {
        const double own =
            desc->frequencies ? desc->frequencies[p] : pow(desc->base, -2.0 * (double)p / (double)desc->rotary_dim);
        frequencies[p] = desc->position_scale * own;
        if (!isfinite(frequencies[p] * (double)desc->max_position))
            return qkvi_fail(QKV_INVALID_ARGUMENT, "desc.%s: the angle of pair %zu is not finite below max_position",
                             desc->frequencies ? "frequencies" : "base", p);
    }
    return QKV_OK;
}

static qkv_status make_table(qkv_rotary *rotary, const qkv_rotary_desc *desc) {
    double frequencies[MAX_DIM / 2];
    if (desc->max_position == 0) return QKV_OK;
    qkv_status status = list_frequencies(frequencies, desc);
    return status ? status
                  : qkvi_rotary_table_create(&rotary->table, &rotary->context->rt, &rotary->plan.problem.u.rotary,
                                             frequencies, desc->magnitude, desc->max_position);
}

static qkv_status describe(qkv_rotary *rotary) {
    const struct qkvi_rotary_table *t = &rotary->table;
    struct qkvi_text text = {0};
    qkvi_text_add(&text, "%s, ", rotary->plan.description);
    if (t->buffer)
        qkvi_text_add(&text, "tables of %zu bytes for %zu positions in blocks of %zu", t->bytes, t->max_position,
                      (size_t)1 << t->block_bits);
    else
        qkvi_text_add(&text, "no tables");
    if (text.failed) {
        qkvi_text_free(&text);
        return qkvi_fail_memory("rotary plan");
    }
    rotary->description = text.data;
    return QKV_OK;
}

qkv_status qkv_rotary_create(qkv_rotary **out, qkv_context *context, const qkv_rotary_desc *given) {
    qkv_rotary_desc desc;
    struct qkvi_choice choice;
    if (!out) return qkvi_fail(QKV_INVALID_ARGUMENT, "out is NULL");
    if (!context) return qkvi_fail(QKV_INVALID_ARGUMENT, "context is NULL");
    qkv_status status = qkvi_struct_read(&desc, sizeof desc, given, "desc");
    if (!status) status = check_dims(&desc);
    if (!status) status = check_numbers(&desc);
    if (!status) status = qkvi_choice_parse(&choice, &context->choice, desc.solver, "desc.solver");
    if (status) return status;
    const struct qkvi_problem problem = {
        .operation = QKVI_ROTARY,
        .u.rotary = {desc.head_dim, desc.rotary_dim, desc.interleaved != 0},
    };
    qkv_rotary *rotary = calloc(1, sizeof *rotary);
    if (!rotary) return qkvi_fail_memory("rotary plan");
    rotary->context = qkvi_context_retain(context);
    status = qkvi_plan_create(&rotary->plan, &context->programs, &problem, &choice);
    if (!status) status = make_table(rotary, &desc);
    if (!status) status = describe(rotary);
    if (status)
        qkv_rotary_destroy(rotary);
    else
        *out = rotary;
    return status;
}

void qkv_rotary_destroy(qkv_rotary *rotary) {
    if (!rotary) return;
    qkvi_rotary_table_destroy(&rotary->table);
    qkvi_plan_destroy(&rotary->plan);
    qkv_context_destroy(rotary->context);
    free(rotary->description);
    free(rotary);
}

/* ---- running ---- */

enum slot { X, OUT, POSITIONS, COS, SIN, NUM_SLOTS };
static const char *const slot_names[NUM_SLOTS] = {"args.x", "args.out", "args.positions", "args.cos", "args.sin"};

static bool is_same_view(const qkv_tensor *a, const qkv_tensor *b) {
    bool same = a->memory.buffer == b->memory.buffer && a->offset == b->offset && a->dtype == b->dtype;
    for (uint32_t i = 0; i < a->rank; i++)
        same = same && (a->shape[i] <= 1 || a->stride[i] == b->stride[i]);
    return same;
}

static qkv_status check_slots(bool *in_place, const qkv_rotary *rotary, const struct qkvi_operand *slots) {
    const unsigned floats = QKVI_DTYPE(QKV_F32) | QKVI_DTYPE(QKV_F16) | QKVI_DTYPE(QKV_BF16);
    const unsigned integers = QKVI_DTYPE(QKV_I32) | QKVI_DTYPE(QKV_I64);
    for (int i = 0; i < NUM_SLOTS; i++) {
        if (!slots[i].tensor && i > OUT) continue;
        qkv_status status = qkvi_operand_check(rotary->context, slots[i].tensor, slots[i].name, i != OUT,
                                               i == POSITIONS ? integers : floats);
        if (status) return status;
    }
    for (int i = X; i <= OUT; i++)
        if (slots[i].tensor->rank != 4)
            return qkvi_fail(QKV_INVALID_SHAPE, "%s.rank is %u; it must be 4 = (batch, num_heads, seq, head_dim)",
                             slots[i].name, slots[i].tensor->rank);
    const qkv_tensor *x = slots[X].tensor;
    const size_t shape[4] = {(size_t)x->shape[0], (size_t)x->shape[1], (size_t)x->shape[2],
                             rotary->plan.problem.u.rotary.head_dim};
    for (int i = X; i <= OUT; i++) {
        qkv_status status = qkvi_operand_shape(slots[i].tensor, slots[i].name, 4, shape);
        if (status) return qkvi_fail_append(status, " = (batch, num_heads, seq, head_dim)");
    }
    *in_place = is_same_view(x, slots[OUT].tensor);
    const struct qkvi_operand inputs[] = {
        {*in_place ? NULL : x, slot_names[X]}, slots[POSITIONS], slots[COS], slots[SIN]};
    return qkvi_operands_disjoint(&slots[OUT], 1, inputs, QKVI_COUNT(inputs));
}

static qkv_status read_positions(struct qkvi_rotary_run *run, const qkv_rotary_args *args) {
    const qkv_tensor *t = args->positions;
    run->first_position = args->first_position;
    if (args->first_position < 0)
        return qkvi_fail(QKV_INVALID_ARGUMENT, "args.first_position is %lld; it must be at least 0",
                         (long long)args->first_position);
    if (!t) return QKV_OK;
    if (args->first_position != 0)
        return qkvi_fail(QKV_INVALID_ARGUMENT, "args.first_position is %lld, but args.positions says where tokens are",
                         (long long)args->first_position);
    if (t->rank != 1 && t->rank != 2)
        return qkvi_fail(QKV_INVALID_SHAPE, "args.positions.rank is %u; it must be (batch, seq), (1, seq) or (seq)",
                         t->rank);
    const bool each = t->rank == 2 && t->shape[0] != 1;
    const size_t shape[2] = {each ? run->batch : 1, run->seq};
    qkv_status status = qkvi_operand_shape(t, slot_names[POSITIONS], t->rank, shape + 2 - t->rank);
    if (status) return status;
    run->positions = (struct qkvi_view4){.buffer = t->memory.buffer, .offset = (int64_t)t->offset};
    run->positions.stride[0] = each ? t->stride[0] : 0;
    run->positions.stride[1] = t->stride[t->rank - 1];
    run->positions_dtype = (qkv_dtype)t->dtype;
    return QKV_OK;
}

/* cos or sin; its rows are those of positions, or with rank 3 those of the run's tokens. */
static qkv_status read_given(struct qkvi_rotary_given *out, const struct qkvi_rotary_run *run, const qkv_tensor *t,
                             const char *name, size_t num_pairs) {
    if (t->rank != 2 && t->rank != 3)
        return qkvi_fail(QKV_INVALID_SHAPE,
                         "%s.rank is %u; it must be (rows, rotary_dim / 2) or (batch, seq, rotary_dim / 2)", name,
                         t->rank);
    const bool each = t->rank == 3 && t->shape[0] != 1;
    const size_t shape[3] = {each ? run->batch : 1, t->rank == 3 ? run->seq : (size_t)t->shape[0], num_pairs};
    qkv_status status = qkvi_operand_shape(t, name, t->rank, shape + 3 - t->rank);
    if (status) return status;
    if (t->rank == 3 && (run->positions.buffer || run->first_position != 0))
        return qkvi_fail(QKV_INVALID_SHAPE, "%s has a row for each token (rank 3), but args.%s says where they are",
                         name, run->positions.buffer ? "positions" : "first_position");
    *out = (struct qkvi_rotary_given){
        .buffer = t->memory.buffer,
        .offset = (int64_t)t->offset,
        .stride_batch = each ? t->stride[0] : 0,
        .stride_row = t->stride[t->rank - 2],
        .stride = t->stride[t->rank - 1],
        .dtype = (qkv_dtype)t->dtype,
    };
    return QKV_OK;
}

static qkv_status read_angles(struct qkvi_rotary_run *run, const qkv_rotary *rotary, const qkv_rotary_args *args) {
    const size_t num_pairs = rotary->plan.problem.u.rotary.rotary_dim / 2;
    run->table = &rotary->table;
    run->num_rows = rotary->table.max_position;
    if (!args->cos != !args->sin)
        return qkvi_fail(QKV_INVALID_ARGUMENT, "args.%s is NULL, but args.%s is given", args->cos ? "sin" : "cos",
                         args->cos ? "cos" : "sin");
    if (!args->cos && !rotary->table.buffer)
        return qkvi_fail(QKV_INVALID_ARGUMENT, "args.cos and args.sin are NULL, but the plan was made without "
                                               "desc.max_position");
    if (!args->cos) return QKV_OK;
    qkv_status status = read_given(&run->cos, run, args->cos, slot_names[COS], num_pairs);
    if (!status) status = read_given(&run->sin, run, args->sin, slot_names[SIN], num_pairs);
    if (status) return status;
    run->num_rows = (size_t)args->cos->shape[args->cos->rank - 2];
    if (args->cos->rank == args->sin->rank && args->sin->shape[args->sin->rank - 2] == run->num_rows) return QKV_OK;
    return qkvi_fail(QKV_INVALID_SHAPE, "args.sin has rank %u and %zu rows; args.cos has rank %u and %zu",
                     args->sin->rank, (size_t)args->sin->shape[args->sin->rank - 2], args->cos->rank, run->num_rows);
}

static qkv_status check_last_position(const struct qkvi_rotary_run *run) {
    const char *what = run->cos.buffer ? "args.cos has" : "desc.max_position was";
    if (run->positions.buffer) return run->num_rows > 0 ? QKV_OK : qkvi_fail(QKV_INVALID_SHAPE, "%s 0 rows", what);
    if (run->seq <= run->num_rows && (uint64_t)run->first_position <= run->num_rows - run->seq) return QKV_OK;
    return qkvi_fail(QKV_INVALID_SHAPE, "args.first_position (%lld) + seq of args.x (%zu) is too much; %s %zu%s",
                     (long long)run->first_position, run->seq, what, run->num_rows, run->cos.buffer ? " rows" : "");
}

qkv_status qkvi_rotary_prepare(struct qkvi_rotary_run *out, const qkv_rotary *rotary, const qkv_rotary_args *args) {
    const struct qkvi_operand slots[NUM_SLOTS] = {{args->x, slot_names[X]},
                                                  {args->out, slot_names[OUT]},
                                                  {args->positions, slot_names[POSITIONS]},
                                                  {args->cos, slot_names[COS]},
                                                  {args->sin, slot_names[SIN]}};
    struct qkvi_rotary_run run = {0};
    qkv_status status = check_slots(&run.in_place, rotary, slots);
    if (status) return status;
    if (args->inverse != 0 && args->inverse != 1)
        return qkvi_fail(QKV_INVALID_ARGUMENT, "args.inverse is %d; it must be 0 or 1", args->inverse);
    run.batch = (size_t)args->x->shape[0];
    run.num_heads = (size_t)args->x->shape[1];
    run.seq = (size_t)args->x->shape[2];
    run.x = qkvi_operand_view4(args->x);
    run.out = qkvi_operand_view4(args->out);
    run.x_dtype = (qkv_dtype)args->x->dtype;
    run.out_dtype = (qkv_dtype)args->out->dtype;
    run.inverse = args->inverse != 0;
    status = read_positions(&run, args);
    if (!status) status = read_angles(&run, rotary, args);
    if (!status && run.batch && run.num_heads && run.seq) status = check_last_position(&run);
    if (!status) *out = run;
    return status;
}

qkv_status qkvi_rotary_enqueue(const qkv_rotary *rotary, struct qkvi_chain *chain, const struct qkvi_rotary_run *run) {
    if (run->batch == 0 || run->num_heads == 0 || run->seq == 0) return QKV_OK;
    return rotary->plan.solver->run(rotary->plan.state, chain, run);
}

qkv_status qkv_rotary_run(const qkv_rotary *rotary, cl_command_queue queue, const qkv_rotary_args *given,
                          cl_uint num_wait, const cl_event *wait_list, cl_event *event) {
    qkv_rotary_args args;
    struct qkvi_rotary_run run;
    struct qkvi_chain chain;
    if (!rotary) return qkvi_fail(QKV_INVALID_ARGUMENT, "rotary is NULL");
    qkv_status status = qkvi_queue_check(&rotary->context->rt, queue);
    if (!status) status = qkvi_struct_read(&args, sizeof args, given, "args");
    if (!status) status = qkvi_rotary_prepare(&run, rotary, &args);
    if (!status) status = qkvi_chain_begin(&chain, &rotary->context->rt.observer, queue, num_wait, wait_list, event);
    if (status) return status;
    return qkvi_chain_end(&chain, qkvi_rotary_enqueue(rotary, &chain, &run));
}

/* ---- asking ---- */

size_t qkv_rotary_memory_bytes(const qkv_rotary *rotary) {
    return rotary ? rotary->table.bytes : 0;
}

const char *qkv_rotary_describe(const qkv_rotary *rotary) {
    return rotary && rotary->description ? rotary->description : "";
}
