"""Words as the CMU dictionary spells them, and espeak-ng's phonemes of American English as its phones (ARPAbet)."""

from __future__ import annotations

import re
import unicodedata

PHONES = frozenset(
    re.findall(
        r"\w+",
        "AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW B CH D DH F G HH JH K L M N NG P R S SH T TH V W Y Z ZH",
    )
)

# Longest first where one begins like another. espeak-ng's tap is T: between words the dictionary has T, too.
_IPA = {
    "ɑː": "AA", "ɒ": "AA", "ɑ": "AA", "a": "AA", "æ": "AE", "ɐ": "AH", "ʌ": "AH", "ə": "AH", "ɔː": "AO", "ɔ": "AO",
    "aʊ": "AW", "aɪ": "AY", "ɛ": "EH", "e": "EH", "ɜː": "ER", "ɜ": "ER", "ɚ": "ER", "ɝ": "ER", "eɪ": "EY", "eː": "EY",
    "ɪ": "IH", "ᵻ": "IH", "iː": "IY", "i": "IY", "y": "IY", "oʊ": "OW", "oː": "OW", "o": "OW", "ɔɪ": "OY", "ʊ": "UH",
    "uː": "UW", "u": "UW", "ø": "ER", "œ": "ER", "b": "B", "tʃ": "CH", "d": "D", "ð": "DH", "f": "F", "ɡ": "G", "g": "G",
    "h": "HH", "x": "K", "ç": "HH", "dʒ": "JH", "k": "K", "l": "L", "ɫ": "L", "ɬ": "L", "m": "M", "n": "N", "ɲ": "N Y",
    "ŋ": "NG", "p": "P", "ɹ": "R", "r": "R", "ɾ": "T", "s": "S", "ʃ": "SH", "t": "T", "ʔ": "T", "θ": "TH", "v": "V",
    "w": "W", "ʍ": "W", "j": "Y", "z": "Z", "ʒ": "ZH", "n̩": "AH N", "l̩": "AH L", "m̩": "AH M",
}  # fmt: skip
_SYMBOL = re.compile("|".join(map(re.escape, sorted(_IPA, key=len, reverse=True))))

_NAMED = {"&": "and", "%": "percent", "@": "at", "+": "plus", "=": "equals"}
_MONEY = {"$": "dollars", "£": "pounds", "€": "euros", "¥": "yen", "₹": "rupees"}
_SCALE = {"k": "thousand", "m": "million", "bn": "billion", "b": "billion", "tn": "trillion"}
_ELIDED = frozenset({"'tis", "'twas", "'til", "'em", "'cause", "'bout", "'round", "'cuse", "'course", "'kay"})
_SHORT = {"dr": "doctor", "st": "saint", "mt": "mount", "vs": "versus"}  # "dr" is a drive to the dictionary, "st" a street
_BREAKS = re.compile(r"[-‐‑‒–—/\\_…]+|\.{2,}|(?<=[^\W\d])[,:;!?]+(?=[^\W\d])")
_INITIALS = re.compile(r"(?:[a-z]\.){2,}[a-z]?\.?")
_YEAR = re.compile(r"(1[1-9]|20)(\d\d)('?s)?")
_PRICE = re.compile(r"([$£€¥₹])(\d[\d.,]*)(k|m|bn|b|tn)?")


def arpabet(ipa: str) -> tuple[str, ...]:
    """The phones of espeak-ng's IPA, stress and all that English does not have left out; none for a text without sounds."""
    return tuple(phone for symbol in _SYMBOL.findall(unicodedata.normalize("NFC", ipa)) for phone in _IPA[symbol].split())


def tokens(word: str) -> tuple[str, ...]:
    """What to look up for one word as it is written: lower case, punctuation off, compounds apart; none for mere punctuation.

    What is left may still be no word of the dictionary: numbers, prices and names keep their signs, for `readings`.
    """
    plain = unicodedata.normalize("NFKC", word).casefold().replace("’", "'").replace("`", "'")
    if plain.strip() in _NAMED:
        return (_NAMED[plain.strip()],)
    found = (_stripped(part) for part in _BREAKS.split("".join(c for c in plain if not c.isspace())))
    return tuple(token for token in found if token)


def _stripped(part: str) -> str:
    """`part` without quotes, brackets and points around it; "" where no letter or digit is left."""
    kept = "".join(c for c in part if c.isalnum() or c in "'.,:$£€¥₹%&@+#°" or unicodedata.category(c) in ("Mn", "Mc"))
    if not any(c.isalnum() for c in kept):
        return ""
    token = kept.strip(".,:'&@#")
    if _INITIALS.fullmatch(f"{token}."):
        return f"{token}."
    if f"'{token}" in _ELIDED and f"'{token}" in kept:
        return f"'{token}"
    return _SHORT.get(token, token) if f"{token}." in kept else token


def readings(token: str) -> tuple[str, ...]:
    """Ways to read a token aloud, as words and plain numbers for espeak-ng, the likeliest first; never empty."""
    if (price := _PRICE.fullmatch(token)) is not None:
        scale = _SCALE.get(price[3] or "", "")
        return (" ".join(filter(None, (price[2].rstrip(".,"), scale, _MONEY[price[1]]))),)
    if (year := _YEAR.fullmatch(token)) is None:
        return (token,)
    century, rest, plural = year[1], year[2], "s" if year[3] else ""
    if rest == "00":
        return (token,) if century == "20" else (f"{century} hundred{plural}", token)
    pair = f"{century} oh {rest[1]}{plural}" if rest[0] == "0" else f"{century} {rest}{plural}"
    return (pair, token)
