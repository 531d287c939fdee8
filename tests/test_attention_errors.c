/* Wrong arguments of attention beyond those of test_run_errors.c: pasts, terms, reports, and features that a plan lacks. */
#include <math.h>
#include <string.h>

#include "support/error_case.h"
#include "support/error_world.h"

enum {
    MASK,
    WEIGHTS,
    SCORES,
    LSE,
    PAST_K,
    PAST_V,
    PRESENT_K,
    PRESENT_V,
    OFFSETS,
    SLOPES,
    SINKS,
    RECEIVED,
    KEYS,
    LENGTHS,
    NUM_EXTRAS
};

/* A call in which nothing is wrong, with everything that goes together: three keys of a past, seven new ones. */
static struct world {
    qkv_attention *attention;
    qkv_attention_args args;
    qkv_window window;
    qkv_tensor q, k, v, out, extra[NUM_EXTRAS], top;
    struct error_call call;
} w;

static qkv_status run(void *user) {
    struct error_call *call = user;
    cl_event event = error_event();
    return error_finish(
        qkv_attention_run(call->object, call->queue, call->args, call->num_wait, call->wait_list, &event), &event);
}

static qkv_tensor integers(qkv_tensor t) {
    t.dtype = QKV_I32;
    return t;
}

static void set_tensors(void) {
    w.q = error_tensor(0, 4, 2, 4, 5, 6), w.k = error_tensor(1, 4, 2, 2, 7, 6), w.v = error_tensor(2, 4, 2, 2, 7, 4);
    w.out = error_tensor(3, 4, 2, 4, 5, 4);
    w.extra[MASK] = error_tensor(4, 4, 2, 4, 5, 10);
    w.extra[WEIGHTS] = error_tensor(5, 4, 2, 4, 5, 10), w.extra[SCORES] = error_tensor(6, 4, 2, 4, 5, 10);
    w.extra[LSE] = error_tensor(7, 3, 2, 4, 5, 0);
    w.extra[PAST_K] = error_tensor(8, 4, 2, 2, 3, 6), w.extra[PAST_V] = error_tensor(9, 4, 2, 2, 3, 4);
    w.extra[PRESENT_K] = error_tensor(10, 4, 2, 2, 10, 6), w.extra[PRESENT_V] = error_tensor(11, 4, 2, 2, 10, 4);
    w.extra[OFFSETS] = integers(error_tensor(12, 1, 2, 0, 0, 0));
    w.extra[SLOPES] = error_tensor(13, 1, 4, 0, 0, 0), w.extra[SINKS] = error_tensor(14, 1, 4, 0, 0, 0);
    w.extra[RECEIVED] = error_tensor(15, 3, 2, 4, 10, 0);
    w.extra[KEYS] = integers(error_tensor(16, 4, 2, 4, 5, 64)), w.top = error_tensor(17, 4, 2, 4, 5, 64);
    w.extra[LENGTHS] = integers(error_tensor(18, 1, 2, 0, 0, 0));
}

/* The slot of args for each of the extra tensors. */
static const qkv_tensor **slot_of(int i) {
    const qkv_tensor **const slots[NUM_EXTRAS] = {
        [MASK] = &w.args.mask,           [WEIGHTS] = &w.args.weights,     [SCORES] = &w.args.scores,
        [LSE] = &w.args.logsumexp,       [PAST_K] = &w.args.past_k,       [PAST_V] = &w.args.past_v,
        [PRESENT_K] = &w.args.present_k, [PRESENT_V] = &w.args.present_v, [OFFSETS] = &w.args.query_offsets,
        [SLOPES] = &w.args.alibi_slopes, [SINKS] = &w.args.sinks,         [RECEIVED] = &w.args.received,
        [KEYS] = &w.args.top_keys,       [LENGTHS] = &w.args.kv_lengths,
    };
    return slots[i];
}

static const char *const names[NUM_EXTRAS] = {
    [MASK] = "mask",           [WEIGHTS] = "weights",     [SCORES] = "scores",
    [LSE] = "logsumexp",       [PAST_K] = "past_k",       [PAST_V] = "past_v",
    [PRESENT_K] = "present_k", [PRESENT_V] = "present_v", [OFFSETS] = "query_offsets",
    [SLOPES] = "alibi_slopes", [SINKS] = "sinks",         [RECEIVED] = "received",
    [KEYS] = "top_keys",       [LENGTHS] = "kv_lengths",
};

#define EVERY_FEATURE ((uint64_t)(2 * QKV_ATTENTION_REDUCED - 1))

static qkv_attention *make(uint64_t features) {
    qkv_attention_desc desc = QKV_ATTENTION_DESC_INIT;
    qkv_attention *attention = NULL;
    desc.head_dim = 6, desc.value_dim = 4, desc.num_heads = 4, desc.num_kv_heads = 2;
    desc.max_batch = desc.max_seq_q = 8, desc.max_seq_kv = 12;
    desc.features = features;
    TEST_OK(qkv_attention_create(&attention, test_context(), &desc));
    return attention;
}

/* q, k, v and out alone, on a plan with these features. */
static void open_world(uint64_t features) {
    memset(&w, 0, sizeof w);
    w.attention = make(features);
    w.args = (qkv_attention_args)QKV_ATTENTION_ARGS_INIT;
    w.window = (qkv_window)QKV_WINDOW_INIT;
    w.call = (struct error_call){.object = w.attention, .queue = test_queue(), .args = &w.args, .run = run};
    set_tensors();
    w.args.q = &w.q, w.args.k = &w.k, w.args.v = &w.v, w.args.out = &w.out;
    TEST_OK(qkv_workspace_create(&w.args.workspace, test_context(), qkv_attention_workspace_bytes(w.attention)));
}

static void close_world(void) {
    qkv_workspace_destroy(w.args.workspace);
    qkv_attention_destroy(w.attention);
}

static void give(int i) {
    *slot_of(i) = &w.extra[i];
}

static void give_all(void) {
    for (int i = 0; i < LENGTHS; i++)
        give(i);
    w.args.causal = QKV_CAUSAL_FIRST;
}

static void expect(qkv_status status, const char *word, const char *what) {
    test_note("%s", what);
    error_expect(run(&w.call), status, status, word, what);
}

START_TEST(tensors) {
    open_world(EVERY_FEATURE);
    give_all();
    TEST_OK(run(&w.call));
    struct error_slot slots[LENGTHS + 1] = {{.name = "out", .tensor = &w.out, .output = true, .arg = &w.args.out}};
    for (int i = 0; i < LENGTHS; i++) {
        slots[i + 1] = (struct error_slot){.name = names[i], .tensor = &w.extra[i], .arg = slot_of(i)};
        slots[i + 1].output =
            i == WEIGHTS || i == SCORES || i == LSE || i == PRESENT_K || i == PRESENT_V || i == RECEIVED || i == KEYS;
        slots[i + 1].integers = i == OFFSETS || i == KEYS;
        slots[i + 1].broadcast = i == MASK;
    }
    error_check_slots(slots, TEST_COUNT(slots), error_world.buffer, run, &w.call);
    error_check_overlaps(slots, TEST_COUNT(slots), run, &w.call);
    struct error_slot top = {.name = "top_weights", .tensor = &w.top, .output = true, .arg = &w.args.top_weights};
    w.args.top_weights = &w.top;
    error_check_slots(&top, 1, error_world.buffer, run, &w.call);
    error_check_workspace(&w.call, &w.args.workspace, qkv_attention_workspace_bytes(w.attention));
    close_world();
    open_world(QKV_ATTENTION_LENGTHS);
    give(LENGTHS);
    struct error_slot lengths = {
        .name = "kv_lengths", .tensor = &w.extra[LENGTHS], .integers = true, .arg = &w.args.kv_lengths};
    error_check_slots(&lengths, 1, error_world.buffer, run, &w.call);
    close_world();
}
END_TEST

START_TEST(overlaps) {
    open_world(EVERY_FEATURE);
    give_all();
    w.args.top_weights = &w.top;
    w.extra[PRESENT_K].memory = w.k.memory;
    expect(QKV_OVERLAP, "present_k", "present_k on k");
    set_tensors();
    w.extra[RECEIVED].memory = w.extra[KEYS].memory;
    expect(QKV_OVERLAP, "received", "received on top_keys");
    set_tensors();
    w.top.memory = w.extra[KEYS].memory;
    expect(QKV_OVERLAP, "top_weights", "top_weights on top_keys");
    set_tensors();
    /* The past in the beginning of the present is no overlap, one row further it is. */
    for (int i = 0; i < 2; i++) {
        const uint64_t rows = w.extra[PAST_K + i].shape[2];
        w.extra[PAST_K + i] = w.extra[PRESENT_K + i];
        w.extra[PAST_K + i].shape[2] = rows;
    }
    test_note("in place");
    TEST_OK(run(&w.call));
    w.extra[PAST_V].offset += (uint64_t)w.extra[PAST_V].stride[2];
    expect(QKV_OVERLAP, "present_v", "past_v within present_v");
    close_world();
}
END_TEST

START_TEST(pasts) {
    static const int slots[] = {PAST_K, PAST_V, PRESENT_K, PRESENT_V};
    open_world(EVERY_FEATURE);
    for (size_t i = 0; i < TEST_COUNT(slots); i++) {
        give_all();
        *slot_of(slots[i]) = NULL;
        expect(QKV_INVALID_ARGUMENT, names[slots[i]], "one of the past and the present missing");
    }
    give_all();
    w.args.present_k = w.args.present_v = NULL;
    expect(QKV_INVALID_ARGUMENT, "present_k", "a past without a present");
    give_all();
    give(LENGTHS);
    expect(QKV_INVALID_ARGUMENT, "kv_lengths", "a past with lengths");
    *slot_of(LENGTHS) = NULL;
    w.extra[PAST_V].shape[2] = 2;
    expect(QKV_INVALID_SHAPE, "past_v", "pasts of two lengths");
    set_tensors();
    w.extra[PRESENT_V].shape[2] = 9;
    expect(QKV_INVALID_SHAPE, "present_v", "a present that is too short");
    set_tensors();
    w.extra[PAST_K].shape[2] = w.extra[PAST_V].shape[2] = 6;
    w.extra[PRESENT_K] = error_tensor(10, 4, 2, 2, 13, 6), w.extra[PRESENT_V] = error_tensor(11, 4, 2, 2, 13, 4);
    w.args.mask = w.args.weights = w.args.scores = w.args.received = NULL;
    expect(QKV_INVALID_SHAPE, "max_seq_kv", "past and new keys beyond the limit together");
    close_world();
}
END_TEST

START_TEST(numbers) {
    const int64_t far = (int64_t)1 << 41;
    static const float softcaps[] = {-1, -0x1p-149f, NAN, INFINITY, -INFINITY};
    open_world(EVERY_FEATURE);
    for (size_t i = 0; i < TEST_COUNT(softcaps); i++) {
        w.args.softcap = softcaps[i];
        expect(QKV_INVALID_ARGUMENT, "softcap", "softcap");
    }
    w.args.softcap = 0;
    for (int i = 0; i < 2; i++) {
        w.args.window = &w.window;
        w.window = i ? (qkv_window){3, -2} : (qkv_window){INT64_MIN, -1};
        expect(QKV_INVALID_ARGUMENT, i ? "right" : "left", "window");
        w.window = (qkv_window){INT64_MAX, i ? INT64_MAX : 0};
        TEST_OK(run(&w.call));
        w.args.window = NULL;
    }
    w.args.scores_stage = (qkv_scores_stage)3;
    expect(QKV_INVALID_ARGUMENT, "scores_stage", "stage 3");
    w.args.scores_stage = (qkv_scores_stage)-1;
    expect(QKV_INVALID_ARGUMENT, "scores_stage", "stage -1");
    w.args.scores_stage = QKV_SCORES_MASKED;
    w.args.query_offset = far;
    expect(QKV_INVALID_ARGUMENT, "query_offset", "query_offset");
    w.args.query_offset = -far;
    expect(QKV_INVALID_ARGUMENT, "query_offset", "query_offset");
    w.args.query_offset = 1, w.args.causal = QKV_CAUSAL_LAST;
    expect(QKV_INVALID_ARGUMENT, "query_offset", "query_offset with QKV_CAUSAL_LAST");
    w.args.query_offset = 0, give(OFFSETS);
    expect(QKV_INVALID_ARGUMENT, "query_offsets", "query_offsets with QKV_CAUSAL_LAST");
    w.args.query_offsets = NULL;
    TEST_OK(run(&w.call));
    close_world();
}
END_TEST

START_TEST(ranks) {
    static const size_t wrong[] = {0, 65};
    open_world(EVERY_FEATURE);
    for (size_t i = 0; i < TEST_COUNT(wrong); i++) {
        w.extra[KEYS].shape[3] = w.top.shape[3] = wrong[i];
        w.args.top_keys = &w.extra[KEYS], w.args.top_weights = NULL;
        expect(QKV_INVALID_SHAPE, "top_keys", "n");
        w.args.top_keys = NULL, w.args.top_weights = &w.top;
        expect(QKV_INVALID_SHAPE, "top_weights", "n");
    }
    w.extra[KEYS].shape[3] = w.top.shape[3] = 64;
    give(KEYS);
    TEST_OK(run(&w.call));
    close_world();
}
END_TEST

/* Every argument on a plan that has every feature but the one it needs. */
START_TEST(features) {
    static const struct {
        uint64_t bit;
        int slot; /* or -1 */
        const char *name, *bit_name;
    } cases[] = {
        {QKV_ATTENTION_MASK, MASK, "mask", "QKV_ATTENTION_MASK"},
        {QKV_ATTENTION_WEIGHTS, WEIGHTS, "weights", "QKV_ATTENTION_WEIGHTS"},
        {QKV_ATTENTION_WEIGHTS, SCORES, "scores", "QKV_ATTENTION_WEIGHTS"},
        {QKV_ATTENTION_SOFTCAP, -1, "softcap", "QKV_ATTENTION_SOFTCAP"},
        {QKV_ATTENTION_WINDOW, -1, "window", "QKV_ATTENTION_WINDOW"},
        {QKV_ATTENTION_LENGTHS, LENGTHS, "kv_lengths", "QKV_ATTENTION_LENGTHS"},
        {QKV_ATTENTION_LENGTHS, OFFSETS, "query_offsets", "QKV_ATTENTION_LENGTHS"},
        {QKV_ATTENTION_ALIBI, SLOPES, "alibi_slopes", "QKV_ATTENTION_ALIBI"},
        {QKV_ATTENTION_SINKS, SINKS, "sinks", "QKV_ATTENTION_SINKS"},
        {QKV_ATTENTION_PAST, PAST_K, "past_k", "QKV_ATTENTION_PAST"},
        {QKV_ATTENTION_PAST, PRESENT_V, "present_v", "QKV_ATTENTION_PAST"},
        {QKV_ATTENTION_REDUCED, RECEIVED, "received", "QKV_ATTENTION_REDUCED"},
        {QKV_ATTENTION_REDUCED, KEYS, "top_keys", "QKV_ATTENTION_REDUCED"},
        {QKV_ATTENTION_REDUCED, -1, "scores_stage", "QKV_ATTENTION_REDUCED"},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        open_world(EVERY_FEATURE & ~cases[i].bit);
        if (cases[i].slot >= 0) give(cases[i].slot);
        if (cases[i].bit == QKV_ATTENTION_SOFTCAP) w.args.softcap = 1;
        if (cases[i].bit == QKV_ATTENTION_WINDOW) w.args.window = &w.window;
        if (cases[i].slot < 0 && cases[i].bit == QKV_ATTENTION_REDUCED) w.args.scores_stage = QKV_SCORES_RAW;
        expect(QKV_UNSUPPORTED, cases[i].name, cases[i].name);
        expect(QKV_UNSUPPORTED, cases[i].bit_name, cases[i].name);
        close_world();
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("attention errors");
    TCase *tcase = tcase_create("runs");
    tcase_set_timeout(tcase, 0);
    tcase_add_unchecked_fixture(tcase, error_world_open, error_world_close);
    tcase_add_test(tcase, tensors);
    tcase_add_test(tcase, overlaps);
    tcase_add_test(tcase, pasts);
    tcase_add_test(tcase, numbers);
    tcase_add_test(tcase, ranks);
    tcase_add_test(tcase, features);
    suite_add_tcase(suite, tcase);
    return test_main(suite);
}
