#!/usr/bin/env python3
"""Share of the peak by size, ours and each peer's, from the JSON of qkv-bench or bench-peers.py."""
import argparse
import json
import os

import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
COLOURS = {"libqkv": "#b2182b", "openblas": "#2166ac", "onednn": "#4393c3", "clblast": "#999999", "pytorch": "#d6811f",
           "pytorch-mha": "#e6b35c", "onnxruntime": "#4d9221"}


def panels(cases):
    """(title, cases) of each panel: what can stand on one axis."""
    groups = {}
    for case in cases:
        shape = case["shape"]
        if case["kind"] == "projection":
            title = f"projection, {shape['in_features']} to {shape['out_features']}"
            label, order = f"{shape['rows']}", (shape["rows"],)
        elif case["kind"] == "layer":
            title = "multi-head attention layer"
            label = case["name"].removeprefix("layer-").replace("-", "\n")
            order = (shape["embed_dim"], shape["batch"] * shape["seq_q"])
        elif case["kind"] == "decode":
            title = "one query, share of read bandwidth"
            label = f"{shape['num_heads']}x{shape['head_dim']}\nkv {shape['num_kv_heads']}\n{shape['seq_kv']}"
            order = (shape["num_kv_heads"], shape["seq_kv"])
        else:
            title = "attention" + (", causal" if shape["causal"] else "") + (
                ", weights returned" if shape["weights"] else "")
            label = f"{shape['num_heads']}x{shape['seq_q']}\nx{shape['head_dim']}"
            order = (shape["seq_q"], shape["head_dim"])
        groups.setdefault(title, []).append((order, label, case))
    return [(title, sorted(entries, key=lambda e: e[0])) for title, entries in sorted(groups.items(), key=lambda g: (
        -len(g[1]), g[0]))]


def draw(axes, title, entries):
    shares = {}
    for position, (_, _, case) in enumerate(entries):
        shares.setdefault("libqkv", []).append((position, case["share"]))
        for peer in case["peers"]:
            # The paired ratio says more than the quotient of two medians.
            shares.setdefault(peer["name"], []).append((position, case["share"] / peer["ratio"]))
    for name in [n for n in COLOURS if n in shares] + [n for n in shares if n not in COLOURS]:
        positions, heights = zip(*shares[name])
        axes.plot(positions, [100 * h for h in heights], marker="o", markersize=5 if name == "libqkv" else 4,
                  linewidth=2.5 if name == "libqkv" else 1.2, color=COLOURS.get(name), label=name,
                  zorder=3 if name == "libqkv" else 2)
    axes.set_title(title, fontsize=10)
    axes.set_xticks(range(len(entries)), [label for _, label, _ in entries], fontsize=7)
    axes.set_xlim(-0.4, len(entries) - 0.6)
    axes.set_ylim(0, 105)
    axes.grid(axis="y", linewidth=0.4)
    axes.set_ylabel("% of peak", fontsize=8)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("json", nargs="?", default=os.path.join(ROOT, "build", "bench.json"))
    parser.add_argument("-o", "--output", default=os.path.join(ROOT, "build", "bench.png"))
    arguments = parser.parse_args()
    with open(arguments.json, encoding="utf-8") as file:
        result = json.load(file)
    groups = panels([c for c in result["cases"] if c["share"] is not None])
    if not groups:
        raise SystemExit(f"{arguments.json}: no cases")
    columns = 1 if len(groups) == 1 else 2
    rows = (len(groups) + columns - 1) // columns
    figure, all_axes = plt.subplots(rows, columns, figsize=(6.2 * columns, 3.3 * rows + 0.8), squeeze=False)
    handles = {}
    for axes, group in zip(all_axes.flat, groups):
        draw(axes, *group)
        handles.update(dict(zip(*reversed(axes.get_legend_handles_labels()))))
    for axes in list(all_axes.flat)[len(groups):]:
        axes.set_visible(False)
    figure.suptitle(f"{result['device']}: peak {result['peak_gflops']:.0f} GFLOP/s, "
                    f"reading {result['read_gbps']:.0f} GB/s", fontsize=11)
    figure.legend(handles.values(), handles.keys(), loc="lower center", ncols=len(handles), fontsize=9, frameon=False)
    figure.tight_layout(rect=(0, 0.5 / figure.get_figheight(), 1, 0.98))
    figure.savefig(arguments.output, dpi=130)
    print(arguments.output)


if __name__ == "__main__":
    main()
