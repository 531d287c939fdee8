/* What layer.c, which creates, and layer_run.c share. */
#ifndef QKVI_LAYER_INTERNAL_H
#define QKVI_LAYER_INTERNAL_H

#include "api/internal.h"

enum part { PART_Q, PART_K, PART_V, PART_HEADS, NUM_PARTS };

struct qkv_layer {
    qkv_context *context;
    qkv_layer_desc desc; /* every default filled in; its pointers are not kept */
    bool cross;
    qkv_linear *in;     /* Q, K, V; with cross Q alone */
    qkv_linear *kv;     /* K, V; only with cross */
    qkv_rotary *rotary; /* NULL without desc.rotary */
    qkv_attention *attention;
    qkv_linear *out;               /* NULL without wo */
    struct qkvi_plan whole;        /* all steps at once, for few tokens; without a solver where there is none */
    size_t part_offset[NUM_PARTS]; /* bytes into the workspace, for the largest sizes */
    size_t scratch_offset;         /* what the steps need themselves; they run one after the other */
    size_t workspace;
    char *description;
};

/* ---- layer_whole.c ---- */
/* Where no solver does the steps at once, layer->whole stays empty. */
qkv_status qkvi_layer_whole_create(qkv_layer *layer);
bool qkvi_layer_whole_takes(const qkv_layer *layer, const struct qkvi_linear_run *in,
                            const struct qkvi_attention_run *attention);
qkv_status qkvi_layer_whole_enqueue(const qkv_layer *layer, struct qkvi_chain *chain, const struct qkvi_linear_run *in,
                                    const struct qkvi_attention_run *attention, const struct qkvi_linear_run *out,
                                    const qkv_workspace *workspace);

#endif
