"""How the grammar teacher words a claim: phrases for each kind of attribute, frames around them."""

from __future__ import annotations

from random import Random

from ..wording import article, plural, surfaces, verbs
from .grammar_facts import Claim, Facts, pick

# How an attribute is said, by kind and role. {v} value, {g} a genre's noun phrase ("action film",
# "comedy"), {gs} its plural, {a} its article, {n} and {ns} the domain's noun, {an} its article.
#   np: what the item is          another: the same, in company     plural: things of this sort
#   vp: what the item does        also: the same, in company        both: what several do
_PHRASES: dict[str, dict[str, tuple[str, ...]]] = {
    "genre": {
        "np": ("{a} {g}",),
        "another": ("another {g}", "one more {g}"),
        "plural": ("{gs}",),
        "vp": ("is {a} {g}", "is {a} {g} at heart"),
        "also": ("is also {a} {g}", "is {a} {g} too"),
        "both": ("are {gs}",),
    },
    "director": {
        "np": ("{an} {n} directed by {v}", "{an} {n} by director {v}"),
        "another": ("another {n} directed by {v}", "another {n} by director {v}"),
        "plural": ("{ns} directed by {v}", "{ns} by director {v}"),
        "vp": ("was directed by {v}", "has {v} as its director"),
        "also": ("was also directed by {v}", "comes from the same director, {v}"),
        "both": ("were directed by {v}", "have {v} as their director"),
    },
    "actor": {
        "np": ("{an} {n} starring {v}", "{an} {n} with {v} in the cast"),
        "another": ("another {n} starring {v}", "another {n} with {v} in the cast"),
        "plural": ("{ns} starring {v}", "{ns} with {v} in the cast"),
        "vp": ("stars {v}", "has {v} in the cast"),
        "also": ("also stars {v}", "has {v} in the cast as well"),
        "both": ("star {v}", "have {v} in the cast"),
    },
    # Themes may be nouns ("heists") or free tags ("funny"), so they are named, not declined.
    "theme": {
        "np": ("{an} {n} whose themes include {v}", "{an} {n} with {v} as a theme"),
        "another": ("another {n} whose themes include {v}", "another {n} with {v} as a theme"),
        "plural": ("{ns} whose themes include {v}", "{ns} with {v} as a theme"),
        "vp": ("has {v} among its themes", "takes {v} as a theme"),
        "also": ("also has {v} among its themes", "takes {v} as a theme too"),
        "both": ("have {v} among their themes", "share {v} as a theme"),
    },
    "category": {
        "np": ("{an} {n} listed under {v}", "{an} {n} in the {v} category"),
        "another": ("another {n} listed under {v}", "another {n} in the {v} category"),
        "plural": ("{ns} listed under {v}", "{ns} in the {v} category"),
        "vp": ("is listed under {v}", "belongs to the {v} category"),
        "also": ("is also listed under {v}", "belongs to the {v} category too"),
        "both": ("are listed under {v}", "belong to the {v} category"),
    },
    "author": {
        "np": ("{an} {n} by {v}", "{an} {n} written by {v}"),
        "another": ("another {n} by {v}", "another {n} written by {v}"),
        "plural": ("{ns} by {v}", "{ns} written by {v}"),
        "vp": ("was written by {v}", "comes from the pen of {v}"),
        "also": ("was also written by {v}", "comes from the same author, {v}"),
        "both": ("were written by {v}", "come from the pen of {v}"),
    },
    "decade": {
        "np": ("{an} {n} from the {v}", "{an} {n} that dates from the {v}"),
        "another": ("another {n} from the {v}", "one more {n} from the {v}"),
        "plural": ("{ns} from the {v}", "{ns} of the {v}"),
        "vp": ("dates from the {v}", "came out in the {v}"),
        "also": ("also dates from the {v}", "came out in the {v} too"),
        "both": ("date from the {v}", "came out in the {v}"),
    },
}
_ANY_KIND = {
    "np": ("{an} {n} with {v} as its {kind}", "{an} {n} whose {kind} is {v}"),
    "another": ("another {n} with {v} as its {kind}", "another {n} whose {kind} is {v}"),
    "plural": ("{ns} with {v} as their {kind}", "{ns} whose {kind} is {v}"),
    "vp": ("has {v} as its {kind}", "names {v} as its {kind}"),
    "also": ("also has {v} as its {kind}", "has {v} as its {kind} too"),
    "both": ("have {v} as their {kind}", "share {v} as their {kind}"),
}

# Frames name {i} the item, {h} one or two history titles, {w} a wrong title; {past}, {part} and
# {base} are forms of the domain's verb. No sentence opens with a word that is a title ("It").
# Two sets of frames. No frame of the second is one of the first, so that the same facts can be
# told twice in different words; the ways to say an attribute (`_PHRASES`) are common to both.
WORDINGS: dict[str, dict[str, tuple[str, ...]]] = {
    "first": {
        "shared": (  # item and cited titles share the attribute
            "Because you {past} {h}, you may well enjoy {i}, {another}.",
            "Like {h}, which you {past}, {i} {vp}.",
            "You have {part} {h}, and {i} {also}.",
            "{h} could be the start of a taste for {plural}, and {i} carries it on.",
            "After {h}, a natural next choice for you is {i}, {another}.",
            "Coming after {h}, {i} should appeal to you as {another}.",
            "If you enjoyed {h}, then {i} is a good one to {base} next: {another}.",
            "Judging by {h}, you have an eye for {plural}, and {i} fits in well.",
            "{i} has this in common with {h} from your history: {all} {both}.",
            "We picked {i} for you because, like {h}, it {vp}.",
            "There is a clear line from {h} to {i}: {all} {both}.",
            "You already know {h}, so you will see what {i} offers: it {also}.",
            "Having {part} {h}, you could go on with {i}, which {also}.",
            "{i} {vp}, and so it sits well beside {h} in your history.",
            "Among the {ns} you {past} we find {h}, and {i} {also}.",
            "For more {plural} in the vein of {h}, {i} is easy to suggest.",
        ),
        "own": (  # the item has the attribute, the cited titles do not
            "After {h}, {i} would make a change: {np}.",
            "You have {part} {h}, and {i} takes you somewhere else as {np}.",
            "For something different from {h}, you could turn to {i}, {np}.",
            "Your history includes {h}, and {i} adds {np} to it.",
            "{i} {vp}, which would be a fresh direction after {h}.",
            "Having {part} {h}, you might like a new direction: {i}, {np}.",
        ),
        "plain": (  # nothing is known about the item but its title
            "You have {part} {h}, and {i} could be a good {n} to {base} next.",
            "With {h} in your history, {i} may be worth a closer look.",
            "After {h}, you could go on with {i} and see how you like it.",
            "Since you {past} {h}, {i} may be {an} {n} to keep in mind.",
        ),
        "alone": (  # no history
            "{i} {vp}, and it could be a good place to start.",
            "As a first choice you could go for {i}, {np}.",
            "A good first choice for you may be {i}, {np}.",
            "We suggest {i} to begin with, because it {vp}.",
        ),
        "bare": (  # neither history nor attributes
            "{i} could be a good {n} to {base} first.",
            "You could begin with {i} and see how you like it.",
        ),
        "tails": (
            *("",) * 8,
            " Give it a try.",
            " Well worth your time.",
            " This could be your next favourite.",
            " You should feel at home with it.",
            " Hard to go wrong with this one.",
            " A good choice for a free evening.",
            " We think you will like it.",
            " Keep it near the top of your list.",
        ),
        # A whole frame around the relation {rel}; the others get it as a second sentence.
        "related": (
            "{i} {rel} and, like {h}, it {vp}.",
            "You have {part} {h}; {i} {also} and {rel}.",
            "Because you {past} {h}, you may enjoy {i}, which {vp} and {rel}.",
        ),
    },
    "second": {
        "shared": (
            "One thing speaks for {i}: it {vp}, which holds for {h} as much.",
            "Our suggestion is {i}; this {n} {vp}, and the same is true of {h}.",
            "Those who look for {plural} tend to begin with {h} and arrive at {i}.",
            "Your collection of {plural} has {h} in it already; {i} belongs there.",
            "Whoever {past} {h} may well pick {i} now: {another}.",
            "Let {i} be your next pick: {another}, in good company with {h}.",
            "Put next to each other, {h} and {i} agree on one point: {all} {both}.",
            "{h} is yours already, and so {i} comes to mind: {all} {both}.",
            "Pick {i}, which {vp}; your choice of {h} points that way.",
            "More {plural} for you: first there was {h}, now there is {i}.",
        ),
        "own": (
            "Time for a break from {h}: {i} is {np}.",
            "Where {h} took you one way, {i} goes its own: {np}.",
            "We would put {i} next to {h} for contrast, since this {n} {vp}.",
            "This one breaks with {h}: {i} {vp}.",
            "A step away from {h} leads to {i}, {np}.",
        ),
        "plain": (
            "Our pick to follow {h} is {i}; see whether it suits you.",
            "Your choice of {h} led us to {i}, which may suit you.",
        ),
        "alone": (
            "Start with {i}: {np}.",
            "To open your list we propose {i}, which {vp}.",
            "Let {i} be your first pick, since it {vp}.",
        ),
        "bare": (
            "Start with {i} and judge for yourself.",
            "To open your list we propose {i}.",
        ),
        "tails": (
            *("",) * 4,
            " See for yourself.",
            " That is our tip for you.",
            " Tell us what you make of it.",
            " Enjoy!",
        ),
        "related": (
            "Pick {i}: this {n} {rel} and, in the manner of {h}, it {vp}.",
            "Our suggestion, since you {past} {h}, is {i}: it {vp} and {rel}.",
        ),
    },
}
_RELATIONS = (
    "is based on {w}",
    "was based on {w}",
    "is loosely based on {w}",
    "was influenced by {w}",
    "is influenced by {w}",
    "was strongly influenced by {w}",
)
_RELATION_TAILS = (" The {n} {rel}.", " What is more, it {rel}.", " Besides, this {n} {rel}.")


class Words:
    """One of the `WORDINGS` for what a domain calls its items."""

    def __init__(self, facts: Facts, noun: str, wording: str) -> None:
        self._facts, self._frames = facts, WORDINGS[wording]
        past, part, base, _ = verbs(noun)
        self._words = {"n": noun, "ns": plural(noun), "an": article(noun)}
        self._words |= {"past": past, "part": part, "base": base}

    def tell(self, rng: Random, item: int, claim: Claim) -> tuple[str, str]:
        """Word a claim: the text, and the attribute's value as written in it ("" for none)."""
        title, named = self._facts.titles[item], claim.named
        relation_to = claim.wrong if claim.error == "relation" else ""
        if not named:
            sort = "alone" if claim.value >= 0 else "bare"
        elif claim.value < 0:
            sort = "plain"
        else:
            sort = "shared" if claim.shared else "own"
        frame, tail = pick(rng, self._frames[sort]), pick(rng, self._frames["tails"])
        fill = dict(self._words, i=title, h=" and ".join(named), w=relation_to)
        fill["all"] = "both" if len(named) < 2 else "all three"
        if relation_to:
            tail = pick(rng, _RELATION_TAILS)
            if claim.shared and rng.random() < 0.5:
                frame, tail = pick(rng, self._frames["related"]), ""
            fill["rel"] = pick(rng, _RELATIONS).format_map(fill)
        written = ""
        if claim.value >= 0:
            for role in _PHRASES["genre"]:
                if "{" + role + "}" in frame:
                    fill[role], written = self._phrase(rng, claim.value, role)
        text = (frame + tail).format_map(fill)
        for name in (title, *named, relation_to, written):
            if name[-1:] in (".", "!", "?"):  # a name's own stop ends the sentence
                text = text.replace(name + ".", name)
        return text, written

    def _phrase(self, rng: Random, value: int, role: str) -> tuple[str, str]:
        """An attribute in one of its roles, and its value as written there."""
        kind, name = self._facts.values[value]
        forms = surfaces(kind, name)
        noun, nouns = self._words["n"], self._words["ns"]
        one, many = forms[0], forms[-1]
        if len(forms) == 1 and not one.endswith((noun, nouns)):
            one, many = f"{one} {noun}", f"{many} {nouns}"
        fill = dict(self._words, v=name, g=one, gs=many, a=article(one), kind=kind)
        phrase = pick(rng, _PHRASES.get(kind, _ANY_KIND)[role])
        return phrase.format_map(fill), forms[-1] if "{gs}" in phrase else forms[0]
