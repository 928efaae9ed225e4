"""Forms (``multipart/form-data``, RFC 7578), read where the whole body is in memory."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from modeldeploy.errors import MalformedBody
from modeldeploy.web.incoming import Incoming

_MOST_PARTS = 100
_PIECE_BYTES = 256 * 1024
# Python knows some that take a minute for a megabyte (punycode), or raise whatever they are given.
_CHARSETS = frozenset({b"utf-8", b"utf8", b"us-ascii", b"iso-8859-1", b"latin-1"})


class _Parser(MultiPartParser):
    def close(self) -> None:
        """Of every part, those too that are of no form because it ends in the middle of one."""
        for file in self._files_to_close_on_error:
            file.close()


async def form_parts(request: Incoming, raw: bytes, limit: int) -> dict[str, Any]:
    """The parts of a form by their names: files as bytes, the others as texts, and a list of them
    where a name comes again.

    Raises:
        MalformedBody
    """
    async with _form(request, raw, limit) as form:
        found: dict[str, list[str | bytes]] = {}
        for name, value in form.multi_items():
            part = await value.read() if isinstance(value, UploadFile) else value
            found.setdefault(name, []).append(part)
        return {name: parts if len(parts) > 1 else parts[0] for name, parts in found.items()}


async def form_text(request: Incoming, raw: bytes, limit: int, name: str) -> str | None:
    """The text of one part; None where it is not there, there more than once, or a file.

    Raises:
        MalformedBody
    """
    async with _form(request, raw, limit) as form:
        values = form.getlist(name)
        return values[0] if len(values) == 1 and isinstance(values[0], str) else None


@contextlib.asynccontextmanager
async def _form(request: Incoming, raw: bytes, limit: int) -> AsyncIterator[FormData]:
    async def pieces() -> AsyncGenerator[bytes, None]:
        for start in range(0, len(raw), _PIECE_BYTES):
            yield raw[start : start + _PIECE_BYTES]
            await asyncio.sleep(0)  # a large one takes a tenth of a second, others less

    parser = _Parser(
        Headers(raw=request.scope["headers"]),
        pieces(),
        max_files=_MOST_PARTS,
        max_fields=_MOST_PARTS,
        max_part_size=limit,
    )
    parser.spool_max_size = limit  # it is in memory already
    try:
        _check_charset(request)
        form = await parser.parse()
    except (MultiPartException, UnicodeError, KeyError) as error:
        raise MalformedBody(f"the body is not a form: {error}") from error
    try:
        yield form
    finally:
        parser.close()


def _check_charset(request: Incoming) -> None:
    _, named = parse_options_header(b"".join(request.headers(b"content-type")[:1]))
    charset = named.get(b"charset", b"utf-8")
    if charset.lower() not in _CHARSETS:
        raise MalformedBody(
            f"the form's charset is {charset[:40].decode('latin-1')!r}", hint="send it as UTF-8"
        )
