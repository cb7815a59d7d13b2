"""A film in surround sound keeps it, and speaks from the centre."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from polydub.audio import layouts
from polydub.media import ffmpeg
from polydub.media.flac import read_flac, write_flac
from polydub.media.program import run
from polydub.stages import listen, render
from polydub.stages.render import Bedding, Laying
from polydub.store import Store
from polydub.types import RATE_HZ, Artifact, Samples
from polydub.wants import Mixing
from polydub.work import Work


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work(Store(tmp_path / "store"), tmp_path, 1, lambda share: None)


def kept(work: Work, samples: Samples) -> Artifact:
    write_flac(work.scratch / "take.flac", samples)
    return work.keep(work.scratch / "take.flac")


@pytest.mark.parametrize(("layout", "told"), [("5.1(side)", "5.1"), ("7.1", "7.1")])
@pytest.mark.parametrize("container", ["mkv", "mp4"])
def test_the_dub_of_a_surround_film_speaks_from_the_centre_and_leaves_the_rest(
    work: Work, layout: str, told: str, container: str
) -> None:
    names, seconds = layouts.channels(layout), 3
    t = np.arange(seconds * RATE_HZ) / RATE_HZ
    pitches = [60 if name == "LFE" else 200 + 100 * n for n, name in enumerate(names)]
    film = np.stack([0.05 * np.sin(2 * np.pi * hz * t) for hz in pitches])
    soundfile.write(work.scratch / "film.wav", film.T, RATE_HZ, subtype="PCM_24")
    run(["-channel_layout", layout, "-i", str(work.scratch / "film.wav"), "-c:a", "pcm_s24le", str(work.scratch / "film.mov")],
        stage="test")  # fmt: skip
    source = listen.probe.function(work, work.keep(work.scratch / "film.mov"))
    track = source.of("audio")[0]
    sound = listen.extract.function(work, source, track).sound
    take = (0.05 * np.random.default_rng(0).normal(size=(1, RATE_HZ))).clip(-0.2, 0.2).astype(np.float32)
    laid = [Laying(kept(work, take), RATE_HZ, RATE_HZ, 0.0)]
    (block,) = render.masters(list(render.blocks(sound, laid, [], Bedding(12.0, (None,)))), 0.0, Mixing())
    done = render.mix_block.function(work, block)

    dub, mix = (read_flac(work.path(file), 0, sound.frames) for file in (done.dub, done.mix))
    centre = names.index("FC")
    assert [channel.any() for channel in dub] == [name == "FC" for name in names]
    assert np.abs(dub[centre, RATE_HZ : 2 * RATE_HZ] - take[0]).max() < 1e-6
    mix[centre] -= dub[centre]
    assert np.abs(mix - film).max() < 1e-6

    (work.scratch / "dub.aac").write_bytes(work.path(done.aac).read_bytes())
    out = work.scratch / f"film.{container}"
    link = ffmpeg.safe_link(work.path(source.media), work.scratch)
    voice = ffmpeg.DubTrack(work.scratch / "dub.aac", "es", "spa")
    ffmpeg.mux(ffmpeg.MuxPlan(link, source, container, (voice,)), out)  # type: ignore[arg-type]
    delivered = listen.probe.function(work, work.keep(out))
    (heard,) = delivered.of("audio")
    assert (heard.codec, heard.layout, heard.channels) == ("aac", told, len(names))
    decoded = listen.extract.function(work, delivered, heard).sound
    samples = read_flac(work.path(decoded.blocks[0]), RATE_HZ // 4, RATE_HZ // 2)
    loudest = np.abs(np.fft.rfft(samples, axis=1)).argmax(axis=1) * 2
    assert loudest.tolist() == pitches
