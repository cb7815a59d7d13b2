"""The sample film: two people talk over music and a moving picture, made on the spot from nothing but polydub's own parts.

No media is shipped: speech comes from espeak-ng, music and drawings from numpy, the film from ffmpeg. Equal versions of
these give equal bytes.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polydub.audio.signal import resample
from polydub.errors import StoreError
from polydub.text.subtitle_files import write_ass, write_srt
from polydub.types import RATE_HZ, Audio, Cue, Part, Samples, Voice, seconds

FPS = 25
LEAD_S, TAIL_S = 1.0, 1.8  # music alone before the first and after the last line
SPEECH_DB, MUSIC_DB = -22.0, -28.5  # RMS of one channel's sounding parts; in stereo about -19 and -29 LUFS
LANGUAGE, TRANSLATED = "en", "es"

VOICES = {
    "Sam": Voice("espeak-ng", "en-us+m3", LANGUAGE, "Sam", {"pitch": 35, "range": 60}),
    "Nora": Voice("espeak-ng", "en-us+f2", LANGUAGE, "Nora", {"pitch": 60, "range": 60}),
}

# speaker, what is said, its Spanish translation, seconds of pause after it
DIALOGUE = (
    ("Sam", "Good morning, Nora. You look surprised.", "Buenos días, Nora. Pareces sorprendida.", 0.45),
    ("Nora", "I am. I just heard myself speak another language.", "Lo estoy. Acabo de oírme hablar en otro idioma.", 0.5),
    (
        "Sam",
        "That was polydub. It reads the subtitles, and speaks every line again.",
        "Eso es polydub. Lee los subtítulos y vuelve a decir cada frase.",
        0.55,
    ),
    ("Nora", "And the music is still there?", "¿Y la música sigue ahí?", 0.35),
    ("Sam", "Of course. Only the voices change.", "Claro que sí. Solo cambian las voces.", 0.55),
    ("Nora", "What if I don't like one of the lines?", "¿Y si una de las frases no me gusta?", 0.4),
    ("Sam", "Then edit it. Only that line is spoken again.", "Pues corrígela. Solo esa frase se vuelve a decir.", 0.6),
    ("Nora", "Wonderful! Where do we begin?", "¡Estupendo! ¿Por dónde empezamos?", 0.0),
)


@dataclass(frozen=True, slots=True)
class SampleFiles:
    """The three files of the sample.

    Attributes:
        video: film with one English sound track and one English subtitle track (ASS, speakers named).
        transcript: the English cues, SRT. translation: the same cues in Spanish, equal numbers and times.
    """

    video: Path
    transcript: Path
    translation: Path

    @classmethod
    def within(cls, folder: Path) -> SampleFiles:
        """Where they lie in `folder`, there or not."""
        return cls(folder / "sample.mkv", folder / f"sample.{LANGUAGE}.srt", folder / f"sample.{TRANSLATED}.srt")


@dataclass(frozen=True, slots=True)
class _Speech:
    """All lines of the dialogue in time: `tracks` holds one mono sound per speaker, equally long."""

    cues: tuple[Cue, ...]
    tracks: dict[str, Samples]
    frames: int


def make_sample(folder: Path) -> SampleFiles:
    """Writes `sample.mkv` (1280x720, 25 fps, about 24 s), `sample.en.srt` and `sample.es.srt` into `folder`, made if absent.

    Files of these names are replaced. Raises: MissingProgram, EngineFailed, StoreError.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot write {folder}: {error.strerror or error}", "choose another folder with --output") from error
    speech = _speak()
    files = SampleFiles.within(folder)
    translated = tuple(Cue(c.start, c.end, line[2], c.speaker) for c, line in zip(speech.cues, DIALOGUE, strict=True))
    _write_cues(speech.cues, files.transcript)
    _write_cues(translated, files.translation)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".sample-") as scratch:
        _film(speech, files, Path(scratch))
    return files


def _speak() -> _Speech:
    from polydub.engines.opening import opened
    from polydub.engines.tts.espeak import ENGINE

    takes: list[Samples] = []
    with opened(ENGINE, ENGINE.options(), {}, "cpu", None) as synthesizer:
        for speaker, text, _, _ in DIALOGUE:
            takes.append(_trimmed(synthesizer.synthesize(Part(text, LANGUAGE, VOICES[speaker]))))
    cues: list[Cue] = []
    at = LEAD_S
    for (speaker, text, _, pause), take in zip(DIALOGUE, takes, strict=True):
        end = at + take.size / RATE_HZ
        cues.append(Cue(seconds(at), seconds(end), text, speaker))
        at = end + pause
    pictures = int(np.ceil((at + TAIL_S) * FPS))
    frames = pictures * RATE_HZ // FPS
    tracks = {speaker: np.zeros(frames, np.float32) for speaker in VOICES}
    for cue, take in zip(cues, takes, strict=True):
        start = round(cue.start * RATE_HZ)
        tracks[cue.speaker][start : start + take.size] = take
    return _Speech(tuple(cues), {s: _at_level(t, SPEECH_DB) for s, t in tracks.items()}, frames)


def _trimmed(audio: Audio) -> Samples:
    """Mono samples at RATE_HZ from the first to the last audible one, a whole number of milliseconds."""
    take = resample(audio.samples, audio.rate_hz, RATE_HZ)[0]
    audible = np.flatnonzero(np.abs(take) > 0.01 * np.abs(take).max(initial=0.0))
    take = take[audible[0] : audible[-1] + 1]
    return np.pad(take, (0, -take.size % (RATE_HZ // 1000)))


def _at_level(samples: Samples, level_db: float) -> Samples:
    """`samples` scaled so that the RMS of all 50-ms windows within 30 dB of the loudest is `level_db` below full scale."""
    window = RATE_HZ // 20
    mono = samples if samples.ndim == 1 else np.sqrt((samples**2).sum(axis=0))
    power = (mono[: mono.size // window * window].reshape(-1, window) ** 2).mean(axis=1)
    gain = 10 ** (level_db / 20) / np.sqrt(power[power > power.max() * 1e-3].mean())
    return (samples * gain).astype(np.float32)


BEAT_S = 0.69  # 87 beats a minute
BEATS = 4  # a chord lasts four beats
CHORDS = ((53, 57, 60, 64), (55, 59, 62, 64), (52, 55, 59, 62), (57, 60, 64, 67))  # Fmaj7 G6 Em7 Am7, as MIDI numbers


def music(frames: int) -> Audio:
    """Soft stereo music of `frames` samples (a second or more) at RATE_HZ: chords, a bass, a light arpeggio; RMS MUSIC_DB."""
    sound = np.zeros((2, frames + 8 * RATE_HZ), np.float32)
    chord_s = BEATS * BEAT_S
    for n in range(int(np.ceil(frames / RATE_HZ / chord_s))):
        chord = CHORDS[n % len(CHORDS)]
        at = n * chord_s
        for i, key in enumerate(chord):
            for side, cents in ((0, -4), (1, 4)):  # a little out of tune with each other: width
                _add(sound[side], _pad(key + cents / 100, chord_s + 1.2), at, 0.5 + 0.15 * (-1) ** (i + side))
        bass = _pad(chord[0] - 12, chord_s + 0.4)
        for side in (0, 1):
            _add(sound[side], bass, at, 0.55)
        for step in range(2 * BEATS):
            key = chord[(0, 2, 1, 3, 2, 3, 1, 2)[step]] + 12
            pan = 0.5 + 0.35 * np.sin(1.7 * (n * 2 * BEATS + step))
            for side, share in ((0, pan), (1, 1 - pan)):
                _add(sound[side], _pluck(key), at + step * BEAT_S / 2, 0.6 * share)
    for delay_s, share in ((0.29, 0.28), (0.47, 0.18)):  # echoes that change sides
        shift = round(delay_s * RATE_HZ)
        sound[:, shift:] += share * sound[::-1, :-shift].copy()
    sound = _at_level(sound[:, :frames], MUSIC_DB)
    ends = np.minimum(1.0, np.minimum(np.arange(frames) / (0.8 * RATE_HZ), np.arange(frames)[::-1] / (1.5 * RATE_HZ)))
    return Audio((sound * ends).astype(np.float32))


def _add(track: Samples, note: Samples, at_s: float, gain: float) -> None:
    start = round(at_s * RATE_HZ)
    track[start : start + note.size] += np.float32(gain) * note[: track.size - start]


def _tone(key: float, length_s: float, partials: tuple[float, ...]) -> tuple[Samples, Samples]:
    t = np.arange(round(length_s * RATE_HZ), dtype=np.float32) / np.float32(RATE_HZ)
    turn = np.float32(2 * np.pi * 440 * 2 ** ((key - 69) / 12)) * t
    tone = np.zeros_like(t)
    for n, amplitude in enumerate(partials):
        tone += np.float32(amplitude) * np.sin(np.float32(n + 1) * turn)
    return t, tone


def _pad(key: float, length_s: float) -> Samples:
    t, tone = _tone(key, length_s, (1.0, 0.35, 0.18, 0.07))
    return tone * np.minimum(1.0, np.minimum(t / 0.7, (length_s - t) / 1.1)) ** 2


def _pluck(key: float) -> Samples:
    t, tone = _tone(key, 1.6, (1.0, 0.5, 0.22, 0.12, 0.05))
    return tone * np.exp(-t / 0.32) * np.minimum(1.0, t / 0.006)


WIDTH, HEIGHT = 1280, 720
PORTRAIT_W, PORTRAIT_H = 400, 520
MOUTH_W, MOUTH_H = 84, 56
DUSK = (
    "gradients=s={w}x{h}:r={fps}:d={d:.2f}:c0=0x14213d:c1=0x3d2c5e:c2=0x9a4f76:c3=0xf0a37a:n=4"
    ":x0=0:y0=0:x1=0:y1={h}:seed=5:speed=0.0005,format=yuv420p"
)

Colour = tuple[int, int, int, float]  # red, green, blue 0-255, opacity 0-1
Ellipse = tuple[float, float, float, float, Colour]  # centre x, y, half width, half height in pixels, colour

SHARED: tuple[Ellipse, ...] = (
    (158, 238, 11, 13, (40, 32, 44, 1)),
    (242, 238, 11, 13, (40, 32, 44, 1)),
    (162, 233, 3.5, 4, (255, 255, 255, 0.9)),
    (246, 233, 3.5, 4, (255, 255, 255, 0.9)),
)
SKIN = {"Sam": (226, 166, 128), "Nora": (248, 204, 176)}
PORTRAITS: dict[str, tuple[Ellipse, ...]] = {
    "Sam": (
        (200, 560, 190, 190, (38, 84, 124, 1)),
        (200, 392, 44, 62, (206, 142, 104, 1)),
        (200, 196, 116, 122, (52, 34, 30, 1)),
        (96, 244, 18, 26, (214, 150, 112, 1)),
        (304, 244, 18, 26, (214, 150, 112, 1)),
        (200, 256, 104, 122, (*SKIN["Sam"], 1)),
        (200, 150, 92, 40, (52, 34, 30, 1)),
        (158, 206, 22, 5, (52, 34, 30, 1)),
        (242, 206, 22, 5, (52, 34, 30, 1)),
        (200, 274, 11, 15, (212, 148, 110, 1)),
        *SHARED,
    ),
    "Nora": (
        (200, 290, 142, 196, (112, 48, 40, 1)),
        (200, 565, 180, 180, (232, 176, 74, 1)),
        (200, 396, 38, 60, (236, 180, 150, 1)),
        (200, 256, 98, 118, (*SKIN["Nora"], 1)),
        (140, 288, 22, 15, (240, 150, 130, 0.5)),
        (260, 288, 22, 15, (240, 150, 130, 0.5)),
        (150, 158, 82, 52, (112, 48, 40, 1)),
        (256, 160, 66, 46, (112, 48, 40, 1)),
        (158, 212, 20, 4, (96, 42, 36, 1)),
        (242, 212, 20, 4, (96, 42, 36, 1)),
        (200, 274, 9, 12, (238, 184, 156, 1)),
        *SHARED,
    ),
}


def _painted(width: int, height: int, shapes: tuple[Ellipse, ...]) -> NDArray[np.uint8]:
    """RGBA picture, shape (height, width, 4), of ellipses with soft edges, later ones over earlier ones."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    colour = np.zeros((height, width, 3), np.float32)
    opacity = np.zeros((height, width, 1), np.float32)
    for cx, cy, rx, ry, (red, green, blue, alpha) in shapes:
        distance = (1 - np.hypot((x - cx) / rx, (y - cy) / ry)) * min(rx, ry)
        share = alpha * np.clip(distance + 0.5, 0, 1)[..., None]
        total = share + opacity * (1 - share)
        new = (np.array((red, green, blue)) * share + colour * opacity * (1 - share)) / np.maximum(total, 1e-6)
        colour, opacity = new.astype(np.float32), total
    return np.concatenate((colour, opacity * 255), axis=2).round().astype(np.uint8)


def _mouths(track: Samples, pictures: int, skin: tuple[int, int, int]) -> NDArray[np.uint8]:
    """One RGBA picture of a mouth for each picture of the film, as open as `track` is loud; (pictures, height, width, 4)."""
    level = np.sqrt((track.reshape(pictures, -1) ** 2).mean(axis=1))
    smooth = np.convolve(level, (0.2, 0.6, 0.2), mode="same")
    openness = np.round(9 * np.sqrt(np.clip(smooth / max(float(smooth.max()), 1e-9), 0, 1))).astype(int)
    cx, cy = MOUTH_W / 2, MOUTH_H / 2
    shapes = [
        _painted(
            MOUTH_W,
            MOUTH_H,
            (
                (cx, cy, 31 - 1.2 * n, 11 + 1.4 * n, (150, 52, 60, 1)),
                (cx, cy, 27 - 1.2 * n, 8 + 1.4 * n, (70, 18, 30, 1 if n else 0)),
                (cx, cy + 5 + 1.2 * n, 15 - 0.4 * n, 3 + 0.5 * n, (206, 92, 98, min(1.0, n / 4))),
                (cx, cy - 5 - 2.6 * n, 36, 11, (*skin, 1)),  # what remains below it is a smile
            ),
        )
        for n in range(10)
    ]
    return np.stack(shapes)[openness]


def _film(speech: _Speech, files: SampleFiles, scratch: Path) -> None:
    """Paints, plays and encodes the film with its subtitle track."""
    from scipy.io import wavfile

    from polydub.media import ffmpeg

    pictures = speech.frames * FPS // RATE_HZ
    inputs = ["-f", "lavfi", "-i", DUSK.format(w=WIDTH, h=HEIGHT, fps=FPS, d=pictures / FPS)]
    raw = ["-f", "rawvideo", "-pix_fmt", "rgba", "-r", str(FPS)]
    for name, track in speech.tracks.items():
        (scratch / f"{name}.portrait").write_bytes(_painted(PORTRAIT_W, PORTRAIT_H, PORTRAITS[name]).tobytes())
        (scratch / f"{name}.mouth").write_bytes(_mouths(track, pictures, SKIN[name]).tobytes())
        wavfile.write(scratch / f"{name}.wav", RATE_HZ, track)
        inputs += [*raw, "-s", f"{PORTRAIT_W}x{PORTRAIT_H}", "-i", str(scratch / f"{name}.portrait")]
        inputs += [*raw, "-s", f"{MOUTH_W}x{MOUTH_H}", "-i", str(scratch / f"{name}.mouth"), "-i", str(scratch / f"{name}.wav")]
    mixed = music(speech.frames).samples + np.sum(list(speech.tracks.values()), axis=0)
    mixed *= min(1.0, 0.89 / float(np.abs(mixed).max()))
    wavfile.write(scratch / "mixed.wav", RATE_HZ, mixed.T.astype(np.float32))
    _write_cues(speech.cues, scratch / "cues.ass")
    inputs += ["-i", str(scratch / "mixed.wav"), "-i", str(scratch / "cues.ass")]
    graph = ["-filter_complex", _graph(speech.cues), "-map", "[film]", "-map", "7:a", "-map", "8:s", "-frames:v", str(pictures)]
    ffmpeg.run([*inputs, *graph, *ENCODING, str(files.video)], stage="sample")


def _graph(cues: tuple[Cue, ...]) -> str:
    """The filters that put inputs 0 (sky), 1-3 (Sam: portrait, mouth, voice) and 4-6 (Nora) into one picture, "[film]"."""
    filters: list[str] = []
    under = "0:v"
    for n, (name, left) in enumerate(zip(VOICES, (130, WIDTH - 130 - PORTRAIT_W), strict=True)):
        spoken = "+".join(
            f"if(between(t,{c.start},{c.end}),sqrt(sin(PI*(t-{c.start})/{c.duration})))" for c in cues if c.speaker == name
        )
        top = f"{HEIGHT - PORTRAIT_H}-18*({spoken})+3*sin(t*1.3+{n})"  # who speaks leans up a little
        mouth_x, mouth_y = left + (PORTRAIT_W - MOUTH_W) // 2, 324 - MOUTH_H // 2
        first = 1 + 3 * n
        filters += [
            f"[{first + 2}:a]showwaves=s=420x110:mode=cline:draw=full:r={FPS}:scale=sqrt:colors=0xffe6b8[wave{n}]",
            f"[{under}][{first}:v]overlay=x={left}:y='{top}+30'[body{n}]",
            f"[body{n}][{first + 1}:v]overlay=x={mouth_x}:y='{top}+30+{mouth_y}'[face{n}]",
            f"[face{n}][wave{n}]overlay=x={left - 10}:y=70[both{n}]",
        ]
        under = f"both{n}"
    return ";".join((*filters, f"[{under}]format=yuv420p[film]"))


# A fixed number of threads, no encoder names and no random ids in the file: the same film gives the same bytes.
ENCODING = (
    *("-c:v", "libx264", "-preset", "veryfast", "-crf", "22", "-g", "50", "-threads:v", "4", "-flags:v", "+bitexact"),
    *("-c:a", "aac", "-b:a", "160k", "-flags:a", "+bitexact", "-c:s", "copy", "-fflags", "+bitexact"),
    *("-metadata:s:a:0", "language=eng", "-metadata:s:a:0", "title=English"),
    *("-metadata:s:s:0", "language=eng", "-metadata:s:s:0", "title=English", "-disposition:s:0", "default"),
)


def _write_cues(cues: tuple[Cue, ...], path: Path) -> None:
    """A subtitle file in the format of the suffix; ASS keeps the speakers."""
    text = write_ass(cues, "polydub sample") if path.suffix == ".ass" else write_srt(cues)
    path.write_text(text, encoding="utf-8")
