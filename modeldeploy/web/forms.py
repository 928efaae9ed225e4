"""Forms (``multipart/form-data``, RFC 7578), read where the whole body is in memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from modeldeploy.errors import MalformedBody
from modeldeploy.web.incoming import Incoming

_MOST_PARTS = 100


class _Parser(MultiPartParser):
    def close(self) -> None:
        """Of every part, those too that are of no form because it ends in the middle of one."""
        for file in self._files_to_close_on_error:
            file.close()


async def form_parts(request: Incoming, raw: bytes, limit: int) -> dict[str, Any]:
    """The parts of a form by their names: files as bytes, the others as texts, and a list of them
    where a name comes again."""

    async def whole() -> AsyncGenerator[bytes, None]:
        yield raw

    parser = _Parser(
        Headers(raw=request.scope["headers"]),
        whole(),
        max_files=_MOST_PARTS,
        max_fields=_MOST_PARTS,
        max_part_size=limit,
    )
    parser.spool_max_size = limit  # it is in memory already
    try:
        form = await parser.parse()
        found: dict[str, list[str | bytes]] = {}
        for name, value in form.multi_items():
            part = await value.read() if isinstance(value, UploadFile) else value
            found.setdefault(name, []).append(part)
        return {name: parts if len(parts) > 1 else parts[0] for name, parts in found.items()}
    except (MultiPartException, UnicodeDecodeError, KeyError) as error:
        raise MalformedBody(f"the body is not a form: {error}") from error
    finally:
        parser.close()
