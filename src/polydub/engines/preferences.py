"""What `auto` takes, in each mode, and why: the one table from which orders, `polydub engines --explain` and the docs come.

Speeds and qualities are told with their source. "not measured here" stands where nobody of polydub has measured, with the
real weights, what is told; a figure after it is another's, on another machine.
"""

from __future__ import annotations

from dataclasses import dataclass

from polydub.engines.base import Kind

MODES = ("low", "medium", "high")
NOTHING = "not measured here"
BENCHMARKS = "benchmarks.md"
# The Open ASR leaderboard of Hugging Face at d1e99b2 (August 2026): mean word error rate of eight English sets, and seconds
# of sound per second of work on data-centre cards (which of them, differs from row to row).
ASR_BOARD = "Open ASR leaderboard"
# github.com/5uck1ess/tts-bench, docs/results.md (May 2026): seconds of speech per second on a Ryzen 9950X3D.
TTS_BENCH = "tts-bench, Ryzen 9950X3D"


@dataclass(frozen=True, slots=True)
class Advice:
    """One engine in the order of its kind.

    Attributes: modes: in which `auto` tries it. why: what stands it there. speed, quality: what to expect, with the source.
    """

    kind: Kind
    engine: str
    modes: tuple[str, ...]
    why: str
    speed: str = NOTHING
    quality: str = NOTHING


def _of(modes: str) -> tuple[str, ...]:
    return MODES if modes == "all" else tuple(modes.split())


# Best first within a kind. An engine that is not listed is used by name only.
ADVICE: tuple[Advice, ...] = (
    Advice("vad", "silero", _of("all"), "the only one", "about 200 times as fast as the sound"),
    Advice(
        "asr",
        "faster-whisper",
        _of("all"),
        "a hundred languages in polydub's own packages; low takes base, medium small, high large-v3",
        f"{NOTHING}; base about 7, small 4, turbo 8 times as fast as large-v3 on an A100 (README of openai/whisper)",
        f"word error rate 7.44 % (large-v3), 7.83 % (turbo), 8.59 % (small.en) ({ASR_BOARD})",
    ),
    Advice(
        "asr",
        "sherpa-onnx",
        _of("all"),
        "the best at its size, but for 25 European languages; low takes Moonshine for English",
        f"{NOTHING}; Parakeet v3 3333 times as fast as the sound on a data-centre card, large-v3 146 ({ASR_BOARD})",
        f"word error rate 6.32 % (Parakeet v3; the leaderboard's is not the int8 one taken here) ({ASR_BOARD})",
    ),
    Advice(
        "asr",
        "kyutai",
        _of("all"),
        "English and French only, and large: for a card; high takes the 2.6 billion parameters",
        f"{NOTHING}; 88 times as fast as the sound on a data-centre card ({ASR_BOARD})",
        f"word error rate 6.40 % (2.6b-en; none was found for 1b-en_fr) ({ASR_BOARD})",
    ),
    Advice(
        "asr",
        "pocketsphinx",
        _of("all"),
        "there without any download, English only: a demonstration",
        f"0.23 core-seconds for a second of sound ({BENCHMARKS})",
        f"word error rate 18 to 69 % on four readings ({BENCHMARKS})",
    ),
    Advice(
        "align",
        "pocketsphinx",
        _of("all"),
        "hears the words; English only",
        f"0.04 core-seconds for a second of sound ({BENCHMARKS})",
        f"onsets to 30 ms, median ({BENCHMARKS})",
    ),
    Advice("align", "syllables", _of("all"), "any language, estimated", "next to nothing"),
    Advice(
        "diarization",
        "pyannote",
        _of("high"),
        "hears people who talk at once; the slowest, and its models lie behind a form: only for who asks for the best",
        f"{NOTHING}; community-1 0.82 of the recording's length on an Apple M2 (FoxNose's benchmark)",
        f"{NOTHING}; DER 11.2 % on VoxConverse, 44.6 % on films (AVA-AVD) (community-1, its README)",
    ),
    Advice("diarization", "sherpa-onnx", _of("all"), "pyannote's older segmentation as ONNX: quick, without torch or account"),
    Advice(
        "diarization",
        "embedded",
        _of("all"),
        "always there, its steps are remembered; one speaker at a time",
        f"the reading of 53 s: 7 s for clustering and 2 s for embedding ({BENCHMARKS})",
        f"DER 13.1 % on dialogues, 33.7 % on meetings, with resemblyzer ({BENCHMARKS})",
    ),
    Advice(
        "embedding",
        "resemblyzer",
        _of("all"),
        "hears the voice more than the room",
        quality=f"EER 1.79 % on pieces of 1.6 s ({BENCHMARKS})",
    ),
    Advice(
        "embedding",
        "fingerprint",
        _of("all"),
        "needs no weights",
        quality=f"EER 2.73 % on pieces of 1.6 s ({BENCHMARKS})",
    ),
    Advice(
        "separation",
        "mdx23",
        _of("high"),
        "the best nets for music and singing, and for a card",
        f"{NOTHING}; a RoFormer 0.6 of the recording's length on an Apple M3 Max (audio-separator issue 97)",
        f"{NOTHING}; SDR of singing 10.98 dB, MelBand-RoFormer (list of ZFTurbo/Music-Source-Separation-Training)",
    ),
    Advice(
        "separation",
        "demucs",
        _of("high"),
        "the same with an older net",
        f"{NOTHING}; about 1.5 times the recording's length on a processor (its README)",
        f"{NOTHING}; SDR of singing 8.24 dB, htdemucs (list of ZFTurbo/Music-Source-Separation-Training)",
    ),
    Advice(
        "separation",
        "deepfilternet",
        _of("medium high"),
        "the best of the small ones on speech over music and noise",
        f"0.030 of the recording's length, one thread ({BENCHMARKS})",
        f"SI-SDR of the dialogue 11.7 dB, of the background 10.1 dB ({BENCHMARKS})",
    ),
    Advice(
        "separation",
        "ul-unas",
        _of("medium high"),
        "nearly as good from a tenth of the weights, but slower",
        "about three times as long as deepfilternet, on the same mixes",
        "SI-SDR of the dialogue 11.0 dB, of the background 9.4 dB, on the same mixes",
    ),
    Advice(
        "separation",
        "mask",
        _of("all"),
        "needs no weights and is the quickest",
        f"0.019 of the recording's length, one thread ({BENCHMARKS})",
        f"SI-SDR of the dialogue 8.8 dB, of the background 6.6 dB ({BENCHMARKS})",
    ),
    Advice(
        "mt",
        "openai",
        _of("all"),
        "only where settings name its address: a large model knows context, glossary and the length of a line",
        f"{NOTHING}: the service's",
        f"{NOTHING}: the model's",
    ),
    Advice("mt", "opus-mt", _of("all"), "a net for each pair; small and quick on a processor"),
    Advice("mt", "argos", _of("all"), "a net for each pair, of those that were put there; many pairs go by way of English"),
    Advice(
        "mt",
        "apertium",
        _of("all"),
        "rules instead of a net: rough drafts for the pairs that the system has",
    ),
    Advice(
        "tts",
        "xtts",
        _of("high"),
        "the voice of a person, in 17 languages; only where its terms were agreed to",
        f"{NOTHING}; 1.4 seconds of speech a second on an Apple M4, 4.1 on an RTX 5090 (tts-bench)",
    ),
    Advice(
        "tts",
        "kokoro",
        _of("medium high"),
        "the most natural that a processor speaks quickly, in six languages, under free licences",
        f"{NOTHING}; 13 seconds of speech a second ({TTS_BENCH})",
        f"{NOTHING}; UTMOS 4.44 of 5 (a report of a run on an EPYC 7763)",
    ),
    Advice(
        "tts",
        "piper",
        _of("all"),
        "small neural voices in some forty languages",
        f"{NOTHING}; 47 seconds of speech a second ({TTS_BENCH})",
    ),
    Advice(
        "tts",
        "espeak-ng",
        _of("all"),
        "always there, in more than a hundred languages, at any rate and pitch; robotic",
        "about 700 seconds of speech a second",
        "NISQA-TTS 1.46 of 5; a recorded reader 4.45",
    ),
    Advice("faces", "yunet", _of("all"), "the only one"),
)


def order(kind: Kind, mode: str) -> tuple[str, ...]:
    """What `auto` tries in a mode, best first."""
    return tuple(advice.engine for advice in ADVICE if advice.kind == kind and mode in advice.modes)
