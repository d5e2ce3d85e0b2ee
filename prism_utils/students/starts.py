"""What a student starts from: a pretrained checkpoint, or an earlier student, looked at first.

Whatever is wrong with it is one sentence before training begins. Weights are safetensors, and
float32 in memory in whatever precision they are stored; no code that came with them is run. Left
out: what each kind of student makes of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import AutoTokenizer, PretrainedConfig

from ..checkpoints import check_folder, is_local
from ..errors import InputError
from ..files import read_json
from .folders import in_short, weight_shapes

# Without one of these files transformers makes up an empty tokenizer.
_TOKENIZERS = ("tokenizer.json", "vocab.json", "vocab.txt", "tokenizer.model", "spiece.model")
# A special token that is missing or outside the vocabulary is taken from these, in their order.
_INSTEAD = {
    "bos_token_id": ("bos_token_id", "eos_token_id"),
    "eos_token_id": ("eos_token_id", "bos_token_id"),
    "pad_token_id": ("pad_token_id", "eos_token_id", "bos_token_id"),
    "decoder_start_token_id": ("decoder_start_token_id", "eos_token_id", "bos_token_id"),
}
IDS = ("bos_token_id", "eos_token_id", "pad_token_id")
_OF_LIBRARY = ("model_type", "architectures", "dtype", "torch_dtype", "transformers_version")


@dataclasses.dataclass(frozen=True)
class Start:
    """A checkpoint: its path or hub name, model type, configuration, tokenizer, special tokens."""

    path: str
    kind: str
    config: dict[str, Any]
    tokenizer: Any
    special: dict[str, int]

    @property
    def words(self) -> int:
        """Rows that its table of tokens must have."""
        return _words(self.tokenizer)

    def wrong(self, what: str) -> InputError:
        return _wrong(self.path, what)


def _wrong(path: str, what: str) -> InputError:
    return InputError(f"init_from: {path!r} {what}")


def _words(tokenizer: Any) -> int:
    return max(tokenizer.get_vocab().values(), default=-1) + 1


def look(
    path: str, config_class: Any, other: str, needs: str, special: Collection[str] = IDS
) -> Start:
    """What lies at `path`, a folder or a name on the hub; `InputError` if nothing can start there.

    config_class: of the student, whose own kind will do, and so will `other`, a model type. needs:
    the same for the reader, "Prism needs a BART". special: ids that the configuration must name.
    """
    folder = Path(path)
    try:
        if is_local(path):
            config = read_json(folder / "config.json", needs) or check_folder(folder)
        else:
            config = PretrainedConfig.get_config_dict(path)[0]
    except InputError as error:
        raise InputError(f"init_from: {error}") from None
    except Exception as error:  # the hub's client has many kinds
        raise _wrong(
            path, f"is no folder here, and could not be loaded from the hub: {in_short(error)}"
        ) from error
    kind = config.get("model_type")
    if kind not in (config_class.model_type, other):
        raise _wrong(path, f"is a {kind} model; {needs}" if kind else f"names no model; {needs}")
    if config.get("quantization_config"):
        raise _wrong(path, "is quantised; start from the checkpoint that it was made of")
    if folder.is_dir():
        try:
            check_folder(folder)
            weight_shapes(folder)
        except InputError as error:
            raise InputError(f"init_from: {error}") from None
    if folder.is_dir() and not any((folder / name).is_file() for name in _TOKENIZERS):
        raise _wrong(path, "has no tokenizer: save it there (tokenizer.save_pretrained)")
    own = {name: value for name, value in config.items() if name not in _OF_LIBRARY}
    try:
        config_class.from_dict(own)
    except Exception as error:  # of each library its own
        raise _wrong(path, f"has a config.json that fits no model: {in_short(error)}") from error
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
        size = max(_words(tokenizer), _whole(config.get("vocab_size")))
        read = tokenizer("a b", add_special_tokens=False)["input_ids"]
    except Exception as error:  # tokenizers raises plain Exceptions
        raise _wrong(
            path,
            f"has a tokenizer that cannot be read ({in_short(error)}); save it there once more "
            "(tokenizer.save_pretrained)",
        ) from error
    if not read:
        raise _wrong(path, "has a tokenizer that reads no words: save the right one there")
    if "auto_map" in config or "auto_map" in tokenizer.init_kwargs:
        raise _wrong(path, "brings code of its own, which is never run: take auto_map out of it")
    ids = {}
    for name in special:
        found = _special(name, config, tokenizer, size)
        if found is None:
            raise _wrong(path, f"has no {name} among its {size} tokens: set it in config.json")
        ids[name] = found
    return Start(path, kind, own, tokenizer, ids)


def _whole(value: Any) -> int:
    return value if type(value) is int else 0


def _special(name: str, config: dict[str, Any], tokenizer: Any, size: int) -> int | None:
    """The first id among those said that the vocabulary has; of a list the first."""
    for source in _INSTEAD[name]:
        for said in (config.get(source), getattr(tokenizer, source, None)):
            for value in said if isinstance(said, list) else [said]:
                if type(value) is int and 0 <= value < size:
                    return value
    return None


def load(
    model_class: Any,
    start: Start,
    new: Collection[str],
    trial: Collection[str] = (),
    **options: Any,
) -> Any:
    """A model of this class with the checkpoint's weights, in float32.

    new: modules whose weights may be missing there or of another size. trial: inputs of `forward`
    that take token ids; it is run once with them. options: of the model's configuration, beside
    the checkpoint's own.
    """
    try:
        config = model_class.config_class.from_dict(start.config | start.special | options)
        model, found = model_class.from_pretrained(
            start.path,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except InputError as error:
        raise start.wrong(f"cannot be taken: {error}") from None
    except Exception as error:  # whatever a damaged or strange checkpoint raises
        raise start.wrong(f"could not be loaded: {in_short(error)}") from error
    lacking = [*found["missing_keys"], *(entry[0] for entry in found["mismatched_keys"])]
    lacking += [name for name, weight in model.named_parameters() if weight.is_meta]
    lacking = sorted(name for name in lacking if not set(name.split(".")) & set(new))
    if lacking:
        raise start.wrong(f"has no weights that fit its config.json for {lacking[0]}")
    more = start.words - model.config.vocab_size
    if more > 0 and not model.can_generate():
        raise start.wrong(f"has {more} tokens more in its tokenizer than in its weights")
    if more > 0:
        model.resize_token_embeddings(start.words)
    if model.can_generate():
        _speak(model, start)
    if model.can_generate():  # transformers unties by the weights, whatever config.json says
        table = model.get_input_embeddings().weight
        held = [model.get_output_embeddings()]
        held += [part.embed_tokens for part in model.modules() if hasattr(part, "embed_tokens")]
        if any(each is not None and each.weight is not table for each in held):
            raise start.wrong(
                "holds other weights for its output, or for one side's tokens, than for its table "
                "of tokens; tie them and save it again"
            )
    if trial:
        ids = torch.tensor([start.tokenizer("a b")["input_ids"]])
        try:
            with torch.random.fork_rng(devices=[]), torch.no_grad():
                model.train()(**dict.fromkeys(trial, ids))
        except Exception as error:  # of a dropout above 1, for instance
            raise start.wrong(f"cannot be trained: {in_short(error)}") from error
    return model.eval()


def _speak(model: Any, start: Start) -> None:
    """Let `generate` begin, end and pad as the configuration says, and force no strange token."""
    rules, size = model.generation_config, model.config.vocab_size
    for name in ("forced_bos_token_id", "forced_eos_token_id"):
        forced = getattr(rules, name, None)
        if forced is not None and not (type(forced) is int and 0 <= forced < size):
            setattr(rules, name, None)
    for name, value in start.special.items():
        setattr(rules, name, value)


def tensor(folder: Path, name: str) -> torch.Tensor | None:
    """One weight of a folder, whole or in shards; None if it has none of that name."""
    for path in sorted(folder.glob("model*.safetensors")):
        with safe_open(path, framework="pt") as held:
            if name in held.keys():
                return held.get_tensor(name).float()
    return None
