"""Files that a request only names: fetched from the hosts that the deployment lists, and from no
other, whatever a redirect says."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec.structs import replace

from modeldeploy.errors import BodyTooLarge, InvalidRequest, UrlNotAllowed
from modeldeploy.schema.tasks import file_fields

if TYPE_CHECKING:
    import httpx2

_WEB = re.compile(r"https?://", re.IGNORECASE)
_MOST_REDIRECTS = 3
_SECONDS = 30.0
_AT_ONCE = 8

T = TypeVar("T")


class Media:
    """``hosts`` are the listed ones, as ``host`` (at the scheme's own port) or ``host:port``;
    ``limit`` is what all files of one request may have together, in bytes."""

    def __init__(self, hosts: Sequence[str], limit: int) -> None:
        self._hosts = frozenset(hosts)
        self._limit = limit

    async def fetched(
        self, inputs: Sequence[Any], take: Callable[[int], None] = lambda count: None
    ) -> Sequence[Any]:
        """The inputs with the bytes of files in place of their URLs; ``take`` hears of each before it
        is kept, and may refuse it.

        Where no host is listed nothing changes: whoever decodes a file refuses a URL.

        Raises:
            UrlNotAllowed: the host is not listed. InvalidRequest: it cannot be fetched.
            BodyTooLarge: there is more of it than a body may have.
        """
        if not self._hosts or not any(map(_names_any, inputs)):
            return inputs
        import httpx2

        async with httpx2.AsyncClient(timeout=_SECONDS) as client:
            fetch = _Fetch(client, self._hosts, self._limit, take)
            return await _all(fetch.into(one) for one in inputs)


class _Fetch:
    """The files of one request."""

    def __init__(
        self,
        client: httpx2.AsyncClient,
        hosts: frozenset[str],
        limit: int,
        take: Callable[[int], None],
    ) -> None:
        self._take = take
        self._client = client
        self._hosts = hosts
        self._limit = limit
        self._left = limit
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def into(self, one: Any) -> Any:
        """``one`` with its files."""
        changes: dict[str, Any] = {}
        for field in file_fields(type(one)):
            given = getattr(one, field)
            if isinstance(given, list):
                named = [(f"{field}[{at}]", value) for at, value in enumerate(given)]
                changes[field] = await _all(self._file(*pair) for pair in named)
            else:
                changes[field] = await self._file(field, given)
        return replace(one, **changes)

    async def _file(self, field: str, given: Any) -> Any:
        if not _is_web(given):
            return given
        import httpx2

        try:
            async with self._turns:
                return await asyncio.wait_for(self._follow(field, httpx2.URL(given)), _SECONDS)
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
            why = type(error).__name__
            raise InvalidRequest(f"{field}: the URL cannot be fetched ({why})") from error
        except asyncio.TimeoutError as error:
            raise InvalidRequest(
                f"{field}: the URL was not fetched within {_SECONDS:g} seconds",
                hint="send the file itself",
            ) from error

    async def _follow(self, field: str, url: httpx2.URL) -> bytes:
        for _ in range(_MOST_REDIRECTS + 1):
            self._check(field, url)
            # As it lies there: what a packed answer would become is not ours to find out.
            headers = {"accept-encoding": "identity"}
            async with self._client.stream("GET", url, headers=headers) as response:
                if response.next_request is not None:
                    url = response.next_request.url
                elif response.status_code == 200:
                    return await self._read(field, response)
                else:
                    raise InvalidRequest(
                        f"{field}: the URL's host answers {response.status_code}",
                        hint="is it public, and spelled right?",
                    )
        raise InvalidRequest(f"{field}: the URL redirects more than {_MOST_REDIRECTS} times")

    def _check(self, field: str, url: httpx2.URL) -> None:
        host = url.netloc.decode("ascii")
        if not _WEB.match(str(url)) or host not in self._hosts or url.userinfo:
            raise UrlNotAllowed(
                f"{field}: URLs of {host[:100]!r} are not fetched here",
                hint=f"listed are {', '.join(sorted(self._hosts))}; others with "
                "deploy --allow-media-url HOST, or send the file itself",
            )

    async def _read(self, field: str, response: httpx2.Response) -> bytes:
        chunks = []
        async for chunk in response.aiter_raw():
            self._left -= len(chunk)
            if self._left < 0:
                raise BodyTooLarge(
                    f"{field}: the files of this request are larger than {self._limit} bytes",
                    hint="send smaller ones, or several requests",
                )
            self._take(len(chunk))
            chunks.append(chunk)
        return b"".join(chunks)


async def _all(works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """What they return. None is at work any more when one has failed: what it holds would count for
    ever."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _is_web(given: Any) -> bool:
    return isinstance(given, str) and _WEB.match(given) is not None


def _names_any(one: Any) -> bool:
    values = (getattr(one, field) for field in file_fields(type(one)))
    return any(
        any(map(_is_web, value)) if isinstance(value, list) else _is_web(value) for value in values
    )
