"""`python -m mechtui.selftest [MODEL]`"""

import sys

from mechtui.selftest import run

if __name__ == "__main__":
    sys.exit(run(*sys.argv[1:2]))
