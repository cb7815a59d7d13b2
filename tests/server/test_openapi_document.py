"""The OpenAPI document as those read it who make clients of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from house import open_house

pytestmark = pytest.mark.anyio


@pytest.fixture
async def document(tmp_path: Path) -> dict[str, Any]:
    async with open_house(tmp_path) as house:
        return (await house.client().get("/openapi.json")).json()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


async def test_names_are_short_and_plain(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, operation in operations(document)]
    assert [name for name in ids if not re.fullmatch(r"[a-z]+(_[a-z]+){0,4}", name)] == []
    assert len(set(ids)) == len(ids)
    assert [name for name in document["components"]["schemas"] if not re.fullmatch(r"[A-Za-z]+", name)] == []
    parameters = [one["name"] for _, operation in operations(document) for one in operation.get("parameters", ())]
    assert [name for name in parameters if name.endswith("_")] == []


async def test_all_that_is_answered_has_a_shape(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        for status, answer in operation["responses"].items():
            for kind, content in answer.get("content", {}).items():
                assert content["schema"], (name, status, kind)


async def test_every_json_body_has_an_example_that_fits(document: dict[str, Any]) -> None:
    bodies = {name: operation.get("requestBody", {}).get("content", {}) for name, operation in operations(document)}
    schemas = {name: body["application/json"]["schema"] for name, body in bodies.items() if "application/json" in body}
    named = document["components"]["schemas"]
    for name, schema in schemas.items():
        told = named.get(schema.get("$ref", "").rpartition("/")[2], schema)
        fields = {field: facts["examples"][0] for field, facts in told["properties"].items() if "examples" in facts}
        examples = [example for example in (*told.get("examples", ()), fields) if example]
        assert examples, name
        jsonschema_rs.validator_for({**schema, "components": document["components"]}).validate(examples[0])
