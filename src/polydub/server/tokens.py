"""Random ids and secrets, what is kept of them, and the keys that sign access tokens."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import jwt

from polydub.errors import BadSettings, StoreError

ISSUER, AUDIENCE, KIND, ALGORITHM = "polydub", "polydub-api", "at+jwt", "HS256"
SHORTEST_KEY = 32  # bytes; RFC 7518 3.2 wants as many as the hash has
OPAQUE = re.compile(r"[A-Za-z0-9_-]{43}")


def new_id() -> str:
    """An id that says nothing and cannot be guessed: 24 hexadecimal digits."""
    return secrets.token_hex(12)


def new_secret() -> str:
    """256 random bits as 43 URL-safe characters."""
    return secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """What is kept of a secret with 256 random bits: its SHA-256, hex. Passwords are hashed otherwise."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def csrf_of(session: str) -> str:
    """The token that a page sends with changes made by a cookie session; it follows from the session's own secret."""
    mixed = hashlib.sha256(b"csrf " + session.encode("utf-8", "surrogatepass"))
    return base64.urlsafe_b64encode(mixed.digest()).decode().rstrip("=")


@dataclass(frozen=True)
class Keys:
    """Keys that sign access tokens: `current` signs, all verify, so that keys can be changed without logging people out."""

    current: str
    keys: Mapping[str, bytes] = field(repr=False)

    def __post_init__(self) -> None:
        if self.current not in self.keys:
            raise BadSettings("the key that signs access tokens is not among the keys", "name it in the list")
        for name, key in self.keys.items():
            if len(key) < SHORTEST_KEY:
                raise BadSettings(
                    f"key {name} for access tokens has {len(key)} bytes, {SHORTEST_KEY} are needed",
                    'make one: python3 -c "import secrets; print(secrets.token_urlsafe(32))"',
                )

    @classmethod
    def random(cls) -> Keys:
        """One new key."""
        return cls("1", {"1": secrets.token_bytes(32)})

    @classmethod
    def written(cls, text: str) -> Keys:
        """From a setting: NAME:SECRET, several with commas, the first one signs; or a secret alone. Raises: BadSettings."""
        pairs = [part.strip().rpartition(":") for part in text.split(",") if part.strip()]
        if not pairs:
            raise BadSettings("the keys for access tokens are empty", "give NAME:SECRET")
        keys = {name or "1": value.encode() for name, _, value in pairs}
        if len(keys) < len(pairs):
            raise BadSettings("two keys for access tokens have the same name", "give NAME:SECRET,NAME:SECRET")
        return cls(pairs[0][0] or "1", keys)

    @classmethod
    def kept(cls, path: Path) -> Keys:
        """From a file that only its owner can read; made where there is none. Raises: StoreError, BadSettings."""
        if not path.exists():
            _write_new(path, cls.random())
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            keys = {str(name): base64.b64decode(value, validate=True) for name, value in kept["keys"].items()}
            return cls(str(kept["current"]), keys)
        except OSError as error:
            raise StoreError(f"{path} cannot be read: {error.strerror or error}", "check who owns it") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadSettings(f"{path} is damaged", "put back a copy, or delete it: everybody has to log in again") from error

    def sign(self, claims: Mapping[str, Any], now: datetime, life: timedelta) -> str:
        """A token of `claims` (sub, sid) that holds for `life`."""
        whole = {**claims, "iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + life, "jti": new_id()}
        return jwt.encode(whole, self.keys[self.current], ALGORITHM, headers={"kid": self.current, "typ": KIND})

    def read(self, token: str, now: datetime) -> Mapping[str, Any] | None:
        """The claims; None when it is forged, of another kind, or past its time."""
        try:
            head = jwt.get_unverified_header(token)
            key = self.keys.get(str(head.get("kid")))
            if key is None or head.get("typ") != KIND:
                return None
            claims: Mapping[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=ISSUER,
                options={"require": ["exp", "iat", "sub", "jti", "sid"], "verify_exp": False, "verify_iat": False},
            )
            return claims if float(claims["exp"]) > now.timestamp() else None
        except (jwt.PyJWTError, ValueError, TypeError):
            return None


def _write_new(path: Path, keys: Keys) -> None:
    """Writes a key file unless another process has been quicker."""
    text = json.dumps(
        {"version": 1, "current": keys.current, "keys": {n: base64.b64encode(k).decode() for n, k in keys.keys.items()}}
    )
    draft = path.with_name(f".{path.name}.{new_id()}")
    try:
        draft.touch(mode=0o600)
        draft.write_text(text + "\n", encoding="utf-8")
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror or error}", "check the folder's permissions") from error
