"""Playlists, scripts and descriptions that make ffmpeg open other files and addresses."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from desk import Desk, ffmpeg, hls


class TestPlaylistsAndScripts:
    """ffmpeg opens other files and addresses for these; polydub opens none of them, whatever they are called."""

    @pytest.fixture
    def victim(self, desk: Desk, film: Path) -> Path:
        """A file of somebody else's that must not be read."""
        assert ffmpeg("-i", film, "-c", "copy", "-f", "mpegts", "victim.ts") == 0
        return desk.folder / "victim.ts"

    @pytest.fixture
    def visits(self) -> Iterator[tuple[str, list[str]]]:
        """A server on this machine, and the addresses that were asked of it."""
        asked: list[str] = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_error(404)

            def log_message(self, format: str, *args: object) -> None:
                pass

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            yield f"http://127.0.0.1:{server.server_port}", asked
            server.shutdown()
            thread.join()

    def test_ffmpeg_itself_would_read_the_other_file(self, desk: Desk, victim: Path) -> None:
        """The control: these very attacks work where nobody guards ffmpeg."""
        Path("list.m3u8").write_text(hls(victim.as_uri()))
        Path("script.mp4").write_text("ffconcat version 1.0\nfile victim.ts\n")
        assert ffmpeg("-i", "list.m3u8", "-f", "null", "-") == 0
        assert ffmpeg("-i", "script.mp4", "-f", "null", "-") == 0

    @pytest.mark.parametrize("name", ["list.mp4", "list.m3u8", "list.mkv", "list.ts"])
    @pytest.mark.parametrize("to", ["{victim}", "victim.ts", "file:victim.ts", "concat:victim.ts|victim.ts", "{server}/a.ts"])
    def test_an_hls_playlist_is_refused(
        self, desk: Desk, victim: Path, visits: tuple[str, list[str]], name: str, to: str
    ) -> None:
        server, asked = visits
        Path(name).write_text(hls(to.format(victim=victim.as_uri(), server=server)))
        assert desk.dub(name) == 2
        desk.says("playlist")
        assert not asked

    @pytest.mark.parametrize(
        "text",
        [
            "ffconcat version 1.0\nfile victim.ts\n",
            "\ufeffffconcat version 1.0\nfile victim.ts\n",
            "#EXTM3U\nvictim.ts\n",
            "[playlist]\nFile1=victim.ts\n",
            "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
            "<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011' type='static'><BaseURL>{server}</BaseURL></MPD>",
            "<smil><body><video src='{server}/a.mp4'/></body></smil>",
        ],
        ids=["ffconcat", "ffconcat-bom", "m3u", "pls", "sdp", "dash", "smil"],
    )
    @pytest.mark.parametrize("name", ["x.mp4", "x.m3u8"])
    def test_scripts_and_descriptions_are_refused(
        self, desk: Desk, victim: Path, visits: tuple[str, list[str]], text: str, name: str
    ) -> None:
        server, asked = visits
        Path(name).write_text(text.replace("{server}", server))
        assert desk.dub(name) == 2
        assert not asked

    def test_the_victim_itself_can_be_dubbed(self, desk: Desk, victim: Path) -> None:
        assert desk.dub(victim.name) == 0

    def test_subtitles_that_are_a_playlist_are_no_subtitles(self, desk: Desk, film: Path) -> None:
        Path("list.srt").write_text(hls("/etc/passwd"))
        assert desk.dub(film.name, texts=("--transcript", "list.srt")) == 2
        assert "root:" not in desk.err
