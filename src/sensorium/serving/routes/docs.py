"""GET /docs: every route with an example to paste, as one page that loads nothing from elsewhere.

/openapi.json ──► HTML
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

router = APIRouter()

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a;
       background: #fff }
h2 { margin-top: 2.5rem; font-size: 1.1rem } code, pre { font: 13px/1.5 ui-monospace, monospace }
pre { background: #f3f3f3; padding: .75rem; border-radius: 4px; white-space: pre-wrap;
      overflow-wrap: anywhere }
table { border-collapse: collapse } td { padding: .1rem 1rem .1rem 0; vertical-align: top }
.method { color: #0b5d1e; font-weight: 600 }
@media (prefers-color-scheme: dark) { body { background: #161616; color: #e6e6e6 } pre { background: #262626 }
                                      .method { color: #7fd693 } a { color: #8ab4f8 } }
"""


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> HTMLResponse:
    """What can be asked here."""
    here = str(request.base_url).rstrip("/")
    return HTMLResponse("".join(_page(request.app.openapi(), here)))


def _page(schema: Mapping[str, Any], here: str) -> Iterator[str]:
    title = escape(schema["info"]["title"])
    yield f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<style>{STYLE}</style><h1>{title}</h1><p>{escape(schema['info']['description'])}</p>"
    yield '<p>For programs: <a href="/openapi.json">/openapi.json</a>, which Swagger UI, Postman and others read.</p>'
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            yield from _operation(schema, here, path, method.upper(), operation)
    yield "</html>"


def _operation(
    schema: Mapping[str, Any], here: str, path: str, method: str, operation: Mapping[str, Any]
) -> Iterator[str]:
    yield f'<h2><span class="method">{method}</span> <code>{escape(path)}</code></h2>'
    for paragraph in operation.get("description", "").split("\n\n"):
        yield f"<p>{_marked(paragraph)}</p>"
    body = operation.get("requestBody", {}).get("content", {})
    for kind, content in body.items():
        described = _resolved(schema, content["schema"])
        yield from _fields(schema, described)
        if kind == "application/json":
            yield f"<pre>{escape(_curl(here, path, described))}</pre>"
        else:
            files = next((name for name in ("file", "files") if name in described["properties"]), "file")
            yield f"<pre>{escape(f'curl {here}{path} -F {files}=@FILE')}</pre>"
    if not body:
        query = "&".join(
            f"{one['name']}=ID" for one in operation.get("parameters", []) if one["in"] == "query"
        )
        verb = "" if method == "GET" else f"-X {method} "
        yield f"<pre>{escape(f'curl {verb}{here}{path}' + (f'?{query}' if query else ''))}</pre>"


def _fields(schema: Mapping[str, Any], described: Mapping[str, Any]) -> Iterator[str]:
    yield "<table>"
    for name, field in described.get("properties", {}).items():
        needed = "required" if name in described.get("required", []) else ""
        about = escape(field.get("description", ""))
        yield f"<tr><td><code>{escape(name)}</code><td>{escape(_type(schema, field))}<td>{needed}<td>{about}</tr>"
    yield "</table>"


def _marked(text: str) -> str:
    """With what stands in backticks as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _type(schema: Mapping[str, Any], field: Mapping[str, Any]) -> str:
    if "$ref" in field:
        return str(field["$ref"]).rpartition("/")[2]
    if "anyOf" in field:
        kinds = dict.fromkeys(_type(schema, one) for one in field["anyOf"])
        return " or ".join(kind for kind in kinds if kind != "null")
    if "enum" in field:
        return " or ".join(json.dumps(one) for one in field["enum"])
    if field.get("type") == "array":
        return f"list of {_type(schema, field.get('items', {}))}"
    return str(field.get("type", "any"))


def _resolved(schema: Mapping[str, Any], described: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" not in described:
        return described
    found: Mapping[str, Any] = schema["components"]["schemas"][described["$ref"].rpartition("/")[2]]
    return found


def _curl(here: str, path: str, described: Mapping[str, Any]) -> str:
    example = json.dumps((described.get("examples") or [{}])[0], ensure_ascii=False)
    return f"curl {here}{path} -H 'Content-Type: application/json' -d '{example}'"
