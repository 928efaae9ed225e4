"""``python -m modeldeploy``, and the console script."""

from __future__ import annotations

import sys


def main() -> int:
    """The command line; answers with its exit code."""
    try:
        from modeldeploy.cli.main import main as cli
    except KeyboardInterrupt:  # pressed while we import
        return 130
    return cli()


if __name__ == "__main__":
    sys.exit(main())
