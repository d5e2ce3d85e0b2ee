"""Judges of the printed text against itself, and of what nothing here decides."""

from __future__ import annotations

import importlib.util
import math
import re
from pathlib import Path

import pandas as pd

from ..prompts import TEMPLATES
from . import paper
from .evidence import PRINT, Evidence, Finding
from .register import claim
from .verdicts import (
    CONTRADICTED,
    INCONSISTENT,
    REPRODUCED,
    untestable,
)


@claim("genrec_cited")
def _genrec_cited(evidence: Evidence) -> Finding:
    from transformers import BartConfig, LlamaConfig

    # Ji et al. (2024), the cited GenRec, tunes LLaMA; Cao and Lio (2024), another GenRec, BART.
    cited, described = LlamaConfig().is_encoder_decoder, BartConfig().is_encoder_decoder
    return Finding(
        REPRODUCED if cited == described else INCONSISTENT,
        "The cited GenRec (Ji et al. 2024) tunes LLaMA-7B with LoRA: no encoder for equation 5 to "
        "enter, and no table of users. A BART with users is another GenRec (Cao and Lio 2024).",
        "a decoder alone" if not cited else "an encoder-decoder",
        "LLaMA's and BART's configurations",
    )


@claim("genrec_adopted")
def _genrec_adopted(evidence: Evidence) -> Finding:
    factor = 768**-0.5
    return Finding(
        CONTRADICTED,
        "By their equations: GenRec (Cao and Lio 2024) adds (user + item) / sqrt(d) at the pieces "
        "of the user's own token only; equation 5 adds the whole vector at every token.",
        f"factor {factor:.3f} at one token against 1 at all",
        "the two papers' equations, d = 768",
    )


@claim("gptscore_scale")
def _gptscore_scale(evidence: Evidence) -> Finding:
    printed = [
        row["GPTScore"].value for models in paper.TABLE_3.values() for row in models.values()
    ]
    highest = math.log(1.0)  # of a mean log-probability
    return Finding(
        INCONSISTENT if min(printed) > highest else REPRODUCED,
        "A mean log-likelihood is never above zero. The printed values look like marks out of 100, "
        "as a language model gives when asked.",
        f"at most {highest:.0f}",
        "equation 9",
        f"{min(printed)} to {max(printed)}",
    )


@claim("bertscore_scale")
def _bertscore_scale(evidence: Evidence) -> Finding:
    printed = [row["BS-F1"].value for models in paper.TABLE_3.values() for row in models.values()]
    published = f"{min(printed):.2f} to {max(printed):.2f}"
    found = importlib.util.find_spec("bert_score")
    if found is None or found.origin is None:
        return Finding(untestable("bert-score is not installed"), "", "", "", published)
    table = Path(found.origin).parent / "rescale_baseline" / "en" / "roberta-large.tsv"
    baseline = pd.read_csv(table, sep=",").set_index("LAYER").loc[17, "F"]
    return Finding(
        INCONSISTENT if max(printed) < baseline else REPRODUCED,
        "Equation 8 has no rescaling, and without it unrelated English sentences score "
        f"{baseline:.2f} (layer 17, bert-score's own baseline). The printed values fit rescaled "
        "scores, which the text does not mention.",
        f"{baseline:.2f} for unrelated sentences",
        "bert-score's baseline",
        published,
    )


@claim("cited_rows")
def _cited_rows(evidence: Evidence) -> Finding:
    models = paper.TABLE_3["MovieLens-1M"]
    absent = [name for name in paper.CITED_ROWS if name not in models]
    cited = [paper.CITED_ROWS[name].value for name in absent]
    rows = [name for name, row in models.items() if row["Faithfulness"].value in cited]
    return Finding(
        INCONSISTENT if absent else REPRODUCED,
        f"Table 3 has no row {', '.join(absent)}; the value stands in the row {', '.join(rows)}.",
        f"{', '.join(rows)} {', '.join(map(str, cited))}",
        PRINT,
    )


@claim("rouge_1_2")
def _rouge_1_2(evidence: Evidence) -> Finding:
    absent = [name for name in paper.PROMISED_ROUGE if name not in paper.AUTOMATIC]
    return Finding(
        INCONSISTENT if absent else REPRODUCED,
        "Section 5.5 announces three variants; Table 3 has the columns "
        f"{', '.join(paper.AUTOMATIC)}.",
        f"no {', '.join(absent)}",
        PRINT,
    )


@claim("golden_and_baseline")
def _golden_and_baseline(evidence: Evidence) -> Finding:
    from ..metrics.overlap import rouge_pairs

    text = [paper.TABLE_4_SENTENCES["A"]]
    repeated = float(rouge_pairs(text, text)["rougeL"].iloc[0])
    printed = [models["FLAN-T5-XXL"]["ROUGE-L"].value for models in paper.TABLE_3.values()]
    return Finding(
        untestable("the teacher's decoding is not stated"),
        "The same model, prompt and deterministic decoding repeat a text word for word. Printed is "
        "far less, so golden texts and baseline differ in prompt or sampling.",
        f"{repeated:.3f} for a repeated text",
        "ROUGE-L of a text with itself",
        " and ".join(f"{value:.3f}" for value in printed),
    )


@claim("teacher_upper_bound")
def _teacher_upper_bound(evidence: Evidence) -> Finding:
    above = [
        f"{column} ({data})"
        for data, models in paper.TABLE_3.items()
        for column in paper.AUTOMATIC + paper.HUMAN
        if models["BART-Base"][column].value > models["FLAN-T5-XXL"][column].value
    ]
    return Finding(
        INCONSISTENT if above else REPRODUCED,
        f"Zero-shot BART-Base is above the teacher in {', '.join(above)}.",
        f"above it in {len(above)} cells",
        PRINT,
    )


@claim("never_repeats")
def _never_repeats(evidence: Evidence) -> Finding:
    repeated = [
        (case.place, relation)
        for case in paper.TABLE_5
        for relation in re.findall(r"(?:based on|influenced by) [^.]+", case.teacher)
        if relation in case.prism
    ]
    return Finding(
        INCONSISTENT if repeated else REPRODUCED,
        "Prism says word for word what its teacher says: "
        + "; ".join(f"“{text}” ({place})" for place, text in repeated)
        + ". Which words the paper marks red is lost in our text.",
        f"{len(repeated)} of {len(paper.TABLE_5)} cases repeated",
        "Table 5 as printed",
    )


@claim("settings_stated")
def _settings_stated(evidence: Evidence) -> Finding:
    return Finding(
        untestable(f"{len(paper.NOT_STATED)} settings are not stated"),
        f"Not in our text: {', '.join(paper.NOT_STATED)}. What a run uses instead stands in its "
        "profile.",
    )


@claim("prompt_constrains", chapter="02_distillation", label="prompt")
def _prompt_constrains(evidence: Evidence) -> Finding:
    template = TEMPLATES["faithful"]
    forbids = re.findall(r"\b(?:only|solely|not|never|avoid|don't)\b", template, re.I)
    given = [name for name in re.findall(r"{(\w+)}", template) if name in ("history", "item")]
    return Finding(
        INCONSISTENT if not forbids else REPRODUCED,
        "The printed template forbids nothing, and asks for genre, director, actors and theme, of "
        f"which its input ({' and '.join(given)}: titles) holds none.",
        f"{len(forbids)} words that forbid",
        "the printed template",
    )


@claim("first_decoupled")
def _first_decoupled(evidence: Evidence) -> Finding:
    return Finding(untestable("a claim of priority"), "No measurement decides who was first.")


@claim("real_time")
def _real_time(evidence: Evidence) -> Finding:
    return Finding(
        untestable("the test is not described"),
        "Its latency is lost with the formulas of our text, and nothing else is said of the test.",
    )
