"""Do the words of a transcript sound finished? A few rules of grammar; no model."""

from __future__ import annotations

import re
from typing import Literal

from appliance.sentences import FULL_PAUSES, PAUSES

Reading = Literal["asked", "told", "closed", "unclear", "open"]
"""How words end that could be all.

A question that is all there; a statement that is (but "a story" may go on "about a farmer"); a
question mark in a language whose grammar is not known; who knows; words that break off.
"""

_QUOTES = "'\"\u2019\u201d\u00bb)"
# . ? ! and their kin in Chinese, Arabic, Urdu and Hindi.
_CLOSED = re.compile(rf"[.?!\u3002\uff01\uff1f\uff61\u061f\u06d4\u0964\u0965][{_QUOTES}]*$")
_ASKED = re.compile(rf"[?\uff1f\u061f][{_QUOTES}]*$")
_BROKEN = re.compile(rf"(?:\.\.\.|[\u2026\u2013\u2014{PAUSES}{FULL_PAUSES}-])[{_QUOTES}]*$")
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
_CONTRACTED = re.compile(r"\b(what|who|where|when|why|how)'(s|re|ll|d)\b", re.IGNORECASE)
_FULL = {"s": "is", "re": "are", "ll": "will", "d": "did"}
_PLEASE = re.compile(rf",?\s+please(?=[.?!][{_QUOTES}]*$)", re.IGNORECASE)


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


# After these something must follow.
_NEVER_LAST = _set(
    "a an the my your our their its whose every and or but nor because unless until although"
    " though whereas whether than if into onto upon toward towards among between during except"
    " via per i we he they that's it's i'm you're we're they're he's"
    " she's i've you've we've they've i'll you'll we'll they'll i'd there's here's let's"
    " uh um er erm hmm uhm ah eh well like very quite rather almost just even such please plus"
    " mister mr mrs ms dr miss saint not"
)
# Their object follows, unless a question has put it first: "Where are you from?"
_PREPOSITIONS = _set(
    "of to in on at for with from by about as over under after before since against without"
)
_STRANDED = {
    "of": _set("made think thinking thought heard afraid dream dreaming proud composed kind sort"),
    "to": _set("talk talking speak speaking listen listening belong belongs want wants supposed"),
}
_AUXILIARIES = _set(
    "is are was were am be been being have has had having do does did will would can could"
    " should shall must may might isn't aren't wasn't weren't don't doesn't didn't won't"
    " wouldn't can't couldn't shouldn't haven't hasn't hadn't"
)
_QUESTIONS = _set("what which who whom whose where when why how")
_SUBORDINATORS = _set(
    "if because unless although though while when whenever since until as whereas"
)
_LEADS = _set("and so but or well okay ok now then uh um er also anyway yes no yeah oh")
_JOINING = _set("and so but or")
_PRONOUNS = _set("i you he she it we they this that these those who me him us them")
_BEING = _set("is are was were am isn't aren't wasn't weren't")
_TAGGED = _set("i you he she it we they there")
_POINTING = _set("this that these those")
# Someone or something must follow these.
_WANTING = _set(
    "tell give show want wants wanted need needs wrote married consider considered let lets"
    " put bring explain describe mean means"
)


def _pairs(pairs: str) -> frozenset[tuple[str, str]]:
    return frozenset((one, two) for one, two in (pair.split() for pair in pairs.split("/")))


_WANTING_PAIRS = _pairs(
    "let me/i think/i guess/i mean/i like/i know/you know/i said/is there/are there/there is"
    "/there are/like to/want to/going to/have to/used to/able to/try to/how much/how many/how old"
    "/how far/how long/how often/what kind/what sort/as well/so that/such as/kind of/sort of/a lot"
    "/lots of/by the"
)
_WANTING_IF_TOLD = _pairs("tell me/give me/show me/help me/ask me/send me/call me")
_LAST_AFTER_ALL = _pairs(
    "why not/course not/hope not/or not/maybe not/probably not/guess not/how well/very well"
    "/as well/yes please/stop please/like what/and who/i'm not/it's not/that's not/quite like"
)
_SHORT_QUESTIONS = _pairs("what about/how about/what else/who else/why not/how come/what now")
_ANSWERS = _set("yes no okay ok thanks please stop wait hello hi bye goodbye sure right correct")
# The verbs that have a last "on" or "in" of their own, their object before it.
_PARTICLES = {"on": _set("turn switch"), "in": _set("let plug")}
_PLACING = _set("put leave keep")
_SWITCHED = _set("light lights lamp radio tv television music news heating kettle fan")
_DIRECTIONS = _set("left right around back")
_PARTICLES_ALONE = _pairs("come in/come on/go on/carry on/move on/log in/come over/start over")
_LONG = 8
_INTENSIFIERS = _set("more most less least very so too rather quite really truly pretty fairly")
_ARTICLES = _set("a an the my your his her our their")
# An adjective after an article waits for its noun.
_ADJECTIVE = re.compile(
    r"(?:able|ible|ous|ful|ive|ish|less|est|[^aeiou]ical|ary)$"
    r"|^(?:big|small|long|short|new|old|good|bad|great|little|own|same|other|next|first|second"
    r"|best|largest|last|whole|few|different|fellow|ill|cold|warm|hot|young|high|low|nice|single)$"
)
_NUMBERED = _set("number phone code zip account extension pin digits telephone mobile")
_TENS = _set("twenty thirty forty fifty sixty seventy eighty ninety hundred thousand point dot")
_HOLDING = frozenset(
    {
        "let me see", "let me think", "hold on", "wait a moment", "one moment", "just a moment",
        "hang on", "give me a second", "excuse me", "ladies and gentlemen", "you know", "i mean",
        "the thing is", "for example", "first of all", "by the way", "in other words",
        "that is to say", "so", "okay so", "and then",
    }
)  # fmt: skip
_VERBAL = _AUXILIARIES | _set(
    "go get make take tell say said know think see want need like give ask use find let put"
    " show please come went got made took told knew thought saw wanted needed liked gave asked"
    " used found call help stop start play turn set read write wrote run keep"
)


def read(text: str, language: str) -> Reading:
    """How the caller's words so far sound.

    Args:
        text: a transcript with its punctuation.
        language: ISO 639 code; rules of grammar are known for English, others are read by
            their punctuation.
    """
    text = text.strip().replace("\u2019", "'")
    if language == "en":
        text = _CONTRACTED.sub(lambda found: f"{found[1]} {_FULL[found[2].lower()]}", text)
    words = _words(text)
    if not words or _BROKEN.search(text):
        return "open"
    closed = bool(_CLOSED.search(text))
    if language != "en":
        return "closed" if _ASKED.search(text) else "told" if closed else "unclear"
    last = _last_sentence(text)
    alone = last.strip() == text
    last = _without_please(last)
    words = _words(last) or words
    asks = bool(_ASKED.search(text))
    if closed and (finished := _finished(last, asks=asks)):
        return finished
    reading = _english(words, has_comma="," in last, asks=asks)
    if reading != "told":
        return reading
    if not closed or (not alone and len(words) == 1 and words[0] not in _ANSWERS):
        return "unclear"
    # "If I go home, what should I eat?"
    main = _words(last.rsplit(",", 1)[-1])
    is_question = _is_question(words) or (bool(main) and _is_question(main))
    return "asked" if asks and is_question else "told"


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]


def _last_sentence(text: str) -> str:
    """Only the last sentence can break off; those before it were finished."""
    pieces = re.split(r"(?<=[.?!])\s+", text)
    sentence = pieces.pop()
    while pieces:
        # "Mr. Dashwood" is no sentence's end, nor is a word that cannot stand last.
        before = _words(pieces[-1])
        is_whole = len(before) > 1 or bool(_ANSWERS & set(before))
        if is_whole and before[-1] not in _NEVER_LAST:
            break
        sentence = f"{pieces.pop()} {sentence}"
    return sentence


def _without_please(sentence: str) -> str:
    shorter = _PLEASE.sub("", sentence)
    words = _words(shorter)
    # "Sam, please." calls somebody, and what he is to do follows.
    return shorter if len(words) > 1 or (words[:1] and words[0] in _ANSWERS) else sentence


def _without_leads(words: list[str]) -> list[str]:
    while len(words) > 1 and words[0] in _LEADS:
        words = words[1:]
    return words


def _finished(sentence: str, *, asks: bool) -> Literal["asked", "told"] | None:
    """Whether the end belongs to what was said, though in general its last word wants more."""
    words = _without_leads(_words(sentence))
    if len(words) < 2:
        return None
    if asks and _ends_in_tag(words, sentence):
        return "asked"
    if _ends_in_like(words) or _ends_in_well(words, sentence) or _ends_in_particle(words):
        return "asked" if asks and _is_question(words) else "told"
    return _strands(words) if asks else None


def _ends_in_tag(words: list[str], sentence: str) -> bool:
    """Whether it is "you don't know, do you?" and not "I don't know, is it?"."""
    *clause, auxiliary, pronoun = words
    if auxiliary not in _AUXILIARIES or pronoun not in _TAGGED or len(clause) < 2:
        return False
    if clause[0] in _QUESTIONS | _AUXILIARIES:
        return False
    if _english(clause, has_comma=False, asks=False) != "told":
        return False
    if auxiliary.endswith("n't"):
        return True
    subject = clause[0].split("'")[0]
    denies = any(word.endswith("n't") or word in ("not", "never") for word in clause)
    has_comma = bool(re.search(r",\s*\S+\s+\S+$", sentence))
    return denies and has_comma and (subject == pronoun or subject not in _TAGGED)


def _ends_in_like(words: list[str]) -> bool:
    """Whether it is "what is the weather like?" and not "what I would like"."""
    asked_for = {"what", "which", "who"}
    embedded = bool(asked_for & set(words[1:-2]))
    put_first = words[0] in asked_for and _is_question(words) and len(words) > 3
    return words[-1] == "like" and (put_first or embedded)


def _ends_in_well(words: list[str], sentence: str) -> bool:
    """Whether it is "I don't feel well." and neither "it was, well" nor "as well" as something."""
    if words[-1] != "well" or re.search(r",\s*well\W*$", sentence, re.IGNORECASE):
        return False
    before = words[-2]
    if len(words) == 2:
        return before.endswith(("'m", "'re"))
    return before not in _JOINING | _set("as i we they he she")


def _ends_in_particle(words: list[str]) -> bool:
    """Whether it is "turn the lights on" and not "turn on" something."""
    last, before, earlier = words[-1], words[-2], words[:-2]
    if last == "over" and before in _BEING:
        return True
    if (before, last) in _PARTICLES_ALONE and earlier in ([], ["please"]):
        return True
    # "Put the light on"; but "put milk on" the list.
    if last == "on" and before in _SWITCHED and _PLACING & set(earlier):
        return True
    # "Turn the lights on"; but "turn left on" a street, "let me know in" a minute.
    has_object = before not in _ARTICLES | _DIRECTIONS | _VERBAL
    return has_object and bool(_PARTICLES.get(last, frozenset()) & set(earlier))


def _strands(words: list[str]) -> Literal["asked", "told"] | None:
    """Whether a question's last preposition has its object before it, or needs none.

    Where it may still go on, "Is the doctor in" the house, the answer waits as for a statement.
    """
    first, second, last = words[0], words[1], words[-1]
    named = words[2:-1]
    if words == ["who", "is", "there"] or (first == "what" and words[-2:] == ["up", "to"]):
        return "asked"
    if first in _BEING and last in ("in", "on", "over"):
        return "told" if second in _ARTICLES | _PRONOUNS and len(words) <= 5 else None
    if first not in _QUESTIONS or len(named) < 2:
        return None
    if second in _AUXILIARIES and named[0] in _POINTING:
        return "asked" if last in ("about", "for", "from", "by") else None
    if second in _AUXILIARIES and last == "about":
        return "told" if named[0] in _ARTICLES and len(named) == 2 else None
    # "What channel is the game on?"; but "what time is the train from".
    names_object = first in ("what", "which") and second not in _AUXILIARIES | {"time"}
    has_subject = named[0] in _AUXILIARIES and named[1] in _ARTICLES | _POINTING and len(named) > 2
    is_stranded = last in ("in", "on", "from", "for", "with", "about")
    return "told" if names_object and has_subject and is_stranded else None


def _english(
    words: list[str], *, has_comma: bool, asks: bool
) -> Literal["told", "unclear", "open"]:
    while len(words) > 1 and words[0] in _LEADS:
        lead, words = words[0], words[1:]
        if lead in _JOINING and not asks and not _has_verb(words):
            # "And so my fellow Americans": somebody is named, nothing is said of him.
            return "open"
    last, before = words[-1], words[-2] if len(words) > 1 else ""
    if (
        " ".join(words) in _HOLDING
        or (last in _NEVER_LAST and (before, last) not in _LAST_AFTER_ALL)
        or (before, last) in _WANTING_PAIRS
        or _wants_object(words, asks=asks)
        or _wants_number(words)
    ):
        return "open"
    if before in _ARTICLES | _INTENSIFIERS and _ADJECTIVE.search(last):
        # "Which is the largest?" is a question; so is the beginning of "... ocean on Earth?".
        return "unclear" if asks else "open"
    return _whole(words, has_comma=has_comma, asks=asks)


def _is_question(words: list[str]) -> bool:
    """Whether it is one, rather than "what your country can do for you"."""
    words = _without_leads(words)
    second = words[1] if len(words) > 1 else ""
    return words[0] in _AUXILIARIES or (
        words[0] in _QUESTIONS | _PREPOSITIONS and second not in _ARTICLES | _PRONOUNS
    )


def _has_verb(words: list[str]) -> bool:
    return any(word in _VERBAL or word.endswith(("ed", "ing", "n't", "'s")) for word in words)


def _wants_object(words: list[str], *, asks: bool) -> bool:
    first, last, before = words[0], words[-1], words[-2] if len(words) > 1 else ""
    put_first = asks and first in _QUESTIONS
    if last in _STRANDED:
        return before not in _STRANDED[last]
    if last in _PREPOSITIONS:
        has_gap = before in _PRONOUNS or before.endswith("ing") or before in _VERBAL
        return not (put_first and has_gap)
    if last in _WANTING:
        return not (put_first and len(words) > 2)
    if (before, last) in _WANTING_IF_TOLD:
        return not asks
    if last in _PRONOUNS and before in _AUXILIARIES:
        # "Is it", "what can you": the rest follows; "how are you", "where is it": all is there.
        return first not in _QUESTIONS or before not in _BEING
    if last in ("do", "have", "did", "had", "does") and put_first:
        return False
    if last in _AUXILIARIES:
        # "What is", "the capital is"; but "what it is", "than he was", "yes, I do".
        embedded = any(word in _QUESTIONS or word in ("than", "as") for word in words[1:-2])
        answers = len(words) <= 3 and first not in _QUESTIONS
        return not (before in _PRONOUNS and (embedded or answers))
    return False


def _wants_number(words: list[str]) -> bool:
    last = words[-1]
    if last in ("point", "dot"):
        return True
    return (last.isdigit() or last in _TENS) and bool(_NUMBERED & set(words))


def _whole(words: list[str], *, has_comma: bool, asks: bool) -> Literal["told", "unclear", "open"]:
    first = words[0]
    if len(words) == 1:
        alone = _QUESTIONS | _AUXILIARIES | _SUBORDINATORS | _PREPOSITIONS
        return "open" if first in alone else "told"
    asks_when = first == "when" and words[1] in _AUXILIARIES
    if first in _SUBORDINATORS and not has_comma and not asks_when:
        return "open" if len(words) < _LONG else "unclear"
    if asks and first in _QUESTIONS and len(words) < 4 and not _has_verb(words):
        # "How many days?": a question of a name and nothing else.
        return "told" if tuple(words[:2]) in _SHORT_QUESTIONS else "open"
    return "told"
