"""One document over all deployments, in which nothing of two of them meets."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from modeldeploy.schema.states import State
from tests.gateway.door import Door, door, tell


def documented(**properties: Any) -> ASGIApp:
    """A deployment with one schema, which is named as everybody's is, and refers to another."""
    schema = {"$ref": "#/components/schemas/Body"}
    operation = {
        "operationId": "post_predict",
        "requestBody": {"content": {"application/json": {"schema": schema, "example": {"a": 1}}}},
        "responses": {"200": {"description": "x"}},
    }
    kinds = {"propertyName": "kind", "mapping": {"part": "#/components/schemas/Part"}}
    document = {
        "openapi": "3.1.0",
        "paths": {
            "/predict": {"post": operation},
            "/v1/embeddings": {"post": {**operation, "operationId": "post_v1_embeddings"}},
        },
        "components": {
            "schemas": {
                "Body": {"properties": properties, "discriminator": kinds},
                "Part": {"items": {"$ref": "#/components/schemas/Body/properties/a"}},
            }
        },
    }

    async def tell_it(request: Request) -> Response:
        return JSONResponse(document)

    return Starlette(routes=[Route("/openapi.json", tell_it)])


async def _read(one: Door) -> dict[str, Any]:
    status, headers, raw = await one.ask("GET", "/openapi.json")
    assert (status, headers["content-type"]) == (200, "application/json")
    found: dict[str, Any] = json.loads(raw)
    return found


def refers(document: dict[str, Any]) -> None:
    """Every reference leads somewhere."""
    for path in re.findall(r'"#/([^"]+)"', json.dumps(document)):
        at: Any = document
        for part in path.split("/"):
            assert part in at, path
            at = at[part]


def test_deployments_with_schemas_of_one_name_stand_beside_each_other(tmp_path: Path) -> None:
    async def story() -> None:
        apps = {"a": documented(a={"type": "string"}), "b": documented(a={"type": "number"})}
        async with door(tmp_path, apps) as one:
            found = await _read(one)
        refers(found)
        parts = found["components"]["schemas"]
        assert parts["a.Body"]["properties"]["a"] == {"type": "string"}
        assert parts["b.Body"]["properties"]["a"] == {"type": "number"}
        assert parts["b.Body"]["discriminator"]["mapping"] == {
            "part": "#/components/schemas/b.Part"
        }
        for name in ("a", "b"):
            operation = found["paths"][f"/deployments/{name}/predict"]["post"]
            assert operation["tags"] == [name]
            body = operation["requestBody"]["content"]["application/json"]
            assert body["schema"] == {"$ref": f"#/components/schemas/{name}.Body"}
        shared = found["paths"]["/v1/embeddings"]["post"]
        assert shared["tags"] == ["all deployments"]
        ids = [o["operationId"] for item in found["paths"].values() for o in item.values()]
        assert len(ids) == len(set(ids))

    tell(story)


def test_the_document_follows_deployments_as_they_come_and_go(tmp_path: Path) -> None:
    async def story() -> None:
        async with door(tmp_path, {"a": documented(a={}), "b": documented(a={})}) as one:
            a, b = one._roster.all()

            async def names() -> set[str]:
                tags = {tag["name"] for tag in (await _read(one))["tags"]}
                return tags - {"all deployments", "gateway"}

            assert await names() == {"a", "b"}
            one.show(a)
            assert await names() == {"a"}
            one.show(a, replace(b, state=State.STOPPED))
            assert await names() == {"a"}
            one.show(a, replace(b, name="c"))
            assert await names() == {"a", "c"}
            one.show(
                a, replace(b, name="c", port=1, replicas=[])
            )  # a new run, which does not answer
            assert await names() == {"a"}

    tell(story)


def test_swagger_ui_is_served_from_here(tmp_path: Path) -> None:
    async def story() -> None:
        async with door(tmp_path, {}) as one:
            _, headers, page = await one.ask("GET", "/docs")
            assert "default-src 'none'" in headers["content-security-policy"]
            for link in re.findall(r'(?:src|href)="([^"]+)"', page.decode()):
                status, _, asset = await one.ask("GET", f"/{link}")
                assert (status, bool(asset)) == (200, True), link

    tell(story)
