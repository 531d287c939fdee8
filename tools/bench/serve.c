/*
 * The benchmark as a partner: one command a line on standard input, one JSON object a line in answer, so that another
 * program can alternate its own runs with these.
 *
 *   CASE            prepares the case the first time (the one before is dropped), takes a turn of it, see
 *                   tool_turn(). {"name", "us"}
 *   describe CASE   {"name", "kind", "shape", "flops", "bytes", "reads", "plan"}
 *   dump CASE FILE  writes the last output as little-endian floats. {"name", "elements"}
 *   peak            one run of the peak kernel: {"gflops"}
 *   read BYTES      a turn of the reading kernel over so many bytes, 0 for memory past the caches; the best: {"gbps"}
 *
 * A failure is {"error"}. Between commands nothing runs: the process waits in a read.
 */
#include "bench.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

struct server {
    struct bench *bench;
    struct bench_subject *subject;
    char error[600];
};

static json_t *failure(const char *text)
{
    json_t *answer = json_object();
    json_object_set_new(answer, "error", json_string(text));
    return answer;
}

static bool prepare(struct server *server, const struct bench_case *c)
{
    if (server->subject && bench_subject_case(server->subject) == c) {
        return true;
    }
    bench_subject_destroy(server->subject);
    server->subject = bench_subject_create(server->bench->context, c, server->error, sizeof server->error);
    for (int i = 0; i < 2 && server->subject; ++i) {
        if (!bench_subject_run(server->subject, server->error, sizeof server->error)) {
            bench_subject_destroy(server->subject);
            server->subject = NULL;
        }
    }
    return server->subject != NULL;
}

static bool run_subject(void *subject, char *error, size_t error_size)
{
    return bench_subject_run(subject, error, error_size);
}

static json_t *run(struct server *server, const struct bench_case *c)
{
    if (!prepare(server, c)) {
        return failure(server->error);
    }
    double seconds = tool_turn(run_subject, server->subject, server->error, sizeof server->error);
    if (!(seconds > 0)) {
        return failure(server->error);
    }
    json_t *answer = json_object();
    json_object_set_new(answer, "name", json_string(c->name));
    json_object_set_new(answer, "us", json_real(seconds * 1e6));
    return answer;
}

static json_t *describe(struct server *server, const struct bench_case *c)
{
    if (!prepare(server, c)) {
        return failure(server->error);
    }
    json_t *answer = json_object();
    json_object_set_new(answer, "name", json_string(c->name));
    json_object_set_new(answer, "kind", json_string(bench_kind_name(c->kind)));
    json_object_set_new(answer, "shape", bench_shape_json(c));
    json_object_set_new(answer, "flops", json_real(bench_case_flops(c)));
    json_object_set_new(answer, "bytes", json_real(bench_case_bytes(c)));
    json_object_set_new(answer, "reads", json_boolean(bench_case_reads(c)));
    json_object_set_new(answer, "plan", json_string(bench_subject_describe(server->subject)));
    return answer;
}

static json_t *dump(struct server *server, const struct bench_case *c, const char *path)
{
    size_t count = 0;
    if (!prepare(server, c)) {
        return failure(server->error);
    }
    float *values = bench_subject_output(server->subject, &count, server->error, sizeof server->error);
    if (!values) {
        return failure(server->error);
    }
    FILE *file = fopen(path, "wb");
    bool good = file && fwrite(values, sizeof *values, count, file) == count;
    good = file && fclose(file) == 0 && good;
    free(values);
    if (!good) {
        return failure("the file could not be written");
    }
    json_t *answer = json_object();
    json_object_set_new(answer, "name", json_string(c->name));
    json_object_set_new(answer, "elements", json_integer((json_int_t)count));
    return answer;
}

static json_t *rate(const char *name, double value)
{
    if (!(value > 0)) {
        return failure("the kernel did not run");
    }
    json_t *answer = json_object();
    json_object_set_new(answer, name, json_real(value));
    return answer;
}

static json_t *obey(struct server *server, char *line)
{
    char *words[3] = {strtok(line, " \t\r\n"), NULL, NULL};
    for (int i = 1; i < 3 && words[i - 1]; ++i) {
        words[i] = strtok(NULL, i == 2 ? "\r\n" : " \t\r\n");
    }
    if (!words[0]) {
        return failure("an empty line");
    }
    if (strcmp(words[0], "peak") == 0 && server->bench->peak) {
        return rate("gflops", tool_peak_run(server->bench->peak));
    }
    if (strcmp(words[0], "read") == 0 && server->bench->peak) {
        return rate("gbps", bench_best_reading(server->bench->peak, words[1] ? strtod(words[1], NULL) : 0));
    }
    bool is_describe = strcmp(words[0], "describe") == 0, is_dump = strcmp(words[0], "dump") == 0;
    const char *name = is_describe || is_dump ? words[1] : words[0];
    const struct bench_case *c = name ? bench_case_find(name) : NULL;
    if (c && !bench_case_computes(c)) {
        return failure("this case computes nothing: it is not measured here");
    }
    if (!c || (is_dump && !words[2])) {
        return failure(c ? "dump CASE FILE" : "no such case or command");
    }
    return is_describe ? describe(server, c) : is_dump ? dump(server, c, words[2]) : run(server, c);
}

static void answer(json_t *object)
{
    json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
    fputc('\n', stdout);
    fflush(stdout);
    json_decref(object);
}

int bench_serve(struct bench *bench)
{
    struct server server = {bench, NULL, ""};
    char line[4096];
    const qkv_device_info *info = qkv_context_device(bench->context);
    json_t *hello = json_object();
    json_object_set_new(hello, "schema", json_integer(1));
    json_object_set_new(hello, "device", json_string(info->name));
    json_object_set_new(hello, "compute_units", json_integer((json_int_t)info->compute_units));
    answer(hello);
    while (fgets(line, sizeof line, stdin)) {
        answer(obey(&server, line));
    }
    bench_subject_destroy(server.subject);
    return 0;
}
