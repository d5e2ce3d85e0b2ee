"""What the words around a value say of it: which role a person has, whether it is denied.

Patterns of English, one place for all. Left out on purpose: pronouns, and who is meant (`mentions`
and `grounding`).
"""

from __future__ import annotations

import re

#: Kinds of attribute whose values are people.
PEOPLE = frozenset({"director", "actor", "author"})

_ADVERB = r"(?:(?:also|again|once more|both|well|jointly|brilliantly|masterfully|solely|\w+ly)\s)?"
# Before a name. "and" and commas between names are `joined`'s.
_BEFORE = {
    "director": re.compile(
        r"\b(?:(?:co-)?directed(?:,? and \w+|, \w+,? and \w+)? by|helmed by|made by|shot by"
        r"|(?:co-)?directors?(?:ial \w+)?(?: (?:is|was|being|are|of))?,?|director's"
        r"|direction (?:of|by|from)|under the direction of|(?:at the helm|behind the camera"
        r"|in the director's chair)(?: (?:of|for) [^.;,]{1,50})?"
        r" (?:is|was|stood|we find|sits|sat|stands?)"
        r"|directorial (?:debut|effort|work) (?:of|by|from)"
        r"|(?:films?|movies?|pictures?|work|masterpiece|classic|comedy|drama|thriller|western|epic)"
        r" (?:made )?by|director (?:of|behind) [^.;,]{1,50} (?:is|was))\s[\"']?$",
        re.I,
    ),
    "actor": re.compile(
        r"\b(?:(?:co-)?(?:starr?ing|stars?|starred)(?: (?:actor|actress|both|also|a young|the great"
        r"|the young|none other than|opposite|alongside|\w+ly))?|featur(?:ing|es|ed)|casts|casting"
        r"|cast (?:is|includes|including|of|with|led by|headed by|features|featuring|that includes)"
        r"|play(?:ed|s) by|portrayed by|voiced by|acted by|headlined by|fronted by|anchored by"
        r"|(?:performances?|turns?|acting|star turns?|roles?|cameos?|parts?) (?:by|of|from|for)"
        r"|(?:lead|leading|main|title|supporting) (?:role|part|actor|actress)s?(?: \w+)? (?:is|was"
        r"|by|of|for|goes to|went to|taken by|played by|filled by)"
        r"|actors?|actress(?:es)?|star|leading (?:man|lady)|opposite|you (?:will |get to )?see"
        r"|(?:star|stars|lead|leading (?:man|lady)|hero) (?:of|in) [^.;,]{1,50} (?:is|are|was|were)"
        r"|with)\s[\"']?$",
        re.I,
    ),
    "author": re.compile(
        r"\b(?:written by|(?:co-)?authors?(?: (?:is|was))?,?|authored by|penned by|from the pen of"
        r"|(?:books?|novels?|stor(?:y|ies)|tales?|memoirs?|poems?|essays?) by)\s[\"']?$",
        re.I,
    ),
}
# Behind a name: said of it whatever stands before it, or else only where nothing stands before.
_FIRMLY_AFTER = {
    "director": re.compile(
        r",?\s(?:(?:serving|acting|credited|on board) )?as (?:its |the |their |a )?(?:co-)?director"
        r"|\s(?:at the helm|behind the camera|in the director's chair|(?:in the )?directing\b)"
        r"|'s? (?:direction|directorial|directing|[^.,;]{0,30} as (?:a |the )?director)"
        r"|(?:,| is| was) the director (?:of|behind)\b|-(?:directed|helmed)\b",
        re.I,
    ),
    "actor": re.compile(
        r"\s(?:(?:is |was |appears |also )?(?:in|heads?|leads?|heading|leading|joins?|joining"
        r"|among) (?:the|its|a|an|their|one of the) (?:[\w-]+ )?"
        r"(?:cast|role|roles|lead|leads|part|parts|stars)\b"
        r"|on (?:the )?screen|in front of the camera|as (?:its |the |their |a )?(?:[\w-]+ )?"
        r"(?:star|lead|actor|actress|hero|heroine|villain|protagonist)\b|in it\b)"
        r"|'s? (?:performance|acting|character|portrayal|role|turn)\b|-starring\b"
        r"|(?:,| is| was) the (?:star|lead) (?:of|in)\b",
        re.I,
    ),
    "author": re.compile(r",?\sas (?:its |the |their )?author", re.I),
}
_AFTER = {
    "director": re.compile(
        rf"(?:,? who)?\s(?:has |had )?{_ADVERB}(?:\w+ and )?(?:directed|directs|helmed"
        r"|helms|called the shots"
        r"|(?:is|was) (?:also )?(?:its|the|their) director|(?:is|was) (?:at the helm"
        r"|behind the camera|in the director's chair|the one who directed)"
        r"|took the director's chair|sat in the director's chair)\b(?! by)",
        re.I,
    ),
    "actor": re.compile(
        rf"(?:,? who)?\s(?:has |had )?{_ADVERB}(?:stars?|starred|co-stars?|co-starred|plays|played"
        r"|portrays|portrayed|acts|acted|appears|appeared|features|leads|headlines|shines"
        r"|(?:is|was) (?:also )?(?:its|the|their|one of the) (?:star|lead|leads|stars)"
        r"|takes? (?:on )?(?:the|its|a) (?:[\w-]+ )?(?:role|lead|part)|taking the (?:role|lead)"
        r"|(?:gives|delivers|turns in|gave) (?:an?|his|her|one of)[^.,;]{0,30}"
        r" (?:performances?|turn)"
        r"|has (?:a|the) (?!small|bit|tiny|minor)[\w-]+ (?:role|part))\b",
        re.I,
    ),
    "author": re.compile(rf"(?:,? who)?\s{_ADVERB}(?:wrote|penned|authored)\b", re.I),
}
# Here the name before the comma has a second role in the same thing.
_TOO = re.compile(
    r",? who (?:also |both )?(?:\w+ and )?(directed|directs|helmed|stars|starred|plays|acts|wrote)"
    r"(?: (?:it|this|the (?:film|movie|book)|this (?:film|movie|book)|in it|here|as well|too)\b"
    r"|(?=[.,;!]|$))",
    re.I,
)
_TOO_ROLE = {"d": "director", "h": "director", "s": "actor", "p": "actor", "a": "actor",
             "w": "author"}  # fmt: skip
_BOTH = re.compile(r"\b(?:directed by|director) and (?:also )?(?:star(?:ring)?|featuring) $", re.I)
_JOINED = re.compile(r",?\s(?:and|or|&|as well as|alongside|opposite)\s|,\s")

_DENIED = re.compile(
    r"\b(?:(?:not|\w+n't)\s(?!only\b|just\b|merely\b|simply\b)|(?:no|never|neither|nor|without"
    r"|rather than|instead of|hardly|far from|anything but|nothing like|nothing of|unlike|less"
    r"|more [\w-]+ than|(?:tired|weary|sick|enough|bored) (?:of|with)|in contrast to|more than"
    r"|after (?:so many|all)"
    r"|(?:change|departure|break|switch|move|step) (?:away )?from)\s)"
    r"(?:(?:be|an?|the|all|those|these|really|quite|exactly|any|your|usual|typical|so much|another"
    r"|much of|a lot of|many)\s)*"
    r"(?:[\w-]+\s)?[\"']?$",
    re.I,
)
# The user's habit, from which the item departs; and a trait of parts of it.
_HABIT = re.compile(
    r"\b(?:(?:although|though|while|whereas|even if|even though) (?:your|(?:you|the user|they)"
    r" (?:\w+ )?(?:prefer|like|love|enjoy|favou?r|watch)\w*)"
    r"|(?:you|user) (?:usually|often|normally|mostly|seldom|rarely|tend to))\b[^.;,]*$",
    re.I,
)
_IN_PARTS = re.compile(
    r" (?:at times|in places|moments?|touch(?:es)?|elements?|(?:over|under)tones?|bits|scenes?)\b"
)
_DENYING = frozenset(
    "not no never neither nor without than of hardly from but like unlike less with to many "
    "all".split()
)
_SETTING = re.compile(
    r"\b(?i:sets?|setting|takes? (?:us|you|place|viewers)|taking place|plays out|unfolds"
    r"|(?:story|tale|world|portrait|memory|memories|spirit|picture|life|feel|style) (?:of|in)|about"
    r"|during|through|captur\w+|brings?|evok\w+|recreat\w+|nostalgi\w+"
    r"|(?<!dates )(?<!dating )(?<!date )back to"
    r"|homage to|throwback to)"
    r"(?:\s[a-z-]+){0,3}\s[\"']?$"
)
_AGED = re.compile(r"\b(?:his|her|their|your|my|our)\s(?:early |late |mid-?\s?)?$", re.I)
# What is told of, with others in a list; a word that goes on to a noun ("of good people") is not.
_TOLD = re.compile(
    r"\b(?:deal(?:s|ing)? with|tackl(?:es|ing)|explor(?:es|ing)|revolv(?:es|ing) around|driven by"
    r"|follows|tells (?:of|about)|cent(?:re|er)(?:s|d|ed)? (?:on|around)|focus(?:es|ed|ing)? on"
    r"|turns on|about|include"
    r"|(?:story|stories|tale|tales|study|portrait|themes?|exploration|world|mix|blend) of"
    r"|set (?:in|at|around|during))\s"
    r"(?:(?:an?|the)\s)?(?:[\w' -]+,?\s(?:and|or)\s|[\w' -]+,\s){0,2}[\"']?$",
    re.I,
)
_HOLDS = re.compile(r"\b(?:has|have|full of|featur(?:es|ing)|with|needs)\s(?:real\s)?$", re.I)
_ENDS = re.compile(
    r"\s*(?:[.,;:!?)\"']|$)|\s(?:and|or|in|on|at|as|with|that|which|for|too|but|just|like|from|set"
    r"|to|than)\b"
)
_SORT = (
    r"(?:films?|movies?|classics?|hits?|pictures?|flicks?|releases?|productions?|gems?|comed(?:y|ies)"
    r"|dramas?|thrillers?|westerns?|romances?|musicals?|epics?|blockbusters?|stor(?:y|ies)"
    r"|fare|vehicle|project|novels?|books?|action|adventures?|horror|sci-fi|science|animated"
    r"|masterpieces?|favou?rites?)\b"
)
_MADE_IN = re.compile(
    r"\b(?:(?:came|comes|come|coming) out|releas\w+|made|shot|shown|screened"
    r"|filmed|premier\w+|appeared|dates?"
    r"|dating|debuted|opened|hit (?:the )?(?:cinemas|theat(?:er|re)s|(?:big )?screens?)|(?:films?"
    r"|movies?|books?|classic|drama|comedy|thriller|horror|western|romance|musical|one|it|is|was)"
    r" (?=(?:from|of)))(?:,? (?:back|again|first|only))? ?(?:in|from|to|of)?(?: the year)?\s$",
    re.I,
)
_RANGE = re.compile(r"\s?(?:to|-|—)\s?\d")
_PERSONAL = re.compile(rf"'s?\s|\s{_SORT}", re.I)
_CAPITAL_AFTER = re.compile(r"[ -](?!(?:Film|Movie)s?\b)[A-Z]")
_PART_OF_NAME = re.compile(r"(?:[A-Z][\w'-]*\.?|\b(?:de|del|von|van|di|la))[ -]$")
_NO_NAME = re.compile(
    r"(?:^|[.!?:]\s|\b(?:Director|Directed By|Actor|Actress|Starring|Author|By|With|Star|And"
    r"|Like|From|Another|Featuring|Because|If|When|As|Since|The|A|An|For|Stars?|Mr\.?|Ms\.?"
    r"|Mrs\.?))\s?(?:The\s|A\s|An\s|Another\s)?$"
)


def role(before: str, after: str, next_to: str) -> str:
    """The role in which a text names a person: a kind of `PEOPLE`, "" where it gives none.

    before, after: the words around the name. next_to: the role of the name that this one is
    joined to, "" for none.

    >>> role("Jaws stars ", ".", ""), role("with ", " as its director", ""), role("liked ", ",", "")
    ('actor', 'director', '')
    """
    for patterns in (_FIRMLY_AFTER, _BEFORE, _AFTER):
        for kind, pattern in patterns.items():
            if pattern.search(before) if patterns is _BEFORE else pattern.match(after):
                return kind
    return next_to


def second_role(before: str, after: str) -> str:
    """The role that "..., who also directed it" or "directed by and starring" adds, "" for none."""
    if _BOTH.search(before):
        return "director"
    found = _TOO.match(after)
    return _TOO_ROLE[found[1][0].lower()] if found else ""


def joined(between: str) -> bool:
    """Whether words between two names make one list of them."""
    return _JOINED.fullmatch(between) is not None


def denied(before: str, after: str) -> bool:
    """Whether the words around a value take it back: "not a horror film", "scary moments"."""
    if _IN_PARTS.match(after):
        return True
    words = before.lower().split()
    if ("you" in words or "user" in words or "your" in words) and _HABIT.search(before):
        return True
    if _DENYING.isdisjoint(words) and "n't" not in before:  # far cheaper than the search
        return False
    return _DENIED.search(before) is not None


def no_release(before: str) -> bool:
    """Whether a decade is that of a story or of a life, not that of a release."""
    return _SETTING.search(before) is not None or _AGED.search(before) is not None


def released(before: str, after: str) -> bool:
    """Whether the words around a year say that something came out in it."""
    if _RANGE.match(after):
        return False
    return bool(
        _MADE_IN.search(before)
        or re.match(rf"\s{_SORT}", after, re.I)
        or (before.endswith("(") and after.startswith(")"))
    )


def one_name(before: str, after: str) -> bool:
    """Whether a word that is some person's last name stands there as this person's."""
    if _CAPITAL_AFTER.match(after):
        return False
    if _PART_OF_NAME.search(before) and not _NO_NAME.search(before):
        return False
    return bool(_PERSONAL.match(after) or role(before, after, ""))


def presented(kind: str, value: str, written: str, before: str, after: str) -> bool:
    """Whether the words around a value, a free word such as a tag, present it as one of `kind`.

    written: as it stands there; another form of a noun ("vampire" of "vampires") may describe.
    """
    if written.lower() != value.lower() and re.match(rf"\s{_SORT}", after, re.I):
        return True
    name = re.escape(kind)
    if re.search(
        rf"(?:\b{name}s? (?:include|is|are|of)|listed under|about)\s+[\"']?$", before, re.I
    ):
        return True
    if re.match(rf"[\"']?\s+(?:as (?:an?|its|their)|among (?:its|their)|{name})\b", after, re.I):
        return True
    told = _TOLD.search(before) or (value.endswith("s") and _HOLDS.search(before))
    return bool(told and _ENDS.match(after))
