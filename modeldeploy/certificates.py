"""A TLS certificate and its key, looked at before anything is served with them."""

from __future__ import annotations

import contextlib
import ssl
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modeldeploy.errors import InvalidCertificate

_LARGEST = 1024 * 1024
_NOT_YET, _EXPIRED = 9, 10  # X509_V_ERR_*
# Python's own choice. uvicorn's default is older.
CIPHERS = "@SECLEVEL=2:ECDH+AESGCM:ECDH+CHACHA20:ECDH+AES:!aNULL:!SHA1"


@dataclass(frozen=True)
class Certificate:
    """``names`` are those that it is for, hosts and addresses, without wildcards; ``expires`` is in
    Unix seconds."""

    names: frozenset[str]
    expires: float


def examine(certfile: str, keyfile: str) -> Certificate:
    """What the certificate says, once a client that trusts it has shaken hands with a server that has
    it: in memory, in this process.

    Raises:
        InvalidCertificate: unreadable, not a pair, with a passphrase, expired or not valid yet.
    """
    for what, file in (("certificate", certfile), ("key", keyfile)):
        if refused := _refusal(Path(file)):
            raise InvalidCertificate(
                f"the {what} {file} cannot be read: {refused}",
                hint="give --ssl-certfile and --ssl-keyfile files that this user can read",
            )
    try:
        told = _handshake(_server(certfile, keyfile), _client(certfile))
    except ssl.SSLCertVerificationError as error:
        raise InvalidCertificate(_verdict(certfile, error), hint="renew it") from error
    except ssl.SSLError as error:
        mismatch = error.reason == "KEY_VALUES_MISMATCH"
        why = "are not a pair" if mismatch else "are not a certificate and its key in PEM"
        raise InvalidCertificate(
            f"{certfile} and {keyfile} {why}", hint="the certificate comes first in its file"
        ) from error
    names = frozenset(name.lower() for _, name in told.get("subjectAltName", ()) if "*" not in name)
    return Certificate(names, ssl.cert_time_to_seconds(told["notAfter"]))


def _refusal(file: Path) -> str:
    """Why it cannot be read, or nothing: a pipe or a device might never end."""
    try:
        found = file.stat()
        if not stat.S_ISREG(found.st_mode):
            return "it is no file"
        if found.st_size > _LARGEST:
            return f"it has {found.st_size:,} bytes"
        with file.open("rb") as stream:
            stream.read(_LARGEST)
    except OSError as error:
        return error.strerror or str(error)
    except ValueError as error:  # no path can be that
        return str(error)
    return ""


def _server(certfile: str, keyfile: str) -> ssl.SSLContext:
    def passphrase() -> str:
        raise InvalidCertificate(
            f"the key {keyfile} has a passphrase, and nobody is there to type it",
            hint="give a key without one, readable by this user only",
        )

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certfile, keyfile, passphrase)
    return context


def _client(certfile: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # whatever its names are
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # trusted itself, whoever signed it
    context.load_verify_locations(certfile)
    return context


def _handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> dict[str, Any]:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    serving = server.wrap_bio(to_server, to_client, server_side=True)
    asking = client.wrap_bio(to_client, to_server)
    for side in (asking, serving):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    asking.do_handshake()
    return asking.getpeercert() or {}


def _verdict(certfile: str, error: ssl.SSLCertVerificationError) -> str:
    why = {_EXPIRED: "has expired", _NOT_YET: "is not valid yet"}.get(error.verify_code)
    return f"the certificate {certfile} {why or f'is not good: {error.verify_message}'}"
