"""Blocks of well-known architectures, without the bridge's wrappers. A new one is a file here and a row of KINDS.

fast_block.py  what all have in common: attention and MLP, tap by tap
gpt2.py, llama.py  what an architecture does in its own way
kinds.py  which Hugging Face class has which
"""
