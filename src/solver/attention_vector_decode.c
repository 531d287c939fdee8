/* Few query rows on CPU devices: K and V stream once past all rows of a key head's group. */
#include "solver/attention_vector_decode.h"

#include <stdio.h>
#include <stdlib.h>

#include "solver/attention_args.h"

struct qkvi_decode {
    struct qkvi_attention_problem problem;
    struct qkvi_kernel *kernel, *merge; /* merge: NULL where no run can split the keys */
    unsigned width;
};

enum {
    KEY_BLOCK = 64,  /* what the kernel's blocks divide */
    MOST_ROWS = 16,  /* query rows of a group up to which dims along the lanes are faster */
    GROUPS = 32,     /* work-groups to split the keys for; no device's property, lest results depend on it */
    LEAST_KEYS = 256 /* a part's, so that merging stays cheap */
};

static size_t group_size(const struct qkvi_attention_problem *problem) {
    return problem->num_heads / problem->num_kv_heads;
}

/* The widest vectors, up to the device's, that divide both dims; 0 if none does. */
static unsigned choose_width(const struct qkvi_attention_problem *problem, unsigned width) {
    while (width >= 4 && (problem->head_dim % width != 0 || problem->value_dim % width != 0))
        width /= 2;
    return width >= 4 ? width : 0;
}

/* Into how many parts the keys of one key head are split: most where the batch is 1. */
static size_t count_splits(size_t batch, size_t num_kv_heads, size_t keys) {
    const size_t heads = batch >= GROUPS ? GROUPS : batch * num_kv_heads;
    const size_t wanted = heads >= GROUPS ? 1 : qkvi_div_up(GROUPS, heads);
    const size_t most = qkvi_div_up(keys, LEAST_KEYS);
    return most < wanted ? (most == 0 ? 1 : most) : wanted;
}

static qkv_status create_kernels(struct qkvi_decode *decode, struct qkvi_programs *programs) {
    static const char stem[] = "attention_decode_vector";
    const struct qkvi_attention_problem *problem = &decode->problem;
    char features[QKVI_ATTENTION_OPTIONS], options[QKVI_ATTENTION_OPTIONS + 96];
    qkvi_attention_options(features, problem);
    snprintf(options, sizeof options, "-DVW=%u -DMAX_ROWS=%d -DHEAD_DIM=%zu -DVALUE_DIM=%zu %s", decode->width,
             MOST_ROWS, problem->head_dim, problem->value_dim, features);
    const qkv_status status = qkvi_kernel_create(&decode->kernel, programs, stem, options, "attention_decode");
    if (status != QKV_OK || count_splits(1, problem->num_kv_heads, problem->max_seq_kv) == 1) return status;
    return qkvi_kernel_create(&decode->merge, programs, stem, options, "attention_merge");
}

qkv_status qkvi_decode_create(struct qkvi_decode **out, struct qkvi_programs *programs,
                              const struct qkvi_attention_problem *problem, unsigned width) {
    *out = NULL;
    width = choose_width(problem, width);
    if (width == 0 || group_size(problem) > MOST_ROWS) return QKV_OK;
    struct qkvi_decode *decode = calloc(1, sizeof *decode);
    if (decode == NULL) return qkvi_fail_memory("an attention plan");
    decode->problem = *problem;
    decode->width = width;
    const qkv_status status = create_kernels(decode, programs);
    if (status != QKV_OK) {
        qkvi_decode_destroy(decode);
        return status;
    }
    *out = decode;
    return QKV_OK;
}

void qkvi_decode_destroy(struct qkvi_decode *decode) {
    if (decode == NULL) return;
    qkvi_kernel_destroy(decode->kernel);
    qkvi_kernel_destroy(decode->merge);
    free(decode);
}

bool qkvi_decode_workspace(size_t *out_bytes, const struct qkvi_decode *decode) {
    *out_bytes = 0;
    if (decode == NULL) return true;
    const struct qkvi_attention_problem *limits = &decode->problem;
    const size_t group = group_size(limits);
    const size_t most_rows = MOST_ROWS / group * group;
    size_t most = 0;
    for (size_t batch = 1; batch <= limits->max_batch && batch <= GROUPS; batch++) {
        const size_t splits = count_splits(batch, limits->num_kv_heads, limits->max_seq_kv);
        const size_t parts = splits > 1 ? batch * limits->num_kv_heads * splits : 0;
        if (parts > most) most = parts;
    }
    return qkvi_product(out_bytes, (const size_t[]){most, most_rows, limits->value_dim + decode->width, sizeof(float)},
                        4);
}

bool qkvi_decode_takes(const struct qkvi_decode *decode, const struct qkvi_attention_run *run) {
    if (decode == NULL) return false;
    const bool few_rows = run->seq_q <= MOST_ROWS / group_size(&decode->problem);
    const bool adjacent = run->k.stride[3] == 1 && run->v.stride[3] == 1;
    return few_rows && adjacent && run->weights.buffer == NULL && run->scores.buffer == NULL;
}

/* The most keys that a run's rows see together; which ones they are may be known on the device only. */
static size_t count_keys(const struct qkvi_attention_problem *problem, const struct qkvi_attention_run *run) {
    const struct qkvi_attention_terms *terms = &run->terms;
    if (!problem->terms || terms->left >= QKVI_UNBOUNDED || terms->right >= QKVI_UNBOUNDED) return run->seq_kv;
    const uint64_t window = (uint64_t)terms->left + (uint64_t)terms->right + run->seq_q;
    return window < run->seq_kv ? (size_t)window : run->seq_kv;
}

qkv_status qkvi_decode_run(const struct qkvi_decode *decode, struct qkvi_chain *chain,
                           const struct qkvi_attention_run *run) {
    const struct qkvi_attention_problem *problem = &decode->problem;
    const size_t seen = count_keys(problem, run);
    const size_t wanted = count_splits(run->batch, problem->num_kv_heads, seen);
    const size_t keys = qkvi_round_up(qkvi_div_up(seen, wanted), KEY_BLOCK);
    const size_t splits = seen == 0 ? 1 : qkvi_div_up(seen, keys);
    const size_t rows = run->seq_q * group_size(problem);
    const size_t global[3] = {splits, problem->num_kv_heads, run->batch};
    const size_t merge_global[3] = {rows, problem->num_kv_heads, run->batch};
    const size_t local[3] = {1, 1, 1};
    const cl_mem part = splits > 1 ? run->workspace : run->out.buffer;
    const cl_long part_offset = (cl_long)(run->workspace_offset / sizeof(float));
    const cl_long keys_per_split = (cl_long)keys, num_splits = (cl_long)splits;
    struct qkvi_attention_args args;
    qkvi_attention_args_set(&args, problem, run, 0);
    QKVI_ATTENTION_ADD(&args, part);
    QKVI_ATTENTION_ADD(&args, part_offset);
    QKVI_ATTENTION_ADD(&args, keys_per_split);
    const qkv_status status =
        qkvi_kernel_run(decode->kernel, chain, args.list, args.count, 3, global, local);
    if (status != QKV_OK || splits == 1) return status;
    const struct qkvi_arg merge[] = {QKVI_ARG(args.buffer[QKVI_VIEW_OUT]),
                                     QKVI_ARG(args.buffer[QKVI_VIEW_LSE]),
                                     QKVI_ARG(args.view[QKVI_VIEW_OUT]),
                                     QKVI_ARG(args.view[QKVI_VIEW_LSE]),
                                     QKVI_ARG(args.shape),
                                     QKVI_ARG(part),
                                     QKVI_ARG(part_offset),
                                     QKVI_ARG(num_splits)};
    return qkvi_kernel_run(decode->merge, chain, merge, QKVI_COUNT(merge), 3, merge_global, local);
}

void qkvi_decode_describe(const struct qkvi_decode *decode, struct qkvi_text *text) {
    if (decode == NULL) return;
    qkvi_text_add(text, "; up to %d query rows a group: dims along lanes%s", MOST_ROWS,
                  decode->merge != NULL ? ", keys split" : "");
}
