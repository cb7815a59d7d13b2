"""Translation by any server that speaks OpenAI's /chat/completions: OpenAI, Groq, Ollama, vLLM, llama.cpp and others.

Lines go out as JSON with ids and come back as JSON with ids, so that a line that the model drops, doubles, merges or
refuses is asked for again and never shifts its neighbours; what stays doubtful is said, never hidden.
Lines are data inside a JSON string: what they say is not an instruction to the model, to this program or to a shell.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

from pydantic import Field, field_validator

from polydub.engines.base import READY, Answered, Availability, Batch, Engine, Info, Request, Usage, Weights
from polydub.engines.mt.chat_rounds import Reply, Rounds
from polydub.engines.mt.chat_texts import question, schema, system
from polydub.engines.service import BASE_URLS, Answer, Ask, Endpoint, RemoteOptions, Service
from polydub.errors import BadSettings, EngineFailed, MissingSecret
from polydub.types import Wordings

log = logging.getLogger(__name__)

MODELS = {"openai": "gpt-5.4-mini", "groq": "llama-3.3-70b-versatile", "ollama": "llama3.1"}
FORMATS = ("json_schema", "json_object", "")  # how an answer's form is asked for, strictest first
UNKNOWN_FORMAT = frozenset({400, 422})
TOO_LONG = frozenset({"context_length_exceeded", "request_too_large"})
BAD_JSON = frozenset({"json_validate_failed"})  # Groq: the model's answer did not fit the form; another try may
MILLION = 1_000_000


class ChatOptions(RemoteOptions):
    """Settings of the chat translator."""

    preset: Literal["openai", "groq", "ollama", "custom"] = Field(
        default="openai", description="Service whose address and model are used where none is given."
    )
    model: str = Field(default="", description="Name of the model on that server; empty = the preset's.")
    temperature: float = Field(default=0.0, ge=0, le=2, description="Randomness, 0 (always the likeliest word) to 2 (no unit).")
    seed: int | None = Field(default=None, description="Seed of the model's random numbers (no unit); empty = none is sent.")
    candidates: bool = Field(
        default=True, description="Ask for a shorter and a longer text of each line besides, of which the timing may choose."
    )
    second_pass: bool = Field(
        default=False, description="Translate faithfully first, then ask to make that sound natural; takes twice as long."
    )
    instructions: str = Field(default="", max_length=10_000, description="More to tell the translator, such as the tone.")
    price_in: float = Field(
        default=0.0,
        ge=0,
        description="Price of a million tokens sent, US dollars; 0 = unknown.",
        json_schema_extra={"identity": False},
    )
    price_out: float = Field(
        default=0.0,
        ge=0,
        description="Price of a million tokens answered, US dollars; 0 = unknown.",
        json_schema_extra={"identity": False},
    )

    @field_validator("base_url")
    @classmethod
    def _without_path(cls, value: str) -> str:
        return value.removesuffix("/chat/completions")

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


def _set_key(preset: str) -> str:
    return f"export {'GROQ_API_KEY' if preset == 'groq' else 'POLYDUB_OPENAI_API_KEY'}=..."


def _endpoint(options: ChatOptions) -> Endpoint:
    ollama, model = options.preset == "ollama", options.model_name
    return Endpoint(
        options.address,
        key=options.api_key.get_secret_value(),
        set_key=_set_key(options.preset),
        start="start it with: ollama serve" if ollama else "start the server, or check base_url",
        name=f"ollama pull {model}" if ollama else f"check the name of the model ({model}) and base_url",
        kind="chat server",
        timeout_s=options.timeout_s,
        retries=options.retries,
        budget_s=options.budget_s,
    )


class ChatTranslator:
    """Rephraser over one service; calls may come from several threads. Close it, or use it in a `with`.

    What the server turned out not to understand (a form of answers, a temperature) is not sent again.

    Args:
        options: where, what, how.
        sleep: waits the given seconds between tries; None = really, until closed.
    """

    def __init__(self, options: ChatOptions, *, sleep: Callable[[float], None] | None = None) -> None:
        self.options = options
        self._service = Service(_endpoint(options), sleep=sleep)
        self._lock = threading.Lock()
        self._format = 0  # place in FORMATS
        self._temperature = True
        self._known = False  # a chat server has answered

    def __enter__(self) -> ChatTranslator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections and end all waiting."""
        self._service.close()

    def translate(self, batch: Batch) -> Sequence[str]:
        """One target text for each request, as `candidates` gives it."""
        return [wordings.normal for wordings in self.candidates(batch).wordings]

    def candidates(self, batch: Batch) -> Answered:
        """Texts on one line each, with what is doubtful in them; blank text is not sent and gives "".

        With the option `candidates` in three lengths, of which one that the model leaves out is "". A line that the model
        does not translate, however it is asked, has an empty text and a doubt that says so.

        Raises:
            ValueError: two requests have one id.
            MissingSecret, BadSettings: the server wants another key, model or address.
            EngineFailed: the server cannot be reached, keeps failing, or translated none of several lines.
            BadEngineOutput: what answers is no chat server; one that was before may answer oddly now and then.
        """
        if len({request.id for request in batch.requests}) != len(batch.requests):
            raise ValueError("the ids of a batch must differ")
        lengths, two = self.options.candidates, self.options.second_pass
        talk = _Talk(self, batch, lengths and not two, "faithful" if two else "")
        rounds = Rounds(batch, talk.ask)
        found = rounds.run()
        usage = talk.usage
        asked = [request for request in batch.requests if request.text.strip()]
        if len(asked) > 1 and not found:
            raise self._nothing(asked)
        if two and found:
            drafts = {id_: wordings.normal for id_, wordings in found.items()}
            again = replace(batch, requests=tuple(request for request in batch.requests if request.id in drafts))
            natural = _Talk(self, again, lengths, "natural", drafts, usage)
            found = dict(found) | {k: w for k, w in Rounds(again, natural.ask).run().items() if not w.doubt or found[k].doubt}
            usage = natural.usage
        none = {request.id: Wordings("", doubt=rounds.why_not(request)) for request in asked}
        return Answered(tuple(found.get(r.id) or none.get(r.id) or Wordings("") for r in batch.requests), usage)

    def _nothing(self, lines: Sequence[Request]) -> EngineFailed:
        error = EngineFailed(
            f"{self.options.model_name} translated none of lines {lines[0].id} to {lines[-1].id}",
            "try another model, or translate them by hand in a --translation file",
        )
        error.line = lines[0].id
        return error

    def complete(self, messages: Sequence[Mapping[str, str]], form: Mapping[str, Any]) -> tuple[Answer, bool]:
        """The server's answer to a conversation, asked for in `form` (a JSON schema) as strictly as the server can.

        Whether the lines were too many for it comes second; the answer is of no use then.
        """
        body: dict[str, Any] = {"model": self.options.model_name, "messages": list(messages)}
        if self.options.seed is not None:
            body["seed"] = self.options.seed
        place = self._format
        while True:
            if self._temperature:
                body["temperature"] = self.options.temperature
            ask = Ask("/chat/completions", {**body, **_response_format(FORMATS[place], form)}, accept=UNKNOWN_FORMAT | {413})
            answer = self._service.request(ask)
            if answer.status == 413 or answer.code in TOO_LONG:
                return answer, True
            if answer.status not in UNKNOWN_FORMAT:
                with self._lock:
                    self._format = max(self._format, place)
                return answer, False
            if "temperature" in body and _about_temperature(answer):
                del body["temperature"]
                self._temperature = False
            elif answer.code in BAD_JSON or place == len(FORMATS) - 1:
                return answer, False
            else:
                place += 1
                log.info("%s does not take %s", self.options.address, FORMATS[place - 1])

    def content(self, answer: Answer) -> tuple[Reply, Usage]:
        """What the model said, and what that took. Raises what the answer's status or a body of another kind call for."""
        if answer.code in BAD_JSON:
            return Reply(""), Usage(1)
        if answer.status >= 300:
            raise self._service.refusal(answer)
        try:
            whole = answer.json()
            choice = whole["choices"][0]
            message = choice["message"]
            text, refusal, why = message.get("content"), message.get("refusal"), choice.get("finish_reason")
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            if self._known:  # one answer of many went wrong on its way
                return Reply(""), Usage(1)
            raise self._service.unusable() from error
        self._known = True
        refused = bool(refusal) or why == "content_filter"
        said = text if isinstance(text, str) and not refused else ""
        return Reply(said, cut=why == "length", refused=refused), self._usage(whole)

    def _usage(self, whole: Mapping[str, Any]) -> Usage:
        counts: Any = whole.get("usage")
        sent, got = (_count(counts, name) for name in ("prompt_tokens", "completion_tokens"))
        return Usage(1, sent, got, (sent * self.options.price_in + got * self.options.price_out) / MILLION)


@dataclass
class _Talk:
    """What one call asks for, and what it has taken so far."""

    translator: ChatTranslator
    batch: Batch
    lengths: bool
    step: str = ""
    drafts: Mapping[str, str] = field(default_factory=dict[str, str])
    usage: Usage = field(default_factory=Usage)

    def ask(self, lines: Sequence[Request], remark: str) -> Reply:
        """The model's answer to some of the batch's lines; to two halves of them where they are too many for it."""
        options = self.translator.options
        told = system(lengths=self.lengths, step=self.step, instructions=options.instructions)
        asked = question(self.batch, lines, self.drafts, remark)
        messages = [{"role": "system", "content": told}, {"role": "user", "content": asked}]
        began = time.monotonic()
        answer, too_long = self.translator.complete(messages, schema(lengths=self.lengths))
        if too_long and len(lines) > 1:
            middle = len(lines) // 2
            one, two = self.ask(lines[:middle], remark), self.ask(lines[middle:], remark)
            return Reply(f"{one.content}\n{two.content}", one.cut or two.cut, one.refused and two.refused)
        reply, took = self.translator.content(answer)
        self.usage = _sum(self.usage, took)
        log.debug("%d lines asked for, answered in %.1f s", len(lines), time.monotonic() - began)
        return reply


def _sum(a: Usage, b: Usage) -> Usage:
    return Usage(
        a.calls + b.calls, a.prompt_tokens + b.prompt_tokens, a.answer_tokens + b.answer_tokens, round(a.cost + b.cost, 9)
    )


def _count(counts: Any, name: str) -> int:
    value = cast("dict[str, object]", counts).get(name) if isinstance(counts, dict) else None
    return value if isinstance(value, int) and 0 <= value < 2**53 else 0


def _response_format(name: str, form: Mapping[str, Any]) -> dict[str, Any]:
    if name == "json_schema":
        return {"response_format": {"type": name, "json_schema": {"name": "translation", "strict": True, "schema": form}}}
    return {"response_format": {"type": name}} if name else {}


def _about_temperature(answer: Answer) -> bool:
    """Whether a server refuses because its model takes no temperature, as OpenAI's reasoning models do."""
    return b"'temperature'" in answer.body or b'"temperature"' in answer.body


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
