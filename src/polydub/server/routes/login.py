"""The end of a login: by a one-time link, by the code of a second factor; and the page that asks for the code.

A link is /login?token=SECRET. Written /login#SECRET it works, too: no proxy or log sees it then, and what opens addresses only
to look at them does not use it up, since the page sends it when somebody presses its button.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import BaseModel, ConfigDict, Field

from polydub.server.access import accounts_of, policy, same_origin
from polydub.server.accounts import Accounts
from polydub.server.problems import Problem, forbidden
from polydub.server.routes.auth import Entry, address_of, enter
from polydub.server.routes.home import refused

router = APIRouter(tags=["accounts"])
PUBLIC = [Depends(policy("public"))]
House = Annotated[Accounts, Depends(accounts_of)]
_TEXT = 300
_PAGES = files("polydub.server.routes")


class ByLink(BaseModel):
    """A one-time link that an admin made."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"token": "..."}]})
    token: str = Field(max_length=_TEXT, description="What stands behind the # of the link.")
    session: bool = Field(default=True, description="false = tokens instead of a cookie.")


class SecondStep(BaseModel):
    """The second factor after a password or a link."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"challenge": "...", "code": "123456"}]})
    challenge: str = Field(max_length=_TEXT, description="As the first step told it; good for five minutes.")
    code: str = Field(max_length=_TEXT, description="Six digits of the app, or a recovery code.")


@router.post("/api/auth/login/link", dependencies=PUBLIC)
async def login_by_link(request: Request, response: Response, wish: ByLink, accounts: House) -> Entry:
    """Logs in by a one-time link; a second factor is asked for as after a password."""
    accounts.throttle.login(address_of(request))
    if wish.session:
        same_origin(request)
    user = await accounts.login_by_link(wish.token, session=wish.session)
    return await enter(request, response, user, wish.session)


@router.post("/api/auth/login/second-factor", dependencies=PUBLIC)
async def login_by_code(request: Request, response: Response, wish: SecondStep, accounts: House) -> Entry:
    """The second step of a login. After a wrong code the challenge is still good; an account has 20 wrong ones a day."""
    accounts.throttle.login(address_of(request))
    user, session = await accounts.answer(wish.challenge, wish.code)
    if session:
        same_origin(request)
    return await enter(request, response, user, session)


@router.get(
    "/login", dependencies=PUBLIC, response_class=RedirectResponse, status_code=303,
    responses={200: {"description": "The page of links and codes.", "content": {"text/html": {}}}},
)  # fmt: skip
async def login_page(request: Request, accounts: House, token: Annotated[str, Query(max_length=_TEXT)] = "") -> Response:
    """With a token: logs a browser in by its one-time link and leads to the studio, or to the page that asks for the code."""
    if not token:
        return HTMLResponse(_PAGES.joinpath("login.html").read_text(encoding="utf-8"))
    _check_opened(request)
    response = RedirectResponse("/dashboard", 303)
    try:
        accounts.throttle.login(address_of(request))
        user = await accounts.login_by_link(token, session=True)
    except Problem as problem:
        if problem.challenge is not None:
            return RedirectResponse(f"/login#challenge={problem.challenge}", 303)
        if "text/html" in request.headers.get("accept", ""):
            return refused(problem)
        raise
    await enter(request, response, user, True)
    return response


@router.get("/login.js", dependencies=PUBLIC, include_in_schema=False)
async def script() -> Response:
    """The page's script: the policy of pages allows none within them."""
    return Response(_PAGES.joinpath("login.js").read_text(encoding="utf-8"), media_type="text/javascript")


def _check_opened(request: Request) -> None:
    """A link is for somebody who opens it: not for pages that load it as a picture, and not for fetching in advance."""
    told = request.headers
    ahead = "prefetch" in (told.get("sec-purpose", "") + told.get("purpose", ""))
    if ahead or told.get("sec-fetch-dest", "document") != "document":
        raise forbidden("open the link itself", "cross_site")
