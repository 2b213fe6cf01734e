"""`python -m glorabench.cli`: the command without its script."""

import sys

from glorabench.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
