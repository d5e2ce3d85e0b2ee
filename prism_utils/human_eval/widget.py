"""The form inside Jupyter and Colab, for a pilot of one person, or live in a page of the book.

Left out on purpose: a channel from the page back to the kernel, which Jupyter, Colab and a book
would each need another of. The form's own last page gives the answers, as a download or as a text
to copy, and `answers` takes the text.
"""

from __future__ import annotations

import html
from typing import Any

from IPython.display import HTML

from .checks import whole
from .collect import Collected, collect_texts
from .form import render
from .key import Study


def show(
    study: Study,
    rater_id: str | None = None,
    *,
    height: int = 720,
    guide: dict[str, Any] | None = None,
    send_to: str = "",
) -> HTML:
    """The form of a rater (default: the first) in a frame of `height` pixels."""
    form = render(study, rater_id or study.raters[0], guide=guide, send_to=send_to)
    return HTML(
        f'<div><iframe title="Rating study {html.escape(study.name)}" width="100%" '
        f'height="{whole("height", height)}" style="border:1px solid #8a939e" '
        f'srcdoc="{html.escape(form)}"></iframe></div>'
    )


def answers(study: Study, text: str, *, partial: bool = True) -> Collected:
    """What `collect` makes of the text that the form's last page offers to copy."""
    return collect_texts({"the pasted text": text}, study, partial=partial)
