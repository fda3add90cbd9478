"""A forward pass in pieces, and how a block runs.

forward.py        Forward: what comes before the blocks, the blocks from any layer on, what comes after
block.py          Block: what every way to run a block has in common
bridged.py        the model's own block, seen and changed at the bridge's hook points
own_attention.py  in it, the model's own attention, open to edits
from_z.py         a block that begins behind its heads
fast_blocks/      blocks of well-known architectures, without the bridge's wrappers; packed_linear.py: their products
choice.py         which of the two runs: a fast block once it was found to give the same
hook_points.py    the bridge's hook points; taps.py: what acts and looks there
calls.py          the arguments that the model gives its blocks; cache.py: keys and values
"""
