"""How nouns, genres and other attribute values are written in English text.

One place for surface forms, so that whoever reads text back (the grounding metric) maps words to
attribute values with the very table the writer used. Left out on purpose: sentences, models,
stemming and any language but English.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import pandas as pd

from .tables import attribute_columns, attribute_lists

# Genre as catalogued -> (as written, plural where the word stands alone as a noun, else "").
_GENRES: dict[str, tuple[str, str]] = {
    "action": ("action", ""),
    "adventure": ("adventure", ""),
    "animation": ("animated", ""),
    "biography": ("biographical", ""),
    "children": ("children's", ""),
    "children's": ("children's", ""),
    "comedy": ("comedy", "comedies"),
    "crime": ("crime", ""),
    "documentary": ("documentary", "documentaries"),
    "drama": ("drama", "dramas"),
    "family": ("family", ""),
    "fantasy": ("fantasy", ""),
    "fiction": ("fiction", ""),
    "film-noir": ("film noir", "films noirs"),
    "history": ("history", ""),
    "historical": ("historical", ""),
    "horror": ("horror", ""),
    "memoir": ("memoir", "memoirs"),
    "music": ("music", ""),
    "musical": ("musical", "musicals"),
    "mystery": ("mystery", "mysteries"),
    "non-fiction": ("non-fiction", ""),
    "poetry": ("poetry", ""),
    "romance": ("romance", "romances"),
    "sci-fi": ("science fiction", ""),
    "science fiction": ("science fiction", ""),
    "short": ("short", ""),
    "sport": ("sports", ""),
    "superhero": ("superhero", ""),
    "thriller": ("thriller", "thrillers"),
    "travel": ("travel", ""),
    "war": ("war", ""),
    "western": ("western", "westerns"),
}

# Value as catalogued -> other words for it that a reader takes for a claim of it, "|" between
# them. A word under several values claims one of them. Praise ("thrilling", "fantastic") is none.
_HEARD: dict[str, str] = {
    "action": "action-packed|actioner|actioners|shoot-'em-up",
    "adventure": "adventures|adventurous|swashbuckler|swashbucklers|swashbuckling",
    "animation": "animation|animations|cartoon|cartoons|anime|claymation",
    "biography": "biography|biographies|biopic|biopics",
    "children": "kids'|kid's|kids film|kids movie|for kids|for children|for the kids|family film"
    "|family films|family movie|family movies|children film|children movie|family-friendly"
    "|child-friendly|kid-friendly",
    "comedy": "comedic|comical|comic film|comic movie|funny|hilarious|hilariously|hilarity"
    "|humorous|humour|humor|laugh|laughs|laughter|laugh-out-loud|rom-com|rom-coms|romcom|romcoms"
    "|rom com|slapstick|farce|farces|farcical|satire|satires|satirical|spoof|spoofs"
    "|comedy-drama|dramedy|tragicomedy|tragicomic",
    "crime": "criminals|gangster|gangsters|mobster|mobsters|mafia|mafiosi|noir|noirs|neo-noir"
    "|whodunit|whodunits|detective story|detective film|detective movie",
    "documentary": "docudrama|docudramas|docu|nonfiction film|non-fiction film",
    "drama": "dramatic film|dramatic movie|dramatic story|melodrama|melodramas|melodramatic"
    "|tearjerker|tearjerkers|tear-jerker|comedy-drama|dramedy|tragicomedy|docudrama",
    "fantasy": "fantasies|fantastical|fairy tale|fairy tales|fairy-tale|fairytale"
    "|sword-and-sorcery|sword and sorcery|high-fantasy",
    "film-noir": "film-noir|films noir|film noirs|noir|noirs|noirish|neo-noir",
    "history": "historical",
    "horror": "scary|scare|scares|frightening|frightener|frighten|frightens|terrifying|terrify"
    "|terrifies|spooky|creepy|spine-chilling|spine-tingling|bloodcurdling|blood-curdling"
    "|slasher|slashers|splatter|gorefest|nightmarish",
    "musical": "song-and-dance|song and dance|singalong|sing-along|musical comedy",
    "mystery": "whodunit|whodunits|detective story|detective stories|murder-mystery"
    "|suspense|suspenseful|spooky|creepy|nightmarish",
    "romance": "romantic|love story|love stories|rom-com|rom-coms|romcom|romcoms|rom com",
    "sci-fi": "sci-fi|sci fi|scifi|science-fiction|sf film|sf movie|space opera|space operas"
    "|cyberpunk",
    "superhero": "superheroes|super-hero|superheroine|comic-book film|comic-book movie",
    "thriller": "suspense|suspenseful|nail-biter|nail-biting|edge-of-your-seat|whodunit|scary"
    "|frightening|terrifying|terrify|terrifies|scare|scares|spooky|creepy|neo-noir"
    "|nightmarish|spine-chilling|spine-tingling|noir|noirs",
    "war": "wartime|anti-war|warfare|battlefield",
    "western": "cowboy|cowboys|cowboy film|cowboy movie|wild west|spaghetti western",
    "alien contact": "extraterrestrials|extra-terrestrials",
    "artificial intelligence": "sentient machines",
    "courtroom battles": "courtroom|courtrooms",
    "espionage": "spies|spy film|spy movie|spy story|spy thriller|secret agents",
    "organised crime": "organized crime|gangster|gangsters|mobster|mobsters|mafia|mafiosi",
    "parody": "spoof|spoofs|satire|satires|satirical|parodies",
    "road trips": "road movie|road movies",
    "show business": "showbiz",
    "superheroes": "superhero|super-hero|superheroine",
}
# Themes that are nouns without a plural, and what is made of a theme: "a revenge story".
_SUBJECTS = frozenset(
    "addiction christmas dance espionage friendship greed grief journalism kidnapping loneliness "
    "magic marriage murder parody politics prison racism redemption revenge rivalry royalty "
    "survival".split()
)
_SORTS = ("film", "films", "movie", "movies", "story", "stories", "tale", "tales")
# What the digits of a decade are called: 1980s.
_DECADES = {"2": "twenties", "3": "thirties", "4": "forties", "5": "fifties", "6": "sixties",
            "7": "seventies", "8": "eighties", "9": "nineties"}  # fmt: skip

# Noun -> what a user does with it: past, participle, infinitive, and the kind of history it makes.
_VERBS: dict[str, tuple[str, str, str, str]] = {
    "film": ("watched", "watched", "watch", "viewing"),
    "movie": ("watched", "watched", "watch", "viewing"),
    "show": ("watched", "watched", "watch", "viewing"),
    "series": ("watched", "watched", "watch", "viewing"),
    "book": ("read", "read", "read", "reading"),
    "business": ("visited", "visited", "visit", "visiting"),
    "restaurant": ("visited", "visited", "visit", "visiting"),
    "place": ("visited", "visited", "visit", "visiting"),
    "game": ("played", "played", "play", "playing"),
    "song": ("played", "played", "play", "listening"),
    "album": ("played", "played", "play", "listening"),
    "product": ("bought", "bought", "buy", "shopping"),
}


def verbs(noun: str) -> tuple[str, str, str, str]:
    """What a user does with an item: (past, participle, infinitive, adjective of the history).

    >>> verbs("book")
    ('read', 'read', 'read', 'reading')
    """
    return _VERBS.get(noun.lower(), ("chose", "chosen", "choose", "selection"))


def plural(noun: str) -> str:
    """The plural of a countable noun.

    >>> [plural(noun) for noun in ("film", "business", "story", "series")]
    ['films', 'businesses', 'stories', 'series']
    """
    if noun.endswith("series"):
        return noun
    if re.search(r"[^aeiou]y$", noun):
        return noun[:-1] + "ies"
    return noun + ("es" if re.search(r"(s|x|z|ch|sh)$", noun) else "s")


def article(phrase: str) -> str:
    """The indefinite article that a phrase takes.

    >>> [article(word) for word in ("action film", "comedy", "IMAX film", "FBI", "university")]
    ['an', 'a', 'an', 'an', 'a']
    """
    word = re.split(r"[\W_]", phrase.lstrip("\"'(["), maxsplit=1)[0]
    if len(word) in (2, 3) and word.isupper():  # spelled out letter by letter
        return "an" if word[0] in "AEFHILMNORSX" else "a"
    if re.match(r"(8|11$|18$)", word):
        return "an"
    if re.match(r"(?i)(eu|uni([^nmd]|$)|us([aeu]|$)|ut[aeio]|one$|once$)", word):
        return "a"
    return "an" if re.match(r"(?i)([aeiou]|honest|hono|hour|heir)", word) else "a"


def surfaces(kind: str, value: str) -> tuple[str, ...]:
    """The forms in which an attribute value may be written; the first is the usual one.

    >>> surfaces("genre", "Comedy"), surfaces("genre", "Sci-Fi"), surfaces("actor", "Tom Hanks")
    (('comedy', 'comedies'), ('science fiction',), ('Tom Hanks',))
    """
    if kind != "genre":
        return (value,)
    one, many = _GENRES.get(value.lower(), (value, ""))
    return (one, many) if many else (one,)


# What an item does that has values of a kind: {v} the values, {k} the kind.
_PREDICATES = {
    "director": "was directed by {v}",
    "author": "was written by {v}",
    "actor": "stars {v}",
    "theme": "has {v} among its themes",
    "category": "is listed under {v}",
    "decade": "dates from the {v}",
}
_PEOPLE = ("director", "author", "actor")  # one sentence holds several of these


def listed(words: Sequence[str]) -> str:
    """Words as a list in a sentence.

    >>> listed(["a", "b"]), listed(["a", "b", "c"])
    ('a and b', 'a, b and c')
    """
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def predicate(kind: str, values: Sequence[str], noun: str = "film") -> str:
    """What an item does that has these values, of which there is at least one.

    Of kinds other than genres and people one sentence holds one value, the first.

    >>> predicate("genre", ["Action", "Sci-Fi", "Comedy"]), predicate("theme", ["heists", "rain"])
    ('is an action and science fiction film and a comedy', 'has heists among its themes')
    """
    if kind == "genre":
        forms = {value: surfaces(kind, value) for value in values}
        plain = [forms[v][0] for v in values if len(forms[v]) == 1]
        things = [f"{listed(plain)} {noun}"] if plain else []
        things += [forms[v][0] for v in values if len(forms[v]) > 1]
        return "is " + listed([f"{article(thing)} {thing}" for thing in things])
    several = values if kind in _PEOPLE else values[:1]
    return _PREDICATES.get(kind, "has {v} as its {k}").format(v=listed(several), k=kind)


def readings(kind: str, value: str) -> tuple[str, ...]:
    """The forms in which an attribute value is read: its `surfaces`, and "80s" for the 1980s.

    >>> readings("decade", "1980s"), readings("decade", "Regency")
    (('1980s', '80s'), ('Regency',))
    """
    short = kind == "decade" and re.fullmatch(r"\d{4}s", value)
    return surfaces(kind, value) + ((value[2:],) if short else ())


def heard(kind: str, value: str) -> tuple[str, ...]:
    """The words in which a reader hears a value: its `readings`, and others that only a text uses.

    Synonyms and inflections of genres and themes, one for many ("heist"), decades in words and
    with an apostrophe. A decade's years ("1985") are heard as the decade.

    >>> heard("theme", "heists")[:3], heard("genre", "War")[1:]
    (('heists', 'heist', 'heist film'), ('wartime', 'anti-war', 'warfare', 'battlefield'))
    """
    forms = list(readings(kind, value))
    if kind == "decade" and re.fullmatch(r"\d{4}s", value):
        forms += [f"{value[:4]}'s", f"{value[2:4]}'s"]
        forms += [f"{int(value[:4]) + year}" for year in range(10)]
        if value[:2] == "19" and value[2] in _DECADES:
            word = _DECADES[value[2]]
            forms += [word, f"nineteen-{word}", f"nineteen {word}"]
    else:
        forms += filter(None, _HEARD.get(value.lower(), "").split("|"))
        one = value if kind == "genre" or value in _SUBJECTS else singular(value)
        if one != value or value in _SUBJECTS:
            forms += [one, *(f"{one} {sort}" for sort in _SORTS)]
        forms += [words.replace(" ", "-") for words in (value, one) if kind != "genre"]
    return tuple(dict.fromkeys(forms))


def singular(phrase: str) -> str:
    """A phrase with its plural nouns in the singular.

    >>> [singular(words) for words in ("conspiracies", "fathers and sons", "class divide", "chess")]
    ['conspiracy', 'father and son', 'class divide', 'chess']
    """
    words = []
    for word in phrase.split(" "):
        if len(word) > 4 and word.endswith("ies"):
            word = word[:-3] + "y"
        elif len(word) > 5 and re.search(r"(?:[sxz]|ch|sh|o)es$", word):
            word = word[:-2]
        elif len(word) > 3 and re.search(r"[^siu']s$", word):
            word = word[:-1]
        words.append(word)
    return " ".join(words)


def decade(year: float | None) -> list[str]:
    """The decade of a year, as a list of at most one value.

    A missing year has none, nor has one before 100: "50s" would be read as the 1950s.

    >>> decade(1985), decade(None), decade(-750)
    (['1980s'], [], [])
    """
    if year is None or pd.isna(year) or not 100 <= year < math.inf:
        return []
    return [f"{int(year) // 10 * 10}s"]


def attributes(items: pd.DataFrame) -> dict[str, list[list[str]]]:
    """Every kind of attribute that an items table gives words for: kind -> one list per row.

    The columns of lists or text (`|` between its values), and `decade` where there is a year and
    no column of that name. Missing lists are empty; placeholders in parentheses such as
    MovieLens' "(no genres listed)" are no values.

    >>> attributes(pd.DataFrame({"item_id": ["1"], "title": ["Jaws"], "year": [1975]}))
    {'decade': [['1970s']]}
    """
    kinds = {
        kind: [[v for v in values if v[0] != "("] for values in attribute_lists(items[kind])]
        for kind in attribute_columns(items)
    }
    if "decade" not in kinds and "year" in items.columns and items["year"].notna().any():
        kinds["decade"] = [decade(year) for year in items["year"]]
    return kinds
