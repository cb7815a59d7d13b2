"""The Whisper models that faster-whisper runs, pinned: revision, and length and sha256 of every file it reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from polydub.engines.base import Weight, WeightFile

# Systran's conversions to CTranslate2 (float16) of OpenAI's models, MIT as these; turbo is the one that faster-whisper 1.2.1
# takes, under the name it uses, so that what it has cached is found (the hub redirects to the new name, dropbox-dash/...).
# Lengths and hashes come from download manifests in public repositories, read in October 2026. For every file at least two
# programs of different authors pin the same revision and agree: a catalogue with length and sha256 of all six models
# (WHISPER_MODEL_CATALOG of a subtitle program), and
#   tiny      a ModelPin with the digests of this revision; a table of lengths and sha256 in a notes page
#   base      the whisper-model.json of a voice-over service; an acceptance record with a hash of each file
#   small     the MODEL_ARTIFACTS of a download script (repository, revision, lengths); a TrustedModel table
#   medium    the caption tier of a video program, hashed by it from its own snapshot; the same TrustedModel table
#   large-v3  the CAPTION_MODEL_FILES of that video program; a benchmark's table of models
#   turbo     the MODEL_FILES of an offline subtitle worker; the SHA256SUMS of an installer built from this revision
# Of those below, read in November 2026, likewise:
#   large-v2  the EXPECTED_FILES of a test of download manifests; the model manifest of a macOS transcription program
#   tiny.en   the STT_SHA256 of a question-answering program; a voice typing program's record of what it downloaded and hashed
#   base.en   the PINNED_FILES of a meeting assistant; a model table (lengths and sha256) in a release note
#   small.en  a model pin with measured lengths in a setup report; the expected catalogue of a desktop program's test
#   medium.en the MODEL_FILES of a speech recognition job (with lengths); the WHISPER table of a robot's download script
#   distil-large-v3  that voice typing program's record; the file table of an audio metric; lengths in a catalogue of models
# distil-large-v3 is by Hugging Face's distil-whisper team (MIT). No two sources tell every hash of the unpinned ones.
_TOKENIZER = WeightFile("tokenizer.json", "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab", 2_203_239)
_VOCABULARY = WeightFile("vocabulary.txt", "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913", 459_861)
_EN_TOKENIZER = WeightFile("tokenizer.json", "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df", 2_128_466)
_EN_VOCABULARY = WeightFile("vocabulary.txt", "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf", 422_309)
_V3_TOKENIZER = WeightFile("tokenizer.json", "6d8cbd7cd0d8d5815e478dac67b85a26bbe77c1f5e0c6d76d1ce2abc0e5f21ca", 2_480_617)
_V3_PREPROCESSOR = WeightFile(
    "preprocessor_config.json", "7ccc62c6f2765af1f3b46c00c9b5894426835a05021c8b9c01eecb6dfb542711", 340
)
_V3_VOCABULARY = WeightFile("vocabulary.json", "c69260f2ab26d659b7c398f9a2b2b48ed0df16c3b47d7326782fd9cba71690c1", 1_068_114)


_NEEDED = ("config.json", "model.bin", "tokenizer.json", "preprocessor_config.json", "vocabulary.*")
ENGLISH = ("tiny.en", "base.en", "small.en", "medium.en", "distil-small.en", "distil-medium.en", "distil-large-v3")


def _weight(model: str, origin: str, *files: WeightFile) -> Weight:
    repository, _, revision = origin.partition("@")
    tags = ("en",) if model in ENGLISH else ()
    id = f"faster-whisper-{model}"
    return Weight(id, revision, f"hub:{repository}", "MIT", commercial_use=True, files=files, languages=tags)


def _unpinned(model: str, repository: str, about_bytes: int) -> Weight:
    return replace(_weight(model, repository), patterns=_NEEDED, about_bytes=about_bytes)


_ALL = (
    _weight(
        "tiny",
        "Systran/faster-whisper-tiny@d90ca5fe260221311c53c58e660288d3deb8d356",
        WeightFile("config.json", "a73a28cdfe1c43ccc7202fa333d1f89c202477271407ae9a7f19afa52039cac8", 2_249),
        WeightFile("model.bin", "dcb76c6586fc06cbdac6dd21f14cfd129cc4cdd9dce19bf4ffa62e59cbe6e6d1", 75_538_270),
        _TOKENIZER,
        _VOCABULARY,
    ),
    _weight(
        "base",
        "Systran/faster-whisper-base@ebe41f70d5b6dfa9166e2c581c45c9c0cfc57b66",
        WeightFile("config.json", "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a", 2_309),
        WeightFile("model.bin", "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9", 145_217_532),
        _TOKENIZER,
        _VOCABULARY,
    ),
    _weight(
        "small",
        "Systran/faster-whisper-small@536b0662742c02347bc0e980a01041f333bce120",
        WeightFile("config.json", "b55496ac7940a7ae47d2c01eab40edfd8701feec1229d9cce3b40014383fb828", 2_370),
        WeightFile("model.bin", "3e305921506d8872816023e4c273e75d2419fb89b24da97b4fe7bce14170d671", 483_546_902),
        _TOKENIZER,
        _VOCABULARY,
    ),
    _weight(
        "medium",
        "Systran/faster-whisper-medium@08e178d48790749d25932bbc082711ddcfdfbc4f",
        WeightFile("config.json", "3622a2ddc41ec0e0fd4e68c13c6830f03b90c38d89aaad184de02c8c642cf807", 2_257),
        WeightFile("model.bin", "9b45e1009dcc4ab601eff815b61d80e60ce3fd8c74c1a14f4a282258286b51ae", 1_527_906_378),
        _TOKENIZER,
        _VOCABULARY,
    ),
    _weight(
        "large-v3",
        "Systran/faster-whisper-large-v3@edaa852ec7e145841d8ffdb056a99866b5f0a478",
        WeightFile("config.json", "a9306624f5ec14270a014b647e5c316b6e03a662c369758d1b90697a7b0655b9", 2_394),
        WeightFile("model.bin", "69f74147e3334731bc3a76048724833325d2ec74642fb52620eda87352e3d4f1", 3_087_284_237),
        _V3_PREPROCESSOR,
        _V3_TOKENIZER,
        _V3_VOCABULARY,
    ),
    _weight(
        "turbo",
        "mobiuslabsgmbh/faster-whisper-large-v3-turbo@0a363e9161cbc7ed1431c9597a8ceaf0c4f78fcf",
        WeightFile("config.json", "b0253ea6c0d3bea6b1e19e91a02acfd3b53f4467362efcb5a3e6b16c9b3a9b7e", 2_263),
        WeightFile("model.bin", "e76620f83d5f5b69efd3d87e3dc180c1bd21df9fbebacfd4335e5e1efcc018da", 1_617_884_929),
        _V3_PREPROCESSOR,
        WeightFile("tokenizer.json", "297b13372ac43916285644fb9687add3cc62ee2a1adb60da3dc25cc94c1871fd", 2_710_337),
        _V3_VOCABULARY,
    ),
    _weight(
        "large-v2",
        "Systran/faster-whisper-large-v2@f0fe81560cb8b68660e564f55dd99207059c092e",
        WeightFile("config.json", "d86b7a7664a12559d644aa210a32ce9a7e03913e794b7ea4fb7182de69e273a7", 2_796),
        WeightFile("model.bin", "bf2a9746382e1aa7ffff6b3a0d137ed9edbd9670c3b87e5d35f5e85e70d0333a", 3_086_912_962),
        _TOKENIZER,
        _VOCABULARY,
    ),
    _weight(
        "tiny.en",
        "Systran/faster-whisper-tiny.en@0d3d19a32d3338f10357c0889762bd8d64bbdeba",
        WeightFile("config.json", "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5", 2_317),
        WeightFile("model.bin", "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a", 75_537_502),
        _EN_TOKENIZER,
        _EN_VOCABULARY,
    ),
    _weight(
        "base.en",
        "Systran/faster-whisper-base.en@3d3d5dee26484f91867d81cb899cfcf72b96be6c",
        WeightFile("config.json", "f3bc3821e9fc76a27bae538e11ae5b677dcdd352b4600429ce7951d398569aeb", 2_227),
        WeightFile("model.bin", "2a166925539a16005f14ff328359f9b9adb9dc4fb631bb3b227526862e93e2ef", 145_216_508),
        _EN_TOKENIZER,
        _EN_VOCABULARY,
    ),
    _weight(
        "small.en",
        "Systran/faster-whisper-small.en@d1d751a5f8271d482d14ca55d9e2deeebbae577f",
        WeightFile("config.json", "666a9605530ac1f61fa8177f3702b4dacec9966749e42610839fcc32661d5fae", 2_657),
        WeightFile("model.bin", "62b2a45b05ee59acb4a5341b33ee35e041395d378d418a18acfe4c9e768ee37a", 483_545_366),
        _EN_TOKENIZER,
        _EN_VOCABULARY,
    ),
    _weight(
        "medium.en",
        "Systran/faster-whisper-medium.en@a29b04bd15381511a9af671baec01072039215e3",
        WeightFile("config.json", "4a1848ebabe7938d9797c15a2e8e4ce1d36e6fd4a43d096ae5955257c67c7962", 2_643),
        WeightFile("model.bin", "11b220779aea4c6f3ce9d2549c8a95ea869ed84066864b999531ef53e594fe5b", 1_527_904_330),
        _EN_TOKENIZER,
        _EN_VOCABULARY,
    ),
    _weight(
        "distil-large-v3",
        "Systran/faster-distil-whisper-large-v3@c3058b475261292e64a0412df1d2681c06260fab",
        WeightFile("config.json", "90c55f775cc4e0bb17293d0bf12f96557a486f20dea886fabd8e6075a3588b21", 2_690),
        WeightFile("model.bin", "b79368e19b6623813609431a6e5ee309a71506701ebc49fd7820e692dec7c5f5", 1_512_927_867),
        _V3_PREPROCESSOR,
        _V3_TOKENIZER,
        _V3_VOCABULARY,
    ),
    _unpinned("large-v1", "Systran/faster-whisper-large-v1", 3_089_578_414),
    _unpinned("distil-small.en", "Systran/faster-distil-whisper-small.en", 335_542_354),
    _unpinned("distil-medium.en", "Systran/faster-distil-whisper-medium.en", 792_060_626),
)
WEIGHTS: Mapping[str, Weight] = MappingProxyType({weight.id: weight for weight in _ALL})
