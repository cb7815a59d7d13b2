"""What a browser finds at `/` until there is a studio: who one is, one's jobs, the ways in and out. It needs no scripts."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from html import escape
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from polydub.server.access import accounts_of, policy, principal, same_origin, services_of, session_cookie
from polydub.server.accounts import Accounts
from polydub.server.contracts import JobRow, Principal
from polydub.server.job_facts import result
from polydub.server.problems import Problem, forbidden, headers_of
from polydub.server.routes.auth import address_of, drop_cookie, enter
from polydub.server.tokens import csrf_of

router = APIRouter(include_in_schema=False, dependencies=[Depends(policy("public"))])
House = Annotated[Accounts, Depends(accounts_of)]
_SHOWN = 20  # jobs
_STYLE = """
:root { color-scheme: dark; }
body { font: 1rem/1.5 system-ui, sans-serif; color: #e6f4f1; background: #0a1a18; padding: 1rem; }
body { max-width: 44rem; margin: 0 auto; }
h1 { color: #00e5a0; } h2 { margin-top: 2rem; } a { color: #00e5a0; } code { overflow-wrap: anywhere; }
a:focus-visible, button:focus-visible, input:focus-visible { outline: 3px solid #e6f4f1; outline-offset: 2px; }
label, input { display: block; width: 100%; box-sizing: border-box; font: inherit; } label { margin-top: 1rem; }
input { padding: .5rem; color: inherit; background: #12302b; border: 1px solid #6fa79b; border-radius: .3rem; }
button { font: inherit; font-weight: 600; margin: 1rem 0; padding: .5rem 1rem; color: #0a1a18; background: #00e5a0; border: 0; }
button { border-radius: .3rem; } ul { list-style: none; padding: 0; }
ul.rows li { padding: .6rem 0; border-top: 1px solid #24504a; }
b { overflow-wrap: anywhere; } .wrong { padding: .5rem 1rem; border-left: 4px solid #ff8a70; background: #2b1a17; }
"""
_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS: Mapping[str, str] = {
    "content-security-policy": f"default-src 'none'; style-src 'sha256-{_DIGEST}'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "referrer-policy": "same-origin",  # with no-referrer browsers send forms as if they came from elsewhere
    "cache-control": "no-store",
}
_API = '<p>Programs use the API: <a href="/openapi.json">its document (OpenAPI)</a>.</p>'
_LOGIN = """{wrong}<h2>Log in</h2>
<form method="post" action="/login">
<label for="email">E-mail address</label>
<input id="email" name="email" type="email" autocomplete="username" maxlength="300" required>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" maxlength="1000" required>
<button>Log in</button></form>
<p>No password? Whoever looks after this server makes you a one-time link: <code>polydub admin login-link ADDRESS</code></p>"""
_SIGNED_IN = """<p>Signed in as <b>{name}</b> ({email}, {role}).</p>
<form method="post" action="/logout"><input type="hidden" name="csrf" value="{csrf}"><button>Log out</button></form>
<h2>Your latest jobs</h2>{jobs}
<h2>Your account</h2>
<ul><li><a href="/api/auth/sessions">Where you are logged in</a></li>
<li><a href="/api/auth/tokens">Your API tokens</a></li><li><a href="/api/auth/second-factor">Your second factor</a></li></ul>
<p>There are no forms for these yet: what the links show is changed over the API, as is the password
(<code>POST /api/auth/password</code>).</p>"""


def _page(body: str, status: int = 200) -> HTMLResponse:
    return HTMLResponse(
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>polydub</title><style>{_STYLE}</style></head>\n<body><main><h1>polydub</h1>\n{body}\n{_API}</main></body></html>\n",
        status,
        dict(_HEADERS),
    )


def refused(problem: Problem) -> HTMLResponse:
    """The way in, and why it was closed."""
    said = [text[:1].upper() + text[1:] for text in (problem.message, problem.hint)]
    wrong = f'<p class="wrong" role="alert">{escape(". ".join(filter(None, said)))}</p>'
    page = _page(_LOGIN.format(wrong=wrong), problem.http_status)
    page.headers.update(headers_of(problem))
    return page


def _job(row: JobRow) -> str:
    links = [f'<a href="/api/jobs/{escape(row.id)}">details</a>']
    if row.state == "done":
        links = [f'<a href="{escape(dub.url)}">film in {escape(dub.language)}</a>' for dub in result(row).dubs] + links
    why = f": {escape(str(row.error.get('message', '')))}" if row.state == "failed" and row.error else ""
    when = row.created.isoformat(timespec="minutes")
    begun = f'<time datetime="{when}">{row.created:%Y-%m-%d %H:%M} UTC</time>'
    return f"<li><b>{escape(row.title or row.id)}</b><br>{row.state}{why}, begun {begun}<br>{' · '.join(links)}</li>"


@router.get("/")
@router.get("/dashboard")
async def home(request: Request, accounts: House) -> Response:
    """The jobs of whom the cookie names; the ways in for all others."""
    who = await principal(request)
    if who is None or who.via != "session":
        return _page(_LOGIN.format(wrong=""))
    return _page(await _own(request, who, accounts))


async def _own(request: Request, who: Principal, accounts: Accounts) -> str:
    if await accounts.lacks_factor(who.user):
        jobs = "<p>This server wants a second factor of you before it shows them: <code>POST /api/auth/second-factor</code></p>"
    else:
        rows = await services_of(request).records.jobs(owner=who.user.id, limit=_SHOWN)
        jobs = f'<ul class="rows">{"".join(map(_job, rows))}</ul>' if rows else "<p>None yet.</p>"
    user, csrf = who.user, csrf_of(session_cookie(request))
    return _SIGNED_IN.format(name=escape(user.name), email=escape(user.email), role=user.role, csrf=csrf, jobs=jobs)


@router.post("/login")
async def login_by_form(
    request: Request,
    accounts: House,
    email: Annotated[str, Form(max_length=300)],
    password: Annotated[str, Form(max_length=1000)],
) -> Response:
    """As `/api/auth/login` with a session, for the page's form."""
    response = RedirectResponse("/dashboard", 303)
    try:
        accounts.throttle.login(address_of(request), email.strip().lower())
        same_origin(request)
        user = await accounts.login(email, password, session=True)
    except Problem as problem:
        if problem.challenge is not None:
            return RedirectResponse(f"/login#challenge={problem.challenge}", 303)
        return refused(problem)
    await enter(request, response, user, True)
    return response


@router.post("/logout")
async def logout_by_form(request: Request, accounts: House, csrf: Annotated[str, Form(max_length=300)] = "") -> Response:
    """Ends the session of the cookie."""
    same_origin(request)
    who, response = await principal(request), RedirectResponse("/", 303)
    if who is not None and who.via == "session":
        if not hmac.compare_digest(csrf.encode(), csrf_of(session_cookie(request)).encode()):
            raise forbidden("this page is too old to log you out: open it again", "csrf")
        await accounts.end(who)
        drop_cookie(request, response)
    return response
