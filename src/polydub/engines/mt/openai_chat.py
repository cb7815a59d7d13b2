"""Translation by any server that speaks OpenAI's /chat/completions: OpenAI, Groq, Ollama, vLLM, llama.cpp and others.

Lines go out as JSON with ids and come back as JSON with ids, so that a line that the model drops, doubles, merges or
refuses is asked for again and never shifts its neighbours; one that stays missing is an error, never the source text.
Lines are data inside a JSON string: what they say is not an instruction to the model, to this program or to a shell.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from polydub.engines.base import READY, Availability, Batch, Engine, Info, Options, Request, Weights
from polydub.engines.mt.chat_texts import LENGTHS, SYSTEM, answered
from polydub.errors import BadEngineOutput, BadSettings, EngineFailed, MissingSecret
from polydub.types import Wordings

if TYPE_CHECKING:
    import httpx

log = logging.getLogger(__name__)

Sleep = Callable[[float], None]

BASE_URLS = {
    "openai": "https://api.openai.com/v1",
    "groq": "https://api.groq.com/openai/v1",
    "ollama": "http://127.0.0.1:11434/v1",
}
MODELS = {"openai": "gpt-4o-mini", "groq": "llama-3.3-70b-versatile", "ollama": "llama3.1"}
LOOPBACK = {"127.0.0.1", "::1", "localhost"}
MAX_ANSWER_BYTES = 5_000_000
MAX_WAIT_S = 30.0  # between two tries, whatever the server's Retry-After says


class ChatOptions(Options):
    """Settings of the chat translator."""

    preset: Literal["openai", "groq", "ollama", "custom"] = Field(
        default="openai", description="Service whose address and model are used where none is given."
    )
    base_url: str = Field(
        default="", description="Address without /chat/completions, such as http://127.0.0.1:8000/v1; empty = the preset's."
    )
    model: str = Field(default="", description="Name of the model on that server; empty = the preset's.")
    api_key: SecretStr = Field(
        default=SecretStr(""),
        description="Key sent as a bearer token; empty = none is sent.",
        json_schema_extra={"identity": False},
    )
    temperature: float = Field(default=0.0, ge=0, le=2, description="Randomness, 0 (always the likeliest word) to 2 (no unit).")
    seed: int | None = Field(default=None, description="Seed of the model's random numbers (no unit); empty = none is sent.")
    candidates: bool = Field(
        default=True, description="Ask for a shorter and a longer text of each line besides, of which the timing may choose."
    )
    instructions: str = Field(default="", max_length=10_000, description="More to tell the translator, such as the tone.")
    timeout_s: float = Field(
        default=120.0, gt=0, description="Seconds to wait for one answer.", json_schema_extra={"identity": False}
    )
    retries: int = Field(
        default=4,
        ge=0,
        le=20,
        description="Number of further tries when the server is busy, failing or cannot be reached.",
        json_schema_extra={"identity": False},
    )

    @field_validator("base_url")
    @classmethod
    def _plain_address(cls, value: str) -> str:
        parts = urlsplit(value)
        plain = re.fullmatch(r"https?://[\w.:\[\]-]+(/[\w.~%/+@:=-]*)?", value, re.ASCII)
        if parts.username or parts.password:
            raise ValueError("must not hold a name or password; set api_key instead")
        if value and not (plain and parts.hostname and parts.port != 0):
            raise ValueError("must be an address such as https://host/v1")
        return value.rstrip("/").removesuffix("/chat/completions")

    @property
    def address(self) -> str:
        """The base URL in force; empty when preset is custom and none is given."""
        return self.base_url or BASE_URLS.get(self.preset, "")

    @property
    def model_name(self) -> str:
        """The model in force; empty when preset is custom and none is given."""
        return self.model or MODELS.get(self.preset, "")


def _check(options: ChatOptions) -> Availability:
    if not options.address:
        return Availability(False, "no base_url for preset custom", "export POLYDUB_OPENAI_BASE_URL=http://127.0.0.1:8000/v1")
    if not options.model_name:
        return Availability(False, "no model for preset custom", "export POLYDUB_OPENAI_MODEL=...")
    if options.preset in {"openai", "groq"} and not options.api_key.get_secret_value():
        return Availability(False, "no API key", _set_key(options.preset))
    return READY


class ChatTranslator:
    """Translator over one HTTP client; calls may come from several threads. Close it, or use it in a `with`.

    Args:
        options: where, what, how.
        sleep: waits the given seconds between tries.
    """

    def __init__(self, options: ChatOptions, *, sleep: Sleep = time.sleep) -> None:
        import httpx

        key = options.api_key.get_secret_value().strip()
        if not re.fullmatch(r"[\x21-\x7e]*", key):
            raise MissingSecret("the API key holds characters that no key has", "set it again, without spaces or quotes")
        self._options = options
        self._sleep = sleep
        self._json_mode = True
        self._client = httpx.Client(
            headers={
                "Content-Type": "application/json",
                "Accept-Encoding": "identity",  # a compressed answer could be far larger than it looks
                **({"Authorization": f"Bearer {key}"} if key else {}),
            },
            timeout=options.timeout_s,
            follow_redirects=False,  # the key and the film's text go to the named host only
            trust_env=urlsplit(options.address).hostname not in LOOPBACK,  # no proxy between us and this machine
        )

    def __enter__(self) -> ChatTranslator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def translate(self, batch: Batch) -> Sequence[str]:
        """One target text for each request, in the same order, on one line each; blank text is not sent and gives "".

        Raises:
            ValueError: two requests have one id.
            MissingSecret, BadSettings: the server wants another key, model or address.
            EngineFailed: the server cannot be reached, keeps failing, or left lines out three times.
            BadEngineOutput: what answers is no chat server.
        """
        found = self._complete(batch, SYSTEM)
        return [found[request.id].normal if request.id in found else "" for request in batch.requests]

    def candidates(self, batch: Batch) -> Sequence[Wordings]:
        """As `translate`, each text in three lengths; a shorter or longer one that the model leaves out is "".

        Without the option `candidates` only the normal texts are asked for.
        """
        found = self._complete(batch, LENGTHS if self._options.candidates else SYSTEM)
        return [found.get(request.id, Wordings("")) for request in batch.requests]

    def _complete(self, batch: Batch, system: str) -> Mapping[str, Wordings]:
        """Texts of all lines that are not blank, by id; what the model leaves out is asked for again."""
        if len({request.id for request in batch.requests}) != len(batch.requests):
            raise ValueError("the ids of a batch must differ")
        missing = [request for request in batch.requests if request.text.strip()]
        done: dict[str, Wordings] = {}
        for _ in range(2):  # all, then those left out, together
            if missing:
                done |= self._ask(batch, missing, system)
                missing = [request for request in missing if request.id not in done]
        for request in missing:
            done |= self._ask(batch, [request], system)
        lost = [request.id for request in missing if request.id not in done]
        if lost:
            error = EngineFailed(
                f"{self._options.model_name} gave no translation of line {', '.join(lost)}",
                "translate them by hand in a --translation file, or try another model",
            )
            error.line = lost[0]
            raise error
        return done

    def _ask(self, batch: Batch, requests: Sequence[Request], system: str) -> dict[str, Wordings]:
        """What the model gave for `requests`, by id; bad lines are left out."""
        question = {
            "source": batch.source,
            "target": batch.target,
            "before": batch.before,
            "lines": [_line(request) for request in requests],
            "after": batch.after,
        }
        body: dict[str, Any] = {
            "model": self._options.model_name,
            "temperature": self._options.temperature,
            "messages": [
                {"role": "system", "content": f"{system}\n{self._options.instructions}".strip()},
                {"role": "user", "content": json.dumps(question, ensure_ascii=False)},
            ],
        }
        if self._options.seed is not None:
            body["seed"] = self._options.seed
        found = answered(self._content(body), {request.id for request in requests})
        log.debug("%d of %d lines translated", len(found), len(requests))
        return found

    def _content(self, body: dict[str, Any]) -> str:
        """The text of the model's answer, asked for as a JSON object where the server can; "" when it refused."""
        status, answer = 400, b""
        if self._json_mode:
            status, answer = self._post({**body, "response_format": {"type": "json_object"}})
        if status == 400:
            status, answer = self._post(body)
            self._json_mode = self._json_mode and status != 200
        if status != 200:
            raise self._refusal(status, answer)
        try:
            content = json.loads(answer)["choices"][0]["message"].get("content")
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise BadEngineOutput(
                f"{self._options.address} did not answer like a chat server", "check base_url; it often ends in /v1"
            ) from error
        return content if isinstance(content, str) else ""

    def _post(self, body: dict[str, Any]) -> tuple[int, bytes]:
        """Status and body of the answer; busy or failing servers are tried again.

        Raises: EngineFailed: still busy, failing or out of reach after all tries.
        """
        import httpx

        content = json.dumps(body).encode("ascii")
        trouble = EngineFailed("not tried")
        for attempt in range(self._options.retries + 1):
            wait_s = 2.0**attempt
            try:
                status, answer, headers = self._once(content)
            except httpx.RequestError as error:
                trouble = self._out_of_reach(error)
            else:
                if status not in {408, 429} and status < 500:
                    return status, answer
                wait_s = _retry_after(headers.get("retry-after", ""), wait_s)
                trouble = EngineFailed(
                    f"{self._options.address} answered HTTP {status}", "try again later, or use --mt to change"
                )
            if attempt < self._options.retries:
                wait_s = min(wait_s, MAX_WAIT_S)
                log.info("%s; trying again in %.1f s", trouble, wait_s)
                self._sleep(wait_s)
        raise trouble

    def _once(self, content: bytes) -> tuple[int, bytes, httpx.Headers]:
        import httpx

        deadline = time.monotonic() + self._options.timeout_s
        with self._client.stream("POST", f"{self._options.address}/chat/completions", content=content) as response:
            answer = bytearray()
            for piece in response.iter_bytes():
                answer += piece
                if len(answer) > MAX_ANSWER_BYTES:
                    raise BadEngineOutput(f"{self._options.address} answered more than {MAX_ANSWER_BYTES // 1_000_000} MB")
                if time.monotonic() > deadline:  # httpx only limits the wait for the next bytes
                    raise httpx.ReadTimeout("slow answer", request=response.request)
            return response.status_code, bytes(answer), response.headers

    def _out_of_reach(self, error: httpx.RequestError) -> EngineFailed:
        import httpx

        address = self._options.address
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
            start = "start it with: ollama serve" if self._options.preset == "ollama" else "start the server, or check base_url"
            return EngineFailed(f"cannot reach {address}", start)
        if isinstance(error, httpx.TimeoutException):
            return EngineFailed(f"no answer from {address} in {self._options.timeout_s:g} s", "raise timeout_s")
        return EngineFailed(f"{address} broke off its answer", "try again")

    def _refusal(self, status: int, answer: bytes) -> BadSettings | MissingSecret | EngineFailed:
        """For a status that another try would not change. The server's prose may quote the film: only its code is kept."""
        address, model = self._options.address, self._options.model_name
        if status in {401, 403}:
            return MissingSecret(f"{address} refuses the API key (HTTP {status})", _set_key(self._options.preset))
        if status == 404:
            pull = f"ollama pull {model}" if self._options.preset == "ollama" else "check the names of model and base_url"
            return BadSettings(f"{address} has no model {model}, or is no chat server (HTTP 404)", pull)
        if 300 <= status < 400:
            return BadSettings(f"{address} redirects elsewhere (HTTP {status})", "set base_url to the final address")
        return BadSettings(
            f"{address} refuses the request (HTTP {status}{_error_code(answer)})", "check model, temperature and seed"
        )


def _set_key(preset: str) -> str:
    return f"export {'GROQ_API_KEY' if preset == 'groq' else 'POLYDUB_OPENAI_API_KEY'}=..."


def _line(request: Request) -> dict[str, str | float]:
    line: dict[str, str | float] = {"id": request.id, "text": request.text}
    if request.speaker:
        line["speaker"] = request.speaker
    if request.seconds > 0:
        line["seconds"] = round(request.seconds, 1)
    return line


def _retry_after(value: str, default_s: float) -> float:
    """Seconds of a Retry-After header, which is a number or an HTTP date."""
    if re.fullmatch(r"\d{1,9}(\.\d+)?", value.strip()):
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return default_s


def _error_code(answer: bytes) -> str:
    try:
        error = json.loads(answer)["error"]
        words = [str(error[name]) for name in ("code", "param") if error.get(name)]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return ""
    return "".join(f", {word}" for word in words if re.fullmatch(r"[\w.-]{1,64}", word))


@contextmanager
def _load(options: ChatOptions, weights: Weights, device: str) -> Generator[ChatTranslator]:
    del weights, device
    available = _check(options)
    if not available.ready:
        kind = MissingSecret if options.address and options.model_name else BadSettings
        raise kind(f"the openai translator has {available.reason}", available.fix)
    with ChatTranslator(options) as translator:
        yield translator


ENGINE = Engine(
    info=Info(
        kind="mt",
        name="openai",
        summary="Any chat model behind an OpenAI-compatible server: OpenAI, Groq, Ollama, vLLM, llama.cpp",
        licence="Apache-2.0",
        homepage="https://platform.openai.com/docs/api-reference/chat",
        network=True,
        deterministic=False,
        parallel=4,
        batch=20,
        features=frozenset({"context", "candidates"}),
        secrets=("api_key",),
    ),
    options=ChatOptions,
    load=_load,
    check=_check,
    languages=lambda _: None,
)
