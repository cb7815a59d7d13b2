"""The models that sherpa-onnx runs, pinned: revision, and length and sha256 of every file."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from polydub.engines.base import Weight, WeightFile

# Conversions to ONNX (int8) by a maintainer of sherpa-onnx. Lengths and hashes come from download manifests in public
# repositories, read in November 2026; for every file at least two programs of different authors pin the same revision and
# agree:
#   parakeet v3      the ModelSet of a dictation program for phones; the PARAKEET_V3_ARTIFACTS of a desktop program's test
#   parakeet v2      the model list of a keyboard for phones; lengths in a list of models of a Swift program. A third program
#                    pins another revision with the same hashes.
#   moonshine        that model list; the AsrModelManifest of a meeting recorder
#   sense-voice      the PinnedAsset table of a plug-in; the notice of bundled models of a desktop program
# Licences: Parakeet by NVIDIA, CC-BY-4.0 (model cards); Moonshine by Useful Sensors, MIT (its LICENSE, English models);
# SenseVoice by Alibaba, FunASR Model Open Source License Agreement 1.1: attribution and conduct clauses, "for reference and
# learning purposes"; it does not say that commercial use is free, so it is taken for no.
_EUROPE = "bg cs da de el en es et fi fr hr hu it lt lv mt nl pl pt ro ru sk sl sv uk"


def _weight(id: str, origin: str, licence: str, tags: str, *files: WeightFile) -> Weight:
    repository, _, revision = origin.partition("@")
    free = not licence.startswith("FunASR")
    languages = tuple(tags.split())
    return Weight(f"sherpa-onnx-{id}", revision, f"hub:{repository}", licence, free, files, languages=languages)


_ALL = (
    _weight(
        "parakeet-tdt-0.6b-v3",
        "csukuangfj/sherpa-onnx-nemo-parakeet-tdt-0.6b-v3-int8@2bda32ec70b097a55adaa07d9a7173915b43cc78",
        "CC-BY-4.0",
        _EUROPE,
        WeightFile("encoder.int8.onnx", "acfc2b4456377e15d04f0243af540b7fe7c992f8d898d751cf134c3a55fd2247", 652_184_281),
        WeightFile("decoder.int8.onnx", "179e50c43d1a9de79c8a24149a2f9bac6eb5981823f2a2ed88d655b24248db4e", 11_845_275),
        WeightFile("joiner.int8.onnx", "3164c13fc2821009440d20fcb5fdc78bff28b4db2f8d0f0b329101719c0948b3", 6_355_277),
        WeightFile("tokens.txt", "d58544679ea4bc6ac563d1f545eb7d474bd6cfa467f0a6e2c1dc1c7d37e3c35d", 93_939),
    ),
    _weight(
        "parakeet-tdt-0.6b-v2",
        "csukuangfj/sherpa-onnx-nemo-parakeet-tdt-0.6b-v2-int8@1ab9323565ddb038682214b292f588070a538ce2",
        "CC-BY-4.0",
        "en",
        WeightFile("encoder.int8.onnx", "a32b12d17bbbc309d0686fbbcc2987b5e9b8333a7da83fa6b089f0a2acd651ab", 652_184_296),
        WeightFile("decoder.int8.onnx", "b6bb64963457237b900e496ee9994b59294526439fbcc1fecf705b31a15c6b4e", 7_257_753),
        WeightFile("joiner.int8.onnx", "7946164367946e7f9f29a122407c3252b680dbae9a51343eb2488d057c3c43d2", 1_739_080),
        WeightFile("tokens.txt", "ec182b70dd42113aff6c5372c75cac58c952443eb22322f57bbd7f53977d497d", 9_384),
    ),
    _weight(
        "moonshine-base-en",
        "csukuangfj/sherpa-onnx-moonshine-base-en-int8@052b0798ad1bf046a140fdd4efcd9426530fa3f5",
        "MIT",
        "en",
        WeightFile("preprocess.onnx", "ffa630d395c5ccf76f5d4954be5b882df76aaf6491519ec01fd82ea7a3819fb2", 14_077_290),
        WeightFile("encode.int8.onnx", "7e38770f776f2e5583a53b052936005df2ba5c833d7e09c2a5fd796b94bf73e2", 50_311_494),
        WeightFile(
            "uncached_decode.int8.onnx", "c01f4b35093bcac20d352d23a75a539e772964579f9d024a90e5e6f09cae9987", 122_120_451
        ),
        WeightFile("cached_decode.int8.onnx", "2db74e51cedf64a8b1be3c8192e0bb5e4923af0e90bd9e87f8e8771873f8ea03", 99_983_837),
        WeightFile("tokens.txt", "1165c2aeb9f72f457a83be2d459a09054f27490acd9b41bd43794dfd25e296ea", 436_688),
    ),
    _weight(
        "sense-voice",
        "csukuangfj/sherpa-onnx-sense-voice-zh-en-ja-ko-yue-2024-07-17@2365baeacb507f821a0c8120fcee3d484dba7a07",
        "FunASR-Model-License-1.1",
        "zh en ja ko yue",
        WeightFile("model.int8.onnx", "c71f0ce00bec95b07744e116345e33d8cbbe08cef896382cf907bf4b51a2cd51", 239_233_841),
        WeightFile("tokens.txt", "f449eb28dc567533d7fa59be34e2abca8784f771850c78a47fb731a31429a1dc", 315_894),
    ),
)
WEIGHTS: Mapping[str, Weight] = MappingProxyType({weight.id: weight for weight in _ALL})
