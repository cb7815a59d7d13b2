"""Voices that a job names, asked for before it is taken, where this process does the work and it is cheap to ask."""

from __future__ import annotations

from polydub import config
from polydub.errors import BadSettings
from polydub.review.voices import Asking, unasked
from polydub.server.contracts import Services
from polydub.server.hands import postgres
from polydub.server.problems import Problem
from polydub.server.requests import Request
from polydub.server.review_facts import LIGHT_MIB


def check_wished(services: Services, request: Request) -> None:
    """Raises: Problem 422 for a voice that neither the library nor the speech engine has.

    Workers on Postgres may have other voices and engines than this host: what they do not have they tell when the job runs, as
    a heavy engine does, which is not loaded for a question.
    """
    names = sorted(set(request.voices.values()))
    if not names or services.speech is None or postgres(services.settings):
        return
    here = {"store": str(services.folder / "store"), "download": "no"}
    loaded = config.load_from_process({"to": list(request.to), **request.settings, **here})
    try:
        for language in request.to:
            unasked(names, Asking(loaded, language, services.speech.pool, most_mib=LIGHT_MIB))
    except BadSettings as error:
        raise Problem(422, "voice_not_found", error.message, hint=error.hint, param="voices") from error
