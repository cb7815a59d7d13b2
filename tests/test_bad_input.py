"""Bad and hostile input, from the command line to the disk: one clear error or a notice, nothing lost, nothing executed."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import imageio_ffmpeg
import pytest

from polydub.cli import run

SRT = "1\n00:00:00,200 --> 00:00:01,000\nHello everybody.\n\n2\n00:00:01,100 --> 00:00:01,900\nSee you soon.\n"
FFMPEG = (imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-hide_banner", "-v", "error", "-y")
PROGRAM = (sys.executable, "-c", "from polydub.cli import main; main()")


@dataclass
class Desk:
    """A folder with good subtitles in it, where polydub is called; `Out` is the only place that it may write to."""

    folder: Path
    capsys: pytest.CaptureFixture[str]
    words: tuple[str, ...] = ("--to", "es", "--from", "en", "--tts", "fake", "--mt", "fake", "--output", "Out")
    err: str = ""
    out: str = ""

    def dub(self, *arguments: str | Path, texts: tuple[str | Path, ...] = ("--transcript", "good.srt")) -> int:
        """The exit status of `polydub dub`; asserts what must hold whatever happens."""
        before = self.look()
        self.capsys.readouterr()
        status = run([str(a) for a in ("dub", *self.words, *texts, *arguments)])
        self.out, self.err = self.capsys.readouterr()
        self.check(status)
        assert self.look() == before, "a file outside the output folder changed"
        return status

    def check(self, status: int) -> None:
        assert "Traceback" not in self.err
        assert "unexpected" not in self.err
        errors = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(errors) == (status not in (0, 130)), self.err
        assert bool(self.out) == (status == 0)
        if status:
            assert "hint: " in self.err, "an error says what to do"

    def says(self, *words: str) -> None:
        """Asserts that the last call told these words."""
        for word in words:
            assert word in self.err

    def look(self) -> dict[str, tuple[int, bytes]]:
        """Every file outside the output folder: when it was changed, what it holds."""
        found = (p for p in self.folder.rglob("*") if p.is_file() and "Out" not in p.relative_to(self.folder).parts)
        return {str(p): (p.stat().st_mtime_ns, p.read_bytes() if os.access(p, os.R_OK) else b"") for p in found}

    @property
    def report(self) -> dict[str, list[dict[str, object]]]:
        """The report of the only film in the output folder."""
        (path,) = (self.folder / "Out").glob("*/report.es.json")
        return json.loads(path.read_text())

    @property
    def notices(self) -> set[object]:
        return {notice["code"] for notice in self.report["notices"]}


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    """An empty desk with good.srt."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.srt").write_text(SRT)
    return Desk(tmp_path, capsys)


@pytest.fixture
def film(desk: Desk, clip: Callable[..., Path]) -> Path:
    """A good film of two seconds with AAC sound."""
    return clip("film", seconds=2.0, suffix=".mp4")


def ffmpeg(*arguments: str | Path) -> int:
    return subprocess.run([*FFMPEG, *map(str, arguments)], capture_output=True, check=False).returncode


class TestWhatIsNoMedia:
    @pytest.mark.parametrize(
        ("name", "data", "words"),
        [
            ("text.mp4", b"This is only a text.\n" * 50, "a text file"),
            ("noise.mp4", bytes(range(256)) * 40, "not a video or sound file"),
            ("empty.mp4", b"", "empty"),
            ("zip.mkv", b"PK\x03\x04" + bytes(5000), "not a video or sound file"),
            ("page.webm", b"<html><body>404</body></html>", "a text file"),
            ("picture.mp4", b"\x89PNG\r\n\x1a\n" + bytes(2000), "not a video or sound file"),
        ],
    )
    def test_it_is_refused_in_words(self, desk: Desk, name: str, data: bytes, words: str) -> None:
        (desk.folder / name).write_bytes(data)
        assert desk.dub(name) == 2
        desk.says(words)

    def test_the_same_subtitles_and_flags_dub_a_real_film(self, desk: Desk, film: Path) -> None:
        assert desk.dub(film.name) == 0

    def test_an_mp4_whose_end_is_missing_is_refused(self, desk: Desk, film: Path) -> None:
        film.write_bytes(film.read_bytes()[:-2000])
        assert desk.dub(film.name) == 2
        desk.says("cut off")

    def test_of_a_truncated_film_what_is_there_is_dubbed_with_a_notice(self, desk: Desk, clip: Callable[..., Path]) -> None:
        cut = clip("cut", seconds=4.0)
        cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
        assert desk.dub(cut.name) == 0
        assert "sound-cut-short" in desk.notices

    def test_a_wrong_ending_does_not_matter(self, desk: Desk, film: Path) -> None:
        film.rename("film.mp3")
        assert desk.dub("film.mp3") == 0

    def test_a_film_without_sound_is_refused(self, desk: Desk, clip: Callable[..., Path]) -> None:
        assert desk.dub(clip("mute", sound="none", seconds=1.0).name) == 2
        desk.says("no audio track")

    def test_a_silent_film_is_dubbed_with_a_notice(self, desk: Desk, clip: Callable[..., Path]) -> None:
        assert desk.dub(clip("still", sound="silence", seconds=2.0).name) == 0
        assert "silent-source" in desk.notices
        assert "silent" in desk.err

    def test_sound_of_zero_length_is_refused(self, desk: Desk) -> None:
        assert ffmpeg("-f", "lavfi", "-i", "anullsrc", "-t", "0", "none.wav") == 0
        assert desk.dub("none.wav") == 2
        desk.says("zero length")

    def test_pipes_devices_and_folders_are_refused_without_waiting(self, desk: Desk, film: Path) -> None:
        os.mkfifo("pipe.mp4")
        Path("folder.mp4").mkdir()
        assert desk.dub("pipe.mp4") == 2
        desk.says("not a regular file")
        assert desk.dub("/dev/zero") == 2
        assert desk.dub("folder.mp4") == 2
        assert desk.dub(film.name, texts=("--transcript", "pipe.mp4")) == 2
        assert desk.dub(film.name, texts=("--transcript", ".")) == 2


def hls(*targets: str) -> str:
    parts = "".join(f"#EXTINF:2,\n{target}\n" for target in targets)
    return f"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:0\n{parts}#EXT-X-ENDLIST\n"


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


NAMES = {
    "spaces": " two  words ",
    "quotes": 'it\'s "said"',
    "newline": "two\nlines",
    "command": "$(touch canary) `touch canary`;touch canary|touch canary&",
    "emoji": "😀 fête 日本",
    "dash": "-x",
    "flag": "--output",
    "percent": "%s%n%x%d",
    "protocol": "concat:film.mp4|film.mp4",
    "pattern": "[a-z]*?{1,2}",
    "filter": "a,b;c[x]'y\\:z=1",
    "escape": "\x1b[31mred\x07",
    "dots": "..mp4",
    "latin-1": os.fsdecode(b"caf\xe9"),
    "long": "x" * 200,
}


class TestNames:
    @pytest.mark.parametrize("what", NAMES)
    def test_any_name_is_dubbed_and_none_is_executed(self, desk: Desk, film: Path, what: str) -> None:
        (desk.folder / "in").mkdir()
        try:
            media = film.rename(desk.folder / "in" / f"{NAMES[what]}.mp4")
            subtitles = shutil.copy("good.srt", f"in/{NAMES[what]}.srt")
        except OSError:
            pytest.skip("this disk does not allow such a name")
        assert desk.dub(media, texts=("--transcript", subtitles)) == 0
        assert not list(desk.folder.rglob("canary"))
        (folder,) = (p for p in (desk.folder / "Out").iterdir() if p.name != ".polydub")
        made = {p.name for p in folder.iterdir()}
        assert {"dub.es.mkv", "report.es.html", "script.es.json"} <= made
        assert "\x1b" not in desk.err

    def test_a_leading_dash_needs_two_dashes_or_a_folder_before_it(self, desk: Desk, film: Path) -> None:
        film.rename("-x.mp4")
        assert desk.dub("-x.mp4") == 3
        assert desk.dub("--", "-x.mp4") == 0
        assert desk.dub("./-x.mp4") == 0
        assert [p.name for p in Path("Out").iterdir() if p.name != ".polydub"] == ["-x"]

    def test_a_name_that_is_too_long_for_what_is_made_of_it_is_told(self, desk: Desk, film: Path) -> None:
        name = "x" * 251 + ".mp4"
        film.rename(name)
        assert desk.dub(name) in (0, 6)
        assert desk.dub("x" * 300 + ".mp4") == 2

    def test_names_of_speakers_and_texts_are_only_texts(self, desk: Desk, film: Path) -> None:
        evil = "$(touch canary) <script>alert(1)</script> '; touch canary #"
        Path("evil.vtt").write_text(f"WEBVTT\n\n00:00.200 --> 00:01.000\n<v ../../up>{evil.replace('<', '&lt;')}\n")
        assert desk.dub(film.name, "--debug", texts=("--transcript", "evil.vtt")) == 0
        assert not list(desk.folder.rglob("canary"))
        assert "<script>alert(1)" not in Path("Out/film/report.es.html").read_text()
        assert set(desk.folder.iterdir()) == {film, desk.folder / "good.srt", desk.folder / "evil.vtt", desk.folder / "Out"}


class TestWhatIsNotThere:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("none.mp4",), "there is no file none.mp4"),
            (("*.mkv",), "no file matches *.mkv"),
            (("films",), "no videos or sound files in the folder films"),
            (("films/**/*.mp4",), "no file matches"),
            (("https://example.org/film.mp4",), "is an address"),
            (("film.mp4/inside.mp4",), "inside.mp4"),
        ],
    )
    def test_inputs_that_match_nothing_end_with_status_2(
        self, desk: Desk, film: Path, arguments: tuple[str, ...], words: str
    ) -> None:
        Path("films").mkdir()
        Path("films/readme.txt").write_text("no films here")
        assert desk.dub(*arguments) == 2
        desk.says(words)

    @pytest.mark.parametrize("flag", ["--transcript", "--translation"])
    def test_given_texts_that_are_not_there_are_named(self, desk: Desk, film: Path, flag: str) -> None:
        assert desk.dub(film.name, texts=(flag, "none.srt")) == 2
        desk.says("there is no file none.srt")

    @pytest.mark.parametrize("flags", [("--to", "klingonese"), ("--from", "klingonese"), ("--tts", "none"), ("--mt", "none")])
    def test_unknown_languages_and_engines_end_with_status_3(self, desk: Desk, film: Path, flags: tuple[str, str]) -> None:
        assert desk.dub(film.name, *flags) == 3
        desk.says(flags[1])


def late(text: str) -> str:
    return text.replace("00:00:01,100 --> 00:00:01,900", "00:00:09,000 --> 00:00:12,000")


TEXTS: dict[str, tuple[str | bytes, int, str]] = {  # what the file holds, lines in the dub, notice
    "overlap": (SRT.replace("00:00:01,100", "00:00:00,500"), 2, ""),
    "negative": (SRT.replace("00:00:00,200", "-00:00:00,200"), 2, "cue-times-repaired"),
    "reversed": (SRT.replace("00:00:00,200 --> 00:00:01,000", "00:00:01,000 --> 00:00:00,200"), 2, "cue-times-repaired"),
    "unsorted": (SRT.replace("00:00:01,100 --> 00:00:01,900", "00:00:00,000 --> 00:00:00,100"), 2, "cues-unsorted"),
    "no-length": (SRT.replace("--> 00:00:01,000", "--> 00:00:00,200"), 2, "zero-length-cues"),
    "twice": (SRT + "\n" + SRT, 2, "duplicate-cues"),
    "bad-time": (SRT.replace("00:00:01,100", "00:xx:01,100"), 1, "bad-cue-time"),
    "empty-cue": (SRT.replace("Hello everybody.", ""), 1, "empty-cues"),
    "html": (SRT.replace("Hello everybody.", '<font color="red"><b>Hello</b></font> &amp; {\\an8}all'), 2, ""),
    "cp1252": (SRT.replace("Hello", "El niño dice «adiós»").encode("cp1252"), 2, "encoding-guessed"),
    "utf-16": (SRT.encode("utf-16"), 2, ""),
    "bom-crlf": (("\ufeff" + SRT.replace("\n", "\r\n")).encode(), 2, ""),
    "bad-bytes": (SRT.encode() + b"\xff\x81\xfe\n", 2, "encoding-guessed"),
    "longer-than-the-film": (late(SRT), 1, "cue-after-end"),
    "runs-over-the-end": (SRT.replace("00:00:01,900", "00:00:30,000"), 2, ""),
    "far-too-long": (SRT.replace("See you soon.", "word " * 60), 2, "overflow"),
}


class TestSubtitles:
    @pytest.mark.parametrize("what", TEXTS)
    def test_odd_subtitles_are_repaired_with_a_notice(self, desk: Desk, film: Path, what: str) -> None:
        text, lines, notice = TEXTS[what]
        Path("odd.srt").write_bytes(text if isinstance(text, bytes) else text.encode())
        assert desk.dub(film.name, "--verbose", texts=("--transcript", "odd.srt")) == 0
        assert len(desk.report["lines"]) == lines
        assert not notice or notice in desk.notices
        assert all(line["start"] >= 0 and line["duration"] > 0 for line in desk.report["lines"])  # type: ignore[operator]

    @pytest.mark.parametrize(
        ("name", "data", "words"),
        [
            ("empty.srt", b"", "no subtitles"),
            ("blank.srt", b"\n \n\n", "no subtitles"),
            ("prose.srt", b"This is no subtitle file.\n", "no subtitles"),
            ("all-empty.srt", SRT.replace("Hello everybody.", "").replace("See you soon.", "").encode(), "no subtitles"),
            ("bytes.srt", bytes(range(256)) * 20, "no subtitles"),
            ("other.srt", SRT.replace("00:00:0", "00:10:0").encode(), "after the end of the film"),
            ("broken.json", b'{"segments": [', "JSON"),
            ("wrong.json", b'{"segments": [{"start": "x", "end": 1, "text": "a"}]}', "$.segments[0].start"),
            ("deep.json", b"[" * 200_000, "JSON"),
            ("binary.txt", b"\0\1\2\0", "not text"),
        ],
    )
    @pytest.mark.parametrize("role", ["transcript", "translation"])
    def test_files_that_hold_none_end_with_status_2(
        self, desk: Desk, film: Path, role: str, name: str, data: bytes, words: str
    ) -> None:
        Path(name).write_bytes(data)
        assert desk.dub(film.name, texts=(f"--{role}", name)) == 2
        desk.says(words)

    def test_of_two_given_files_the_bad_one_is_named(self, desk: Desk, film: Path) -> None:
        Path("empty.srt").touch()
        assert desk.dub(film.name, texts=("--transcript", "good.srt", "--translation", "empty.srt")) == 2
        desk.says("translation: ")


def process(*arguments: str | Path, before: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """`polydub dub` with the desk's words in a process of its own."""
    words = ("dub", *Desk.words, "--transcript", "good.srt", *map(str, arguments))
    return subprocess.Popen(
        [*before, *PROGRAM, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.fixture
def mortal() -> tuple[str, ...]:
    """A prefix under which permissions hold for root, too."""
    if os.geteuid() != 0:
        return ()
    prefix = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
    if not shutil.which("setpriv") or subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        pytest.skip("tests run as root, and setpriv cannot take its privileges away")
    return prefix


class TestDisk:
    def ends(self, desk: Desk, running: subprocess.Popen[str], status: int, *words: str) -> None:
        desk.out, desk.err = running.communicate(timeout=60)
        assert running.returncode == status, desk.err
        desk.check(status)
        desk.says(*words)

    def test_a_file_that_may_not_be_read_is_named(self, desk: Desk, film: Path, mortal: tuple[str, ...]) -> None:
        film.chmod(0)
        self.ends(desk, process(film.name, before=mortal), 2, "film.mp4 cannot be read: Permission denied")
        film.chmod(0o600)
        Path("good.srt").chmod(0)
        self.ends(desk, process(film.name, before=mortal), 2, "good.srt cannot be read: Permission denied")

    def test_a_folder_that_may_not_be_read_is_named(self, desk: Desk, film: Path, mortal: tuple[str, ...]) -> None:
        Path("films").mkdir(mode=0)
        self.ends(desk, process("films", before=mortal), 2, "films", "ermission")
        Path("films").chmod(0o700)

    @pytest.mark.parametrize("place", ["Out", "Out/below"])
    def test_an_output_folder_that_may_not_be_written_is_named(
        self, desk: Desk, film: Path, mortal: tuple[str, ...], place: str
    ) -> None:
        Path("Out").mkdir(mode=0o555)
        self.ends(desk, process(film.name, "--output", place, before=mortal), 6, "permission denied", "--output")
        assert not list(Path("Out").iterdir())

    def test_a_project_folder_that_may_not_be_written_is_named(self, desk: Desk, film: Path, mortal: tuple[str, ...]) -> None:
        assert desk.dub(film.name) == 0
        Path("Out/film").chmod(0o555)
        self.ends(desk, process(film.name, "--max-rate", "1.2", before=mortal), 6, "permission denied")
        Path("Out/film").chmod(0o755)

    def test_an_input_folder_that_may_not_be_written_is_no_hindrance(
        self, desk: Desk, film: Path, mortal: tuple[str, ...]
    ) -> None:
        Path("films").mkdir()
        film.rename("films/film.mp4")
        Path("films").chmod(0o555)
        self.ends(desk, process("films/film.mp4", before=mortal), 0)
        Path("films").chmod(0o755)

    def test_a_file_in_the_place_of_a_folder_is_kept(self, desk: Desk, film: Path) -> None:
        Path("file").write_text("mine")
        assert desk.dub(film.name, "--output", "file") == 6
        desk.says("a file is in the way")
        assert desk.dub(film.name, "--output", "file/below") == 6
        assert desk.dub(film.name, "--store", "file") == 6
        assert Path("file").read_text() == "mine"
        Path("Out/film").write_text("mine too")
        assert desk.dub(film.name) == 0
        assert Path("Out/film").read_text() == "mine too"

    def test_on_a_full_disk_it_stops_and_goes_on_when_there_is_room(self, desk: Desk, clip: Callable[..., Path]) -> None:
        film = clip("film", seconds=40.0, fps=5)
        Path("Out").mkdir()
        program = "import sys; from polydub.cli import run; sys.exit(run(sys.argv[1:]))"
        script = (
            'mount -t tmpfs -o size=1500k none Out || exit 77; "$@"; echo "first $?" >&2;'
            'mount -o remount,size=200m Out; "$@"; echo "second $?" >&2; ls Out/film >&2'
        )
        own = ("unshare", "-m") if os.geteuid() == 0 else ("unshare", "-r", "-m")
        words = ("dub", *Desk.words, "--transcript", "good.srt", film.name)
        command = [*own, "sh", "-c", script, "sh", sys.executable, "-c", program, *words]
        if not shutil.which("unshare"):
            pytest.skip("needs unshare")
        ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        if ran.returncode == 77 or "unshare failed" in ran.stderr:
            pytest.skip("may not mount a small disk here")
        first, second = ran.stderr.split("first 6\n")
        assert "error: " in first
        assert "full" in first or "No space left" in first
        assert "Traceback" not in ran.stderr
        assert "unexpected" not in ran.stderr
        assert "second 0\n" in second
        assert "dub.es.mkv" in second

    def test_a_damaged_memory_is_told_and_can_be_cleaned(self, desk: Desk, film: Path) -> None:
        assert desk.dub(film.name) == 0
        memo = Path("Out/.polydub/memo.sqlite")
        for left in memo.parent.glob("memo.sqlite-*"):
            left.unlink()
        memo.write_bytes(b"this is no database" * 1000)
        assert desk.dub(film.name) == 6
        desk.says("polydub clean")
        assert run(["clean", "--yes", "--output", "Out"]) == 0
        assert desk.dub(film.name) == 0

    def test_a_damaged_project_is_told(self, desk: Desk, film: Path) -> None:
        assert desk.dub(film.name) == 0
        Path("Out/film/project.json").write_text('{"source": ')
        assert desk.dub(film.name) == 6
        desk.says("project.json")


class TestAtTheSameTime:
    def test_two_processes_on_one_film_both_succeed_with_one_result(self, desk: Desk, film: Path) -> None:
        running = [process(film.name, "--tts", "espeak-ng") for _ in range(3)]
        told = [(p.communicate(timeout=100), p.returncode) for p in running]
        for (out, err), status in told:
            assert status == 0, err
            assert out == "Out/film/dub.es.mkv\n"
            assert "Traceback" not in err
        together = Path("Out/film/dub.es.mkv").read_bytes()
        shutil.rmtree("Out")
        assert desk.dub(film.name, "--tts", "espeak-ng") == 0
        assert Path("Out/film/dub.es.mkv").read_bytes() == together

    def test_two_films_of_one_name_at_once_get_two_folders(self, desk: Desk, film: Path, clip: Callable[..., Path]) -> None:
        other = clip("other", seconds=2.4)
        Path("b").mkdir()
        other.rename("b/film.mkv")
        running = [process(path) for path in (film.name, "b/film.mkv")]
        results = {p.communicate(timeout=100)[0] for p in running}
        assert [p.returncode for p in running] == [0, 0]
        assert len(results) == 2
        assert "Out/film/dub.es.mkv\n" in results


def test_a_batch_with_every_kind_of_bad_file_dubs_the_good_ones(desk: Desk, film: Path, clip: Callable[..., Path]) -> None:
    Path("in").mkdir()
    film.rename("in/good.mp4")
    clip("mute", sound="none", seconds=1.0).rename("in/mute.mkv")
    Path("in/empty.mp4").touch()
    Path("in/list.mp4").write_text(hls("good.mp4"))
    Path("in/text.mp4").write_text("text")
    for stem in ("good", "mute", "empty", "list", "text"):
        shutil.copy("good.srt", f"in/{stem}.srt")
    status = run(["dub", "in", *Desk.words, "--transcript", "in/{stem}.srt"])
    out, err = desk.capsys.readouterr()
    assert status == 1
    assert out == "Out/good/dub.es.mkv\n"
    assert sum(line.startswith("error: in/") for line in err.splitlines()) == 4
    assert "1 of 5 files dubbed" in err
