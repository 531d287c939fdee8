#!/usr/bin/env python3
"""Attention inside a context that pyopencl made, through ctypes.

    python3 pyopencl_context.py [path of libqkv.so]

The structs below mirror include/qkv/tensor.h and attention.h; struct_size lets the library tell how much of one it was
given. pyopencl may bring an OpenCL loader of its own: objects of one work with the other, since both hand the calls on
to the same drivers.
"""
import ctypes as c
import ctypes.util
import sys

import numpy as np
import pyopencl as cl

qkv = c.CDLL(sys.argv[1] if len(sys.argv) > 1 else ctypes.util.find_library("qkv") or "libqkv.so")
qkv.qkv_status_name.restype = c.c_char_p
qkv.qkv_error_message.restype = c.c_char_p
qkv.qkv_attention_describe.restype = c.c_char_p
qkv.qkv_attention_describe.argtypes = [c.c_void_p]
qkv.qkv_attention_workspace_bytes.restype = c.c_size_t
qkv.qkv_attention_workspace_bytes.argtypes = [c.c_void_p]


class Tensor(c.Structure):
    _fields_ = [
        ("storage", c.c_uint32), ("dtype", c.c_uint32), ("buffer", c.c_uint64), ("offset", c.c_uint64),
        ("rank", c.c_uint32), ("reserved_flags", c.c_uint32), ("shape", c.c_uint64 * 6),
        ("stride", c.c_int64 * 6), ("reserved", c.c_uint64 * 5),
    ]


class AttentionDesc(c.Structure):
    _fields_ = [("struct_size", c.c_size_t)] + [
        (name, c.c_size_t) for name in
        ("head_dim", "value_dim", "num_heads", "num_kv_heads", "max_batch", "max_seq_q", "max_seq_kv")
    ] + [("features", c.c_uint64), ("solver", c.c_char_p)]


class AttentionArgs(c.Structure):
    _fields_ = [("struct_size", c.c_size_t)] + [
        (name, c.POINTER(Tensor)) for name in
        ("q", "k", "v", "out", "mask", "weights", "scores", "logsumexp")
    ] + [("scale", c.c_float), ("causal", c.c_int), ("workspace", c.c_void_p)]


assert c.sizeof(Tensor) == 168  # fixed in qkv/tensor.h


class Error(RuntimeError):
    """A call that failed: the status' name, and the library's message, which names the argument."""


def check(status):
    if status != 0:
        raise Error(qkv.qkv_status_name(status).decode(), qkv.qkv_error_message().decode())


def dense(buffer, shape):
    """A dense row-major F32 tensor over a pyopencl buffer."""
    tensor = Tensor()
    check(qkv.qkv_tensor_dense(c.byref(tensor), c.c_void_p(buffer.int_ptr), 1, c.c_size_t(len(shape)),
                               (c.c_size_t * len(shape))(*shape)))
    return tensor


def mistake(plan, queue, args):
    """What the library says of keys that are one element shorter than the queries."""
    args = AttentionArgs.from_buffer_copy(args)
    wrong = Tensor.from_buffer_copy(args.k.contents)
    wrong.shape[3] -= 1
    args.k = c.pointer(wrong)
    try:
        check(qkv.qkv_attention_run(plan, c.c_void_p(queue.int_ptr), c.byref(args), 0, None, None))
    except Error as error:
        status, message = error.args
        assert status == "QKV_INVALID_SHAPE" and message, (status, message)
        return message
    raise AssertionError("a wrong shape was accepted")


def main():
    device = next(d for p in cl.get_platforms() for d in p.get_devices())
    context = cl.Context([device])
    queue = cl.CommandQueue(context)

    heads, seq, dim = 2, 40, 24
    rng = np.random.default_rng(1)
    q, k, v = (rng.standard_normal((1, heads, seq, dim), dtype=np.float32) for _ in range(3))
    flags = cl.mem_flags.READ_ONLY | cl.mem_flags.COPY_HOST_PTR
    buffers = [cl.Buffer(context, flags, hostbuf=a) for a in (q, k, v)]
    out_buffer = cl.Buffer(context, cl.mem_flags.READ_WRITE, q.nbytes)

    handle, plan, workspace = c.c_void_p(), c.c_void_p(), c.c_void_p()
    check(qkv.qkv_context_wrap(c.byref(handle), c.c_void_p(context.int_ptr), c.c_void_p(device.int_ptr),
                               c.c_void_p(queue.int_ptr), None))
    desc = AttentionDesc(struct_size=c.sizeof(AttentionDesc), head_dim=dim, num_heads=heads, max_batch=1,
                         max_seq_q=seq, max_seq_kv=seq)
    check(qkv.qkv_attention_create(c.byref(plan), handle, c.byref(desc)))
    check(qkv.qkv_workspace_create(c.byref(workspace), handle,
                                   c.c_size_t(qkv.qkv_attention_workspace_bytes(plan))))
    tensors = [dense(b, q.shape) for b in buffers + [out_buffer]]
    args = AttentionArgs(struct_size=c.sizeof(AttentionArgs), q=c.pointer(tensors[0]), k=c.pointer(tensors[1]),
                         v=c.pointer(tensors[2]), out=c.pointer(tensors[3]), workspace=workspace)
    check(qkv.qkv_attention_run(plan, c.c_void_p(queue.int_ptr), c.byref(args), 0, None, None))
    out = np.empty_like(q)  # the copy below waits; the tensors and args above were read during the call only
    cl.enqueue_copy(queue, out, out_buffer)

    scores = (q.astype(np.float64) @ k.transpose(0, 1, 3, 2).astype(np.float64)) / np.sqrt(dim)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    error = np.abs(out - weights @ v).max()
    print(qkv.qkv_attention_describe(plan).decode())
    print(f"a mistake: {mistake(plan, queue, args)}")
    print(f"largest difference from NumPy in double: {error:.2e}")

    qkv.qkv_workspace_destroy(workspace)
    qkv.qkv_attention_destroy(plan)
    qkv.qkv_context_destroy(handle)
    return 0 if error < 1e-5 and np.isfinite(error) else 1


if __name__ == "__main__":
    sys.exit(main())
