"""The settings of the server: the table [server] of a settings file, or POLYDUB_SERVER__NAME in the environment."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from polydub.config.hosts import Hosts
from polydub.config.values import formats


def _bucket(value: object) -> object:
    """A bucket's name alone means the bucket: earlier systems had it so."""
    return f"s3://{value}" if isinstance(value, str) and re.fullmatch(r"[a-z0-9][a-z0-9.-]{2,62}", value) else value


LOOPBACK = ("127.0.0.1", "::1", "localhost")
Words = Annotated[tuple[str, ...], BeforeValidator(formats)]


def _setting(default: Any, meaning: str, **limits: Any) -> Any:
    return Field(default, description=meaning, **limits)


class ServerSettings(BaseModel):
    """Everything the server can be told, but secrets. Frozen; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True)

    host: str = _setting("127.0.0.1", "Address to listen at; 0.0.0.0 = every one of this machine.")
    port: int = _setting(8000, "Port to listen at; 0 = any that is free.", ge=0, le=65535)
    data: Path = _setting(Path("polydub-data"), "Folder of the server: database, files, keys.")
    only: Literal["all", "speech", "separation"] = _setting(
        "all", "What is served: everything, the speech services alone, or separation alone."
    )
    public_url: str = _setting("", "Address by which others reach the server, such as https://dub.example.org.")
    database: str = _setting("", "Database: postgresql://..., d1, or empty = SQLite in the data folder.")
    storage: Annotated[str, BeforeValidator(_bucket)] = _setting("", "Files: s3://bucket/prefix, or empty = the data folder.")
    s3_endpoint: str = _setting("", "Address of an S3-compatible store that is not Amazon's, such as R2.")
    s3_region: str = _setting("auto", "Region of the bucket.")
    d1_account: str = _setting("", "Cloudflare account that the D1 database belongs to.")
    d1_database: str = _setting("", "Id of the D1 database.")
    d1_url: str = _setting("", "Address of the D1 service instead of Cloudflare's, for tests.")

    registration: Literal["auto", "open", "closed"] = _setting(
        "auto", "Whether people may open accounts themselves; auto = where only this machine is listened to."
    )
    cors_origins: Words = _setting((), "Web addresses besides its own whose pages may use the API.")
    webhook_hosts: Hosts = _setting(
        (), "Hosts and networks of one's own that webhooks may call: studio.lan, 10.1.0.0/16, n8n.lan:5678."
    )
    url_hosts: Hosts = _setting((), "Hosts and networks of one's own that films may be fetched from, written alike.")
    url_minutes: int = _setting(
        120, "Minutes that fetching a film may take; one that comes at less than 1 MB a minute is given up after two.",
        ge=1, le=24 * 60,
    )  # fmt: skip
    trusted_proxies: Words = _setting((), "Addresses of proxies whose X-Forwarded-For is believed.")
    access_minutes: int = _setting(15, "Minutes that an access token holds.", ge=1, le=60)
    refresh_days: int = _setting(30, "Days that a login lasts without being used.", ge=1, le=365)
    link_minutes: int = _setting(
        10, "Minutes that a one-time link to log in or to set a password holds; more only where it takes longer to bring.",
        ge=1, le=7 * 24 * 60,
    )  # fmt: skip
    second_factor: Literal["optional", "admins", "everyone"] = _setting(
        "optional", "Who must have a second factor: without one they can do nothing but make one. API tokens need none."
    )
    breached_passwords: Path | None = _setting(
        None, "File of leaked passwords that are refused: sorted lines SHA1:COUNT, as Have I Been Pwned gives them out."
    )
    trial_engines: Literal["auto", "yes", "no"] = _setting(
        "auto",
        "Whether clients may name the engines called fake, for tests; auto = where only this machine is listened to.",
    )
    requests_a_minute: int = _setting(600, "Requests a minute of one account or address.", ge=1)
    logins_a_minute: int = _setting(10, "Logins a minute from one address or to one account.", ge=1)

    max_file_mb: int = _setting(500, "Largest recording sent to be transcribed or separated, in MB.", ge=1)
    max_duration_s: int = _setting(4 * 3600, "Longest recording sent to be transcribed or separated, in seconds.", ge=1)
    max_upload_gb: int = _setting(50, "Largest film that is uploaded, in GB.", ge=1)
    quota_gb: int = _setting(200, "Uploads and results of one account together, in GB.", ge=1)
    jobs_a_user: int = _setting(20, "Jobs of one account that may wait or run at once.", ge=1)
    jobs_at_once: int = _setting(2, "Jobs that one worker works on at once.", ge=1, le=64)
    gpu_slots: int = _setting(1, "Heavy engines that one worker may run on its cards at once.", ge=0, le=16)
    queue_length: int = _setting(32, "Requests that may wait for a speech engine; more are told to come back.", ge=0)

    inputs_days: int = _setting(7, "Days that uploaded films are kept after their last use.", ge=1)
    logs_days: int = _setting(14, "Days that logs and events of finished jobs are kept.", ge=1)
    speech_days: int = _setting(2, "Days that generated speech is kept.", ge=1)
    work_days: int = _setting(14, "Days that finished work is kept in the bucket, for other hosts and later attempts.", ge=1)
    cache_gb: int = _setting(100, "Most finished work of the bucket that a host keeps on its own disk, in GB; 0 = all.", ge=0)

    @property
    def for_itself(self) -> bool:
        """Whether only this machine is listened to."""
        return self.host in LOOPBACK and not self.public_url

    @property
    def trials(self) -> bool:
        """Whether clients may name engines that are for tests."""
        return self.for_itself if self.trial_engines == "auto" else self.trial_engines == "yes"
