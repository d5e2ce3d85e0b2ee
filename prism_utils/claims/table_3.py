"""Table 3's automatic columns as printed, beside a run's own values."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from . import paper

#: Row of the paper, or of the run alone -> the systems of a run that may stand in it.
ROWS = {
    "FLAN-T5-XXL": ("teacher", "again"),
    "Att2Seq": ("att2seq",),
    "BART-Base": ("bart-zero-shot",),
    "FLAN-T5, never tuned": ("flan-zero-shot",),
    "PEPLER": ("pepler",),
    "Prism (w/o User)": ("prism-no-user",),
    "Prism (Full)": ("prism",),
    "Prism, told the facts": ("prism-facts",),
    "floor: nearest": ("nearest",),
    "floor: frame": ("frame",),
    "floor: facts": ("facts-template",),
}
_PRINTED = {row for rows in paper.TABLE_3.values() for row in rows}
COLUMNS = {"ROUGE-L": "rougeL", "BS-F1": "bertscore_f1", "GPTScore": "gptscore_judge"}


def systems(teacher: str) -> dict[str, str]:
    """Systems of a run -> the paper's row, the student first and the teacher last."""
    rows = {name: row for row, names in ROWS.items() for name in names if row in _PRINTED}
    order = ("prism", "prism-no-user", "pepler", "bart-zero-shot", "att2seq")
    return {name: rows[name] for name in order} | {teacher: rows["teacher"]}


def beside_printed(
    measured: pd.DataFrame, teacher: str, not_run: Mapping[str, str]
) -> pd.DataFrame:
    """One row a system, with printed and measured values as text and the reason for a dash.

    measured: columns system, metric, value, low, high. teacher: the run's name of its teacher.
    not_run: system -> why it was not run.
    """
    lines = []
    for row, names in ROWS.items():
        systems = [teacher if name == "teacher" else name for name in names]
        line = {"system": row}
        for column, metric in COLUMNS.items():
            for data, rows in paper.TABLE_3.items():
                printed = rows.get(row, {}).get(column)
                said = "–" if printed is None else f"{printed.value:.12g}"
                line[f"{column}, {data} (paper)"] = said
            chosen = measured[measured["system"].isin(systems) & measured["metric"].eq(metric)]
            found = chosen.dropna(subset=["value"]).head(1).to_dict("records")
            line[f"{column} (this run)"] = (
                "{value:.3f} [{low:.3f}, {high:.3f}]".format(**found[0]) if found else "–"
            )
        line["why a dash"] = not_run.get(systems[0], "")
        lines.append(line)
    return pd.DataFrame(lines)
