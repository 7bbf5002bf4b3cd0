"""`python -m cyclicxr` is the command line."""

import sys

from cyclicxr.cli import main

if __name__ == "__main__":
    sys.exit(main())
