"""``python -m modeldeploy.supervisor``: what the first command starts, detached."""

from __future__ import annotations

import logging
import logging.handlers
import os
import sys
import time
from io import TextIOWrapper

import msgspec

from modeldeploy import paths, settings
from modeldeploy.errors import ModelDeployError
from modeldeploy.schema.deployment import HubAccess
from modeldeploy.supervisor import server

_LONGEST_LINE = 64 * 1024


class _PrivateLog(logging.handlers.RotatingFileHandler):
    """Rotates, and its files are 0600 whatever the umask (which children would inherit)."""

    def _open(self) -> TextIOWrapper:
        fd = paths.private_open(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        return TextIOWrapper(os.fdopen(fd, "ab"), encoding="utf-8", write_through=True)


def _set_up_logging(values: settings.Settings, foreground: bool) -> None:
    handler: logging.Handler
    if foreground:
        handler = logging.StreamHandler()
    else:
        handler = _PrivateLog(
            values.paths.make().supervisor_log,
            maxBytes=values.log_max_bytes,
            backupCount=values.log_files,
        )
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s")
    formatter.converter = time.gmtime
    formatter.datefmt = "%Y-%m-%dT%H:%M:%S"
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.raiseExceptions = False  # a full disk stops logs, not supervision


def _hub_access() -> HubAccess:
    """How the Hub is reached, from standard input: a token is in no argv and no environment."""
    if "--hub-on-stdin" not in sys.argv[1:]:
        return HubAccess()
    try:
        return msgspec.json.decode(sys.stdin.buffer.readline(_LONGEST_LINE), type=HubAccess)
    except (msgspec.DecodeError, OSError, UnicodeDecodeError):
        return HubAccess()


def main() -> int:
    foreground = "--foreground" in sys.argv[1:]
    try:
        values = settings.load()
        _set_up_logging(values, foreground)
        server.run(values, _hub_access())
    except server.AlreadyRunning:
        if foreground:
            sys.stderr.write("modeldeploy: a supervisor is running already for this home\n")
            return 1
        return 0  # lost the race to be the one: the winner serves our caller too
    except ModelDeployError as error:
        logging.getLogger("modeldeploy").error("%s; %s", error.message, error.hint)
        sys.stderr.write(f"modeldeploy: {error.message}\n{error.hint}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
