"""Models that polydub has not pinned: the hub says what there is, and the folder keeps what was promised."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from polydub import models
from polydub.engines.base import Weight
from polydub.errors import BadSettings
from web_origin import Origin, digest, serving

FIRST, SECOND = "a" * 40, "b" * 40
FILES = {"config.json": b'{"layers": 2}', "model.safetensors": bytes(range(256)) * 300, "pictures/nice.png": b"png"}
WEIGHT = Weight(
    "toy",
    "",
    "hub:Some-One/toy.model",
    "MIT",
    True,
    patterns=("*.json", "*.safetensors"),
    about_bytes=77_000,
    languages=("en",),
)
PULL = """
import sys
from pathlib import Path
from polydub import models
from polydub.engines.base import Weight
from polydub.errors import PolydubError
try:
    told = []
    patience = models.Patience(pauses_s=())
    print(models.pull({weight!r}, Path(sys.argv[1]), lambda *both: told.append(both), patience=patience))
    print(told[-1])
except PolydubError as error:
    print(type(error).__name__, error, error.hint)
"""


def git(content: bytes) -> str:
    """The name that git gives to a content."""
    return hashlib.sha1(b"blob %d\0%s" % (len(content), content), usedforsecurity=False).hexdigest()


@dataclass
class Hub:
    """A hub with one repository. `answer` replaces what it tells of it."""

    origin: Origin
    home: Path
    answer: bytes | None = None
    environment: dict[str, str] = field(default_factory=dict[str, str])

    def publish(self, commit: str, files: dict[str, bytes]) -> None:
        """Makes `commit` the newest one. What is longer than 1,000 bytes is a large file."""
        rows = [
            {"rfilename": name, "size": len(content), "blobId": git(content)}
            | ({"lfs": {"sha256": digest(content), "size": len(content), "pointerSize": 130}} if len(content) > 1000 else {})
            for name, content in files.items()
        ]
        told = json.dumps({"id": "Some-One/toy.model", "sha": commit, "siblings": rows}).encode()
        self.origin.files["/api/models/Some-One/toy.model?blobs=true"] = told
        for name, content in files.items():
            self.origin.files[f"/Some-One/toy.model/resolve/{commit}/{name}"] = content

    def pull(self, weight: Weight = WEIGHT) -> list[str]:
        """What a process that pulls prints: the folder and the last progress, or the error."""
        variables = {"HF_ENDPOINT": self.origin.address, "HF_HOME": str(self.home / "hf"), **self.environment}
        command = [sys.executable, "-c", PULL.format(weight=weight), str(self.home)]
        ran = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, timeout=60, check=False)
        assert not ran.returncode, ran.stderr
        return ran.stdout.splitlines()

    def asked(self) -> list[str]:
        """Last parts of the addresses that were asked for since the last time."""
        paths = [path.rpartition("/")[2] for path, _ in self.origin.asked]
        self.origin.asked.clear()
        return paths


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with serving() as origin:
        made = Hub(origin, tmp_path)
        made.publish(FIRST, FILES)
        yield made


def test_the_newest_commit_comes_and_its_folder_says_what_was_promised(hub: Hub) -> None:
    folder = hub.home / "toy"
    whole = len(FILES["config.json"]) + len(FILES["model.safetensors"])
    assert hub.pull() == [str(folder), f"({whole}, {whole})"]
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors", "polydub.json"]
    manifest = json.loads((folder / "polydub.json").read_text())
    assert manifest["revision"] == FIRST
    assert {row["name"]: row["sha256"] for row in manifest["files"]} == {
        name: digest(FILES[name]) for name in ("config.json", "model.safetensors")
    }
    assert models.find(WEIGHT, hub.home) == folder and models.verify(WEIGHT, hub.home) == []
    assert models.revision(WEIGHT, folder) == FIRST and models.comparable(WEIGHT, folder)


def test_what_is_here_stays_though_there_is_something_newer(hub: Hub) -> None:
    hub.pull()
    hub.publish(SECOND, FILES | {"config.json": b"{}"})
    hub.asked()
    hub.pull()
    assert hub.asked() == []
    assert models.pull(WEIGHT, hub.home, lambda done, total: None, offline=True) == hub.home / "toy"
    models.remove(WEIGHT, hub.home)
    hub.pull()
    assert models.revision(WEIGHT, hub.home / "toy") == SECOND


def test_a_damaged_file_is_found_and_only_it_comes_again(hub: Hub) -> None:
    hub.pull()
    weights = hub.home / "toy/model.safetensors"
    weights.write_bytes(bytes(len(FILES["model.safetensors"])))
    assert models.find(WEIGHT, hub.home) and models.verify(WEIGHT, hub.home) == [f"{weights} holds other bytes than it should"]
    hub.asked()
    hub.pull()
    assert hub.asked() == ["toy.model?blobs=true", "model.safetensors"]
    assert models.verify(WEIGHT, hub.home) == []
    weights.write_bytes(b"short")
    assert models.find(WEIGHT, hub.home) is None


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_other_bytes_than_the_hub_promised_are_refused(hub: Hub, name: str) -> None:
    hub.origin.files[f"/Some-One/toy.model/resolve/{FIRST}/{name}"] = FILES[name][::-1]
    (told,) = hub.pull()
    assert told.startswith(f"StoreError {name} of toy came with other content than its hash promises")
    assert models.find(WEIGHT, hub.home) is None


def test_an_interrupted_pull_goes_on_and_follows_a_newer_commit(hub: Hub) -> None:
    hub.origin.cuts = [100_000, 100_000, 70_000, 0]
    (told,) = hub.pull()
    assert "the connection broke off" in told
    hub.asked()
    newer = FILES | {"model.safetensors": FILES["model.safetensors"][::-1]}
    hub.publish(SECOND, newer)
    hub.origin.etag = '"two"'
    hub.pull()
    assert (hub.home / "toy/model.safetensors").read_bytes() == newer["model.safetensors"]
    assert hub.asked() == ["toy.model?blobs=true", "model.safetensors"], "the small file is the same"
    assert models.revision(WEIGHT, hub.home / "toy") == SECOND


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (b"<html>", "does not tell in the hub's way"),
        (b'{"sha": "main", "siblings": []}', "does not tell in the hub's way"),
        (json.dumps({"sha": FIRST, "siblings": []}).encode(), "has none of the files of toy"),
        (b"[" * 100_000, "does not tell in the hub's way"),
    ],
)
def test_a_hub_that_talks_nonsense_is_one_sentence(hub: Hub, told: bytes, words: str) -> None:
    hub.origin.files["/api/models/Some-One/toy.model?blobs=true"] = told
    (said,) = hub.pull()
    assert said.startswith("MissingWeights 127.0.0.1") and words in said


@pytest.mark.parametrize("name", ["../evil.json", "/etc/evil.json", "a/../../evil.json", "a\\evil.json", "polydub.json"])
def test_a_name_that_leads_out_of_the_folder_is_refused(hub: Hub, name: str) -> None:
    row = {"rfilename": name, "size": 2, "blobId": git(b"{}")}
    told = {"sha": FIRST, "siblings": [row]}
    hub.origin.files["/api/models/Some-One/toy.model?blobs=true"] = json.dumps(told).encode()
    (said,) = hub.pull()
    assert "cannot be kept" in said
    assert [path for path, _ in hub.origin.asked] == ["/api/models/Some-One/toy.model?blobs=true"]


@pytest.mark.parametrize("status", [401, 403])
def test_behind_a_licence_form_the_hint_is_the_token(hub: Hub, status: int) -> None:
    hub.origin.status = status
    (told,) = hub.pull()
    assert told.startswith("MissingSecret") and "HF_TOKEN" in told
    assert f"accept its licence on {hub.origin.address}/Some-One/toy.model" in told


def test_the_token_is_shown_to_the_hub(hub: Hub) -> None:
    hub.environment["HF_TOKEN"] = "hf_secret"
    hub.pull()
    assert {headers.get("authorization") for _, headers in hub.origin.asked} == {"Bearer hf_secret"}


def test_offline_is_refused(hub: Hub) -> None:
    with pytest.raises(BadSettings, match="toy is not here"):
        models.pull(WEIGHT, hub.home, lambda done, total: None, offline=True)
    hub.environment["HF_HUB_OFFLINE"] = "1"
    assert "HF_HUB_OFFLINE forbids" in hub.pull()[0]
    assert hub.asked() == []


def test_a_repository_without_a_file_that_is_needed_by_name_is_refused(hub: Hub) -> None:
    (said,) = hub.pull(replace(WEIGHT, patterns=("config.json", "model.bin", "*.txt")))
    assert said.startswith("MissingWeights") and "lacks model.bin" in said
    assert hub.asked() == ["toy.model?blobs=true"]


class TestFound:
    """In folders that polydub did not make."""

    def test_files_put_there_by_hand_serve_when_there_is_one_for_each_pattern(self, tmp_path: Path) -> None:
        folder = tmp_path / "toy"
        folder.mkdir()
        (folder / "config.json").write_bytes(FILES["config.json"])
        assert models.find(WEIGHT, tmp_path) is None
        (folder / "model.safetensors").write_bytes(FILES["model.safetensors"])
        assert models.find(WEIGHT, tmp_path) == folder and models.verify(WEIGHT, tmp_path) == []
        assert not models.comparable(WEIGHT, folder)
        before = models.revision(WEIGHT, folder)
        (folder / "config.json").write_bytes(b"{}")
        assert models.revision(WEIGHT, folder) != before

    def test_of_a_model_in_parts_all_parts_must_be_there(self, tmp_path: Path) -> None:
        folder = tmp_path / "toy"
        folder.mkdir()
        index = {"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        (folder / "one.safetensors").write_bytes(b"1")
        assert models.find(WEIGHT, tmp_path) is None
        (folder / "two.safetensors").write_bytes(b"2")
        assert models.find(WEIGHT, tmp_path) == folder

    def test_other_patterns_of_a_newer_polydub_make_the_folder_incomplete(self, hub: Hub) -> None:
        hub.pull()
        assert models.find(replace(WEIGHT, patterns=("*",)), hub.home) is None
        assert hub.pull(replace(WEIGHT, patterns=("*",)))[0] == str(hub.home / "toy")
        assert (hub.home / "toy/pictures/nice.png").exists()

    def test_the_snapshot_in_the_hubs_cache_serves_and_is_compared_by_the_names_of_its_blobs(self, hub: Hub) -> None:
        cache = hub.home / "hf/hub/models--Some-One--toy.model"
        snapshot = cache / "snapshots" / FIRST
        for folder in (cache / "blobs", cache / "refs", snapshot):
            folder.mkdir(parents=True)
        (cache / "refs/main").write_text(FIRST)
        for name, blob in (
            ("config.json", git(FILES["config.json"])),
            ("model.safetensors", digest(FILES["model.safetensors"])),
        ):
            (cache / "blobs" / blob).write_bytes(FILES[name])
            (snapshot / name).symlink_to(f"../../blobs/{blob}")
        assert hub.pull()[0] == str(snapshot)
        assert hub.asked() == []
        (cache / "blobs" / git(FILES["config.json"])).write_bytes(b"tampered here")
        assert hub.pull()[0] == str(hub.home / "toy"), "a damaged snapshot is left alone, and the model fetched"
        assert (snapshot / "config.json").read_bytes() == b"tampered here"


def test_the_list_tells_that_a_size_is_rough() -> None:
    assert models.described(WEIGHT) == "toy, about 77 kB, MIT"
    assert models.described(replace(WEIGHT, about_bytes=0)) == "toy, size not known, MIT"
