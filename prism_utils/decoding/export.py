"""A trained student as two ONNX graphs and a few arrays, for `onnx_backend` and nobody else.

The graphs are written node by node with ONNX Runtime's fused operators (attention over a cache
that is updated in place, skip-and-normalise, 8-bit linear layers), since a traced graph keeps
torch's small steps. Left out: embeddings, which the runtime looks up in a mapped file, and every
architecture but BART's.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ..errors import InputError, nearest
from ..students.folders import load_tokenizer
from ..students.inputs import Reader, check_parts, read_parts
from .onnx_backend import CANDIDATES, FILES, PRECISIONS, OnnxBackend
from .shape import Shape, shape_of

_MICROSOFT = "com.microsoft"  # the domain of ONNX Runtime's own operators
_EPSILON = 1e-5  # of torch's LayerNorm
# Where a step's time is that of reading the weights, 8-bit drafts that float32 checks save most of
# it; smaller decoders stay in the processor's caches.
_DRAFTED_BYTES = 64 * 2**20


class _Graph:
    """Nodes and weights so far; a method for each kind of layer returns its output's name."""

    def __init__(self, weights: dict[str, np.ndarray], precision: str) -> None:
        self.weights = weights
        self.precision = precision
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []

    def node(
        self, kind: str, inputs: list[str], outputs: int | list[str] = 1, **options: Any
    ) -> Any:
        number = len(self.nodes)
        names = outputs if isinstance(outputs, list) else [f"{number}.{i}" for i in range(outputs)]
        standard = onnx.defs.has(kind)
        domain = "" if standard else _MICROSOFT
        self.nodes.append(helper.make_node(kind, inputs, names, domain=domain, **options))
        return names[0] if len(names) == 1 else names

    def constant(self, values: Any) -> str:
        name = f"w{len(self.initializers)}"
        array = np.ascontiguousarray(values)
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def linear(self, x: str, *names: str) -> str:
        """x times the named layers' weights side by side, plus their biases."""
        weight = np.concatenate([self.weights[f"{name}.weight"] for name in names])
        bias = np.concatenate([self.weights[f"{name}.bias"] for name in names])
        return self.multiply(x, weight, bias)

    def multiply(self, x: str, weight: np.ndarray, bias: np.ndarray) -> str:
        """weight: (out, in). int8: a scale for each output, inputs quantised as they come."""
        if self.precision != "int8":
            product = self.node("MatMul", [x, self.constant(weight.T)])
            return self.node("Add", [product, self.constant(bias)])
        scale = np.maximum(np.abs(weight).max(axis=1), np.finfo(np.float32).tiny) / 127
        rounded = np.round(weight / scale[:, None]).astype(np.int8)
        zero = np.zeros(len(weight), np.int8)
        layer = [rounded.T, scale.astype(np.float32), zero, bias]
        return self.node("DynamicQuantizeMatMul", [x, *map(self.constant, layer)])

    def screen(self, x: str, weight: np.ndarray, bias: np.ndarray) -> str:
        """Rough scores by 4-bit weights, to name candidates; the runtime scores those exactly."""
        width = weight.shape[1]
        block = next((size for size in (128, 64, 32, 16) if width % size == 0), 0)
        if not block:
            return self.multiply(x, weight, bias)
        parts = weight.reshape(len(weight), width // block, block)
        scale = np.maximum(np.abs(parts).max(axis=2), np.finfo(np.float32).tiny) / 7
        digits = (np.round(parts / scale[..., None]) + 8).astype(np.uint8)
        packed = digits[..., 0::2] | (digits[..., 1::2] << 4)
        product = self.node(
            "MatMulNBits",
            [x, self.constant(packed), self.constant(scale.astype(np.float32))],
            K=width,
            N=len(weight),
            bits=4,
            block_size=block,
            accuracy_level=4,  # inputs in 8 bits too
        )
        return self.node("Add", [product, self.constant(bias)])

    def norm(self, name: str, x: str, residual: str | None = None) -> str:
        """LayerNorm of x, or of the sum of both."""
        parameters = [self.constant(self.weights[f"{name}.{k}"]) for k in ("weight", "bias")]
        if residual is None:
            return self.node("LayerNormalization", [x, *parameters], epsilon=_EPSILON)
        inputs = [residual, x, *parameters]
        return self.node("SkipLayerNormalization", inputs, epsilon=_EPSILON)

    def feed_forward(self, x: str, layer: str) -> str:
        inner = self.node("Gelu", [self.linear(x, f"{layer}.fc1")])
        return self.norm(f"{layer}.final_layer_norm", self.linear(inner, f"{layer}.fc2"), x)

    def model(self, inputs: list[Any], outputs: list[Any]) -> Any:
        graph = helper.make_graph(self.nodes, "prism", inputs, outputs, self.initializers)
        domains = [helper.make_opsetid("", 20), helper.make_opsetid(_MICROSOFT, 1)]
        return helper.make_model(graph, opset_imports=domains, ir_version=10)


def _value(name: str, kind: int, shape: list[Any]) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def _encoder(shape: Shape, weights: dict[str, np.ndarray]) -> Any:
    """embeds (batch, source, d), mask (batch, source) -> keys and values for each decoder layer."""
    graph = _Graph(weights, "float32" if shape.precision == "float32" else "int8")
    x = graph.norm("model.encoder.layernorm_embedding", "embeds")
    for number in range(shape.encoder_layers):
        layer = f"model.encoder.layers.{number}"
        names = [f"{layer}.self_attn.{k}_proj" for k in "qkv"]
        parts = graph.node("Split", [graph.linear(x, *names)], 3, axis=-1, num_outputs=3)
        seen = graph.node("MultiHeadAttention", [*parts, "", "mask"], num_heads=shape.encoder_heads)
        seen = graph.linear(seen, f"{layer}.self_attn.out_proj")
        x = graph.feed_forward(graph.norm(f"{layer}.self_attn_layer_norm", seen, x), layer)
    if shape.precision == "mixed":
        graph.precision = "float32"  # keys and values belong to the decoder
    heads, width = shape.decoder_heads, shape.width // shape.decoder_heads
    by_head = graph.constant(np.array([0, 0, heads, width], np.int64))
    outputs = []
    for number in range(shape.decoder_layers):
        for k in "kv":
            name = f"model.decoder.layers.{number}.encoder_attn.{k}_proj"
            parted = graph.node("Reshape", [graph.linear(x, name), by_head])
            graph.node("Transpose", [parted], [f"cross_{k}{number}"], perm=[0, 2, 1, 3])
            size = ["batch", heads, "source", width]
            outputs.append(_value(f"cross_{k}{number}", TensorProto.FLOAT, size))
    inputs = [
        _value("embeds", TensorProto.FLOAT, ["batch", "source", shape.width]),
        _value("mask", TensorProto.INT32, ["batch", "source"]),
    ]
    return graph.model(inputs, outputs)


def _decoder(shape: Shape, weights: dict[str, np.ndarray], precision: str, exact: bool) -> Any:
    """Some steps: embeds (batch, new, d), caches -> last hidden states, likeliest tokens of each.

    last (batch,): index of the last new token; total (1,): tokens with the new ones. The
    self-attention's keys and values (batch, heads, capacity, width) come in and go out as the same
    memory. exact: score all tokens in full, else only roughly, to name candidates.
    """
    graph = _Graph(weights, precision)
    heads, width = shape.decoder_heads, shape.width // shape.decoder_heads
    inputs = [
        _value("embeds", TensorProto.FLOAT, ["batch", "new", shape.width]),
        _value("mask", TensorProto.INT32, ["batch", "source"]),
        _value("last", TensorProto.INT32, ["batch"]),
        _value("total", TensorProto.INT32, [1]),
    ]
    outputs = []
    x = graph.norm("model.decoder.layernorm_embedding", "embeds")
    for number in range(shape.decoder_layers):
        layer = f"model.decoder.layers.{number}"
        held = ["batch", heads, "capacity", width]
        for k in "kv":
            inputs.append(_value(f"self_{k}{number}", TensorProto.FLOAT, held))
            inputs.append(
                _value(f"cross_{k}{number}", TensorProto.FLOAT, ["batch", heads, "source", width])
            )
            outputs.append(_value(f"new_{k}{number}", TensorProto.FLOAT, held))
        packed = graph.linear(x, *(f"{layer}.self_attn.{k}_proj" for k in "qkv"))
        seen, *_ = graph.node(
            "GroupQueryAttention",
            [packed, "", "", f"self_k{number}", f"self_v{number}", "last", "total"],
            [f"seen{number}", f"new_k{number}", f"new_v{number}"],
            num_heads=heads,
            kv_num_heads=heads,
        )
        seen = graph.linear(seen, f"{layer}.self_attn.out_proj")
        x = graph.norm(f"{layer}.self_attn_layer_norm", seen, x)
        query = graph.linear(x, f"{layer}.encoder_attn.q_proj")
        seen = graph.node(
            "MultiHeadAttention",
            [query, f"cross_k{number}", f"cross_v{number}", "", "mask"],
            num_heads=heads,
        )
        seen = graph.linear(seen, f"{layer}.encoder_attn.out_proj")
        x = graph.norm(f"{layer}.encoder_attn_layer_norm", seen, x)
        x = graph.feed_forward(x, layer)
    graph.node("Identity", [x], ["hidden"])
    head = weights["lm_head.weight"], weights["final_logits_bias"][0]
    scores = graph.multiply(x, *head) if exact else graph.screen(x, *head)
    count = min(CANDIDATES, len(head[0]))
    top = graph.constant(np.array([count], np.int64))
    graph.node("TopK", [scores, top], ["scores", "candidates"], axis=-1)
    outputs += [
        _value("hidden", TensorProto.FLOAT, ["batch", "new", shape.width]),
        _value("candidates", TensorProto.INT64, ["batch", "new", count]),
    ]
    return graph.model(inputs, outputs)


def arrays_and_graphs(
    model: Any, precision: str, draft: bool | None = None
) -> tuple[Shape, dict[str, np.ndarray], dict[str, Any]]:
    """Shape, arrays and graphs (encoder, decoder, perhaps draft) of a Prism or a plain BART.

    draft: whether 8-bit drafts are made of single texts; None: where the decoder is large.
    """
    _check_precision(precision)
    shape = shape_of(model, precision)
    head = shape.width // shape.decoder_heads
    if head % 8:
        raise InputError(
            f"config: decoder heads of width {head}; ONNX Runtime's cached attention needs a "
            "multiple of 8: train with other heads or use backend='torch'"
        )
    weights = {name: w.detach().float().cpu().numpy() for name, w in model.state_dict().items()}
    offset = 2  # of BART's learnt positions
    arrays = {
        "embeddings": weights["model.shared.weight"],
        "encoder_positions": weights["model.encoder.embed_positions.weight"][offset:],
        "decoder_positions": weights["model.decoder.embed_positions.weight"][offset:],
        "output_bias": weights["final_logits_bias"][0],
        "users": np.zeros((1, shape.width), np.float32),
    }
    if shape.placement != "none":
        arrays["users"] = model.user_vectors().detach().float().cpu().numpy()
    inner = "int8" if precision == "int8" else "float32"
    graphs = {
        "encoder": _encoder(shape, weights),
        "decoder": _decoder(shape, weights, inner, exact=precision == "float32"),
    }
    size = sum(w.nbytes for name, w in weights.items() if name.startswith("model.decoder.layers"))
    if precision != "int8" and (size >= _DRAFTED_BYTES if draft is None else draft):
        graphs["draft"] = _decoder(shape, weights, "int8", exact=False)
    return shape, arrays, graphs


def from_model(
    model: Any,
    precision: str = "float32",
    *,
    draft: bool | None = None,
    threads: int | None = None,
    reference: Any = None,
) -> OnnxBackend:
    """A backend in memory; draft as above, `reference` answers what greedy decoding cannot."""
    shape, arrays, graphs = arrays_and_graphs(model, precision, draft)
    written = {name: graph.SerializeToString() for name, graph in graphs.items()}
    return OnnxBackend(shape, arrays, written, threads=threads, reference=reference)


def _check_precision(precision: str) -> None:
    if precision not in PRECISIONS:
        hint = nearest(str(precision), PRECISIONS)
        raise InputError(f"precision {precision!r} is unknown: {hint}")


@contextmanager
def _new_folder(out: Path) -> Iterator[None]:
    """A folder to write into, made before the work begins; empty or gone again if that fails."""
    there = out.exists()
    unfinished = out / "unfinished"  # what a killed export leaves may be written over
    if there and (not out.is_dir() or (any(out.iterdir()) and not unfinished.exists())):
        raise InputError(f"{out}: is not empty; name a new folder, or remove it")
    try:
        out.mkdir(parents=True, exist_ok=True)
        unfinished.touch()
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror}); name another") from error
    try:
        yield
        unfinished.unlink()
    except BaseException as error:
        for path in out.iterdir():
            path.unlink()
        if not there:
            out.rmdir()
        if isinstance(error, OSError):
            raise InputError(
                f"{out}: cannot be written ({error.strerror or error}); make room and try again"
            ) from error
        raise


def export_graphs(model: Any, out: Path | str, precision: str = "int8") -> Path:
    """Write graphs and arrays of a Prism or BART to a new folder; see `export` for a whole student.

    Raises `InputError` if the folder holds something or cannot be written, or for what `shape_of`
    refuses.
    """
    out = Path(out)
    with _new_folder(out):
        _write(model, out, precision)
    return out


def _write(model: Any, out: Path, precision: str) -> None:
    shape, arrays, graphs = arrays_and_graphs(model, precision)
    for name, values in arrays.items():
        # Half the memory, and finer than what 8 bits leave of everything else.
        half = name == "embeddings" and precision != "float32"
        np.save(out / f"{name}.npy", np.ascontiguousarray(values, np.float16 if half else None))
    for name, graph in graphs.items():
        onnx.save(graph, str(out / f"{name}.onnx"))
    # Last: a folder without it is not taken for an export.
    text = json.dumps(dataclasses.asdict(shape), indent=1)
    (out / "export.json").write_text(text + "\n", encoding="utf-8")


def export(student: Path | str, out: Path | str, precision: str = "int8") -> Path:
    """Write the student that `training.finetune` saved as a folder for `Explainer.load`.

    The folder needs numpy, pandas, pyarrow, tokenizers and onnxruntime to be loaded, and neither
    torch nor transformers. Raises `InputError` for whatever `Explainer.load` refuses in `student`,
    if `out` holds something or cannot be written, or if the student's tokenizer would not read
    texts as torch's does.
    """
    student, out = Path(student), Path(out)
    _check_precision(precision)
    settings, users, _ = read_parts(student)
    with _new_folder(out):
        from .torch_backend import TorchBackend

        held = TorchBackend.load(student, "cpu")
        check_parts(student, settings, users, held.config.placement, held.known, held.positions)
        tokenizer = load_tokenizer(student, held.config)
        _check_reader(student / "tokenizer.json", tokenizer, [*users.index[:50]])
        for name in FILES:
            if (student / name).is_file():
                shutil.copy(student / name, out / name)
        _write(held.model, out, precision)
    return out


def _check_reader(path: Path, tokenizer: Any, words: list[str]) -> None:
    """Raise `InputError` unless the file alone reads and writes as transformers' tokenizer does."""
    alone, whole = Reader.load(path), Reader.of(tokenizer)
    last = tokenizer.convert_ids_to_tokens([*range(len(tokenizer))][-500:])
    texts = [f' {word}, and "{word}" . It\'s' for word in words] + [t for t in last if t]
    read, wanted = alone(texts, 8), whole(texts, 8)
    told = alone.batch_decode(read), tokenizer.batch_decode(wanted, skip_special_tokens=True)
    for text, one, other, said, meant in zip(texts, read, wanted, *told, strict=True):
        if one != other or said != meant:
            raise InputError(f"{path}: reads {text!r} otherwise than torch's; save it again")
