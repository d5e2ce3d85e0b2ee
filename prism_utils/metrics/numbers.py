"""Whether a number in a text is the title of a film: "300" and "1984" are numbers first.

Left out on purpose: which numbers are titles (`mentions`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from .spelling import Spelled

QUOTES = ('"', "'")

# Counts, ranks, durations and parts of numbers:
_COUNTED = re.compile(
    r"(?:\d[.,:/—-]|\b(?:between|from)\s\d+\s(?:and|to)\s|[$€£¥#+±<>=~]\s?|\b(?:top|no\.?|number"
    r"|part|chapter|season|episode|volume|vol\.|page|room|ranks?|ranked|rated|scores?|scored|aged?)\s)$",
    re.I,
)
_COUNTS = re.compile(
    r"\s?%|[.,:/—-]\d|\s(?:out\s)?of\b|\s?(?:per\s?cent|min|mins|minutes?|hours?|hrs?|seconds?"
    r"|years?|months?|weeks?|days?|nights?|times|films|movies|shows|books|games|titles|pages?"
    r"|stars?(?!\s[A-Z])|points?|people|users|viewers|reviews?|ratings?|votes|others?|more|best"
    r"|different|similar|hundred|thousand|million|billion|dollars|euros|km|miles|[ap]\.?m)\b",
)
_DETERMINED = re.compile(
    r"\b(?:the|these|those|all|my|your|our|their|his|her|its|every|another|any|some|first|last|next"
    r"|other|than|least|most|over|under|nearly|almost|roughly|exactly|only|just|about|around)\s$",
    re.I,
)
_YEAR = re.compile(r"1[89]\d\d|20\d\d")
_DATED = re.compile(
    r"(?:[(\[]|\b(?:in|since|from|of|by|until|till|circa|during|early|late|mid|spring|summer|autumn"
    r"|fall|winter|year|\d\d?|january|february|march|april|may|june|july|august|[a-z]+ber)\s)$",
    re.I,
)
# What says that it is a title: a year behind it, a noun or a verb before it.
_OF_YEAR = re.compile(r"\s*\((?:1[89]|20)\d\d\b")
NAMED = re.compile(
    r"\b(?:films?|movies?|books?|novels?|shows?|series|games?|songs?|albums?|places?|restaurants?"
    r"|business|titles?|titled|called|entitled|named)[,:]?\s$",
    re.I,
)
LIKED = re.compile(
    r"\b(?:enjoy(?:s|ed|ing)?|lik(?:es?|ed|ing)|lov(?:es?|ed|ing)|watch(?:es|ed|ing)?|saw|seen"
    r"|reads?|unlike|after|try|prefers?|preferred|recommends?|recommended|suggests?|beside|next to"
    r"|judging by|(?:different|away|break|line) from|fans? of|vein of|similar to|reminiscent of"
    r"|known (?:from|for)|stars? of|(?:mak|direct|writ|creat)[eo]rs? of"
    r"|(?:remake|prequel|sequel) (?:of|to)|(?:based|influenced|inspired|adapted) (?:on|by|from))"
    r"\s$",
    re.I,
)
_GOES_ON = re.compile(
    r"\s*(?:$|[.,;:!?)\"'—]|(?:and|or|but|as|is|are|was|were|has|have|had|with|which|that|who|because"
    r"|since|so|for|to|from|in|on|at|by|if|then|when|while|will|would|could|may|might|can|should"
    r"|also|both|you|it|we|this|too|shares?)\b)"
)
_LISTED = re.compile(r",?\s(?:and|or|&)\s|,\s")


def is_title(
    spelled: Spelled, start: int, end: int, others: Iterable[tuple[int, int]], known: bool
) -> bool:
    """Whether the number at start:end, which is some title, is meant as it.

    others: places of other titles beside it. known: it is recommended or in the history.
    """
    text = spelled.text
    before, after = text[max(start - 40, 0) : start], text[end : end + 40]
    year = _YEAR.fullmatch(text[start:end])
    quoted = before.endswith(QUOTES) and re.match(r"[.,;:!?]?[\"']", after)
    goes_on = _GOES_ON.match(after)
    if quoted or spelled.stressed(start, end):
        return True
    if (
        _COUNTED.search(before)
        or _COUNTS.match(after)
        or (_DETERMINED.search(before) and not goes_on)
        or (year and _DATED.search(before))
    ):
        return False
    between = (text[min(end, last) : max(start, first)] for first, last in others)
    listed = any(_LISTED.fullmatch(b) and not (year and "," in b) for b in between)
    liked = LIKED.search(before) and not (year and before.lower().endswith("after "))
    named = _OF_YEAR.match(after) or NAMED.search(before)
    return bool(known or named or (goes_on and (listed or liked)))
