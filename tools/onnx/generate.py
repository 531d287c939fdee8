#!/usr/bin/env python3
"""Random cases of ONNX's Attention (opset 25) and RotaryEmbedding, as onnx-attention reads them.

    tools/onnx/generate.py DIR [--count N] [--seed S]

Each case draws every attribute at once: layout, grouped heads, lengths, causality, windows, masks of every rank and
dtype (short ones and rows that admit nothing included), past keys and values, padded caches, softcap, scale, storage,
all four qk_matmul_output modes. The outputs are those of ONNX's own reference evaluator, which must know opset 25
(onnx 1.23 or newer, numpy): `make onnx-cases` makes an environment that has it.

Three things are done by the operator's text, where the reference does them otherwise: mode 0 is the product before the
softcap, a mask is broadcast before causality is added (the reference takes a mask of one query for one query), and an excluded key has no part in a row, NaN or not (the reference multiplies its value by 0, or adds -inf to
its score); NaN is put into excluded keys and values after the outputs were computed. A scale of 0 is not drawn: the
reference divides by nothing, but the library's 0 means the default.
"""
import argparse
import pathlib
import random
import shutil

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

DTYPES = {
    "float32": (np.float32, TensorProto.FLOAT),
    "float16": (np.float16, TensorProto.FLOAT16),
    "bfloat16": (ml_dtypes.bfloat16, TensorProto.BFLOAT16),
}
INPUTS = ["Q", "K", "V", "attn_mask", "past_key", "past_value", "nonpad_kv_seqlen"]
OUTPUTS = ["Y", "present_key", "present_value", "qk_matmul_output"]


class Shape:
    """Sizes and attributes of one Attention node."""

    def __init__(self, rng):
        self.rng = rng
        self.packed = rng.random() < 0.4
        self.batch = rng.choice([1, 1, 2, 3])
        self.kv_heads = rng.choice([1, 1, 2, 3])
        self.heads = self.kv_heads * rng.choice([1, 1, 2, 3])
        # Few, since each pair is a program to compile.
        self.head_dim, self.value_dim = rng.choice([(8, 8), (8, 8), (20, 5)])
        self.seq_q = rng.choice([1, 2, 3, 4, 5, 9, 17])
        self.seq_new = rng.choice([1, 2, 4, 6, 7, 16, 33])
        self.cache = rng.choice(["none", "past", "padded"])
        self.past = rng.choice([0, 1, 3, 12]) if self.cache == "past" else 0
        self.total = self.past + self.seq_new
        self.dtype = rng.choice(["float32", "float32", "float16", "bfloat16"])
        self.value_dtype = self.dtype
        self.window = [rng.choice([-1, -1, 0, 1, 2, 5]), rng.choice([-1, -1, 0, 1, 3])]
        self.causal = rng.random() < 0.5
        self.mode = rng.randrange(4)
        self.softcap = rng.choice([None, None, 0.0, 0.5, 2.0, 50.0])
        self.scale = rng.choice([None, None, 0.1, 1.0, 0.5])
        self.outputs = self.draw_outputs()

    def draw_outputs(self):
        wanted = [True, False, False, self.rng.random() < 0.6]
        if self.cache == "past" or (self.cache == "none" and self.rng.random() < 0.2):
            wanted[1] = wanted[2] = True
        return wanted


def draw_mask(shape, generator):
    rng = shape.rng
    kind = rng.choice(["none", "none", "bool", "bool", "float"])
    if kind == "none":
        return None
    full = [shape.batch, shape.heads, shape.seq_q, shape.total]
    rank = rng.choice([2, 2, 3, 4]) if shape.seq_q > 1 else rng.choice([1, 2, 3, 4])
    size = [n if rng.random() < 0.7 else 1 for n in full[:3]] + [full[3]]
    if rng.random() < 0.25:
        size[3] = rng.randint(1, shape.total)
    size = size[4 - rank :]
    admitted = generator.random(size) < 0.7
    if rank > 1 and rng.random() < 0.3:
        admitted[..., rng.randrange(size[-2]), :] = False
    if kind == "bool":
        return admitted
    added = np.where(admitted, generator.standard_normal(size), -np.inf if rng.random() < 0.7 else -3.0)
    return added.astype(DTYPES[shape.dtype][0])


def draw_lengths(shape):
    if shape.cache != "padded":
        return None
    return np.array([shape.rng.randint(0, shape.total) for _ in range(shape.batch)], dtype=np.int64)


def excluded(shape, mask, lengths):
    """(batch, heads, seq_q, total): which keys a query must not see."""
    out = np.zeros((shape.batch, shape.heads, shape.seq_q, shape.total), dtype=bool)
    i, j = np.arange(shape.seq_q)[:, None], np.arange(shape.total)[None, :]
    for b in range(shape.batch):
        position = i + (shape.past if lengths is None else int(lengths[b]) - shape.seq_q)
        if lengths is not None:
            out[b] |= j >= lengths[b]
        if shape.causal:
            out[b] |= j > position
        if shape.window[0] >= 0:
            out[b] |= j < position - shape.window[0]
        if shape.window[1] >= 0:
            out[b] |= j > position + shape.window[1]
    if mask is not None:
        no = ~mask if mask.dtype == bool else np.isneginf(mask.astype(np.float32))
        pad = [(0, 0)] * (mask.ndim - 1) + [(0, shape.total - mask.shape[-1])]
        out |= np.broadcast_to(np.pad(no, pad, constant_values=True), out.shape)
    return out


def draw_inputs(shape, generator):
    dtype = DTYPES[shape.dtype][0]

    def normal(heads, seq, dim):
        x = generator.standard_normal((shape.batch, heads, seq, dim)).astype(dtype)
        return x.transpose(0, 2, 1, 3).reshape(shape.batch, seq, heads * dim) if shape.packed else x

    def past(dim):
        return generator.standard_normal((shape.batch, shape.kv_heads, shape.past, dim)).astype(dtype)

    with_past = shape.cache == "past"
    return [
        normal(shape.heads, shape.seq_q, shape.head_dim),
        normal(shape.kv_heads, shape.seq_new, shape.head_dim),
        normal(shape.kv_heads, shape.seq_new, shape.value_dim),
        draw_mask(shape, generator),
        past(shape.head_dim) if with_past else None,
        past(shape.value_dim) if with_past else None,
        draw_lengths(shape),
    ]


def make_model(shape, inputs, outputs=None):
    """`outputs`: which of the four; the shape's own where it is None."""
    wanted = shape.outputs if outputs is None else outputs
    attributes = {"qk_matmul_output_mode": shape.mode, "is_causal": int(shape.causal)}
    if shape.packed:
        attributes.update(q_num_heads=shape.heads, kv_num_heads=shape.kv_heads)
    for name, value in [("softcap", shape.softcap), ("scale", shape.scale)]:
        if value is not None:
            attributes[name] = value
    for name, value in zip(["left_window_size", "right_window_size"], shape.window):
        if value >= 0 or shape.rng.random() < 0.2:
            attributes[name] = value
    names = [n if x is not None else "" for n, x in zip(INPUTS, inputs)]
    node = helper.make_node("Attention", trim(names), trim([n if w else "" for n, w in zip(OUTPUTS, wanted)]),
                            **attributes)
    return one_node(node, {n: x for n, x in zip(INPUTS, inputs) if x is not None},
                    [(n, DTYPES[shape.dtype][1]) for n, w in zip(OUTPUTS, wanted) if w])


def trim(names):
    while not names[-1]:
        names = names[:-1]
    return names


def one_node(node, inputs, outputs):
    graph = helper.make_graph(
        [node], "case",
        [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape) for n, x in inputs.items()],
        [helper.make_tensor_value_info(n, t, None) for n, t in outputs])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 25)])
    model.ir_version = 10
    return model


def reference(shape, model, inputs):
    feeds = {n: x for n, x in zip(INPUTS, inputs) if x is not None}
    if inputs[3] is not None:
        # It takes a mask's last axes for (seq_q, seq_kv) where it adds causality, so they must be there in full.
        mask = np.atleast_2d(inputs[3])
        feeds["attn_mask"] = np.broadcast_to(mask, mask.shape[:-2] + (shape.seq_q, mask.shape[-1]))
    with np.errstate(all="ignore"):
        return ReferenceEvaluator(model).run(None, feeds)


def raw_scores(shape, inputs):
    """Mode 0 by the text: what the reference gives where there is no softcap."""
    cap, shape.softcap = shape.softcap, None
    out = reference(shape, make_model(shape, inputs, [True, False, False, True]), inputs)[1]
    shape.softcap = cap
    return out


def poison(shape, inputs, results):
    """NaN where no query of the group looks; results whose text has them are computed from the inputs as they were."""
    no = excluded(shape, inputs[3], inputs[6])
    group = shape.heads // shape.kv_heads
    unseen = no.reshape(shape.batch, shape.kv_heads, group, shape.seq_q, shape.total).all(axis=(2, 3))
    if shape.outputs[3] and shape.mode in (0, 1):
        return
    for at, dim in [(1, shape.head_dim), (2, shape.value_dim)]:
        target = inputs[at]
        view = (target.reshape(shape.batch, shape.seq_new, shape.kv_heads, dim).transpose(0, 2, 1, 3)
                if shape.packed else target)
        view[unseen[:, :, shape.past :]] = np.nan
        if shape.outputs[at]:
            present = results[OUTPUTS[at]]
            present[:, :, shape.past :][unseen[:, :, shape.past :]] = np.nan


def attention_case(rng):
    generator = np.random.default_rng(rng.getrandbits(32))
    shape = Shape(rng)
    inputs = draw_inputs(shape, generator)
    model = make_model(shape, inputs)
    names = [o.name for o in model.graph.output]
    results = {n: np.array(r) for n, r in zip(names, reference(shape, model, inputs))}
    if "qk_matmul_output" in results and shape.mode == 0 and shape.softcap:
        results["qk_matmul_output"] = raw_scores(shape, inputs)
    if rng.random() < 0.5:
        poison(shape, inputs, results)
    given = [(n, x) for n, x in zip(INPUTS, inputs) if x is not None]
    return model, given, [(n, results[n].astype(DTYPES[shape.dtype][0])) for n in names]


def rotary_case(rng):
    generator = np.random.default_rng(rng.getrandbits(32))
    dtype = rng.choice(list(DTYPES))
    batch, heads, seq, head_dim = rng.choice([1, 2, 3]), rng.choice([1, 2, 5]), rng.randint(1, 9), rng.choice([2, 8, 16, 20])
    rotary_dim = rng.choice([0, 2 * rng.randint(1, head_dim // 2)])
    half, packed, rows = (rotary_dim or head_dim) // 2, rng.random() < 0.5, rng.randint(1, 50)
    size = (batch, seq, heads * head_dim) if packed else (batch, heads, seq, head_dim)
    inputs = {"X": generator.standard_normal(size)}
    positions = rng.random() < 0.5
    angles = generator.uniform(0, 6.3, (rows, half) if positions else (batch, seq, half))
    inputs["cos_cache"], inputs["sin_cache"] = np.cos(angles), np.sin(angles)
    inputs = {n: x.astype(DTYPES[dtype][0]) for n, x in inputs.items()}
    if positions:
        inputs["position_ids"] = generator.integers(0, rows, (batch, seq))
    attributes = {"interleaved": rng.randrange(2)}
    if rotary_dim:
        attributes["rotary_embedding_dim"] = rotary_dim
    if packed:
        attributes["num_heads"] = heads
    model = one_node(helper.make_node("RotaryEmbedding", list(inputs), ["Y"], **attributes), inputs,
                     [("Y", DTYPES[dtype][1])])
    y = ReferenceEvaluator(model).run(None, inputs)[0]
    return model, list(inputs.items()), [("Y", y.astype(DTYPES[dtype][0]))]


def write(folder, model, inputs, outputs):
    data = folder / "test_data_set_0"
    data.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    for kind, tensors in [("input", inputs), ("output", outputs)]:
        for i, (name, value) in enumerate(tensors):
            tensor = numpy_helper.from_array(np.ascontiguousarray(value), name)
            (data / f"{kind}_{i}.pb").write_bytes(tensor.SerializeToString())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=pathlib.Path)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if onnx.defs.onnx_opset_version() < 25:
        parser.error(f"onnx {onnx.__version__} does not know opset 25")
    shutil.rmtree(options.directory, ignore_errors=True)
    for i in range(options.count):
        rng = random.Random(f"{options.seed} {i}")
        if i % 8 == 7:
            write(options.directory / f"test_rotary_embedding_random_{i:04}", *rotary_case(rng))
        else:
            write(options.directory / f"test_attention_random_{i:04}", *attention_case(rng))
    print(f"{options.count} cases are in {options.directory}")


if __name__ == "__main__":
    main()
