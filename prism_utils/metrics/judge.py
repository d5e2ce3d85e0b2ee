"""GPTScore as the paper's Table 3 prints it: a language model is asked for a number from 0 to 100.

It shares its name with a log-likelihood (`likelihood`) and nothing else. Left out on purpose:
averaging over several judges.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import sqlite3
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import requests
from requests.adapters import HTTPAdapter, Retry

from ..errors import InputError, nearest
from .inputs import check_least, check_pairs, golden_texts, long_scores

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
    r"[\s\"'“‘*_`#({\[]*(?:score[\s\"'*_`:=]*)?(\d+(?:\.\d+)?)\s*(/\s*100|out of 100|%)?"
    r"[\s\"'”’*_`)}\].!]*",
    re.I,
)
_DAY = 86_400


class Judge:
    """GPTScore as Table 3 prints it: a language model is asked for a number from 0 to 100.

    XRec's protocol (Ma et al. 2024): how well a text conveys the reference. Asked through any
    OpenAI-compatible endpoint, at temperature 0; the model and the prompt's version are part of
    the result, so a caption names `name`.

    Parameters
    ----------
    endpoint : address up to /v1; "/chat/completions" is added. It holds no name, password or key.
    model : the model's name there.
    cache : a file (SQLite) of answers, by endpoint, model, prompt and seed: what stands there is
        not asked again, so a second run is free and needs no network. Holds no key.
    prompt_version : a key of `JUDGE_PROMPTS`.
    seed : sent along, or None; a server that refuses the field is asked without.
    retries : how often a request is repeated after 429, 5xx or a broken connection, and a question
        after an answer that is no number. An answer that stays none scores nan.
    timeout : seconds for a request, at most a day. workers : questions at a time.
    api_key_env : name of the environment variable that holds the key; None sends none. The key is
        in no message and in no answer that is kept, whatever the server sends back.

    Raises `InputError` for parameters that make no sense, a key that is not set, an endpoint that
    cannot be reached, says no or speaks otherwise, and a cache that is none or cannot be written.
    Answers received until then are kept, so the same call continues.
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
                f"{nearest(str(prompt_version), JUDGE_PROMPTS)}"
            )
        for name, value, kinds in (("model", model, str), ("cache", cache, (str, Path))):
            if not isinstance(value, kinds) or not str(value).strip():
                raise InputError(f"{name} must be a name, found {value!r}")
        check_least(1, workers=workers)
        check_least(0, retries=retries, **({} if seed is None else {"seed": seed}))
        if not isinstance(timeout, int | float) or not 0 < timeout <= _DAY:
            raise InputError(f"timeout must be seconds, above 0 up to {_DAY}, found {timeout!r}")
        self._url = _address(endpoint) + "/chat/completions"
        self._model, self._seed, self._prompt = model, seed, JUDGE_PROMPTS[prompt_version]
        self._retries, self._timeout, self._workers = retries, timeout, workers
        self._cache = Path(cache)
        self._secret = "" if api_key_env is None else _secret(api_key_env)
        self._headers = {"Authorization": f"Bearer {self._secret}"} if self._secret else {}
        self._takes_seed = seed is not None
        self.name = f"judgement (0 to 100) by {model}, prompt version {prompt_version}"

    def score_pairs(self, references: Sequence[str], candidates: Sequence[str]) -> np.ndarray:
        """The judgement of each candidate: float array (pairs,), 0 … 100, nan for no number.

        An empty candidate scores 0, unasked. Equal pairs are asked once. What the model said
        instead of a number stays in the cache too and is not asked again.
        """
        check_pairs(references, candidates)
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
        with self._open_cache() as cache:
            answers = {}
            for question in questions:
                row = cache.execute(
                    "SELECT answer FROM answers WHERE key = ?", [self._key(question)]
                ).fetchone()
                if row and isinstance(row[0], str):
                    answers[question] = row[0]
            asked = [question for question in questions if question not in answers]
            if not asked:
                return answers
            with (
                requests.Session() as session,
                ThreadPoolExecutor(min(self._workers, len(asked))) as pool,
            ):
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

    @contextlib.contextmanager
    def _open_cache(self) -> Iterator[sqlite3.Connection]:
        try:
            self._cache.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.closing(sqlite3.connect(self._cache)) as cache:
                with cache:
                    cache.execute(
                        "CREATE TABLE IF NOT EXISTS answers "
                        "(key TEXT PRIMARY KEY, model TEXT, question TEXT, answer TEXT)"
                    )
                yield cache
        except (OSError, sqlite3.Error) as error:
            raise InputError(
                f"{self._cache}: not a cache of answers, or it cannot be written ({error}); name "
                "another file"
            ) from error

    def _ask(self, session: requests.Session, question: str) -> str:
        """What the model says; asked again, with another seed, while that is no number."""
        for attempt in range(self._retries + 1):
            answer = self._post(session, question, attempt)
            if answer is not None and not np.isnan(_number(answer)):
                break
        if answer is None:
            raise InputError(
                f"endpoint {self._url} answers, but not as an OpenAI-compatible one does (JSON "
                "with choices, a message and its content): check the address"
            )
        return answer

    def _hidden(self, said: str) -> str:
        """What a server said, without the key: some send back what they were sent."""
        return said.replace(self._secret, "***") if self._secret else said

    def _post(self, session: requests.Session, question: str, attempt: int) -> str | None:
        """The content of the reply; None where it holds none."""
        body: dict[str, Any] = {
            "model": self._model,
            "messages": [{"role": "user", "content": question}],
            "temperature": 0,
        }
        if self._takes_seed and self._seed is not None:
            body["seed"] = self._seed + attempt
        try:
            reply = session.post(self._url, json=body, headers=self._headers, timeout=self._timeout)
        except (OSError, ValueError) as error:  # requests' own, and what they let through
            raise InputError(
                f"endpoint {self._url} gave no answer ({type(error).__name__}): see that the "
                "server runs, then call again; answers so far are in the cache"
            ) from None  # its words can hold what was sent
        if reply.status_code in (400, 422) and "seed" in body and "seed" in reply.text:
            self._takes_seed = False
            return self._post(session, question, attempt)
        if not reply.ok:
            said = " ".join(self._hidden(reply.text).split())[:200]
            raise InputError(
                f"endpoint {self._url} answered {reply.status_code} for model {self._model!r}: "
                f"{said or 'nothing'}"
            )
        try:
            content = reply.json()["choices"][0]["message"]["content"]
        except (ValueError, LookupError, TypeError, RecursionError):
            return None
        return "" if content is None else self._hidden(str(content))

    def score(self, explanations: pd.DataFrame, references: pd.DataFrame) -> pd.DataFrame:
        """Scores "gptscore_judge", 0 … 100; references as in `overlap.rouge`."""
        golden = golden_texts(explanations, references)
        values = self.score_pairs(golden, explanations["text"].tolist())
        return long_scores(explanations, pd.DataFrame({"gptscore_judge": values}))


def _address(endpoint: str) -> str:
    """An endpoint that can be shown: a server and a path, and nothing secret."""
    try:
        parts = urlsplit(endpoint.strip())
        right = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except (ValueError, AttributeError):  # a port that is no number; no text
        right = False
    if not right:
        shown = re.sub(r"^.*@|[?#].*", "***", str(endpoint), flags=re.S)
        raise InputError(
            f"endpoint must begin with http:// or https:// and name a server, found {shown!r}"
        )
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise InputError(
            "endpoint must hold no name, password or query, only a server and a path: put the key "
            "into an environment variable and give its name as api_key_env"
        )
    return endpoint.strip().rstrip("/").removesuffix("/chat/completions")


def _secret(variable: str) -> str:
    """The key that an environment variable holds."""
    key = os.environ.get(variable, "").strip()
    if not key:
        raise InputError(f"environment variable {variable} is not set; it holds the key")
    if not re.fullmatch("[!-~]+", key):
        raise InputError(
            f"environment variable {variable} holds no key: a key has no blanks and no letters "
            "beyond ASCII"
        )
    return key


def _number(answer: str) -> float:
    """The judgement in an answer that is nothing but a number from 0 to 100, else nan.

    So is 0.85: whoever says that has taken the question for one about a share.

    >>> [_number(text) for text in ("85", "Score: 85/100.", "8 out of 10", "about 85", "0.85")]
    [85.0, 85.0, nan, nan, nan]
    """
    match = _ANSWER.fullmatch(re.sub(r".*</think>", "", answer, flags=re.S))
    value = float(match[1]) if match else float("nan")
    share = match is not None and "." in match[1] and value <= 1 and not match[2]
    return float("nan") if share or value > 100 else value
