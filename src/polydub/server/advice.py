"""What errors and notices advise, in the words of the API: most are written for a command line, some advise nothing.

Three kinds of words are put otherwise: commands that a request does the same as, flags that are settings, and what only
whoever runs the server can do. The rest of a text stays as it is.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from polydub import config
from polydub.types import Notice

_SAID = tuple(
    (re.compile(pattern), said)
    for pattern, said in (
        (r"change the text, the voice \(review voice\).*", "change its text, voice or expression"),
        (r"make a new one: polydub admin login-link", "ask an admin of this server for a new one"),
        (r"close other programs, ", ""),
        (r"free some space and run the same command again", "free some space"),
        (r"run (it|its command|the same command|it all) again( to continue| to go on)?", "retry the job"),
        (r"with the same command without --stream.*", "as a job without stream"),
        (r'--consent "([^"]*)"', r'consent = "\1"'),
        (r"name one with --speaker; if it is one: --speakers 1", "name one as speaker, or send recordings of one person"),
        (r"give recordings by --voice SPEAKER=FILE or --voice-ref-dir", "name voices of the library, or a preset"),
        (r"(say which|choose one) with --lang(, for example --lang (\S+))?", r"\1 with the parameter language"),
        (r"polydub review unlock( \.\.\.)? (\S+)", r"POST /api/jobs/{id}/lines/\2/unlock"),
        (r"polydub review list", "GET /api/jobs/{id}/transcript"),
        (r"polydub review render", "POST /api/jobs/{id}/transcript/synthesize"),
        (r"polydub review regen", "POST /api/jobs/{id}/lines/LINE/regen"),
        (r"polydub review edit --help", "GET /openapi.json"),
        (r"polydub review edit", "PATCH /api/jobs/{id}/lines/LINE"),
        (r"polydub voices remove", "DELETE /api/voices/NAME"),
        (r"polydub voices list", "GET /api/voices"),
        (r"polydub characters rename (c\d+) NAME", r"PATCH /api/characters/\1"),
        (r"polydub characters rename", "PATCH /api/characters/ID"),
        (r"polydub characters (list|forget)", "GET /api/characters"),
        (r"polydub models list", "GET /v1/models"),
        (r"polydub engines(?! (install|test|remove))", "GET /api/engines"),
        (r"--translation\b", "translations"),
    )
)
_PARTS = re.compile(r"(; or |, or |; )")
_COMMAND = re.compile(r"polydub (?:models pull|engines install|worker)\b(?: \w[\w.:-]*)*")
_OF_THE_HOST = re.compile(
    r"polydub (?:models|engines|config|doctor|clean|worker|serve|admin|speak|dub|characters|voices|review)\b"
    r"|pip install|PIP_|ct2-\w|free some space|check its permissions|check the disk|\bexport [A-Z]|in the environment\b"
    r"|--(?:output|store|models|environments|voices|voice-ref-dir|character-book|download|offline|threads|jobs|debug|verbose)\b"
    r"|--(?:variant|reconsider|media|out|data|only|preset)\b"
)
_EXAMPLE = re.compile(r"(example|such as|use|as in|or|licence:) (--[a-z][a-z0-9-]*) (?!(?:or|if|out|to)\b)([\w.:-]+)")
_FLAG = re.compile(r"(?<![\w-])--([a-z][a-z0-9-]*)")
HOST = "whoever runs this server can mend it"

_API = "GET /openapi.json describes what is taken here"
# What to do next, by the code of an error that does not say so itself.
_NEXT = {
    "bad_checksum": "send the hash of exactly these bytes, for example sha256 and its 32 bytes in Base64",
    "bad_header": "send the header as GET /openapi.json describes it, or leave it out where it may be",
    "bad_json": "send one JSON object in UTF-8, with double quotes and no comma at its end",
    "bad_length": "send the number of bytes of the body",
    "bad_range": "send Range: bytes=FIRST-LAST within the file, or no Range for all of it",
    "bad_signature": "sign as Standard Webhooks tells, with the secret of this server, and check the clock of the sender",
    "csrf": "send the csrf that GET /api/auth/me tells",
    "extra_forbidden": f"leave it out: {_API}",
    "email_taken": "log in, or take another address",
    "empty_file": "send the file itself",
    "forbidden": "ask an admin of this server",
    "idempotency_in_progress": "send it again later, with the same key",
    "invalid_token": "log in again, or make a new API token",
    "job_ended": "POST /api/jobs/{id}/retry does it again",
    "job_not_done": "GET /api/jobs/{id}/events tells when it is done",
    "job_open": "GET /api/jobs/{id}/events tells how far it is",
    "login_needed": "log in with POST /api/auth/login",
    "missing": f"add it: {_API}",
    "method_not_allowed": "GET /openapi.json lists all paths",
    "not_paused": "a job that runs goes on by itself; one that has ended: POST /api/jobs/{id}/retry",
    "registration_closed": "ask an admin for an account",
    "scope_missing": "make a token that has it with POST /api/auth/tokens",
    "too_short": "give one at least",
    "too_large": "send less at once",
    "unsupported_media_type": "send the Content-Type that GET /openapi.json names for this path",
    "upload_too_large": "send a smaller file, or ask whoever runs this server for more",
    "url_too_large": "give a smaller file, or ask whoever runs this server for more",
    "wrong_password": "send the password you log in with, or ask an admin for a link to set a new one",
}
_LISTS = {
    "account": "GET /api/admin/users lists them",
    "character": "GET /api/characters lists them",
    "delivery": "GET /api/webhooks/{id}/deliveries lists them",
    "file": "GET /api/jobs/{id}/files lists them",
    "glossary": "GET /api/glossaries lists yours",
    "job": "GET /api/jobs lists yours",
    "line": "GET /api/jobs/{id}/transcript lists them",
    "login": "GET /api/auth/sessions lists yours",
    "preset": "GET /api/presets lists yours",
    "recording": "the line tells by `takes` and `at` what there is to hear",
    "separation": "POST /api/separate makes it anew: stems are kept for some days",
    "stem": "the answer of POST /api/separate names them",
    "token": "GET /api/auth/tokens lists yours",
    "upload": "GET /api/uploads lists yours; send the file with POST /api/upload",
    "voice": "GET /api/voices lists them",
    "webhook": "GET /api/webhooks lists yours",
}


def next_step(code: str, status: int = 422) -> str:
    """What to do next where an error does not say so itself; "" where nobody knows."""
    return _NEXT.get(code, _API if status in (400, 422) else "")


def where(what: str) -> str:
    """Where to look for something that is not there."""
    return _LISTS.get(what, "GET /openapi.json lists all paths")


def for_clients(hint: str) -> str:
    """A hint for somebody who uses the API. Twice is as good as once."""
    hint = _requests(hint)
    pieces = _PARTS.split(hint)
    mine = [n for n in range(0, len(pieces), 2) if not _OF_THE_HOST.search(pieces[n])]
    if len(mine) * 2 - 1 == len(pieces):
        return in_settings(hint)
    if mine:
        return in_settings("".join(pieces[n] if n == mine[0] else pieces[n - 1] + pieces[n] for n in mine))
    command = _COMMAND.search(hint)
    return f"{HOST}: {command[0]}" if command else HOST


def _requests(text: str) -> str:
    """With what a request does in the place of commands."""
    for pattern, said in _SAID:
        text = pattern.sub(said, text)
    return text


def in_settings(text: str) -> str:
    """A message or the text of a notice: flags are called as the settings of a job are, "such as asr = whisper"."""
    text = _EXAMPLE.sub(r"\1 \2 = \3", text)
    return _FLAG.sub(lambda found: _settings().get(found[0], found[1].replace("-", "_")), text)


def noticed(notice: Notice) -> dict[str, Any]:
    """A notice as it goes into events."""
    return {"code": notice.code, "text": in_settings(_requests(notice.text)), "severity": notice.severity, "line": notice.line}


@cache
def _settings() -> dict[str, str]:
    flags = config.flags()
    return {f.name: f.key for f in flags if f.name} | {f.negative: f.key for f in flags if f.negative}
