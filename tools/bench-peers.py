#!/usr/bin/env python3
"""PyTorch and onnxruntime beside qkv-bench: same shapes, inputs and threads, in alternation, in the same JSON.

Ours runs in `qkv-bench --serve`, the peers in this process; they take turns of some untimed runs and some timed ones.
Before every turn the one who ran last must be asleep: libraries' threads spin for some milliseconds after a call,
which would take cores from the other, so this program waits until it uses no processor time itself (qkv-bench's OpenCL
threads sleep between commands). Nobody's thread settings are changed but for the number.

Without --python the peers are installed by name into a virtual environment under build/: a large download.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PACKAGES = ["torch", "onnxruntime", "onnx", "numpy"]
WARM, TIMED, LONG = 4e-3, 2e-3, 20e-3  # seconds; as tools/support/stats.h has them
MIN_ROUNDS = 3
UNIT = 2.0 ** -24  # rounding error of one fp32 operation


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", help="a Python that has " + ", ".join(PACKAGES) + "; nothing is installed then")
    parser.add_argument("--bench", default=os.path.join(ROOT, "build", "qkv-bench"), help="the benchmark program")
    parser.add_argument("-a", "--all", action="store_true", help="every case of the table")
    parser.add_argument("-f", "--filter", action="append", default=[], help="cases whose name contains this")
    parser.add_argument("-d", "--device", help="as qkv-bench takes it")
    parser.add_argument("-s", "--seconds", type=float, default=3.0, help="time spent on a case (default 3)")
    parser.add_argument("-j", "--json", default=os.path.join(ROOT, "build", "bench.json"),
                        help="the figures (default build/bench.json); - is standard output and leaves the table out")
    parser.add_argument("-m", "--merge", help="qkv-bench's own JSON: its peers are added to the cases of the same name")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def enter_environment(arguments):
    """Runs this script again in a Python that has the peers."""
    python = arguments.python
    if not python:
        where = os.path.join(ROOT, "build", "bench-venv")
        python = os.path.join(where, "bin", "python")
        probe = [python, "-c", "import " + ", ".join(PACKAGES)]
        if not os.path.exists(python) or subprocess.run(probe, stderr=subprocess.DEVNULL, check=False).returncode:
            print(f"Installing {', '.join(PACKAGES)} into {os.path.relpath(where)}: a download of up to some "
                  "gigabytes. (--python names an interpreter that has them.)", file=sys.stderr)
            subprocess.run([sys.executable, "-m", "venv", where], check=True)
            subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    return subprocess.run([python, os.path.abspath(__file__), "--inside", *sys.argv[1:]], check=False).returncode


class Bench:
    """qkv-bench --serve at the other end of two pipes."""

    def __init__(self, arguments):
        command = [arguments.bench, "--serve"] + (["-d", arguments.device] if arguments.device else [])
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(self.process.wait() or 1)
        self.hello = json.loads(line)

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline() or '{"error": "qkv-bench ended"}')
        if "error" in answer:
            raise RuntimeError(f"{command}: {answer['error']}")
        return answer

    def output(self, name):
        import numpy as np
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "output")
            self.ask(f"dump {name} {path}")
            return np.fromfile(path, dtype="<f4")

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def mix(x):
    import numpy as np
    x = x ^ (x >> np.uint32(16))
    x = x * np.uint32(0x7FEB352D)
    x = x ^ (x >> np.uint32(15))
    x = x * np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))


X, W, B, WO, BO, Q, K, V = range(1, 9)


def values(seed, shape, scale=1.0):
    """The benchmark's input of that seed: tools/bench/inputs.c, bit by bit."""
    import numpy as np
    count = int(np.prod(shape))
    bits = mix(np.arange(count, dtype=np.uint32) ^ mix(np.array([seed], dtype=np.uint32)))
    result = (bits >> np.uint32(8)).astype(np.float32) * np.float32(2.0 ** -23) - np.float32(1)
    return (result * np.float32(scale)).reshape(shape)


def weights(seed, shape, in_features):
    import numpy as np
    return values(seed, shape, np.float32(in_features ** -0.5))


def session(nodes, inputs, outputs, initializers, threads):
    """An onnxruntime session of one small graph."""
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper
    graph = helper.make_graph(
        nodes, "case",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs],
        [numpy_helper.from_array(a, n) for n, a in initializers])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17),
                                                    helper.make_opsetid("com.microsoft", 1)])
    model.ir_version = min(model.ir_version, 9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def projection_peers(shape, threads):
    import numpy as np
    import torch
    from onnx import helper
    n, k, m = shape["rows"], shape["in_features"], shape["out_features"]
    x, w = values(X, (n, k)), weights(W, (m, k), k)
    tx, tw = torch.from_numpy(x), torch.from_numpy(w)
    ort = session([helper.make_node("MatMul", ["x", "w"], ["y"])], [("x", (n, k))], ["y"],
                  [("w", np.ascontiguousarray(w.T))], threads)
    bound = 2 * (k + 2) * UNIT * k * k ** -0.5
    return bound, {"pytorch": lambda: torch.nn.functional.linear(tx, tw),
                   "onnxruntime": lambda: ort.run(None, {"x": x})[0]}


def attention_bound(shape, magnitude):
    d = shape["head_dim"]
    score = (d + 3) * UNIT * magnitude * d ** -0.5
    return 2 * 2 * (score + 8 * UNIT + (shape["seq_kv"] + 2) * UNIT)


def attention_peers(shape, threads):
    import numpy as np
    import torch
    from onnx import helper
    b, h, g, d = shape["batch"], shape["num_heads"], shape["num_kv_heads"], shape["head_dim"]
    s, t, causal = shape["seq_q"], shape["seq_kv"], shape["causal"]
    q, k, v = values(Q, (b, h, s, d)), values(K, (b, g, t, d)), values(V, (b, g, t, d))
    tq, tk, tv = map(torch.from_numpy, (q, k, v))
    sdpa = torch.nn.functional.scaled_dot_product_attention
    peers = {}
    if any(shape[variant] for variant in ("window", "softcap", "received", "half")):
        return 0, peers  # other programs' own kernels for these are not measured
    if shape["weights"]:
        def with_weights():
            p = torch.softmax(torch.matmul(tq, tk.transpose(-1, -2)) * d ** -0.5, -1)
            return torch.matmul(p, tv), p
        peers["pytorch"] = lambda: with_weights()[0]
        return attention_bound(shape, d), peers
    peers["pytorch"] = lambda: sdpa(tq, tk, tv, is_causal=causal, enable_gqa=g != h)
    if g == h:
        node = helper.make_node("MultiHeadAttention", ["q", "k", "v"], ["y"], domain="com.microsoft", num_heads=h,
                                unidirectional=int(causal))
        packed = {n: np.ascontiguousarray(a.transpose(0, 2, 1, 3)).reshape(b, -1, a.shape[1] * d)
                  for n, a in (("q", q), ("k", k), ("v", v))}
        ort = session([node], [(n, a.shape) for n, a in packed.items()], ["y"], [], threads)

        def run():
            return ort.run(None, packed)[0]
        run.layout = lambda y: y.reshape(b, s, h, d).transpose(0, 2, 1, 3)
        peers["onnxruntime"] = run
    return attention_bound(shape, d), peers


def layer_bound(shape, x, w, wo):
    """First-order error of both sides together, roundings taken as independent (Higham and Mary 2019, lambda = 4):
    errors of n terms grow with sqrt(n), and add up as squares over the features they are spread over."""
    import numpy as np
    e, d, t = shape["embed_dim"], shape["head_dim"], shape["seq_kv"]
    norm = np.linalg.norm(x, axis=-1).max() * np.linalg.norm(w, axis=-1).max()
    part = 4 * UNIT * e ** 0.5 * norm
    qkv = np.abs(x.reshape(-1, e)[:64] @ w.T).max()
    relative = 2 * (2 * qkv * part + 8 * UNIT + 4 * t ** 0.5 * UNIT)
    heads = qkv * relative + part
    row = np.linalg.norm(wo, axis=-1).max()
    return 2 * (4 * heads * row + 4 * UNIT * e ** 0.5 * row * qkv * e ** 0.5)


def layer_peers(shape, threads):
    import numpy as np
    import torch
    from onnx import helper
    b, s, e, h = shape["batch"], shape["seq_q"], shape["embed_dim"], shape["num_heads"]
    x, w, bias = values(X, (b, s, e)), weights(W, (3 * e, e), e), weights(B, (3 * e,), e)
    wo, bo = weights(WO, (e, e), e), weights(BO, (e,), e)
    mha = torch.nn.MultiheadAttention(e, h, batch_first=True).eval()
    with torch.no_grad():
        for target, source in ((mha.in_proj_weight, w), (mha.in_proj_bias, bias), (mha.out_proj.weight, wo),
                               (mha.out_proj.bias, bo)):
            target.copy_(torch.from_numpy(source))
    tx, tw, tb, two, tbo = map(torch.from_numpy, (x, w, bias, wo, bo))
    linear, sdpa = torch.nn.functional.linear, torch.nn.functional.scaled_dot_product_attention

    def by_hand():
        q, k, v = linear(tx, tw, tb).view(b, s, 3, h, e // h).permute(2, 0, 3, 1, 4)
        return linear(sdpa(q, k, v).transpose(1, 2).reshape(b, s, e), two, tbo)
    nodes = [helper.make_node("Attention", ["x", "w", "b"], ["a"], domain="com.microsoft", num_heads=h),
             helper.make_node("MatMul", ["a", "wo"], ["o"]), helper.make_node("Add", ["o", "bo"], ["y"])]
    ort = session(nodes, [("x", (b, s, e))], ["y"],
                  [("w", np.ascontiguousarray(w.T)), ("b", bias), ("wo", np.ascontiguousarray(wo.T)), ("bo", bo)],
                  threads)
    return layer_bound(shape, x, w, wo), {"pytorch": by_hand,
                                          "pytorch-mha": lambda: mha(tx, tx, tx, need_weights=False)[0],
                                          "onnxruntime": lambda: ort.run(None, {"x": x})[0]}


def wait_idle():
    """Until this process used no processor time for 10 ms on end, half a second at most. Threads that spin yield now
    and then: one quiet moment says nothing."""
    quiet, give_up = 0, time.perf_counter() + 0.5
    while quiet < 5 and time.perf_counter() < give_up:
        begin, used = time.perf_counter(), time.process_time()
        time.sleep(0.002)
        quiet = quiet + 1 if time.process_time() - used < 0.1 * (time.perf_counter() - begin) else 0


def turn(run):
    """Microseconds of one run: see tool_turn() in tools/support/stats.h."""
    times, begin, timed = [], time.perf_counter(), None
    while timed is None or time.perf_counter() < timed + TIMED:
        start = time.perf_counter()
        run()
        end = time.perf_counter()
        is_long = end - start >= LONG
        if timed is not None or is_long:
            times.append(end - start)
        if is_long:
            break
        if timed is None and end - begin >= WARM:
            timed = end
    return sorted(times)[len(times) // 2] * 1e6


def quartiles(series):
    import numpy as np
    q1, median, q3 = np.percentile(series, [25, 50, 75])
    return {"median": float(median), "q3": float(q3), "spread": float((q3 - q1) / 2 / median)}


def check(bench, name, peers, bound):
    import numpy as np
    ours, notes = bench.output(name), []
    for peer, run in peers.items():
        theirs = run()
        theirs = np.asarray(theirs.numpy() if hasattr(theirs, "numpy") else theirs)
        theirs = getattr(run, "layout", lambda y: y)(theirs)
        worst = float(np.abs(theirs.reshape(-1) - ours).max()) if theirs.size == ours.size else float("inf")
        if not worst <= bound:
            notes.append(f"differs from {peer} by {worst:.3g}, the bound is {bound:.3g}")
    return notes


def measure(bench, name, seconds, threads, peak):
    described = bench.ask("describe " + name)
    kinds = {"projection": projection_peers, "layer": layer_peers, "rotary": lambda shape, threads: (0, {})}
    bound, peers = kinds.get(described["kind"], attention_peers)(described["shape"], threads)
    for run in peers.values():
        for _ in range(2):
            run()
    notes = check(bench, name, peers, bound)
    wait_idle()
    ours, reads, peaks = [], [], []
    theirs = {peer: ([], []) for peer in peers}
    spent = dict.fromkeys(peers, 0.0)
    begin = time.perf_counter()
    while len(ours) < MIN_ROUNDS or time.perf_counter() - begin < seconds:
        us = bench.ask(name)["us"]
        ours.append(us)
        for peer, run in peers.items():
            times, ratios = theirs[peer]
            if len(times) >= MIN_ROUNDS and spent[peer] > seconds / (len(peers) + 1):
                continue  # a slow peer does not eat the others' time
            start = time.perf_counter()
            times.append(turn(run))
            spent[peer] += time.perf_counter() - start
            ratios.append(times[-1] / us)
            wait_idle()
        if len(ours) <= MIN_ROUNDS or len(ours) % 4 == 0:
            peaks.append(bench.ask("peak")["gflops"])
            if described["reads"]:
                reads.append(described["bytes"] / us * 1e-3 / bench.ask(f"read {described['bytes']}")["gbps"])
    time_us = quartiles(ours)
    peak["gflops"] = max(peak["gflops"], quartiles(peaks)["median"])
    gflops, gbps = (described[key] / time_us["median"] * 1e-3 for key in ("flops", "bytes"))
    return {"name": name, "kind": described["kind"], "shape": described["shape"], "median_us": time_us["median"],
            "gflops": gflops, "gbps": gbps, "share": None,
            "peers": [{"name": peer, "median_us": quartiles(times)["median"], "ratio": quartiles(ratios)["median"]}
                      for peer, (times, ratios) in theirs.items()],
            # The table's; not part of the JSON.
            "_read_share": quartiles(reads)["median"] if reads else None, "_spread": time_us["spread"], "_notes": notes,
            "_spreads": {peer: quartiles(ratios)["spread"] for peer, (_, ratios) in theirs.items()}}


COLUMNS = ["pytorch", "pytorch-mha", "onnxruntime"]


def share(case, peak):
    return case["_read_share"] or case["gflops"] / peak["gflops"]


def print_row(case, peak):
    rate = f"{case['gbps']:6.1f} GB" if case["_read_share"] else f"{case['gflops']:6.1f} GF"
    cells = {p["name"]: f"{p['ratio']:.2f}{100 * case['_spreads'][p['name']]:3.0f}%" for p in case["peers"]}
    print(f"{case['name']:37} {case['median_us']:11.1f} {100 * case['_spread']:4.0f}% {rate} "
          f"{100 * share(case, peak):5.1f}%" + "".join(f" {cells.get(c, ''):>11}" for c in COLUMNS), flush=True)
    for note in case["_notes"]:
        print("  note:", note, flush=True)


def merge(cases, path):
    with open(path, encoding="utf-8") as file:
        others = {c["name"]: c["peers"] for c in json.load(file)["cases"]}
    for case in cases:
        names = {p["name"] for p in case["peers"]}
        case["peers"] += [p for p in others.get(case["name"], []) if p["name"] not in names]


def chosen_names(arguments):
    command = [arguments.bench, "--list"]
    for text in arguments.filter:
        command += ["--filter", text]
    listing = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.split("\n")
    rows = [line.split() for line in listing if line]
    rows = [row for row in rows if row[1] != "start"]  # nothing to alternate with
    return [row[0] for row in rows if arguments.all or arguments.filter or row[2] == "default"]


def main(arguments):
    names = chosen_names(arguments)
    bench = Bench(arguments)
    threads = bench.hello["compute_units"]
    import torch
    import onnxruntime
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    peak = {"gflops": sorted(bench.ask("peak")["gflops"] for _ in range(40))[20]}
    read_gbps = max(bench.ask("read 0")["gbps"] for _ in range(8))
    table, cases, status = arguments.json != "-", [], 0
    if table:
        print(f"device      {bench.hello['device']}, {threads} threads\n"
              f"peers       PyTorch {torch.__version__}, onnxruntime {onnxruntime.__version__}\n"
              f"peak        {peak['gflops']:.0f} GFLOP/s, reading {read_gbps:.1f} GB/s\n\n"
              f"{'case':37} {'median us':>11} {'+-':>5} {'rate':>9} {'share':>6}" +
              "".join(f" {c:>11}" for c in COLUMNS), flush=True)
    for name in names:
        try:
            cases.append(measure(bench, name, arguments.seconds, threads, peak))
        except RuntimeError as error:
            print(f"{name:37} failed: {error}", file=sys.stdout if table else sys.stderr, flush=True)
            status = 1
            continue
        status = 1 if cases[-1]["_notes"] else status
        if table:
            print_row(cases[-1], peak)
    bench.close()
    for case in cases:
        case["share"] = share(case, peak)
        for key in [k for k in case if k.startswith("_")]:
            del case[key]
    if arguments.merge:
        merge(cases, arguments.merge)
    result = {"schema": 1, "device": bench.hello["device"], "peak_gflops": peak["gflops"], "read_gbps": read_gbps,
              "cases": cases}
    with (open(arguments.json, "w", encoding="utf-8") if table else os.fdopen(os.dup(1), "w")) as file:
        json.dump(result, file, indent=1)
        file.write("\n")
    return status


if __name__ == "__main__":
    ARGUMENTS = parse_arguments()
    sys.exit(main(ARGUMENTS) if ARGUMENTS.inside else enter_environment(ARGUMENTS))
