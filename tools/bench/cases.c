/* The table of cases and what each one counts. */
#include "bench.h"

#include <string.h>

#define MAX_CASES 128

static struct bench_case table[MAX_CASES];
static size_t num_cases;

static struct bench_case *add(enum bench_kind kind, bool by_default) {
    struct bench_case *c = &table[num_cases++];
    memset(c, 0, sizeof *c);
    c->kind = kind;
    c->by_default = by_default;
    return c;
}

static void add_projection(size_t rows, size_t in_features, size_t out_features, size_t num_outputs, bool by_default) {
    struct bench_case *c = add(BENCH_PROJECTION, by_default);
    c->rows = rows;
    c->in_features = in_features;
    c->out_features = out_features;
    c->num_outputs = num_outputs;
    snprintf(c->name, sizeof c->name, "projection-%zux%zu-n%zu", in_features, out_features, rows);
}

static void add_attention(size_t heads, size_t seq, size_t dim, bool causal, bool weights, bool by_default) {
    struct bench_case *c = add(BENCH_ATTENTION, by_default);
    c->batch = 1;
    c->num_heads = c->num_kv_heads = heads;
    c->seq_q = c->seq_kv = seq;
    c->head_dim = c->value_dim = dim;
    c->causal = causal;
    c->weights = weights;
    snprintf(c->name, sizeof c->name, "attention-%zux%zux%zu%s%s", heads, seq, dim, causal ? "-causal" : "",
             weights ? "-weights" : "");
}

/* The same attention with what an application may ask of it; the plain one stands beside it. */
static struct bench_case *add_variant(size_t heads, size_t seq, size_t dim, bool causal, const char *variant)
{
    add_attention(heads, seq, dim, causal, false, false);
    struct bench_case *c = &table[num_cases - 1];
    size_t length = strlen(c->name);
    snprintf(c->name + length, sizeof c->name - length, "-%s", variant);
    return c;
}

static void add_variants(void)
{
    /* A plan that could do everything, in a run that asks for nothing. */
    add_variant(8, 2048, 64, false, "able")->features = QKV_ATTENTION_SOFTCAP | QKV_ATTENTION_WINDOW |
                                                        QKV_ATTENTION_LENGTHS | QKV_ATTENTION_ALIBI |
                                                        QKV_ATTENTION_SINKS;
    add_variant(8, 2048, 64, false, "softcap")->softcap = 50.0f;
    add_variant(8, 2048, 64, false, "half")->half = true;
    add_variant(8, 1024, 128, false, "half")->half = true;
    add_variant(8, 1024, 256, false, "half")->half = true;
    add_variant(8, 1024, 512, false, "half")->half = true;
    add_attention(8, 8192, 64, true, false, false);
    add_variant(8, 8192, 64, true, "window512")->window = 512;
    add_variant(8, 8192, 64, true, "window1024")->window = 1024;
    add_variant(12, 512, 64, false, "received")->received = true;
}

static void add_rotary(size_t heads, size_t seq, size_t dim)
{
    struct bench_case *c = add(BENCH_ROTARY, false);
    c->batch = 1;
    c->num_heads = c->num_kv_heads = heads;
    c->seq_q = c->seq_kv = seq;
    c->head_dim = c->value_dim = dim;
    snprintf(c->name, sizeof c->name, "rotary-%zux%zux%zu", heads, seq, dim);
}

static void add_decode(size_t heads, size_t kv_heads, size_t keys, size_t dim) {
    struct bench_case *c = add(BENCH_DECODE, false);
    c->batch = 1;
    c->num_heads = heads;
    c->num_kv_heads = kv_heads;
    c->seq_q = 1;
    c->seq_kv = keys;
    c->head_dim = c->value_dim = dim;
    snprintf(c->name, sizeof c->name, "decode-%zux%zu-kv%zu-%zu", heads, dim, kv_heads, keys);
}

static void add_layer(const char *label, size_t embed, size_t heads, size_t batch, size_t seq, bool by_default) {
    struct bench_case *c = add(BENCH_LAYER, by_default);
    c->batch = batch;
    c->num_heads = c->num_kv_heads = heads;
    c->seq_q = c->seq_kv = seq;
    c->head_dim = c->value_dim = embed / heads;
    c->embed_dim = embed;
    if (batch > 1) {
        snprintf(c->name, sizeof c->name, "layer-%s-%zux%zu", label, batch, seq);
    } else {
        snprintf(c->name, sizeof c->name, "layer-%s-n%zu", label, seq);
    }
}

static void add_projections(void) {
    static const struct {
        size_t rows;
        bool by_default;
    } sizes[] = {{1, true},   {2, false},   {4, false},  {8, false},   {16, true},  {32, false},
                 {64, false}, {100, false}, {128, true}, {129, false}, {512, true}, {2048, true}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; ++i) {
        add_projection(sizes[i].rows, 1024, 3072, 3, sizes[i].by_default);
    }
    /* 1000 columns, and the round number beside it to hold it against. */
    add_projection(512, 1024, 1000, 1, false);
    add_projection(512, 1024, 1024, 1, false);
}

static void add_attentions(void) {
    static const struct {
        size_t heads, seq, dim;
        bool by_default;
    } sizes[] = {{12, 512, 64, true}, {8, 2048, 64, true}, {8, 2048, 128, true}, {8, 4096, 128, false}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; ++i) {
        add_attention(sizes[i].heads, sizes[i].seq, sizes[i].dim, false, false, sizes[i].by_default);
        add_attention(sizes[i].heads, sizes[i].seq, sizes[i].dim, true, false, sizes[i].by_default);
    }
    add_attention(12, 512, 64, false, true, false);
    add_attention(8, 2048, 64, false, true, false);
    static const size_t lengths[] = {511, 513, 1000, 1024};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; ++i) {
        add_attention(12, lengths[i], 64, false, false, false);
    }
    static const size_t dims[] = {40, 72, 80, 96, 112, 256, 512};
    for (size_t i = 0; i < sizeof dims / sizeof dims[0]; ++i) {
        add_attention(8, 1024, dims[i], false, false, false);
    }
    add_attention(8, 1024, 64, false, false, false);
    add_attention(8, 1024, 128, false, false, false);
}

static void add_starts(enum bench_kind kind, bool process) {
    for (int cold = 1; cold >= 0; --cold) {
        struct bench_case *c = add(BENCH_START, false);
        c->start_of = kind;
        c->cold = cold != 0;
        c->rows = c->seq_q = c->seq_kv = 64;
        c->in_features = c->embed_dim = 128;
        c->out_features = 384;
        c->num_outputs = 3;
        c->batch = 1;
        c->num_heads = c->num_kv_heads = 2;
        c->head_dim = c->value_dim = 64;
        c->process = process;
        snprintf(c->name, sizeof c->name, "%s-%s-%s", process ? "process" : "start", bench_kind_name(kind),
                 cold ? "cold" : "warm");
    }
}

const struct bench_case *bench_cases(size_t *out_count) {
    if (num_cases == 0) {
        add_projections();
        add_attentions();
        add_decode(32, 32, 1024, 128);
        add_decode(32, 32, 8192, 128);
        add_decode(32, 8, 1024, 128);
        add_decode(32, 8, 8192, 128);
        add_decode(32, 8, 8192, 128);
        table[num_cases - 1].half = true;
        snprintf(table[num_cases - 1].name, sizeof table->name, "decode-32x128-kv8-8192-half");
        add_variants();
        add_rotary(32, 1, 128);
        add_rotary(32, 2048, 128);
        /* The base Transformer: d_model 512, 8 heads of 64. */
        add_layer("base", 512, 8, 1, 16, false);
        add_layer("base", 512, 8, 1, 128, true);
        add_layer("base", 512, 8, 1, 512, true);
        add_layer("base", 512, 8, 8, 512, false);
        add_layer("384x12", 384, 12, 1, 16, false);
        add_layer("768x12", 768, 12, 1, 512, false);
        add_layer("1024x16", 1024, 16, 1, 2048, false);
        add_starts(BENCH_PROJECTION, false);
        add_starts(BENCH_PROJECTION, true);
        add_starts(BENCH_ATTENTION, false);
        add_starts(BENCH_ATTENTION, true);
        add_starts(BENCH_LAYER, false);
        add_starts(BENCH_LAYER, true);
        snprintf(add(BENCH_KNOWN, false)->name, sizeof table->name, "known-answers");
    }
    *out_count = num_cases;
    return table;
}

const struct bench_case *bench_case_find(const char *name) {
    size_t count = 0;
    const struct bench_case *cases = bench_cases(&count);
    for (size_t i = 0; i < count; ++i) {
        if (strcmp(cases[i].name, name) == 0) {
            return &cases[i];
        }
    }
    return NULL;
}

const char *bench_kind_name(enum bench_kind kind) {
    static const char *const names[] = {"projection", "attention", "layer", "decode", "rotary", "start", "known"};
    return names[kind];
}

bool bench_case_computes(const struct bench_case *c) {
    return c->kind != BENCH_START && c->kind != BENCH_KNOWN;
}

static double attention_flops(const struct bench_case *c) {
    double q = (double)c->seq_q, kv = (double)c->seq_kv;
    double pairs = c->causal ? q * (q + 1) / 2 : q * kv, w = (double)c->window;
    /* The first w - 1 queries see fewer keys than the window has. */
    if (c->window && w < q) {
        pairs = w * (w + 1) / 2 + (q - w) * w;
    }
    return 2.0 * (double)(c->head_dim + c->value_dim) * pairs * (double)(c->batch * c->num_heads);
}

double bench_case_flops(const struct bench_case *c) {
    if (!bench_case_computes(c)) {
        return 0;
    }
    if (c->kind == BENCH_ROTARY) {
        return 3.0 * (double)(c->batch * c->num_heads * c->seq_q * c->head_dim);
    }
    if (c->kind == BENCH_PROJECTION) {
        return 2.0 * (double)c->rows * (double)c->in_features * (double)c->out_features;
    }
    double flops = attention_flops(c);
    if (c->kind == BENCH_LAYER) {
        flops += 2.0 * (double)(c->batch * c->seq_q) * 4.0 * (double)c->embed_dim * (double)c->embed_dim;
    }
    return flops;
}

double bench_case_bytes(const struct bench_case *c) {
    double elements = 0;
    double heads = (double)(c->batch * c->num_heads), kv_heads = (double)(c->batch * c->num_kv_heads);
    switch (c->kind) {
    case BENCH_PROJECTION:
        elements = (double)c->in_features * (double)c->out_features +
                   (double)c->rows * (double)(c->in_features + c->out_features);
        break;
    case BENCH_LAYER:
        elements = 4.0 * (double)c->embed_dim * (double)c->embed_dim +
                   2.0 * (double)(c->batch * c->seq_q) * (double)c->embed_dim;
        break;
    case BENCH_DECODE:
        elements = kv_heads * (double)c->seq_kv * (double)(c->head_dim + c->value_dim);
        break;
    case BENCH_ATTENTION:
        elements = kv_heads * (double)c->seq_kv * (double)(c->head_dim + c->value_dim) +
                   heads * (double)c->seq_q * (double)(c->head_dim + c->value_dim);
        elements += c->weights ? heads * (double)c->seq_q * (double)c->seq_kv : 0;
        break;
    case BENCH_ROTARY:
        elements = 2.0 * heads * (double)(c->seq_q * c->head_dim);
        break;
    case BENCH_START:
    case BENCH_KNOWN:
        break;
    }
    return elements * (double)(c->half ? sizeof(uint16_t) : sizeof(float));
}

bool bench_case_reads(const struct bench_case *c) {
    return bench_case_flops(c) < 4.0 * bench_case_bytes(c);
}
