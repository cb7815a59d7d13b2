"""Every error polydub raises on purpose: what happened, what to do next, and the status the program ends with.

PolydubError
├─ BadInput        2 / 422   UnreadableMedia, NoAudioTrack, NoSpeech
├─ BadSettings     3 / 422   UnknownEngine, UnsupportedLanguage
├─ Missing         4 / 503   MissingProgram, MissingExtra, MissingWeights, MissingSecret
├─ EngineFailed    5 / 502   BadEngineOutput
├─ StoreError      6 / 500   Busy
├─ StrictNotice    7 / 422
└─ Cancelled     130 / 409

The message is one sentence that says what happened; the hint is what the user can type or change.
Exit status 1 (some files of a batch failed) has no error class: the batch itself succeeded in running.
"""

from __future__ import annotations

SOME_FAILED = 1  # exit status of a batch in which some files failed


class PolydubError(Exception):
    """Base of all deliberate errors.

    Attributes:
        message: what happened, one sentence.
        hint: what to type or change next; empty when there is nothing useful to say.
        stage, line, engine: where it happened; filled in by the runner.
    """

    code = "error"
    exit_status = 5
    http_status = 500
    retryable = False

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.stage: str | None = None
        self.line: str | None = None
        self.engine: str | None = None

    def __str__(self) -> str:
        return self.message


class BadInput(PolydubError):
    """The user's file cannot be used."""

    code, exit_status, http_status = "bad-input", 2, 422


class UnreadableMedia(BadInput):
    """Not media, damaged, or of a format that is not allowed."""

    code = "unreadable-media"


class NoAudioTrack(BadInput):
    """The media has no sound to dub."""

    code = "no-audio-track"


class NoSpeech(BadInput):
    """There is nothing to say: no speech was found, or the given text is empty."""

    code = "no-speech"


class BadSettings(PolydubError):
    """A flag, a setting or a job file is wrong."""

    code, exit_status, http_status = "bad-settings", 3, 422


class UnknownEngine(BadSettings):
    """No engine of that name is registered."""

    code = "unknown-engine"


class UnsupportedLanguage(BadSettings):
    """The language is unknown, or the engine does not have it."""

    code = "unsupported-language"


class Missing(PolydubError):
    """Something that would do the work is not installed."""

    code, exit_status, http_status = "missing", 4, 503


class MissingProgram(Missing):
    """An external program is not installed."""

    code = "missing-program"


class MissingExtra(Missing):
    """A Python package of an optional extra is not installed."""

    code = "missing-extra"


class MissingWeights(Missing):
    """Model weights have not been pulled."""

    code = "missing-weights"


class MissingSecret(Missing):
    """A key or password that the chosen engine needs is not set."""

    code = "missing-secret"


class EngineFailed(PolydubError):
    """An engine crashed, timed out or refused."""

    code, exit_status, http_status, retryable = "engine-failed", 5, 502, True


class BadEngineOutput(EngineFailed):
    """An engine answered with something unusable: NaN, silence, a wrong count."""

    code = "bad-engine-output"


class StoreError(PolydubError):
    """The store or the output folder cannot be read or written."""

    code, exit_status, http_status = "store", 6, 500


class Busy(StoreError):
    """Another process holds the project."""

    code, http_status, retryable = "busy", 409, True


class StrictNotice(PolydubError):
    """A notice under --strict."""

    code, exit_status, http_status = "strict-notice", 7, 422


class Cancelled(PolydubError):
    """The user stopped the run; finished work is kept."""

    code, exit_status, http_status = "cancelled", 130, 409
