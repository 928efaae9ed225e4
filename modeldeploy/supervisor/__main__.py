"""``python -m modeldeploy.supervisor``: what the first command starts, detached."""

from __future__ import annotations

import logging
import sys

import msgspec

from modeldeploy import logfile, settings
from modeldeploy.errors import ModelDeployError
from modeldeploy.schema.deployment import HubAccess
from modeldeploy.supervisor import server

_LONGEST_LINE = 64 * 1024


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
        logfile.set_up(None if foreground else values.paths.make().supervisor_log, values)
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
