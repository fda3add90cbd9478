"""`python -m mechtui`."""

from mechtui.cli import main

if __name__ == "__main__":
    main()
