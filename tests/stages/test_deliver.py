"""The files that a user gets: full-length stems, and one film with the dubs of several languages."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from polydub.media import ffmpeg, tags
from polydub.media.flac import read_flac, write_flac
from polydub.stages import deliver, listen
from polydub.stages.subtitling import SubtitleFile
from polydub.store import Store
from polydub.types import BLOCK, RATE_HZ, Artifact
from polydub.work import Work

sys.path.append(str(Path(__file__).resolve().parents[1] / "media"))
from flash_clips import decode, ff, flash_clip, probe, tone

SRT = "1\n00:00:01,500 --> 00:00:02,500\nHola\n"


class Bench(Work):
    """A work that also takes files in."""

    def __init__(self, folder: Path) -> None:
        self.shelf = Store(folder / "store")
        (folder / "scratch").mkdir()
        super().__init__(self.shelf, folder / "scratch", 1, lambda share: None)

    def take_in(self, name: str, content: bytes) -> Artifact:
        (self.scratch / name).write_bytes(content)
        return self.keep(self.scratch / name)


@pytest.fixture
def work(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def voiceover(work: Bench, language: str, hz: float) -> deliver.Voiceover:
    """A tone of 4 s in two pieces."""
    whole = ffmpeg.encode_aac_block(tone(4.0, hz=hz), ffmpeg.Cut(0, 0, 4 * RATE_HZ), 96, work.scratch).packets
    size = int.from_bytes(whole[3:6], "big") >> 5 & 0x1FFF  # of the first packet
    return deliver.Voiceover(language, (work.take_in("a.aac", whole[:size]), work.take_in("b.aac", whole[size:])))


def film_of(work: Bench, path: Path, container: str, *languages: str) -> deliver.Film:
    source = listen.probe.function(work, work.shelf.adopt(path))
    dubs = tuple(voiceover(work, language, 300.0 + 200 * n) for n, language in enumerate(languages))
    return deliver.Film(source, source.of("audio")[0], dubs, container, "en-GB")  # type: ignore[arg-type]


def muxed(work: Bench, film: deliver.Film, *subs: SubtitleFile) -> Path:
    return work.scratch / deliver.mux.function(work, film, subs)


def hertz(path: Path, track: int) -> float:
    heard = decode(path, 1, probe(path).of("audio")[track])[0, RATE_HZ : 2 * RATE_HZ]
    return float(np.argmax(np.abs(np.fft.rfft(heard))))


@pytest.mark.parametrize("container", ["mkv", "mp4"])
def test_one_film_holds_the_original_several_dubs_and_all_subtitles(container: str, work: Bench, tmp_path: Path) -> None:
    film = film_of(work, flash_clip(tmp_path / "film.mp4"), container, "es-MX", "zh-Hant", "fr")
    text = work.take_in("a.srt", SRT.encode())
    subs = [SubtitleFile("target", language, "srt", text) for language in ("es-MX", "zh-Hant", "fr")]
    out = muxed(work, film, *subs, SubtitleFile("bilingual", "es-MX", "srt", text, "en"))
    made = probe(out)
    assert [t.title for t in made.of("audio")] == ["Spanish (Mexico) dub", "Chinese (Traditional) dub", "French dub",
                                                   "English (United Kingdom) original"]  # fmt: skip
    assert [t.title for t in made.of("subtitle")] == ["Spanish (Mexico)", "Chinese (Traditional)", "French",
                                                      "Spanish (Mexico) and English"]  # fmt: skip
    assert [t.default for t in made.of("audio")] == [True, False, False, False]
    chinese, french = ("chi", "fre") if container == "mkv" else ("zho", "fra")
    assert [t.language for t in made.of("audio")] == ["spa", chinese, french, "eng"]
    assert tags.bcp47(out)[1:5] == ("es-MX", "zh-Hant", "fr", "en-GB")
    assert [round(hertz(out, n)) for n in range(3)] == [300, 500, 700]
    assert work.notices == []


def test_what_the_source_says_of_its_sound_is_not_overruled(work: Bench, tmp_path: Path) -> None:
    told = flash_clip(tmp_path / "film.mp4", "-metadata:s:a:0", "language=deu")
    film = film_of(work, told, "mkv", "es")
    out = muxed(work, film)
    assert probe(out).of("audio")[1].language == "deu" and tags.bcp47(out)[2] == ""
    agreed = muxed(work, replace(film, spoken="de-AT"))
    assert probe(agreed).of("audio")[1].language == "deu" and tags.bcp47(agreed)[2] == "de-AT"


def test_nobody_knows_the_language_of_the_original(work: Bench, tmp_path: Path) -> None:
    film = replace(film_of(work, flash_clip(tmp_path / "film.mp4"), "mkv", "es"), spoken="und")
    original = probe(muxed(work, film)).of("audio")[1]
    assert (original.language, original.title) == ("und", "")


def test_the_picture_may_be_another_one(work: Bench, tmp_path: Path) -> None:
    film = film_of(work, flash_clip(tmp_path / "film.mp4"), "mp4", "es")
    ff("-i", tmp_path / "film.mp4", "-map", "0:v", "-vf", "scale=320:180", tmp_path / "picture.mkv")
    picture = work.take_in("picture.mkv", (tmp_path / "picture.mkv").read_bytes())
    made = probe(muxed(work, replace(film, picture=picture)))
    assert [(t.kind, t.width) for t in made.tracks] == [("video", 320), ("audio", 0), ("audio", 0)]


def test_a_stem_is_its_blocks_in_a_row(work: Bench, tmp_path: Path) -> None:
    blocks = [tone(BLOCK / RATE_HZ, 2), tone(1.5, 2, 700.0)]
    parts: list[Artifact] = []
    for block in blocks:
        write_flac(work.scratch / "part.flac", block)
        parts.append(work.keep(work.scratch / "part.flac"))
    stem = work.scratch / deliver.stem.function(work, tuple(parts))
    kept = [read_flac(work.path(part), 0, BLOCK) for part in parts]
    assert np.array_equal(read_flac(stem, 0, 2 * BLOCK), np.concatenate(kept, axis=1))
