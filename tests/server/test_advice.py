"""What the server advises is for those who use its API: no flags of a command line, no commands that a client cannot give."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import polydub
from polydub.errors import BadSettings
from polydub.server.advice import HOST, for_clients, in_settings, noticed
from polydub.server.problems import body_of
from polydub.types import Notice

ROOT = Path(polydub.__file__).parent
FLAG = r"(?:^|[ (])--[a-z]"


def texts() -> Iterator[str]:
    """All texts in the code, but for docstrings and the command line's own."""
    for file in sorted(ROOT.rglob("*.py")):
        if not {"cli", "evaluate", "sidecar"} & set(file.relative_to(ROOT).parts) and file.name != "advice.py":
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    yield "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
                elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "\n" not in node.value:
                    yield node.value


def test_no_text_of_the_code_reaches_a_client_with_a_flag_in_it() -> None:
    flagged = [text for text in set(texts()) if re.search(FLAG, text)]
    assert len(flagged) > 100
    assert not [text for text in flagged if re.search(FLAG, for_clients(text))]


def test_advice_is_the_same_when_it_is_given_twice() -> None:
    assert not [text for text in set(texts()) if for_clients(for_clients(text)) != for_clients(text)]


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ("say so with --from, for example --from en", "say so with source_language, for example source_language = en"),
        ("use --burn-in source, or no --together", "use burn_in = source, or no together"),
        ("leave --together or --lip-sync out", "leave together or lip_sync out"),
        ("choose another engine, or leave out --offline", "choose another engine"),
        ("unlock it first: polydub review unlock ... 7", "unlock it first: POST /api/jobs/{id}/lines/7/unlock"),
        ("run the same command again to continue: finished work is kept", "retry the job: finished work is kept"),
        ("check the network, then: polydub models pull kokoro (what has come is kept)", f"{HOST}: polydub models pull kokoro"),
        ("polydub engines install xtts --variant cuda", f"{HOST}: polydub engines install xtts"),
        ("free some space or give another --output", HOST),
        ("the voices are f2, m3", "the voices are f2, m3"),
        ("", ""),
    ],
)  # fmt: skip
def test_a_hint_is_put_in_the_words_of_the_api(typed: str, sent: str) -> None:
    assert for_clients(typed) == sent


def test_errors_and_notices_call_flags_by_the_names_of_settings() -> None:
    error = BadSettings("--asr given allows no recognition", "give one with --transcript")
    assert body_of(error, "/api/jobs")["error"]["message"] == "asr given allows no recognition"
    assert body_of(error, "/v1/models")["error"]["message"] == "asr given allows no recognition (give one with transcript)"
    assert noticed(Notice("x", "taken for English: correct it with --from"))["text"].endswith("with source_language")
    named = noticed(Notice("x", "Ann is remembered as Hero; to name them: polydub characters rename c12 NAME"))
    assert named["text"].endswith("to name them: PATCH /api/characters/c12")
    assert in_settings("a--b, -- and --no-such") == "a--b, -- and no_such"
