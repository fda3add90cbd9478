"""Top contexts: where in a text each neuron of a model, or each feature of a dictionary, fires most, and how often.

A text is read once for all of them: of each the strongest places are kept, at how many tokens it is on, and a histogram
of its values. What was read lies on the disk, so that the next look at any of them has it at once.

windows.py    a text in windows, and in which of them a token counts
strongest.py  what is kept of each unit: tensors that grow with the units, not with the text
units.py      what is looked for: all neurons of a model, all features of a dictionary
kept.py       files
scans.py      reading
"""

from mechtui.engine.contexts.kept import Scan
from mechtui.engine.contexts.scans import Contexts

__all__ = ["Contexts", "Scan"]
