"""Tells words that want the floor from sounds that only say "go on"."""

from __future__ import annotations

import re

from appliance.sentences import UNSPACED

# Repeated letters are written once: "mmmh" is "mh", "uhhh" is "uh".
_SOUNDS = frozenset({
    "ach", "achoo", "ah", "aha", "ahem", "ahm", "argh", "au", "aw", "eh", "ehe", "ehm", "em",
    "er", "erm", "grh", "ha", "hah", "he", "heh", "hi", "hic", "hm", "hmh", "ho", "hohum", "hu",
    "huh", "hum", "m", "mh", "mhm", "mhmh", "oh", "ohm", "oho", "oi", "ou", "ow", "oy", "pf", "pfh",
    "pft", "phew", "psst", "ts", "tsk", "ugh", "uh", "uhm", "uhu", "uhuh", "uhum", "um", "umh",
})  # fmt: skip
_LAUGH = re.compile(r"[bmw]{0,2}[haeiou]{3,}")
_SIGN = re.compile(r"\[[^\]]*\]|\([^)]*\)|\*[^*]*\*|<[^>]*>|\u266a[^\u266a]*\u266a?")
# Chinese and Japanese put no spaces between their words: each sign is one.
_LETTER = rf"(?:(?![{UNSPACED}])[^\W_])"
_TOKEN = re.compile(rf"[{UNSPACED}]|{_LETTER}+(?:['\u2019]{_LETTER}+)*")
_REPEATED = re.compile(r"(.)\1+")
_LONGEST = 4

_PHRASES = {
    "en": "yes|yeah|yea|yep|yup|ya|ok|okay|k|right|alright|all right|sure|i see|good|great|nice|cool|fine|"
    "got it|exactly|indeed|true|of course|really|wow|interesting|go on|thank you|thanks|you|"
    "thank you very much|that's right|makes sense|i know|bye",
    "de": "ja|jo|jup|ok|okay|gut|genau|stimmt|klar|aha|ach so|achso|verstehe|ich verstehe|alles klar|"
    "richtig|eben|danke|vielen dank|schön|super|echt|wirklich|na klar|so so|tja|naja",
    "fr": "oui|ouais|ok|okay|d'accord|bien|très bien|je vois|voilà|exactement|c'est ça|ah bon|merci|"
    "bien sûr|vraiment|super|tout à fait|effectivement|bon",
    "es": "sí|si|ok|okay|vale|bien|claro|ya|ya veo|exacto|entiendo|de acuerdo|gracias|muy bien|"
    "por supuesto|de verdad|ajá|bueno|eso es",
    "it": "sì|si|ok|okay|va bene|bene|certo|capisco|ho capito|esatto|giusto|grazie|davvero|"
    "d'accordo|già|ecco|infatti|perfetto",
    "nl": "ja|jaja|ok|oké|okay|goed|precies|juist|klopt|natuurlijk|ik snap het|ik begrijp het|"
    "bedankt|dank je|prima|mooi|echt|inderdaad|zeker",
}
_OF_ALL = "ok|okay|oké|okey"
# Who says one of these wants to be heard, however short it is, and no model hears them in a sound.
_CALLS = {
    "en": "stop|wait|no|hold|hang|enough|quiet|cancel|hey|hello|listen|sorry|excuse|help|pause|never",
    "de": "stop|stopp|halt|warte|warten|nein|moment|genug|ruhe|hallo|hilfe|entschuldigung|pause",
    "fr": "stop|arrête|arrêtez|attends|attendez|non|assez|silence|pardon|excusez|allô|aide|pause",
    "es": "stop|para|pare|alto|espera|espere|no|basta|silencio|perdón|oye|oiga|hola|ayuda",
    "it": "stop|ferma|fermati|fermo|aspetta|aspetti|no|basta|silenzio|scusa|scusi|senti|aiuto",
    "nl": "stop|wacht|nee|genoeg|stil|stilte|hallo|pardon|sorry|luister|help|pauze",
}


def _listed(phrases: str) -> frozenset[tuple[str, ...]]:
    return frozenset(tuple(_tokens(phrase)) for phrase in phrases.split("|"))


def _tokens(text: str) -> list[str]:
    return [token.replace("\u2019", "'") for token in _TOKEN.findall(_SIGN.sub(" ", text).lower())]


_KNOWN = {language: _listed(f"{phrases}|{_OF_ALL}") for language, phrases in _PHRASES.items()}
_ELSEWHERE = _listed(_OF_ALL)
_CALLED = {language: frozenset(words.split("|")) for language, words in _CALLS.items()}


def wants_the_floor(text: str, language: str) -> bool:
    """Whether somebody who speaks over another says something with it.

    Args:
        text: a transcript, complete or not.
        language: ISO 639 code; where it is not one of those with a list, only sounds and "ok"
            count as saying nothing.
    """
    return bool(telling_words(text, language))


def telling_words(text: str, language: str) -> frozenset[str]:
    """The words with which somebody who speaks over another says something; arguments as above."""
    known = _KNOWN.get(language[:2].lower(), _ELSEWHERE)
    words = _tokens(text)
    spoken = [word for word in words if not _is_sound(word)]
    if len(spoken) > _LONGEST:
        return frozenset(spoken)
    telling, at = set[str](), 0
    while at < len(words):
        # A word of a phrase may read like a sound: "ach so", "ho capito".
        longest = next((n for n in range(_LONGEST, 0, -1) if tuple(words[at : at + n]) in known), 0)
        if not longest and not _is_sound(words[at]):
            telling.add(words[at])
        at += longest or 1
    return frozenset(telling)


def says_words(text: str) -> bool:
    """Whether there is a word in it, and be it "yes" or "okay"; a sound like "mhm" is none."""
    return not all(map(_is_sound, _tokens(text)))


def calls_out(words: frozenset[str], language: str) -> bool:
    """Whether one of these words is only ever said to be heard: "stop", "wait", "no"."""
    return not _CALLED.get(language[:2].lower(), _CALLED["en"]).isdisjoint(words)


def _is_sound(token: str) -> bool:
    laughs = token.count("h") > 1 and _LAUGH.fullmatch(token) is not None
    return laughs or _REPEATED.sub(r"\1", token) in _SOUNDS
