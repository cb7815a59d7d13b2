"""Piper's voices that polydub knows by name: where they lie, how large they are, what their licences allow.

Of lessac the revision, lengths and hashes were found alike in two unrelated projects that pin them (a Dockerfile with
ADD --checksum, a table of sizes and hashes at revision c10ece1). Of the others the hub says at the first pull what there is.
The repository is under MIT; each voice besides under the licence of its recordings, named in the MODEL_CARD that is pulled
with it. Nobody here has read these cards, so that commercial use is taken for not allowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from polydub.engines.base import Weight, WeightFile

HUB = "hub:rhasspy/piper-voices"
MEDIUM, SEVERAL, HIGH, X_LOW = 63_500_000, 78_000_000, 115_000_000, 28_500_000  # bytes of a voice, about
UNREAD = "see the voice's MODEL_CARD"

# name -> bytes, about. Best of a language first.
_VOICES: Mapping[str, int] = {
    "en_US-libritts_r-medium": SEVERAL,
    "en_US-ryan-high": HIGH,
    "en_US-amy-medium": MEDIUM,
    "en_GB-vctk-medium": SEVERAL,
    "en_GB-alan-medium": MEDIUM,
    "es_ES-sharvard-medium": SEVERAL,
    "es_ES-davefx-medium": MEDIUM,
    "es_MX-claude-high": MEDIUM,
    "es_MX-ald-medium": MEDIUM,
    "de_DE-thorsten-high": HIGH,
    "de_DE-thorsten-medium": MEDIUM,
    "fr_FR-upmc-medium": SEVERAL,
    "fr_FR-siwis-medium": MEDIUM,
    "it_IT-paola-medium": MEDIUM,
    "it_IT-riccardo-x_low": X_LOW,
    "pt_BR-faber-medium": MEDIUM,
    "nl_NL-mls-medium": SEVERAL,
    "pl_PL-gosia-medium": MEDIUM,
    "ru_RU-irina-medium": MEDIUM,
    "uk_UA-ukrainian_tts-medium": SEVERAL,
    "cs_CZ-jirka-medium": MEDIUM,
    "ca_ES-upc_ona-medium": MEDIUM,
    "tr_TR-dfki-medium": MEDIUM,
    "sv_SE-nst-medium": MEDIUM,
}
_LESSAC = Weight(
    "piper-en_US-lessac-medium",
    "c10ece1aade47bb51c153c893d14e5bf8e5b7117",
    HUB,
    "Blizzard 2013 licence of the recordings: research only",
    False,
    (
        WeightFile(
            "en/en_US/lessac/medium/en_US-lessac-medium.onnx",
            "5efe09e69902187827af646e1a6e9d269dee769f9877d17b16b1b46eeaaf019f",
            63_201_294,
        ),
        WeightFile(
            "en/en_US/lessac/medium/en_US-lessac-medium.onnx.json",
            "efe19c417bed055f2d69908248c6ba650fa135bc868b0e6abb3da181dab690a0",
            4_885,
        ),
    ),
    languages=("en-US",),
)


def tag_of(code: str) -> str:
    """The BCP-47 tag of a voice's language: "es_ES" -> "es-ES", "en-us" -> "en-US", "no_NO" -> "nb-NO"."""
    language, *region = code.replace("_", "-").split("-")[:2]
    language = {"no": "nb"}.get(language.lower(), language.lower())
    return "-".join([language, *(part.upper() for part in region if len(part) == 2)])


def _weight(name: str, size: int) -> Weight:
    code, voice, quality = name.split("-")
    folder = f"{code.partition('_')[0]}/{code}/{voice}/{quality}"
    patterns = (f"{folder}/{name}.onnx", f"{folder}/{name}.onnx.json", f"{folder}/MODEL_CARD")
    return Weight(f"piper-{name}", "", HUB, UNREAD, False, (), patterns, size, (tag_of(code),))


CATALOGUE: Mapping[str, Weight] = MappingProxyType(
    {name: _weight(name, size) for name, size in _VOICES.items()} | {"en_US-lessac-medium": _LESSAC}
)
