"""Whether a text is surely not in the language it should be in: by script and by the commonest small words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

from polydub import languages

_LETTERS = 8  # fewer in another script may be a name
_SHARE = 0.9  # of the letters that must be in other scripts than the language's
_WORDS = 6  # shorter texts are not judged by their small words: "The Lord of the Rings" is a title anywhere
_FOREIGN_WORDS, _FOREIGN_SHARE = 3, 0.3  # small words of another language, none of the right one
# First words of names of Unicode letters, by language; of languages that are in none of these, anything may be right.
_LATIN = "ca cs da de en es et eu fi fr ga gl hr hu id is it lt lv ms mt nb nl nn no pl pt ro sk sl sq sv sw tr vi"
_SCRIPTS: Mapping[str, frozenset[str]] = {
    **{language: frozenset({"LATIN"}) for language in _LATIN.split()},
    **{language: frozenset({"CYRILLIC"}) for language in ("be", "bg", "mk", "ru", "uk")},
    **{language: frozenset({"ARABIC"}) for language in ("ar", "fa", "ur")},
    "el": frozenset({"GREEK"}),
    "he": frozenset({"HEBREW"}),
    "hi": frozenset({"DEVANAGARI"}),
    "ja": frozenset({"HIRAGANA", "KATAKANA", "CJK", "KATAKANA-HIRAGANA"}),
    "ko": frozenset({"HANGUL", "CJK"}),
    "th": frozenset({"THAI"}),
    "zh": frozenset({"CJK"}),
}
# Words that hardly a sentence of the language does without; those that languages share stand in each of them.
_SMALL: Mapping[str, frozenset[str]] = {
    language: frozenset(words.split())
    for language, words in {
        "de": "aber als am an auch auf aus bei bin bist da das dass dem den der des die du ein eine einen er es für hab habe "
        "haben hast hat hier ich ihn ihr im in ist ja kann man mein mich mir mit muss nach nein nicht noch nur oder schon sich "
        "sie sind so und uns von war was wenn wer wie wir wird wo zu zum zur",
        "en": "a about all am an and are as at be been but by can could did do does for from get go had has have he her here "
        "him his how i if in is it its just like me my no not of on one or our out she so some that the their them then there "
        "they this to up us was we were what when where which who why will with would you your",
        "es": "a al algo así aquí como con cuando de del donde dónde e el él ella ellos en era es esa ese eso esta está este "
        "esto fue ha hay he la las le les lo los más me mi mis muy nada ni no nos o para pero por porque pues que qué quien "
        "se ser si sí sin sobre son soy su sus tan te ti tu tú tus un una y ya yo",
        "fr": "à ai as au aux avec c'est ça ce ces cet cette comme d dans de des donc du elle elles en es est et être il ils "
        "j'ai je l la là le les leur lui ma mais me mes moi mon n n'est ne non nos nous on ont ou où par pas plus pour qu que "
        "qui s sa se ses si son sont sur t ta te tes toi ton tout tu un une vous y",
        "it": "a ai al alla anche c'è che chi ci come con cosa da dal dei del della delle di dove e è ed era gli ha hai ho i "
        "il in io l la le lei lo loro lui ma me mi mio ne nel nella no noi non o per perché più quando quello questa questo "
        "se sei si sì sono su sua suo te ti tu un una uno",
        "nl": "aan al als bij dan dat de der deze die dit door een en er ga haar had heb hebben heeft het hem hier hij hoe ik "
        "in is ja je jij kan maar me men met mij mijn moet naar naast nee niet niets nog nu of om omdat onder ons ook op over "
        "te toen tot u uit van veel voor waar was wat we wel werd wie wij wil ze zei zich zij zijn zo zou",
        "pl": "a aby ale bo być było by był była ci co czy dla do dobrze go gdzie i ich ja jak jaki jako jej jego jest jestem "
        "jeszcze już każdy która który ma mam mi mnie może my na nic nie niego nim o od on ona oni po pod przez się są ta tak "
        "tam te tego ten to tu ty w więc wszystko z za że",
        "pt": "a ao aos aqui as até com como da das de dele do dos e é ela ele eles em era essa esse está estou eu foi há isso "
        "isto já lá mais mas me meu minha muito na não nas nem no nos nós o os ou para pela pelo por porque quando que quem se "
        "sem ser seu só são sua também te tem tu um uma você",
    }.items()
}


def foreign(text: str, language: str) -> bool:
    """Whether `text` is surely in another language than `language` (BCP-47); False in doubt, and for unknown languages.

    Sure is: at least 8 letters, of which 90 % belong to scripts that the language is not written in; or, between de, en,
    es, fr, it, nl, pl and pt, at least six words of which none is among the language's commonest and at least three, and
    30 %, are among another's.
    """
    return _in_other_script(text, language) or _of_other_words(text, language)


def _in_other_script(text: str, language: str) -> bool:
    own = _SCRIPTS.get(languages.base(language))
    if (
        own is None
        or languages.base(language) != language.partition("-")[0].casefold()
        or re.search("-[A-Za-z]{4}(-|$)", language)
    ):
        return False  # a tag that names a script is taken at its word
    scripts = [unicodedata.name(c, "").partition(" ")[0] for c in text if c.isalpha()]
    return len(scripts) >= _LETTERS and sum(s not in own for s in scripts) >= _SHARE * len(scripts)


def _of_other_words(text: str, language: str) -> bool:
    own = _SMALL.get(languages.base(language))
    words = re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)?", unicodedata.normalize("NFC", text).casefold().replace("’", "'"))
    if own is None or len(words) < _WORDS or any(word in own for word in words):
        return False
    most = max(sum(word in small for word in words) for small in _SMALL.values())
    return most >= max(_FOREIGN_WORDS, _FOREIGN_SHARE * len(words))
