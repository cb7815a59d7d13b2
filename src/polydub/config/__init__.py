"""Settings, their layers and origins; nothing else reads the environment or configuration files.

Command line > job file > environment > `.env` of the working folder > user file > defaults. Secrets come only from the
environment and from `.env.secrets`, and are kept apart.
"""

from polydub.config.flags import Flag, flags
from polydub.config.loading import (
    Loaded,
    Row,
    Secrets,
    describe,
    engine_values,
    load,
    load_from_process,
    one_thread_a_call,
    require_secrets,
    user_file,
)
from polydub.config.names import ALIASES, HUB, OUTSIDE, SECRETS, Alias, Secret
from polydub.config.settings import CHOICES, LOUDNESS, MAX_RATE, EngineKind, Loudness, Settings

__all__ = [
    "ALIASES",
    "CHOICES",
    "HUB",
    "LOUDNESS",
    "MAX_RATE",
    "OUTSIDE",
    "SECRETS",
    "Alias",
    "EngineKind",
    "Flag",
    "Loaded",
    "Loudness",
    "Row",
    "Secret",
    "Secrets",
    "Settings",
    "describe",
    "engine_values",
    "flags",
    "load",
    "load_from_process",
    "one_thread_a_call",
    "require_secrets",
    "user_file",
]
