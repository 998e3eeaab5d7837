"""`python -m jitgrad`: hand the command line to jitgrad.cli."""

from __future__ import annotations

import sys

from jitgrad.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
