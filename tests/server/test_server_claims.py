"""What the page about ASVS claims of the server as a whole."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from house import PASSWORD, open_house
from starlette.routing import Mount

from polydub.server.policies import routes_of

ROOT = Path(__file__).resolve().parents[2]


def test_the_linter_refuses_what_is_dangerous_and_is_nowhere_told_not_to() -> None:
    """S301 is pickle, S307 and S102 are eval and exec, S324 MD5 and SHA-1, S608 is SQL in pieces, G formats in logs."""
    chosen = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]["lint"]
    assert {"S", "G", "BLE"} <= set(chosen["select"]) and not {"S301", "S307", "S102", "S324", "S608"} & set(chosen["ignore"])
    silenced = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in (ROOT / "src").rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"noqa:.*\b(S301|S307|S102|S324|G\d+)\b", line)
    ]
    assert silenced == []


def test_secrets_are_never_made_by_a_generator_that_can_be_predicted() -> None:
    found = [
        path.name
        for path in (ROOT / "src/polydub/server").rglob("*.py")
        if re.search(r"^\s*(import random|from random)\b", path.read_text(encoding="utf-8"), re.MULTILINE)
        and re.search(r"\bsecret|token|password", path.read_text(encoding="utf-8"))
    ]
    assert [name for name in found if name not in {"webhooks.py"}] == []  # which spreads its retries


def test_every_package_is_pinned_with_hashes() -> None:
    for name in ("core", "server", "build", "dev"):
        text = (ROOT / f"requirements/{name}.txt").read_text(encoding="utf-8")
        blocks = re.split(r"\n(?=[a-z0-9])", text[text.index("\n") :])
        pins = [block for block in blocks if re.match(r"[a-z0-9]", block)]
        assert len(pins) >= 1
        assert [block.splitlines()[0] for block in pins if "==" not in block or "--hash=sha256:" not in block] == []


@pytest.mark.anyio
async def test_no_folder_is_served_and_one_route_redirects(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        assert not [route for route in house.app.routes if isinstance(route, Mount)]
        redirecting = {route.path for route in routes_of(house.app) if 300 <= (route.status_code or 200) < 400}
        assert redirecting == {"/login"}
        for path in ("/.git/config", "/src", "/data/", "/keys.json", "/static/"):
            assert (await house.client().get(path)).status_code == 404


@pytest.mark.anyio
async def test_a_password_holds_until_it_is_changed(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        await house.person("editor")
        house.clock.pass_by(days=3000)
        login = {"email": "editor@example.org", "password": PASSWORD}
        assert (await house.client().post("/api/auth/login", json=login)).status_code == 200


@pytest.mark.anyio
async def test_bodies_for_accounts_take_only_what_they_name(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        document = (await house.client().get("/openapi.json")).json()
    schemas, bodies = document["components"]["schemas"], list[str]()
    for path, methods in document["paths"].items():
        for operation in methods.values() if path.startswith(("/api/auth", "/api/admin")) else ():
            content = operation.get("requestBody", {}).get("content", {})
            if "application/json" in content:
                bodies.append(content["application/json"]["schema"]["$ref"].rpartition("/")[2])
    assert len(bodies) >= 10
    assert {name for name in bodies if schemas[name].get("additionalProperties") is not False} == set()
