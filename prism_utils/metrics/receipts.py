"""Receipts: every claim of an explanation, where it stands, and what supports it.

Claims are what `grounding` reads, so a text is scored and audited by one reading. Left out on
purpose: claims that name neither a title nor a catalogued value ("a slow burn"), a right person in
a wrong role, and that titles share what only one of them has where no word of `_SHARES` says so or
the titles stand in another sentence.
"""

from __future__ import annotations

import dataclasses
import html
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pandas as pd

from ..tables import Named
from .grounding import Grounding, Read
from .inputs import check_least, check_texts
from .mentions import Mention, title_key
from .roles import PEOPLE

SUPPORTED, UNSUPPORTED, UNKNOWN = VERDICTS = ("supported", "unsupported", "unknown")
#: Why a claim is unsupported -> what a reader is told.
REASONS = {
    "foreign": "neither the item nor in the history",
    "lacking": "the item has no such value in the catalogue",
    "other": "the title that it is said of has no such value in the catalogue",
    "unshared": "the film that it is compared with has no such value in the catalogue",
    "relation": "the catalogue holds no such relation",
    "itself": "the recommended item is no reason for itself",
}
_LOOK = {
    SUPPORTED: ("✓", "#1b7837", "solid"),
    UNSUPPORTED: ("✗", "#b2182b", "double"),
    UNKNOWN: ("?", "#666666", "dotted"),
}

_NAMED = 3  # history items that a receipt names, at most
_DID = r"(?:enjoyed|liked|loved|watched|saw|seen|read|played|visited|bought|chose|chosen|finished)"
# What stands before or after a title that is given as a reason, from the user's past.
_REASON = re.compile(
    rf"(?:\b(?:you|they|user|viewer|whoever)(?:'ve|\s(?:have|has|had|already|also|once|recently"
    rf"|really|clearly))*\s(?:{_DID}|already know)|\bhaving {_DID}|\bafter|\bwe find|\bbeside"
    r"|\b(?:because|fans?|vein|manner|choice|lovers?) of|\bjudging by|\b(?:line|away|break"
    r"|different) from|\b(?:common|company|breaks) with|\b(?:similar|next) to|\breminiscent of"
    r"|history (?:includes|holds|has)"
    r"|(?:^|[.,;:!?(]\s|\b(?:because|since|as|and|just|much|is)\s)like)\s[\"']?$",
    re.I,
)
_LAST = frozenset(
    "enjoyed liked loved watched saw seen read played visited bought chose chosen finished know "
    "after find beside of by from with to includes holds has like".split()
)
_REASON_BEFORE = re.compile(
    rf"[\"']?(?:,?\s(?:which|that) you(?:'ve|\s(?:have|had|already))*\s{_DID}"
    r"|\s(?:from|in) your history|\sis yours already|\scould be the start of)\b",
    re.I,
)
# Words that present a value as one that the item shares with the titles cited beside it. They are
# looked for in a sentence whose mentions are marks: <i> the item, <v> the value, <h> a title of the
# history that lacks it, <g> one that does not, <o> any other mention. "Also" and "too" only where
# no other value stands before: "a horror film that also stars X" adds, it does not compare.
_LACKING = r"(?:<[gh]>(?:,? and |, ))*<h>"  # titles in a row, the last of them lacking
_ALONE = r"^(?!.*<o>).*"  # where it is open which value is meant: the only one
_SHARES = re.compile(
    "|".join(
        (
            rf"(?:^|[.,;:!?(]\s|\b(?:because|since|as|and|just|much|is)\s)like {_LACKING}"
            r"(?:[^<]|<[ghi]>)*(?:<o>(?=[^<]*(?:,|\band\b))(?:[^<]|<[ghi]>)*)*<v>",
            rf"<v>(?: (?!who\b|you\b|they\b)\w+)?,? (?:(?:just|much) )?like {_LACKING}",
            rf"{_ALONE}\b(?:(?:vein|manner|spirit|style|tradition) of|as (?:is|was|in)) {_LACKING}",
            r"^(?:[^<]|<[gh]>)*(?:<i>)?[^<]*\balso (?!(?:enjoy|lik|lov|watch|s[ae][wen]|read|play"
            r"|visit|appreciat|want|try|go\b))[^<]*<v>",
            r"^(?:[^<]|<[gh]>)*<i>[^<]*<v>[^<,.;]*\b(?:too(?=\W*$|[,.;:!)]| and\b)|as well(?! as))",
            r"<h> [^<]*<v>[^<]*\band so (?:is|was|does|did|has) <i>",
            r"\b(?:another|one more) (?!side|kind|sort|way|direction)[^<.;]*<v>",
            r"\bmore (?:<v>(?! than)(?! film\b| book\b| movie\b)|(?!than)\w+s [^<.;]*<v>)",
            r"\bthe same (?!time|way)[^<.;]*<v>",
            rf"{_ALONE}\b(?:same (?:is true|goes|holds)\b|(?:holds|true) (?:for|of) <h>)",
            r"\b(?:both|all three|all of them)(?: of (?:them|which))? (?:are|were|have|had|star"
            r"|share|belong|date|c[ao]me|feature|deal|take|fall|list|direct|writ|made|set)[^.;]*<v>",
            r"\b(?:both|all three|all of them|(?:are|were) all) <v>(?! and)(?! \w+ and)",
            r"\bboth (?:<h> and <i>|<i> and <h>).*<v>",
            r"\bshar(?:e|es|ed|ing)\b(?:[^<.;]| <h>| <i>)*<v>|\bin common\b(?:[^<]|<[ghi]>)*<v>",
            rf"\b(?:because|since) you(?:'ve| have)?(?: \w+)? {_DID} (?:[^<]|<[gh]>)*<i>[^<]*<v>",
            r"\bjudging (?:by|from) (?:[^<]|<[gh]>)*(?:<i>[^<]*)?<v>",
            r"<h>[^<,;]*\b(?:start of|shows?|suggests?|hints?|proves?)\b[^<]*\b(?:taste|eye|liking"
            r"|love|weakness|fondness|soft spot) for [^<]*<v>",
            rf"{_ALONE}\b(?:fits (?:right |well )?in\b|sits [^<]*\b(?:beside|alongside|next to) <)",
            r"\blook for [^<]*<v>[^<]*\bbegin with <|\bcollection of [^<]*<v>[^<]*<[gh]>",
            r"<v>[^<]*\bchoice of (?:[^<]|<[gh]>)* points that way",
        )
    ),
    re.I | re.S,
)
# Words of contrast: nothing is compared as like.
_CONTRASTS = re.compile(
    r"\b(?:unlike|differ\w*|contrast|change|instead|whereas|breaks? (?:from|with)|somewhere else"
    r"|(?:fresh|new) direction|(?:step|break) away|away from|nothing|little in common|rather than"
    r"|not(?! only)|no(?! (?:wonder|doubt|surprise)))\b|n't\b",
    re.I,
)
_NEW_SENTENCE = re.compile(r"[.!?][\"')]*\s")
_NEAR = 20  # mentions on either side of a value, at most: what is longer is no sentence
_STOP = re.compile(r"[.!?]")


@dataclasses.dataclass(frozen=True)
class Claim:
    """One claim: letters start:end of the text, and what supports it.

    kind: "title", "attribute", "person" (a director, actor or author) or "relation" ("is based
    on"). attribute: the kind of value under which it is claimed, such as "genre"; "" for titles and
    relations. value: as the catalogue has it. item: whether the item supports it; history: ids of
    the history items that do. verdict: one of `VERDICTS`; "unknown" where the catalogue does not
    hold whom the claim is about. reason: of an unsupported one, a key of `REASONS`.
    """

    start: int
    end: int
    text: str
    kind: str
    attribute: str
    value: str
    item: bool
    history: tuple[str, ...]
    verdict: str
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**self.__dict__, "history": list(self.history)}

    def told(self, titles: Mapping[str, str] | None = None) -> str:
        """The claim, its verdict and why, in words; titles: of the history's ids."""
        past = [(titles or {}).get(name, name) for name in self.history[:_NAMED]]
        more = len(self.history) - len(past)
        by = ["the item"] * self.item
        if past:
            by.append("in the history " + ", ".join(past) + f" and {more} more" * (more > 0))
        why = REASONS.get(self.reason) or "; ".join(by)
        said = f"{self.attribute or self.kind} “{self.value}”: {self.verdict}"
        return f"{said} ({why})" if why else said


@dataclasses.dataclass(frozen=True)
class Audit:
    """A text and its claims, in the order of their places; none overlaps another.

    titles: of the first history items that support a claim, for who reads it.
    """

    text: str
    claims: tuple[Claim, ...]
    titles: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False, compare=False)

    @property
    def unsupported(self) -> tuple[Claim, ...]:
        """The claims that nothing supports."""
        return tuple(claim for claim in self.claims if claim.verdict == UNSUPPORTED)

    @property
    def supported(self) -> bool:
        """Whether no claim is unsupported; what cannot be judged does not count."""
        return not self.unsupported

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        claims = [claim.as_dict() for claim in self.claims]
        return {"text": self.text, "supported": self.supported, "claims": claims}

    def _repr_html_(self) -> str:
        parts: list[str] = []
        legend: list[str] = []
        done = 0
        for number, claim in enumerate(self.claims, start=1):
            sign, colour, line = _LOOK[claim.verdict]
            told = html.escape(claim.told(self.titles))
            style = f"color:{colour};border-bottom:3px {line} {colour}"
            words = html.escape(claim.text) if claim.start >= done else ""  # once for two roles
            words += f"<sup>{number}{sign}</sup>"
            parts.append(html.escape(self.text[done : claim.start]))
            parts.append(f'<span title="{told}" style="{style}">{words}</span>')
            legend.append(f"{number}{sign}&nbsp;{told}")
            done = claim.end
        parts.append(html.escape(self.text[done:]))
        rows = "<br>".join(legend) or "no claims"
        return f"<div><p>{''.join(parts)}</p><p><small>{rows}</small></p></div>"


class Auditor(Grounding):
    """A `Grounding` that tells every claim of a text.

    >>> items = pd.DataFrame({"item_id": ["1", "2"], "title": ["Jaws", "Alien"],
    ...                       "genre": [["Horror"], ["Horror"]]})
    >>> audit = Auditor(items).audit("Like Jaws, Alien is a horror film.", ["1"], "2")
    >>> [(claim.value, claim.item, claim.history) for claim in audit.claims]
    [('Jaws', False, ('1',)), ('Alien', True, ()), ('Horror', True, ('1',))]
    """

    def __init__(self, items: pd.DataFrame, noun: str = "film") -> None:
        super().__init__(items, noun)
        self._named_items = Named(items)

    def audit(self, text: str, history: Sequence[str], item: str) -> Audit:
        """Every claim of `text`, an explanation of `item` to whom `history` belongs.

        item, history: ids, or titles where no such id is there, as `tables.Named` takes them (of
        namesakes none is meant); titles that the catalogue lacks are found as they are written.
        """
        check_texts([text])
        return self._audit(text, history, item)

    def audit_all(
        self, asked: Iterable[tuple[str, Sequence[str], str]], *, workers: int = 1
    ) -> list[Audit]:
        """`audit` of each (text, history, item), shared by `workers` processes."""
        check_least(1, workers=workers)
        asked = list(asked)
        check_texts(text for text, _, _ in asked)
        if workers == 1 or not asked:
            return [self._audit(*one) for one in asked]
        size = max(-(-len(asked) // (4 * workers)), 1)
        chunks = [asked[start : start + size] for start in range(0, len(asked), size)]
        with ProcessPoolExecutor(workers, initializer=_start, initargs=(self,)) as pool:
            told = [claims for chunk in pool.map(_audit_chunk, chunks) for claims in chunk]
        return [
            self._made(text, [Claim(*values) for values in claims])
            for (text, _, _), claims in zip(asked, told, strict=True)
        ]

    def id_of(self, name: str) -> str:
        """The id of an id or a title; the name itself where no one item is called so."""
        return self._named_items.id_of(name) or name

    def _audit(self, text: str, history: Sequence[str], item: str) -> Audit:
        item, past = self.id_of(item), [*map(self.id_of, dict.fromkeys(history))]
        read = self.read(text, item, past)
        whole = read.spelled.text
        claims = [
            self._claim(read, start, end, "relation", "", self._named(title, whole[start:end]),
                        reason="relation")
            for start, end, title in read.relations
        ]  # fmt: skip
        claims += [
            self._claim(read, start, end, "person", kind, value, reason="lacking")
            for start, end, kind, value in read.unshared
        ]
        own = self._own_reasons(read)
        for place, mention in enumerate(read.found):
            if read.relations and any(a <= mention.start < b for a, b, _ in read.relations):
                continue
            as_value = read.facts and mention.values & read.facts
            if mention.title and (mention.title == read.item or not as_value):
                claims.append(self._title(read, past, item, mention, place in own))
            else:
                claims.append(self._value(read, past, item, mention, place))
        if read.relations or read.unshared:
            claims.sort(key=lambda claim: claim.start)
        return self._made(text, claims)

    def _made(self, text: str, claims: Sequence[Claim]) -> Audit:
        named = {name for claim in claims for name in claim.history[:_NAMED]}
        return Audit(text, tuple(claims), {n: self._titles.get(n, n) for n in named})

    def _claim(
        self,
        read: Read,
        start: int,
        end: int,
        kind: str,
        attribute: str,
        value: str,
        item: bool = False,
        history: tuple[str, ...] = (),
        verdict: str = "",
        reason: str = "",
    ) -> Claim:
        start, end = read.spelled.span(start, end)
        verdict = verdict or (UNSUPPORTED if reason else SUPPORTED)
        text = read.spelled.original[start:end]
        return Claim(start, end, text, kind, attribute, value, item, history, verdict, reason)

    def _named(self, title: Mention | None, words: str) -> str:
        """A relation's other end, or its words where that is quoted and in no catalogue."""
        return words if title is None else self._written(title.title, ()) or words

    def _written(self, key: str, ids: Iterable[str]) -> str:
        """The title of this key as the catalogue writes it, that of `ids` first."""
        for name in ids:
            return self._titles.get(name, name)
        return min(self._forms[key][0]) if key in self._ids else ""

    def _title(
        self, read: Read, past: list[str], item: str, mention: Mention, own_reason: bool
    ) -> Claim:
        key, own = mention.title, mention.title == read.item
        by = self._cited(read, past, key)
        if own:
            value, reason = self._titles.get(item, item), "itself" if own_reason else ""
        else:
            value, reason = self._written(key, by), "" if by else "foreign"
        place = mention.start, mention.end
        return self._claim(read, *place, "title", "", value, own and not reason, by, reason=reason)

    def _cited(self, read: Read, past: list[str], key: str) -> tuple[str, ...]:
        """History items of this title."""
        ids = self._ids.get(key)
        if ids is None:
            return tuple(name for name in past if title_key(name) == key)
        return () if ids.isdisjoint(read.past) else tuple([n for n in past if n in ids])

    def _value(self, read: Read, past: list[str], item: str, mention: Mention, place: int) -> Claim:
        values, facts = mention.values, read.facts
        by_item, verdict, reason = False, "", ""
        among: Collection[str] = read.past
        if facts is None:
            verdict = UNKNOWN
        elif values & facts:
            by_item, values = True, values & facts
            reason = "unshared" if self._is_unshared(read, past, mention, place) else ""
        elif other := read.strange[place]:
            among = self._cited(read, past, other)
            if other not in self._ids:
                verdict = UNKNOWN  # of a title that no catalogue holds
            else:
                reason = "other" if among else "foreign"
        else:
            among, reason = (), "lacking"
        pair = min(values)
        by: tuple[str, ...] = ()
        for one in sorted(values):  # a name that directs and acts is one claim
            holders = self._holders.get(one, set())
            if not holders.isdisjoint(among):
                by = tuple([n for n in past if n in holders and n in among and n != item])
            if by:
                pair = one
                break
        if by and reason == "other":
            reason = ""
        kind = "person" if pair[0] in PEOPLE else "attribute"
        place_ = mention.start, mention.end
        return self._claim(read, *place_, kind, *pair, by_item, by, verdict, reason)

    def _is_unshared(self, read: Read, past: list[str], mention: Mention, place: int) -> bool:
        """Whether a value of the item is said to be one of a cited title too that has another."""
        if not read.seen:
            return False
        text, found, first, last = read.spelled.text, read.found, place, place
        while first > max(place - _NEAR, 0) and not _NEW_SENTENCE.search(
            text, found[first - 1].end, found[first].start
        ):
            first -= 1
        while last + 1 < min(place + _NEAR, len(found)) and not _NEW_SENTENCE.search(
            text, found[last].end, found[last + 1].start
        ):
            last += 1
        around = found[first : last + 1]
        # the catalogue before the words: nearly all that is cited has the value
        lacking = [self._lacks(read, past, m.title, mention) for m in around]
        if not any(lacking):
            return False
        before = text[found[first - 1].end if first else 0 : found[first].start]
        marked = re.split(_NEW_SENTENCE, before)[-1]
        for number, one in enumerate(around, start=first):
            cited = "g" if one.title in read.seen else "o"
            kind = "h" if lacking[number - first] else "v" if number == place else cited
            marked += "<i>" if one.title == read.item else f"<{kind}>"
            end = found[number + 1].start if number + 1 < len(found) else len(text)
            marked += text[one.end : end] if number < last else _STOP.split(text[one.end : end])[0]
        marked = marked.replace('"', "")
        return not _CONTRASTS.search(marked) and _SHARES.search(marked) is not None

    def _lacks(self, read: Read, past: list[str], title: str, mention: Mention) -> bool:
        """Whether the catalogue has values of the mention's kind for a cited title, but not it."""
        if title not in read.seen:
            return False
        known = [self._facts.get(name, set()) for name in self._cited(read, past, title)]
        kinds = {kind for kind, _ in mention.values & (read.facts or set())}
        return bool(known) and not any(
            mention.values & facts or kinds.isdisjoint(kind for kind, _ in facts) for facts in known
        )

    def _own_reasons(self, read: Read) -> set[int]:
        """Places of mentions that give the item as a reason for itself.

        The item's title where words of the user's past present it ("You enjoyed Alien"), or the
        first of two in one sentence; not where the item is in the history.
        """
        places = [n for n, m in enumerate(read.found) if m.title == read.item]
        if not places or not read.past.isdisjoint(self._ids.get(read.item, ())):
            return set()
        text = read.spelled.text
        marked = {n for n in places if self._is_reason(text, read.found, n)}
        for first, second in zip(places, places[1:], strict=False):
            between = text[read.found[first].end : read.found[second].start]
            if not (marked & {first, second} or _NEW_SENTENCE.search(between)):
                marked.add(first)
        return marked

    def _is_reason(self, text: str, found: list[Mention], place: int) -> bool:
        mention = found[place]
        if _REASON_BEFORE.match(text, mention.end):
            return True
        while place and found[place - 1].title:  # "You watched Heat and Alien"
            if text[found[place - 1].end : found[place].start] != " and ":
                break
            place -= 1
        start = found[place].start
        before = text[max(start - 60, 0) : start]
        words = before.rstrip("\"' ").split()
        # the last word first: a search at each letter is what costs
        return bool(words and words[-1].lower().lstrip("(") in _LAST and _REASON.search(before))


_shared: list[Auditor] = []  # in a worker process: the auditor that it was started with


def _start(auditor: Auditor) -> None:
    _shared[:] = [auditor]


def _audit_chunk(asked: list[tuple[str, Sequence[str], str]]) -> list[list[tuple[Any, ...]]]:
    """Values of each claim: they travel between processes much faster than claims do."""
    audits = (_shared[0]._audit(*one) for one in asked)
    return [[tuple(claim.__dict__.values()) for claim in audit.claims] for audit in audits]
