/* Figures for people and for programs. */
#include "bench.h"

#include <jansson.h>
#include <string.h>

/* Half the interquartile range, as a part of the median. */
static double spread(struct tool_quartiles q)
{
    return q.median > 0 ? (q.q3 - q.q1) / 2 / q.median : 0;
}

void bench_report_head(FILE *out, const struct bench *bench)
{
    const qkv_device_info *info = qkv_context_device(bench->context);
    fprintf(out, "device      %s (%s), %u compute units\n", info->name, info->platform_name,
            (unsigned)info->compute_units);
    if (bench->peak) {
        fprintf(out, "peak        %.0f GFLOP/s by the OpenCL kernel (%s)", bench->peak_gflops,
                tool_peak_operation(bench->peak));
        if (bench->native_gflops.median > 0) {
            fprintf(out, ", %.0f by a C loop (%s); paired %.3f", bench->native_gflops.median, tool_native_name(),
                    bench->native_ratio.median);
        }
        fprintf(out, "\nreading     %.1f GB/s from memory\n", bench->read_gbps);
    }
    if (bench->cores_ours > 0 && bench->cores_ours < 0.9) {
        fprintf(out, "warning     other processes took %.0f%% of the cores meanwhile: these figures will not repeat\n",
                100 * (1 - bench->cores_ours));
    }
    fprintf(out,
            "Medians of %g s a case; +- is half the interquartile range. The share is of the highest peak so far,\n"
            "or of reading as many bytes where memory is the limit. Ratios: the peer's time by ours, paired.\n\n",
            bench->seconds);
    fprintf(out, "%-37s %11s %5s %11s %6s", "case", "median us", "+-", "rate", "share");
    for (size_t i = 0; i < bench->num_peers; ++i) {
        fprintf(out, " %10s", bench->peers[i].name);
    }
    fputc('\n', out);
    fflush(out);
}

static const struct bench_peer_result *find_peer(const struct bench_result *result, const char *name)
{
    for (size_t i = 0; i < result->num_peers; ++i) {
        if (strcmp(result->peers[i].name, name) == 0) {
            return &result->peers[i];
        }
    }
    return NULL;
}

void bench_report_row(FILE *out, const struct bench *bench, const struct bench_result *result)
{
    if (result->failed) {
        fprintf(out, "%-37s failed: %s\n", result->spec->name, result->note);
        fflush(out);
        return;
    }
    if (!bench_case_computes(result->spec)) {
        fprintf(out, "%-37s %11.1f %4.0f%%\n", result->spec->name, result->us.median, 100 * spread(result->us));
        if (result->note[0]) fprintf(out, "  %s\n", result->note);
        fflush(out);
        return;
    }
    bool reads = bench_case_reads(result->spec);
    fprintf(out, "%-37s %11.1f %4.0f%% %6.1f %-4s %5.1f%%", result->spec->name, result->us.median,
            100 * spread(result->us), reads ? result->gbps : result->gflops, reads ? "GB" : "GF",
            100 * bench_share(bench, result));
    for (size_t i = 0; i < bench->num_peers; ++i) {
        const struct bench_peer_result *peer = find_peer(result, bench->peers[i].name);
        if (peer) {
            fprintf(out, " %6.2f%3.0f%%", peer->ratio.median, 100 * spread(peer->ratio));
        } else {
            fprintf(out, " %10s", "");
        }
    }
    fputc('\n', out);
    if (result->note[0]) {
        fprintf(out, "  note: %s\n", result->note);
    }
    if (bench_share(bench, result) > 1) {
        fprintf(out, "  note: above the peak: the clock rose, or the machine was busier, while the peak was taken\n");
    }
    fflush(out);
}

void bench_report_list(FILE *out, const struct bench_case *c)
{
    fprintf(out, "%-30s %-10s %s\n", c->name, bench_kind_name(c->kind), c->by_default ? "default" : "--all");
}

static json_t *integer(size_t value)
{
    return json_integer((json_int_t)value);
}

json_t *bench_shape_json(const struct bench_case *c)
{
    json_t *shape = json_object();
    if (c->kind == BENCH_START) {
        json_object_set_new(shape, "of", json_string(bench_kind_name(c->start_of)));
        json_object_set_new(shape, "cold", json_boolean(c->cold));
        json_object_set_new(shape, "process", json_boolean(c->process));
        return shape;
    }
    if (c->kind == BENCH_KNOWN) {
        return shape;
    }
    if (c->kind == BENCH_PROJECTION) {
        json_object_set_new(shape, "rows", integer(c->rows));
        json_object_set_new(shape, "in_features", integer(c->in_features));
        json_object_set_new(shape, "out_features", integer(c->out_features));
        json_object_set_new(shape, "num_outputs", integer(c->num_outputs));
        return shape;
    }
    json_object_set_new(shape, "batch", integer(c->batch));
    json_object_set_new(shape, "num_heads", integer(c->num_heads));
    json_object_set_new(shape, "num_kv_heads", integer(c->num_kv_heads));
    json_object_set_new(shape, "seq_q", integer(c->seq_q));
    json_object_set_new(shape, "seq_kv", integer(c->seq_kv));
    json_object_set_new(shape, "head_dim", integer(c->head_dim));
    json_object_set_new(shape, "value_dim", integer(c->value_dim));
    json_object_set_new(shape, "causal", json_boolean(c->causal));
    json_object_set_new(shape, "weights", json_boolean(c->weights));
    json_object_set_new(shape, "window", integer(c->window));
    json_object_set_new(shape, "softcap", json_real((double)c->softcap));
    json_object_set_new(shape, "received", json_boolean(c->received));
    json_object_set_new(shape, "half", json_boolean(c->half));
    if (c->kind == BENCH_LAYER) {
        json_object_set_new(shape, "embed_dim", integer(c->embed_dim));
    }
    return shape;
}

static json_t *peers_json(const struct bench_result *result)
{
    json_t *peers = json_array();
    for (size_t i = 0; i < result->num_peers; ++i) {
        json_t *peer = json_object();
        json_object_set_new(peer, "name", json_string(result->peers[i].name));
        json_object_set_new(peer, "median_us", json_real(result->peers[i].median_us));
        json_object_set_new(peer, "ratio", json_real(result->peers[i].ratio.median));
        json_array_append_new(peers, peer);
    }
    return peers;
}

bool bench_report_json(FILE *out, const struct bench *bench, const struct bench_result *results, size_t count)
{
    json_t *root = json_object(), *cases = json_array();
    json_object_set_new(root, "schema", json_integer(1));
    json_object_set_new(root, "device", json_string(qkv_context_device(bench->context)->name));
    json_object_set_new(root, "peak_gflops", json_real(bench->peak_gflops));
    json_object_set_new(root, "read_gbps", json_real(bench->read_gbps));
    for (size_t i = 0; i < count; ++i) {
        if (results[i].failed) {
            continue;
        }
        json_t *entry = json_object();
        json_object_set_new(entry, "name", json_string(results[i].spec->name));
        json_object_set_new(entry, "kind", json_string(bench_kind_name(results[i].spec->kind)));
        json_object_set_new(entry, "shape", bench_shape_json(results[i].spec));
        json_object_set_new(entry, "median_us", json_real(results[i].us.median));
        bool rated = bench_case_computes(results[i].spec);
        json_object_set_new(entry, "gflops", rated ? json_real(results[i].gflops) : json_null());
        json_object_set_new(entry, "gbps", rated ? json_real(results[i].gbps) : json_null());
        json_object_set_new(entry, "share", rated ? json_real(bench_share(bench, &results[i])) : json_null());
        json_object_set_new(entry, "peers", peers_json(&results[i]));
        json_array_append_new(cases, entry);
    }
    json_object_set_new(root, "cases", cases);
    bool good = json_dumpf(root, out, JSON_INDENT(1) | JSON_REAL_PRECISION(6)) == 0;
    json_decref(root);
    fputc('\n', out);
    return good && fflush(out) == 0 && !ferror(out);
}
