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
    size_t part_offset[NUM_PARTS]; /* bytes into the workspace, for the largest sizes */
    size_t scratch_offset;         /* what the steps need themselves; they run one after the other */
    size_t workspace;
    char *description;
};

#endif
