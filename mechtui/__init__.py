"""mechtui: see inside a GPT-2-style language model, and change it, from the terminal."""

__version__ = "0.1.0"
