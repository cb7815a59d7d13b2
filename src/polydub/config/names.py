"""Names of variables that are not made from a setting's name: secrets, aliases of earlier systems, reserved ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Alias:
    """A variable that means a setting ("engines.mt.openai.model"), or is kept free for a later feature (target "").

    A variable that ends in "*" stands for all that begin so.
    """

    variable: str
    target: str
    meaning: str

    def covers(self, variable: str) -> bool:
        """Whether `variable` is this one."""
        return variable.startswith(self.variable[:-1]) if self.variable.endswith("*") else variable == self.variable


@dataclass(frozen=True, slots=True)
class Secret:
    """A key or password: the variables it is read from, first that is set wins, and what it opens."""

    variables: tuple[str, ...]
    meaning: str


SECRETS: Mapping[str, Secret] = MappingProxyType(
    {
        "openai_api_key": Secret(
            ("POLYDUB_OPENAI_API_KEY", "OPENAI_API_KEY"),
            "Key of OpenAI, or of the compatible service that base_url names; to the latter only the POLYDUB_ one is sent.",
        ),
        "groq_api_key": Secret(
            ("POLYDUB_GROQ_API_KEY", "GROQ_API_KEY"), "Key of Groq, for the preset groq of the engine openai."
        ),
        "characters_key": Secret(
            ("POLYDUB_CHARACTERS_KEY",),
            "What remembered characters are encrypted with: 8 characters or more. Without it they cannot be read again.",
        ),
    }
)

ALIASES: tuple[Alias, ...] = (
    Alias("POLYDUB_OPENAI_BASE_URL", "engines.mt.openai.base_url", "Address of an OpenAI-compatible service."),
    Alias("POLYDUB_OPENAI_MODEL", "engines.mt.openai.model", "Model that translates there."),
    Alias("STRICT_SECRETS", "strict_secrets", "Refuse to start without the secrets that are needed."),
    Alias("TORCH_HOME", "", "Cache of models from the PyTorch hub."),
    Alias("TTS_HOME", "", "Cache of Coqui models."),
    Alias("MODELS_DIR", "models", "Folder of model weights."),
    Alias("COQUI_TOS_AGREED", "engines.tts.xtts.agree_terms", "1 = the terms of XTTS are accepted."),
    Alias("WAV2LIP_DIR", "engines.lipsync.wav2lip.folder", "Checkout of Wav2Lip."),
    Alias("WAV2LIP_CHECKPOINT", "engines.lipsync.wav2lip.checkpoint", "Weights of Wav2Lip."),
    Alias("API_TOKEN", "", "Token that clients of the server show."),
    Alias("S3_*", "", "Object storage of the server."),
    Alias("WEBHOOK_*", "", "Webhooks of the server."),
    Alias("RETENTION_DAYS_*", "", "Days until the server deletes inputs, results and logs."),
    Alias("MAX_FILE_SIZE_MB", "", "Largest upload that the server takes."),
    Alias("MAX_DURATION_SECONDS", "", "Longest recording that the server takes."),
    Alias("MAX_CHUNK_CHARS", "engines.tts.vibevoice.max_chunk_chars", "Longest piece of text spoken at once."),
)

# Read by the library that knows the hub, not by polydub itself.
HUB: tuple[Alias, ...] = (
    Alias("HF_TOKEN", "", "Token for models behind a licence form."),
    Alias("HF_ENDPOINT", "", "Mirror to download models from."),
    Alias("HF_HOME", "", "Cache of models from the Hugging Face hub."),
)

# Variables of the set-up and the tests: no settings, but no mistakes either.
OUTSIDE = frozenset({"POLYDUB_NO_APT", "POLYDUB_SHARED_DATA"})

_SECRET_WORDS = frozenset({"key", "token", "secret", "password", "passwd", "credentials", "authorization"})


def is_secret(key: str) -> bool:
    """Whether a key or variable names something that must not stand in a settings file: api_key, hf_token, password."""
    word = key.lower().replace("-", "_")
    known = word in SECRETS or any(word == v.lower() for s in SECRETS.values() for v in s.variables)
    return known or word.rpartition("_")[2] in _SECRET_WORDS or word.endswith("_key_id")


def secret_of(variable: str) -> str | None:
    """The secret that is read from a variable; None when it is none of polydub's."""
    return next((name for name, secret in SECRETS.items() if variable in secret.variables), None)


def secret_hint(engine: str) -> str:
    """Where to put a secret of an engine."""
    known = SECRETS.get(f"{engine.lower()}_api_key")
    what = f"set {known.variables[0]}" if known else "set it as a variable"
    return f"{what} in the environment or in .env.secrets, and nowhere else"


def near(name: str, known: Iterable[str]) -> str:
    """The most similar of the known names, "" when none is."""
    from difflib import get_close_matches

    return next(iter(get_close_matches(name, list(known), n=1)), "")


def engine_key(name: str) -> str:
    """An engine's name as the registry spells it; variables cannot hold a dash: espeak_ng is espeak-ng."""
    return name.strip().lower().replace("_", "-")
