"""Files that pose as media to make ffmpeg open something else. Each attack is real: unguarded, the same tree is read."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from flash_clips import artifact, decode, ff, private_link, probe

from polydub.errors import PolydubError, UnreadableMedia
from polydub.media import ffmpeg
from polydub.types import Source, Track


@dataclass
class Listener:
    """A server on the loopback that only counts who comes."""

    port: int
    visits: list[bytes] = field(default_factory=list)


@pytest.fixture
def listener() -> Iterator[Listener]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = Listener(server.getsockname()[1])

        def serve() -> None:
            while True:
                try:
                    visitor, _ = server.accept()
                except OSError:
                    return
                with visitor:
                    visitor.settimeout(60)
                    found.visits.append(visitor.recv(200))
                    visitor.sendall(b"HTTP/1.0 404 Not Found\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield found
        server.shutdown(socket.SHUT_RDWR)
    thread.join(60)


@dataclass
class Tree:
    """`job/` holds what a stranger sent, `other/` what they must not reach."""

    job: Path
    victim: Path
    sibling: Path

    def send(self, name: str, text: str) -> Path:
        path = self.job / name
        path.write_text(text)
        return path


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    job, other = tmp_path / "job", tmp_path / "other"
    job.mkdir()
    other.mkdir()
    for path in (job / "sibling.ts", other / "victim.ts"):
        ff("-f", "lavfi", "-i", "sine=duration=2,volume=4", "-c:a", "aac", path)
    return Tree(job, other / "victim.ts", job / "sibling.ts")


def hls(target: str) -> str:
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{target}\n#EXT-X-ENDLIST\n"


def concat(target: str) -> str:
    return f"ffconcat version 1.0\nfile '{target}'\n"


def dash(target: str) -> str:
    return (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT2S" '
        f'profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period><AdaptationSet mimeType="audio/mp4"><Representation '
        f'id="1" bandwidth="1"><BaseURL>{target}</BaseURL></Representation></AdaptationSet></Period></MPD>'
    )


def sdp(port: int) -> str:
    return f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio {port} RTP/AVP 0\n"


def assert_refused(path: Path, folder: Path) -> None:
    """Neither PyAV nor ffmpeg opens it, by whichever door."""
    with pytest.raises(UnreadableMedia) as caught:
        probe(path)
    assert caught.value.hint
    link = private_link(path)
    heard = folder / "heard.wav"
    with pytest.raises(PolydubError):
        ffmpeg.run([*ffmpeg.SAFE_INPUT, "-i", f"file:{link}", str(heard)], stage="test")
    assert not heard.exists()
    forged = Source(artifact(path), "mov", 2.0, 0.0, (Track(0, "audio", "aac"), Track(0, "subtitle", "subrip", text=True)))
    with pytest.raises(PolydubError):
        list(ffmpeg.decode_blocks(link, forged.tracks[0], forged, 1))
    with pytest.raises(PolydubError):
        ffmpeg.extract_subtitles(link, forged.tracks[1])
    with pytest.raises(PolydubError):
        ffmpeg.mux(ffmpeg.MuxPlan(link, forged, "mkv", (), (), ffmpeg.Original(forged.tracks[0])), folder / "out.mkv")


def opens_unguarded(path: Path, folder: Path) -> bool:
    """Whether ffmpeg by itself falls for the file."""
    made = folder / "unguarded.wav"
    try:
        ff("-i", path, made)
    except Exception:  # noqa: BLE001 - any way to fail is a no
        return False
    return made.stat().st_size > 10_000


@pytest.mark.parametrize("suffix", [".mp4", ".m3u8", ".mkv", ".wav"])
def test_a_playlist_reaches_no_other_file(suffix: str, tree: Tree, tmp_path: Path) -> None:
    for target in (f"file://{tree.victim}", str(tree.victim), "../other/victim.ts", "sibling.ts"):
        sent = tree.send(f"film{suffix}", hls(target))
        if suffix == ".m3u8":
            assert opens_unguarded(sent, tmp_path)
        assert_refused(sent, tmp_path)


@pytest.mark.parametrize("suffix", [".mp4", ".ffconcat", ".txt"])
def test_a_concat_script_reaches_no_other_file(suffix: str, tree: Tree, tmp_path: Path) -> None:
    for target in ("sibling.ts", "../other/victim.ts", str(tree.victim)):
        sent = tree.send(f"film{suffix}", concat(target))
        if target == "sibling.ts":
            assert opens_unguarded(sent, tmp_path)
        assert_refused(sent, tmp_path)


def test_nothing_is_fetched_from_the_network(tree: Tree, tmp_path: Path, listener: Listener) -> None:
    url = f"http://127.0.0.1:{listener.port}/film.ts"
    for name, text in (
        ("a.m3u8", hls(url)),
        ("b.mp4", hls(url)),
        ("c.mp4", concat(url)),
        ("d.mpd", dash(url)),
        ("e.mp4", dash(url)),
        ("f.sdp", sdp(listener.port)),
    ):
        assert_refused(tree.send(name, text), tmp_path)
    assert listener.visits == []
    with pytest.raises(Exception, match="ffmpeg"):
        ff("-i", url, tmp_path / "control.wav")
    assert listener.visits  # the listener does notice who comes


def test_a_name_is_never_a_protocol(tree: Tree, listener: Listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree.job)
    for name in (
        f"http://127.0.0.1:{listener.port}/film.mp4",
        "concat:sibling.ts|sibling.ts",
        "subfile,,start,0,end,0,,:sibling.ts",
        "data:text/plain,hello",
        "pipe:0",
        "-",
    ):
        with pytest.raises(UnreadableMedia):
            probe(Path(name))
        with pytest.raises(UnreadableMedia):
            ffmpeg.safe_link(Path(name), tmp_path)
        with pytest.raises(PolydubError):
            ffmpeg.run([*ffmpeg.SAFE_INPUT, "-i", f"file:{name}", str(tmp_path / "out.wav")], stage="test")
    assert listener.visits == []


def test_a_link_in_disguise_leads_only_to_its_own_content(tree: Tree, tmp_path: Path) -> None:
    """Adopting a symlink is the caller's choice; what it names is still opened as media only."""
    (tree.job / "secret.txt").write_text("a secret\n")
    (tree.job / "film.mp4").symlink_to(tree.job / "secret.txt")
    assert_refused(tree.job / "film.mp4", tmp_path)


def test_the_same_tree_is_read_when_it_is_what_it_says(tree: Tree) -> None:
    for path in (tree.victim, tree.sibling):
        assert probe(path).of("audio")
        assert np.abs(decode(path)).max() > 0.3


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 5000, b"RIFF\xff\xff\xff\xffWAVE", b"fLaC", b"OggS" + b"\0" * 300, b"ID3\x04" + b"\xff" * 500]
)
def test_scraps_of_media_are_refused_or_read_but_never_crash(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(content)
    with pytest.raises(PolydubError):
        source = probe(path)
        list(ffmpeg.decode_blocks(private_link(path), source.of("audio")[0], source, 1))


def test_damage_anywhere_ends_in_sound_or_in_one_error(tmp_path: Path) -> None:
    ff(
        "-f",
        "lavfi",
        "-i",
        "anoisesrc=d=2:seed=1",
        "-f",
        "lavfi",
        "-i",
        "testsrc2=s=64x64:d=2",
        "-c:a",
        "aac",
        tmp_path / "a.mp4",
    )
    whole = (tmp_path / "a.mp4").read_bytes()
    rng = np.random.default_rng(5)
    for number in range(8):
        damaged = bytearray(whole)
        for at in rng.integers(0, len(whole), 200):
            damaged[at] ^= int(rng.integers(1, 256))
        path = tmp_path / f"{number}.mp4"
        path.write_bytes(damaged)
        try:
            sound = decode(path)
        except (PolydubError, IndexError):  # IndexError: the sound track itself is gone
            continue
        assert np.isfinite(sound).all()
