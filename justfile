# What one does here all day. `just` lists it; without just (`pip install rust-just`), the lines below are the commands.

default:
    @just --list

# Everything that must hold, from nothing, as a continuous integration server runs it.
check:
    .ci/run

# All tests.
test *ARGS:
    python -m pytest -n auto {{ARGS}}

# The session, the wire and the panes: what most changes need, in under a minute.
fast *ARGS:
    python -m pytest -n auto tests/unit tests/link tests/paint tests/panes {{ARGS}}

# One test, or one file of them, with its output: just one tests/panes/test_panes.py -k attention
one *ARGS:
    python -m pytest -x -s {{ARGS}}

# Formatting, lint, types, and who may import whom.
lint:
    ruff format .
    ruff check --fix .
    mypy
    lint-imports

# The documents as a site in site/, every link of it checked: pip install '.[docs]'
docs:
    python -m sphinx -b html -n -E -W --keep-going -q -d build/doctrees -c docs . site

# The pages that the program writes of itself.
pages:
    python -m mechtui.app.actions > docs/keys.md
    python -m mechtui.documents.settings > docs/settings.md
    python -m mechtui.documents.commands > docs/commands.md
    python -m mechtui.documents.views > docs/views.md

# How fast it is on this machine.
bench *ARGS:
    python -m mechtui bench {{ARGS}}

# The pictures of the real program in screenshots/.
pictures *ARGS:
    python -m tests.screenshots {{ARGS}}
