"""The terminal program: textual, rich, numpy. Never torch."""
