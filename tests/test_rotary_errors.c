/* Rotary embeddings: wrong descriptions and wrong arguments of runs, each named in its message. */
#include <math.h>

#include "support/error_world.h"

/* ---- descriptions ---- */

static const double numbers[256];

static qkv_rotary_desc good_desc(void) {
    qkv_rotary_desc desc = QKV_ROTARY_DESC_INIT;
    desc.head_dim = 6, desc.rotary_dim = 4, desc.max_position = 10;
    return desc;
}

static void expect_create(const qkv_rotary_desc *desc, qkv_status status, const char *word) {
    qkv_rotary *const untouched = (qkv_rotary *)(void *)(uintptr_t)numbers, *rotary = untouched;
    test_note("rotary desc: %s", word);
    error_expect(qkv_rotary_create(&rotary, test_context(), desc), status, status, word, "qkv_rotary_create");
    TEST_TRUE(rotary == untouched);
}

START_TEST(descriptions) {
    static const double wrong[] = {-1, INFINITY, NAN}, far[] = {1e308, 0}, none[] = {0, NAN};
    qkv_rotary *rotary = NULL;
    qkv_rotary_desc desc = good_desc();
    test_note("rotary desc");
    TEST_FAILS(QKV_INVALID_ARGUMENT, "out", qkv_rotary_create(NULL, test_context(), &desc));
    TEST_FAILS(QKV_INVALID_ARGUMENT, "context", qkv_rotary_create(&rotary, NULL, &desc));
    TEST_FAILS(QKV_INVALID_ARGUMENT, "desc", qkv_rotary_create(&rotary, test_context(), NULL));
    desc.struct_size = 0;
    expect_create(&desc, QKV_INVALID_ARGUMENT, "struct_size");
    desc = good_desc(), desc.head_dim = 0;
    expect_create(&desc, QKV_INVALID_ARGUMENT, "head_dim");
    desc = good_desc(), desc.head_dim = 513;
    expect_create(&desc, QKV_INVALID_ARGUMENT, "head_dim");
    desc = good_desc(), desc.head_dim = 7, desc.rotary_dim = 0;
    expect_create(&desc, QKV_INVALID_ARGUMENT, "rotary_dim");
    for (desc = good_desc(), desc.rotary_dim = 3; desc.rotary_dim < 9; desc.rotary_dim += 5)
        expect_create(&desc, QKV_INVALID_ARGUMENT, "rotary_dim");
    desc = good_desc(), desc.interleaved = 2;
    expect_create(&desc, QKV_INVALID_ARGUMENT, "interleaved");
    for (size_t i = 0; i < TEST_COUNT(wrong); i++) {
        desc = good_desc(), desc.base = wrong[i];
        expect_create(&desc, QKV_INVALID_ARGUMENT, "base");
        desc = good_desc(), desc.position_scale = wrong[i];
        expect_create(&desc, QKV_INVALID_ARGUMENT, "position_scale");
        desc = good_desc(), desc.magnitude = wrong[i];
        expect_create(&desc, QKV_INVALID_ARGUMENT, "magnitude");
    }
    desc = good_desc(), desc.magnitude = 1e39; /* no float */
    expect_create(&desc, QKV_INVALID_ARGUMENT, "magnitude");
    desc = good_desc(), desc.frequencies = far;
    expect_create(&desc, QKV_INVALID_ARGUMENT, "frequencies");
    desc = good_desc(), desc.frequencies = none;
    expect_create(&desc, QKV_INVALID_ARGUMENT, "frequencies");
    if (sizeof(size_t) > 4) {
        desc = good_desc(), desc.max_position = (size_t)((uint64_t)1 << 53) + 1;
        expect_create(&desc, QKV_UNSUPPORTED, "max_position");
        desc = good_desc(), desc.head_dim = desc.rotary_dim = 512, desc.frequencies = numbers;
        desc.max_position = (size_t)((uint64_t)1 << 53);
        expect_create(&desc, QKV_OUT_OF_DEVICE_MEMORY, "tables");
    }
    desc = good_desc(), desc.solver = "rotary=dance";
    expect_create(&desc, QKV_INVALID_ARGUMENT, "rotary");
}
END_TEST

/* ---- runs ---- */

static qkv_status run_rotary(void *user) {
    struct error_call *call = user;
    cl_event event = error_event();
    return error_finish(qkv_rotary_run(call->object, call->queue, call->args, call->num_wait, call->wait_list, &event),
                        &event);
}

/* (2, 3, 5, 6) twice, out with tokens first, so that laid over x it is another view. */
static struct world {
    qkv_rotary *rotary, *without_table;
    qkv_tensor x, out, positions, cos, sin;
    qkv_rotary_args args;
    struct error_call call;
} w;

static void open_rotary(void) {
    static const size_t swap[] = {0, 2, 1, 3};
    qkv_rotary_desc desc = good_desc();
    error_world_open();
    TEST_OK(qkv_rotary_create(&w.rotary, test_context(), &desc));
    desc.max_position = 0;
    TEST_OK(qkv_rotary_create(&w.without_table, test_context(), &desc));
    w.x = error_tensor(0, 4, 2, 3, 5, 6);
    w.out = error_tensor(1, 4, 2, 5, 3, 6);
    TEST_OK(qkv_tensor_permute(&w.out, &w.out, swap));
    w.positions = error_tensor(2, 2, 2, 5, 0, 0), w.positions.dtype = QKV_I32;
    w.cos = error_tensor(3, 2, 10, 2, 0, 0);
    w.sin = error_tensor(4, 2, 10, 2, 0, 0);
}

static void close_rotary(void) {
    qkv_rotary_destroy(w.rotary);
    qkv_rotary_destroy(w.without_table);
    error_world_close();
}

static void whole_args(void) {
    w.args = (qkv_rotary_args)QKV_ROTARY_ARGS_INIT;
    w.args.x = &w.x, w.args.out = &w.out;
    w.call = (struct error_call){.object = w.rotary, .queue = test_queue(), .args = &w.args, .run = run_rotary};
}

static void expect_run(qkv_status status, const char *word, const char *what) {
    test_note("%s", what);
    error_expect(run_rotary(&w.call), status, status, word, what);
    whole_args();
}

START_TEST(tensors) {
    struct error_slot slots[] = {
        {.name = "x", .tensor = &w.x, .required = true, .halves = true, .leads = true, .arg = &w.args.x},
        {.name = "out", .tensor = &w.out, .output = true, .required = true, .halves = true, .arg = &w.args.out},
        {.name = "positions", .tensor = &w.positions, .integers = true, .arg = &w.args.positions},
        {.name = "cos", .tensor = &w.cos, .required = true, .halves = true, .arg = &w.args.cos},
        {.name = "sin", .tensor = &w.sin, .required = true, .halves = true, .arg = &w.args.sin}};
    whole_args();
    w.args.positions = &w.positions, w.args.cos = &w.cos, w.args.sin = &w.sin;
    error_check_slots(slots, TEST_COUNT(slots), error_world.buffer, run_rotary, &w.call);
    error_check_overlaps(slots, TEST_COUNT(slots), run_rotary, &w.call);
    test_note("rotary run");
    error_check_call(&w.call);
}
END_TEST

/* In place is the same view; any other way of sharing is an overlap. */
START_TEST(nearly_in_place) {
    const qkv_tensor out = w.out;
    whole_args();
    w.out = w.x;
    TEST_OK(run_rotary(&w.call));
    w.out.offset++;
    expect_run(QKV_OVERLAP, "out", "one element further");
    w.out = w.x, w.out.dtype = QKV_F16;
    expect_run(QKV_OVERLAP, "out", "another dtype");
    w.out = w.x;
    w.args.cos = w.args.sin = &w.cos;
    w.cos.memory = w.x.memory;
    expect_run(QKV_OVERLAP, "cos", "in place over cos");
    w.cos.memory.buffer = error_world.own[3];
    w.out = out;
}
END_TEST

START_TEST(positions_and_angles) {
    qkv_tensor tokens = error_tensor(5, 3, 2, 5, 2, 0), shared = error_tensor(6, 3, 1, 5, 2, 0);
    qkv_tensor fewer = error_tensor(7, 2, 9, 2, 0, 0), none = error_tensor(8, 2, 0, 2, 0, 0);
    whole_args();
    w.args.first_position = 5; /* the last of 10 */
    TEST_OK(run_rotary(&w.call));
    w.args.first_position = 6;
    expect_run(QKV_INVALID_SHAPE, "max_position", "past the last position");
    w.args.first_position = INT64_MAX;
    expect_run(QKV_INVALID_SHAPE, "max_position", "far past the last position");
    w.args.first_position = -1;
    expect_run(QKV_INVALID_ARGUMENT, "first_position", "before the first");
    w.args.first_position = 1, w.args.positions = &w.positions;
    expect_run(QKV_INVALID_ARGUMENT, "first_position", "first and positions");
    w.args.inverse = 2;
    expect_run(QKV_INVALID_ARGUMENT, "inverse", "inverse 2");
    w.args.cos = &w.cos;
    expect_run(QKV_INVALID_ARGUMENT, "sin", "cos alone");
    w.args.sin = &w.sin;
    expect_run(QKV_INVALID_ARGUMENT, "cos", "sin alone");
    w.call.object = w.without_table;
    expect_run(QKV_INVALID_ARGUMENT, "max_position", "no table and nothing given");
    w.call.object = w.without_table, w.args.cos = &tokens, w.args.sin = &shared;
    TEST_OK(run_rotary(&w.call));
    w.args.positions = &w.positions;
    expect_run(QKV_INVALID_SHAPE, "positions", "a row for each token and positions");
    w.args.cos = w.args.sin = &tokens, w.args.first_position = 1;
    expect_run(QKV_INVALID_SHAPE, "first_position", "a row for each token and a first position");
    w.args.cos = &w.cos, w.args.sin = &tokens;
    expect_run(QKV_INVALID_SHAPE, "sin", "rank 2 and rank 3");
    w.args.cos = &w.cos, w.args.sin = &fewer;
    expect_run(QKV_INVALID_SHAPE, "sin", "fewer rows of sin");
    w.args.cos = w.args.sin = &fewer, w.args.first_position = 5;
    expect_run(QKV_INVALID_SHAPE, "cos", "past the last row");
    w.args.cos = w.args.sin = &none, w.args.positions = &w.positions;
    expect_run(QKV_INVALID_SHAPE, "cos", "no rows");
    tokens.shape[0] = 3;
    w.args.cos = w.args.sin = &tokens;
    expect_run(QKV_INVALID_SHAPE, "cos", "rows for another batch");
    w.positions.shape[1] = 4;
    w.args.positions = &w.positions;
    expect_run(QKV_INVALID_SHAPE, "positions", "positions for fewer tokens");
    w.positions.shape[1] = 5;
}
END_TEST

int main(void) {
    Suite *suite = suite_create("rotary errors");
    TCase *tcase = tcase_create("rotary errors");
    tcase_add_unchecked_fixture(tcase, open_rotary, close_rotary);
    tcase_add_test(tcase, descriptions);
    tcase_add_test(tcase, tensors);
    tcase_add_test(tcase, nearly_in_place);
    tcase_add_test(tcase, positions_and_angles);
    suite_add_tcase(suite, tcase);
    return test_main(suite);
}
