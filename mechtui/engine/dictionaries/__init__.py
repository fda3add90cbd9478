"""Dictionaries of features: sparse autoencoders and transcoders, read from the files of those who train them.

dictionary.py           what all formats are read into: encode, decode, directions
found.py                where the files lie: a file, a folder, the hub's local cache; their tensors, by memory map
saelens.py              cfg.json and sae_weights.safetensors
dictionary_learning.py  config.json and ae.safetensors or ae.pt
gemma_scope.py          params.npz
sparsify.py             cfg.json and sae.safetensors
points.py               names of places in a model, as the formats write them
fits.py                 whether a dictionary is one for this model
labels.py               features' names
kept.py                 those of a model that were read
"""

from mechtui.engine.dictionaries.dictionary import Active, Dictionary, DictionaryError
from mechtui.engine.dictionaries.kept import Dictionaries

__all__ = ["Active", "Dictionaries", "Dictionary", "DictionaryError"]
