"""SECURITY.md is complete where code can tell."""

from __future__ import annotations

from pathlib import Path

from polydub.config import SECRETS
from polydub.config.server import ServerSettings
from polydub.media.program import FORMATS
from polydub.server.look import TEXTS

PAGE = Path(__file__).resolve().parents[2] / "SECURITY.md"


def test_the_security_page_names_every_secret_format_and_ending() -> None:
    page = PAGE.read_text(encoding="utf-8")
    wanted = [*(secret.variables[0] for secret in SECRETS.values()), *FORMATS.split(","), *TEXTS]
    assert [name for name in wanted if f"`{name}`" not in page] == []


def test_the_security_page_names_the_bounds_that_are_there() -> None:
    page = PAGE.read_text(encoding="utf-8")
    bounds = (
        "jobs_a_user", "jobs_at_once", "gpu_slots", "queue_length", "max_file_mb", "max_duration_s", "max_upload_gb",
        "quota_gb", "logins_a_minute", "requests_a_minute", "inputs_days", "logs_days", "speech_days",
    )  # fmt: skip
    assert [name for name in bounds if name not in ServerSettings.model_fields or f"`{name}`" not in page] == []


def test_the_security_page_has_all_its_parts() -> None:
    page = PAGE.read_text(encoding="utf-8")
    parts = [line.removeprefix("## ") for line in page.splitlines() if line.startswith("## ")]
    assert parts == [
        "Telling us", "Keeping up to date", "What is protected, and how", "Keys and secrets", "What the server calls",
        "What costs much", "Which files are taken", "What goes together",
    ]  # fmt: skip
    assert all(len(page.split(f"## {part}\n")[1].split("\n## ")[0]) > 150 for part in parts)
