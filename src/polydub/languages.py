"""Languages: one table, BCP-47 inside, names and ISO 639 codes accepted at the door.

`parse` is for what people type and raises; every other function takes any tag and never raises.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import cache, lru_cache

from polydub.errors import UnsupportedLanguage
from polydub.languages_table import LANGUAGES, REGIONS, SCRIPTS, VARIETIES

_RTL = frozenset({"Adlm", "Arab", "Hebr", "Nkoo", "Syrc", "Thaa"})
_CJK = frozenset({"Bopo", "Hang", "Hani", "Hans", "Hant", "Hira", "Jpan", "Kana", "Kore"})
_REGION_ALIASES = {"UK": "GB"}
# The region that a bare language most likely means, where engines offer several.
_HOME = {
    **{"ar": "EG", "bn": "BD", "de": "DE", "en": "US", "es": "ES", "fa": "IR", "fr": "FR", "hy": "AM", "it": "IT", "ko": "KR"},
    **{"ms": "MY", "nl": "NL", "pt": "BR", "ru": "RU", "sv": "SE", "sw": "TZ", "ta": "IN", "ur": "PK", "vi": "VN", "zh": "CN"},
}
# Regions that write a language in another script than most.
_REGION_SCRIPTS = {
    **{("zh", region): "Hant" for region in ("TW", "HK", "MO")},
    **{("az", "IR"): "Arab", ("kk", "CN"): "Arab", ("mn", "CN"): "Mong", ("pa", "PK"): "Arab", ("sr", "ME"): "Latn"},
    **{("tg", "AF"): "Arab", ("ug", "KZ"): "Cyrl", ("uz", "AF"): "Arab"},
}
_VARIANTS = frozenset(
    {"1901", "1994", "1996", "ao1990", "arevela", "arevmda", "biske", "colb1945", "fonipa", "nedis", "oxendict", "pinyin"}
    | {"polyton", "rozaj", "rumgr", "scotland", "scouse", "sutsilv", "tarask", "uccor", "valencia", "vallader", "wadegile"}
)
_LATIN_AMERICA = "AR BO CL CO CR CU DO EC GT HN MX NI PA PE PR PY SV US UY VE"
# Regions whose variety is nearest to another one than to the language's home.
_PARENTS = {
    **{("es", region): "419" for region in _LATIN_AMERICA.split()},
    **{("en", region): "GB" for region in ("AU", "IE", "IN", "NZ", "SG", "ZA", "KE", "NG", "MT", "HK")},
    **{("pt", region): "PT" for region in ("AO", "CH", "CV", "GW", "LU", "MO", "MZ", "ST", "TL")},
}


class _Row:
    __slots__ = ("aliases", "bibliographic", "group", "name", "native", "scripts", "tag", "terminological")

    def __init__(self, line: str) -> None:
        self.tag, code, other, scripts, self.name, self.native, aliases = line.split("|")
        self.group = code.endswith("~")
        self.terminological = code.rstrip("~")
        self.bibliographic = other.rstrip("~") or self.terminological
        self.scripts = scripts.split()
        self.aliases = aliases.split(",") if aliases else []


class _Tag:
    """A tag in its parts: language in lower case, Script, REGION, and the rest (variants, private use)."""

    __slots__ = ("language", "region", "rest", "script")

    def __init__(self, language: str, script: str = "", region: str = "", rest: str = "") -> None:
        self.language, self.script, self.region, self.rest = language, script, region, rest

    def __str__(self) -> str:
        return "-".join(part for part in (self.language, self.script, self.region, self.rest) if part)


def parse(text: str) -> str:
    """The canonical BCP-47 tag of a language code or name, as people type it.

    Accepts BCP-47 in any case and with "_", ISO 639-2 and 639-3 codes, English and native names with or without accents,
    and names with a place: "es", "pt_br", "ger", "spanish", "Espanol", "Spanish (Mexico)", "Brazilian Portuguese".
    One language has one tag: "cmn" is "zh", "no" is "nb", "tl" is "fil"; a script is kept only where the language has several.
    Raises: UnsupportedLanguage, with the nearest names; also for the empty text and for an unknown script or region.
    """
    tag = _read(text)
    if tag is None:
        raise UnsupportedLanguage(f"there is no language {text.strip()[:60]!r}", _hint(text))
    return str(tag)


def or_und(text: str) -> str:
    """Like `parse`, but "und" for what it does not know: for the tags of files, which say all sorts of things."""
    return str(_read(text) or "und")


def tags() -> tuple[str, ...]:
    """The primary tags of all known languages in alphabetical order; without "und", "mul" and "zxx"."""
    return tuple(sorted(tag for tag, row in _rows().items() if row.scripts != ["Zyyy"]))


def base(tag: str) -> str:
    """The primary language of a tag: "es" of "es-MX", "zh" of "cmn-Hans". Of an unknown tag its first part in lower case."""
    known = _read(tag)
    return known.language if known else tag.strip().replace("_", "-").split("-")[0].lower()


def name(tag: str) -> str:
    """The English name of the language alone, "Spanish" of "es-MX"; of an unknown tag the tag itself."""
    row = _row(tag)
    return row.name if row else tag


def native_name(tag: str) -> str:
    """What the language calls itself, with a capital: "Español"; of an unknown tag the tag itself."""
    row = _row(tag)
    return row.native if row else tag


def title(tag: str) -> str:
    """English name with script and place: "Spanish (Mexico)", "Chinese (Traditional, Taiwan)"; for tracks and lists."""
    known = _read(tag)
    if known is None:
        return tag
    places = [_scripts().get(known.script, ""), _regions().get(known.region, "")]
    inside = ", ".join(place for place in places if place)
    return f"{name(tag)} ({inside})" if inside else name(tag)


def iso639_2(tag: str) -> str:
    """The three-letter ISO 639-2/T code, "spa", "deu" (MP4). Of a language without one its group's; "und" of an unknown tag."""
    row = _row(tag)
    return row.terminological if row else "und"


def iso639_2b(tag: str) -> str:
    """The three-letter ISO 639-2/B code, "spa", "ger" (Matroska). Of a language without one its group's; "und" if unknown."""
    row = _row(tag)
    return row.bibliographic if row else "und"


def matches(a: str, b: str) -> bool:
    """Whether two tags name the same primary language, whatever region or script."""
    return base(a) == base(b)


def is_rtl(tag: str) -> bool:
    """Whether the language, in the tag's script, is written from right to left; False of an unknown tag."""
    known = _read(tag)
    return known is not None and _script(known) in _RTL


def is_cjk(tag: str) -> bool:
    """Whether the language, in the tag's script, is written in Chinese, Japanese or Korean script; False if unknown."""
    known = _read(tag)
    return known is not None and _script(known) in _CJK


def nearest(tag: str, available: Iterable[str]) -> str | None:
    """The entry of `available` that serves `tag` best, spelt as it is there; None when the language is not among them.

    In order: the same tag; the same region, or the one it is close to ("es-419" for "es-MX"), in the same script; the bare
    language; another region; another script. Of equals the first.
    """
    wanted = _read(tag)
    best: tuple[int, str] | None = None
    for candidate in available:
        rank = _distance(wanted, candidate) if wanted else (0 if candidate.lower() == tag.lower() else None)
        if rank is not None and (best is None or rank < best[0]):
            best = (rank, candidate)
    return best[1] if best else None


def _distance(wanted: _Tag, candidate: str) -> int | None:
    have = _read(candidate)
    far = 0
    if have is None:  # an engine's own spelling, such as "en-us-nyc": usable, but only its language is sure
        have, far = _read(candidate.replace("_", "-").split("-")[0]), 50
    if have is None or have.language != wanted.language:
        return None
    if str(have) == str(wanted) and not far:
        return 0
    far += 1 if have.rest == wanted.rest else 3
    if _script(have) != _script(wanted):
        far += 100
    return far + _regional_distance(wanted, have.region)


def _regional_distance(wanted: _Tag, region: str) -> int:
    language = wanted.language
    home = _HOME.get(language, "")
    mine, theirs = _PARENTS.get((language, wanted.region), ""), _PARENTS.get((language, region), "")
    if region == wanted.region:
        return 0
    if not region:
        return 20
    if region == mine or (wanted.region == theirs if wanted.region else region == home):
        return 10
    if mine == theirs and mine:
        return 30
    return 40 if region == home else 45


def _script(tag: _Tag) -> str:
    return tag.script or _REGION_SCRIPTS.get((tag.language, tag.region), "") or _rows()[tag.language].scripts[0]


@lru_cache(maxsize=4096)
def _read(text: str) -> _Tag | None:
    whole = _index().get(_fold(text))
    if whole is not None:
        return whole
    text = text.strip()
    if text.endswith(")") and "(" in text:
        return _named_place(*text[:-1].split("(", 1))
    subtags = text.replace("_", "-").split("-")
    head = _index().get(_fold(subtags[0]))
    if head is None or head.script or head.region:
        return None
    rest = subtags[1:]
    if rest and len(rest[0]) == 3 and rest[0].isalpha() and head.language == "zh":  # zh-yue: an extended language
        head, rest = _index().get(rest[0].lower()), rest[1:]
    return _qualified(head.language, rest) if head else None


def _qualified(language: str, rest: list[str]) -> _Tag | None:
    script = region = ""
    if rest and len(rest[0]) == 4 and rest[0].isalpha():
        script, rest = rest[0].title(), rest[1:]
    if rest and (len(rest[0]) == 2 or (len(rest[0]) == 3 and rest[0].isdigit())):
        region, rest = _REGION_ALIASES.get(rest[0].upper(), rest[0].upper()), rest[1:]
    if (script and script not in _scripts()) or (region and region not in _regions()) or not _are_variants(rest):
        return None
    if [script] == _rows()[language].scripts:
        script = ""
    return _Tag(language, script, region, "-".join(rest).lower())


def _are_variants(subtags: list[str]) -> bool:
    for place, subtag in enumerate(subtags):
        if len(subtag) == 1:  # an extension or private use: what follows is free
            free = subtags[place + 1 :]
            return bool(free) and all(s.isascii() and s.isalnum() and len(s) <= 8 for s in subtags[place:])
        if subtag.lower() not in _VARIANTS:
            return False
    return True


def _named_place(language: str, place: str) -> _Tag | None:
    head = _index().get(_fold(language))
    if head is None:
        return None
    codes = {_fold(label): code for table in (_scripts(), _regions()) for code, label in table.items()}
    subtags = [codes.get(_fold(part), part.strip()) for part in place.split(",")]
    return _qualified(head.language, subtags)


def _row(tag: str) -> _Row | None:
    known = _read(tag)
    return _rows()[known.language] if known else None


@cache
def _rows() -> dict[str, _Row]:
    rows = map(_Row, LANGUAGES.strip().splitlines())
    return {row.tag: row for row in rows}


@cache
def _regions() -> dict[str, str]:
    return _pairs(REGIONS)


@cache
def _scripts() -> dict[str, str]:
    return _pairs(SCRIPTS)


def _pairs(table: str) -> dict[str, str]:
    entries = table.replace("\n", " ").split(";")
    return {code: label for code, _, label in (entry.strip().partition(" ") for entry in entries)}


@cache
def _index() -> dict[str, _Tag]:
    rows = _rows().values()
    index = {row.tag: _Tag(row.tag) for row in rows}  # a tag beats a code, a code beats a name
    for row in rows:
        if not row.group:
            index.setdefault(row.terminological, index[row.tag])
            index.setdefault(row.bibliographic, index[row.tag])
    for row in rows:
        for word in (*row.aliases, row.name, row.native):
            index.setdefault(_fold(word), index[row.tag])
    for line in VARIETIES.strip().splitlines():
        label, _, tag = line.partition("|")
        language, _, place = tag.partition("-")
        index.setdefault(_fold(label), _Tag(language, place) if len(place) == 4 else _Tag(language, region=place))
    return index


def _fold(text: str) -> str:
    """Lower case without Latin accents and punctuation; marks of other scripts are letters there and stay."""
    if not text.isascii():
        text = "".join(c for c in unicodedata.normalize("NFKD", text) if not "\u0300" <= c <= "\u036f")
    kept = (c if c.isalnum() or unicodedata.category(c)[0] == "M" else " " for c in text.casefold())
    return " ".join("".join(kept).split())


def _hint(text: str) -> str:
    from difflib import get_close_matches

    close = get_close_matches(_fold(text)[:60], list(_index()), n=6, cutoff=0.65)
    spoken = [tag for tag in (_index()[word] for word in close) if _rows()[tag.language].scripts != ["Zyyy"]]
    tags = list(dict.fromkeys(map(str, spoken)))[:3]
    accepted = "codes such as es, es-MX or spa and names such as Spanish or Español are accepted"
    if not tags:
        return accepted
    *others, last = [f"{title(tag)} [{tag}]" for tag in tags]
    return f"did you mean {', '.join(others) + ' or ' if others else ''}{last}? {accepted}"
