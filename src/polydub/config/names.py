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
        "api_token": Secret(
            ("POLYDUB_API_TOKEN", "API_TOKEN"), "A token of 32 characters or more that opens the server as its first admin."
        ),
        "jwt_keys": Secret(
            ("POLYDUB_JWT_KEYS",),
            "Keys that sign the server's access tokens: NAME:SECRET, several with commas, the first signs; unset = in a file.",
        ),
        "database_url": Secret(
            ("POLYDUB_DATABASE_URL",), "Address of the server's database with its password, instead of server.database."
        ),
        "d1_token": Secret(("POLYDUB_D1_TOKEN",), "Token for Cloudflare D1, for server.database = d1."),
        "s3_access_key_id": Secret(("POLYDUB_S3_ACCESS_KEY_ID", "S3_ACCESS_KEY_ID"), "Id of the key for server.storage."),
        "s3_secret_access_key": Secret(("POLYDUB_S3_SECRET_ACCESS_KEY", "S3_SECRET_ACCESS_KEY"), "The key for server.storage."),
        "webhook_secret": Secret(
            ("POLYDUB_WEBHOOK_SECRET", "WEBHOOK_SECRET"),
            "What webhooks from remote workers are signed with: whsec_..., several with spaces.",
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
    Alias("S3_BUCKET", "server.storage", "Bucket of the server's files."),
    Alias("S3_ENDPOINT", "server.s3_endpoint", "Address of an S3-compatible store."),
    Alias("S3_ENDPOINT_URL", "server.s3_endpoint", "Address of an S3-compatible store."),
    Alias("S3_REGION", "server.s3_region", "Region of the bucket."),
    Alias("WEBHOOK_URL", "", "Webhooks are kept by the server itself: POST /api/webhooks."),
    Alias("RETENTION_DAYS_INPUTS", "server.inputs_days", "Days that the server keeps uploaded films."),
    Alias("RETENTION_DAYS_LOGS", "server.logs_days", "Days that the server keeps logs."),
    Alias("RETENTION_DAYS_SPEECH", "server.speech_days", "Days that the server keeps generated speech."),
    Alias("RETENTION_DAYS_*", "", "Days until the server deletes what else there was in earlier systems."),
    Alias("MAX_FILE_SIZE_MB", "server.max_file_mb", "Largest recording that the server transcribes or separates."),
    Alias("MAX_DURATION_SECONDS", "server.max_duration_s", "Longest recording that the server transcribes or separates."),
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
