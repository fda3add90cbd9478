"""Pages of docs/ that are written from the program's own data: `python -m mechtui.documents.PAGE > docs/PAGE.md`."""
