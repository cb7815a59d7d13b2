"""A real browser plays a stream while it grows: by the media source extensions alone, and with hls.js where that is here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from streams import PLAIN, Streaming, cut_short

from small_dubs import long_talk

pytestmark = pytest.mark.slow

CHROMIUM = os.environ.get("POLYDUB_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
FETCHED = Path(__file__).resolve().parents[2] / "build/node/node_modules/hls.js/dist/hls.min.js"  # by scripts/test-tools.sh
HLS_JS = os.environ.get("POLYDUB_HLS_JS") or (str(FETCHED) if FETCHED.is_file() else None)
LISTEN = """
const video = document.querySelector("video"), told = {};
const context = new AudioContext(), meter = context.createAnalyser();
context.createMediaElementSource(video).connect(meter); meter.connect(context.destination); context.resume();
const wave = new Float32Array(meter.fftSize);
video.playbackRate = 4; video.muted = false;
video.onerror = () => { told.error = String(video.error && video.error.message); };
setInterval(() => {
  meter.getFloatTimeDomainData(wave);
  const level = Math.hypot(...wave) / Math.sqrt(wave.length);
  const held = video.buffered;
  fetch("/told", {method: "POST", body: JSON.stringify({...told, time: video.currentTime, level, duration: video.duration,
    width: video.videoWidth, dropped: video.getVideoPlaybackQuality().totalVideoFrames, ranges: held.length,
    start: held.length ? held.start(0) : -1, end: held.length ? held.end(held.length - 1) : -1, ended: video.ended})});
  if (video.paused && video.readyState > 2) video.play().catch(e => { told.error = String(e); });
}, 200);
"""
BARE = """<video></video><script>%s
(async () => {
  const source = new MediaSource(); video.src = URL.createObjectURL(source);
  await new Promise(done => { source.onsourceopen = done; });
  const master = await (await fetch("master.m3u8")).text();
  const buffer = source.addSourceBuffer(`video/mp4; codecs="${master.match(/CODECS="(.*?)"/)[1]}"`);
  const append = async name => {
    const data = await (await fetch(name)).arrayBuffer();
    buffer.appendBuffer(data); await new Promise(done => { buffer.onupdateend = done; });
  };
  const had = new Set();
  for (;;) {
    const lines = (await (await fetch("index.m3u8?" + Math.random())).text()).split("\\n");
    for (const line of lines) {
      const init = line.match(/MAP:URI="(.*)"/), name = init ? init[1] : line;
      if (!name || name.startsWith("#") || had.has(name)) continue;
      had.add(name); await append(name);
    }
    if (lines.includes("#EXT-X-ENDLIST")) { source.endOfStream(); return; }
    await new Promise(done => setTimeout(done, 300));
  }
})().catch(e => { told.error = String(e); });
</script>"""
WITH_HLS = """<video></video><script src="hls.js"></script><script>%s
const hls = new Hls({liveSyncDurationCount: 100, liveMaxLatencyDurationCount: 1000, startPosition: 0});
hls.on(Hls.Events.ERROR, (_, data) => { if (data.fatal) told.error = data.type + " " + data.details; });
hls.loadSource("master.m3u8"); hls.attachMedia(video);
</script>"""


@dataclass
class Viewer:
    """A browser at work, and what its page told, newest last."""

    told: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def until(self, wish: Callable[[dict[str, Any]], bool], seconds: float = 60.0) -> dict[str, Any]:
        """Waits until the page tells this."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            for row in list(self.told):
                assert "error" not in row, row
                if wish(row):
                    return row
            time.sleep(0.1)
        raise AssertionError(self.told[-3:])

    @property
    def loudest(self) -> float:
        return max(row["level"] for row in self.told)


class _Handler(SimpleHTTPRequestHandler):
    viewer: Viewer

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        self.viewer.told.append(json.loads(self.rfile.read(length)))
        self.send_response(204)
        self.end_headers()

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-store")
        super().end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Callable[[Path, str], Viewer]]:
    """`watch(folder, page)` opens the page in Chromium, served from the stream's folder."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium (not found; POLYDUB_CHROMIUM names another place)")
    closing: list[Callable[[], object]] = []

    def start(folder: Path, page: str) -> Viewer:
        viewer = Viewer()
        (folder / "page.html").write_text(page % LISTEN)
        handler = type("Handler", (_Handler,), {"viewer": viewer})
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        flags = [
            *("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
            *("--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required"),
            *("--proxy-server=direct://", f"--user-data-dir={tmp_path / 'profile'}"),
        ]
        url = f"http://127.0.0.1:{server.server_port}/page.html"
        null = subprocess.DEVNULL
        browser = subprocess.Popen([str(CHROMIUM), *flags, url], stdin=null, stdout=null, stderr=null)
        closing.extend([browser.wait, browser.kill, server.server_close, server.shutdown])
        return viewer

    yield start
    for close in reversed(closing):
        close()


def growing(clip: Callable[..., Path], folder: Path) -> tuple[Streaming, subprocess.Popen[bytes]]:
    """A stream whose later pieces wait until the file `go` is there."""
    from gated import installed

    made = Streaming(folder, clip("film", seconds=24.0, suffix=".mp4")).say(long_talk(24.0))
    environment = installed(folder, hold="3[.]$|4[.]$|5[.]$")
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in PLAIN.items() if name not in ("tts", "to")]
    flags += ["--output", str(folder / "out"), "--translation", str(folder / "film.es.srt"), "--tts", f"gated,folder={folder}"]
    command = [sys.executable, "-c", "from polydub.cli import main; main()", "dub", str(made.media), "--to", "es", *flags]
    null = subprocess.DEVNULL
    return made, subprocess.Popen(command, env=environment, stdin=null, stdout=null, stderr=null)


@pytest.mark.parametrize("player", ["media source extensions", "hls.js"])
def test_a_browser_plays_the_stream_while_it_grows(
    player: str, clip: Callable[..., Path], tmp_path: Path, watch: Callable[[Path, str], Viewer]
) -> None:
    if player == "hls.js" and not HLS_JS:
        pytest.skip("needs hls.js (not fetched here; POLYDUB_HLS_JS names dist/hls.min.js of the npm package)")
    made, process = growing(clip, tmp_path)
    try:
        ends = time.monotonic() + 120
        while not (made.out / "master.m3u8").exists() or not (made.out / "index.m3u8").exists():
            assert process.poll() is None and time.monotonic() < ends
            time.sleep(0.1)
        if HLS_JS:
            shutil.copy(HLS_JS, made.out / "hls.js")
        viewer = watch(made.out, BARE if player != "hls.js" else WITH_HLS)
        first = viewer.until(lambda row: row["time"] > 0.5)
        assert made.manifest["state"] == "running"
        assert first["width"] == 160
        (tmp_path / "go").touch()
        second = made.manifest["segments"][0]["duration"]
        beyond = viewer.until(lambda row: row["time"] > second + 4.5)
        assert beyond["ranges"] == 1, "there is a hole between two segments"
        last = viewer.until(lambda row: row["ended"] or row["time"] > 23.5)
        assert abs(last["end"] - 24.0) < 0.05
        assert viewer.loudest > 0.01, "nothing was heard"
    finally:
        (tmp_path / "go").touch()
        process.wait(60)


@pytest.mark.parametrize("player", ["media source extensions", "hls.js"])
def test_a_browser_plays_on_when_the_picture_has_ended(
    player: str, clip: Callable[..., Path], tmp_path: Path, watch: Callable[[Path, str], Viewer]
) -> None:
    if player == "hls.js" and not HLS_JS:
        pytest.skip("needs hls.js (not fetched here; POLYDUB_HLS_JS names dist/hls.min.js of the npm package)")
    made = Streaming(tmp_path, cut_short(clip("film", seconds=18.0, suffix=".mp4"), picture_s=5)).say(long_talk(18.0))
    made.stream()
    if HLS_JS:
        shutil.copy(HLS_JS, made.out / "hls.js")
    viewer = watch(made.out, BARE if player != "hls.js" else WITH_HLS)
    viewer.until(lambda row: row["ended"] or row["time"] > 17.5)
    assert max(row["width"] for row in viewer.told) == 160
    assert any(row["level"] > 0.01 for row in viewer.told if row["time"] > 8), "the rest is not heard"
