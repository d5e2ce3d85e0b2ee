"""One spelling for what people, models and files write in many, and where it stood.

Unicode composed or not, wide letters, dashes, quotes, ellipses, invisible marks, emphasis and
entities of web pages. Left out on purpose: whatever a reader would notice, such as a missing
accent, "&" for "and", or other words.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import NamedTuple

# What a reader takes for the same mark. Hyphens tie words ("-"), dashes part them ("—").
_SAME = {
    **dict.fromkeys(map(ord, "‘’‚‛′‵´ʹʻʼʽ＇"), "'"),
    **dict.fromkeys(map(ord, "“”„‟″‶«»‹›❝❞〝〞＂「」『』《》〈〉"), '"'),
    **dict.fromkeys(map(ord, "‐‑‒−﹣－"), "-"),
    **dict.fromkeys(map(ord, "–—―﹘⸺⸻"), "—"),
    **dict.fromkeys(map(ord, "™®©℠"), " "),
    ord("⁄"): "/",
}
_CODED = re.compile(
    r"[&<\\](?:(?<=&)(?:amp;)*(?:#\d{1,7}|#[xX][\da-fA-F]{1,6}|[a-zA-Z]\w{1,30});"  # an entity
    r"|(?<=<)/?(?:i|b|u|em|strong|cite|br|I|B|EM|BR) ?/?>"
    r"|(?<=\\)[!-/:-@\[-`{-~])"  # a mark that Markdown shall not read
)
# Innermost emphasis of Markdown: two equal marks around words, outside of words.
_STRESS = re.compile(r"(?<!\w)(\*{1,3}|_{1,3}|``?|~~)(?=\S)([^*_`~\n]+)(?<=\S)\1(?!\w)")
_STRESSED = "*_`~<>"
_NOTHING = "\ufeff"
_TIES = ("-", "‿")
_HIDDEN = re.compile(
    "[\u00ad\u034f\u061c\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e0fff⋯]"
)
_JOINING = "[\u0300-\u036f\u0653-\u0655\u1161-\u11ff\u3099\u309a]"  # to the letter before them
_JOINED = re.compile(f"[^\\s]{_JOINING}+")
_ODD = re.compile("[\x80-\U0010ffff]")
_DASHES = re.compile("--+")


class Spelled(NamedTuple):
    """`text` in one spelling; letter k of it is letters starts[k] to ends[k] of `original`."""

    text: str
    original: str
    starts: Sequence[int]
    ends: Sequence[int]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Where letters start:end of `text` stand in `original`."""
        return self.starts[start], self.ends[end - 1]

    def stressed(self, start: int, end: int) -> bool:
        """Whether letters start:end of `text` stand between marks of emphasis."""
        first, last = self.span(start, end)
        around = self.original[max(first - 1, 0) : first], self.original[last : last + 1]
        return all(mark and mark in _STRESSED for mark in around)


def spell(text: str) -> Spelled:
    r"""`text` in one spelling; an underscore that is left is no letter in it ("‿").

    >>> spell("“_Am\u200bélie_” &amp; Ｗall…e").text
    '"Amélie" & Wall...e'
    """
    spelled = Spelled(text, text, range(len(text)), range(1, len(text) + 1))
    stressed = "_" in text or "*" in text or "`" in text or "~~" in text
    coded = "&" in text or "<" in text or "\\" in text
    dashed = "--" in text
    if not (stressed or coded or dashed) and text.isascii():
        return spelled
    if coded:
        spelled = _replaced(spelled, _CODED, _decoded)
    if not spelled.text.isascii():
        spelled = spelled._replace(text=spelled.text.translate(_SAME))
    if stressed:
        marked, unmarked = spelled.text, ""
        while unmarked != marked:  # from within: **_so_**
            marked, unmarked = _STRESS.sub(_unstressed, marked), marked
        spelled = spelled._replace(text=marked.replace("`", "'").replace("_", "‿"))
    if dashed:
        spelled = _replaced(spelled, _DASHES, lambda _: "—")
    if unicodedata.is_normalized("NFKC", spelled.text) and not _HIDDEN.search(spelled.text):
        return spelled
    return _replaced(_replaced(spelled, _JOINED, _composed), _ODD, _composed)


def _replaced(spelled: Spelled, pattern: re.Pattern[str], new: Callable[[str], str]) -> Spelled:
    """`spelled` with what `pattern` finds in another spelling."""
    text, original, starts, ends = spelled
    parts: list[str] = []
    first: list[int] = []
    last: list[int] = []
    done = 0
    for match in pattern.finditer(text):
        put = new(match[0])
        if put == match[0]:
            continue
        start, end = match.span()
        parts += text[done:start], put
        first += [*starts[done:start], *[starts[start]] * len(put)]
        last += [*ends[done:start], *[ends[end - 1]] * len(put)]
        done = end
    if not done:
        return spelled
    return Spelled(
        "".join([*parts, text[done:]]), original, [*first, *starts[done:]], [*last, *ends[done:]]
    )


def _decoded(code: str) -> str:
    if code[0] == "\\":
        return code[1]
    if code[0] == "<":
        return " " if "br" in code.lower() else ""
    while code != (code := html.unescape(code)):
        pass
    return code


def _unstressed(match: re.Match[str]) -> str:
    marks = _NOTHING * len(match[1])
    return marks + match[2] + marks


def _composed(letters: str) -> str:
    """A letter with what joins it as one; what cannot be seen as nothing."""
    if _HIDDEN.match(letters):
        return "..." if letters == "⋯" else ""
    kind = unicodedata.decomposition(letters) if len(letters) == 1 else ""
    composed = unicodedata.normalize("NFKC", letters)
    if kind.startswith("<fraction>") or (kind.startswith("<super>") and composed.isdigit()):
        return " " + composed.replace("⁄", "/")  # "8½" is 8 1/2, and "Alien³" no third Alien3
    return composed


def tied_words(text: str, start: int, end: int) -> list[str]:
    """The words that hyphens tie text[start:end] to: no title in "Alien-like"."""
    words = []
    if text[start].isalnum() and text[max(start - 1, 0) : start] in _TIES:
        words += re.findall(r"\w+$", text[: start - 1])
    if text[end - 1].isalnum() and text[end : end + 1] in _TIES:
        words += re.findall(r"^\w+", text[end + 1 :])
    return words
