"""How a program reads the texts of a steering vector: those of its line, of text files, or of columns."""

from __future__ import annotations

from mechtui.session import sites
from mechtui.session.document import Vector
from mechtui.views.script import quoted

AT = '''\
def activations(hook, text):
    """[pos, d_model] of a clean run."""
    return RUN[1][hook][0].float()
'''
READ = '''\
def read(file):
    return pathlib.Path(file).expanduser().read_bytes().decode("utf-8-sig").replace("\\r\\n", "\\n")


def sides_of(rows):
    """Texts by side, without the rows that hold none."""
    return [*zip(*[row for row in rows if row[0].strip()])]
'''
LINES = """\
def lines(files):
    return sides_of(zip(*[read(file).split("\\n") for file in files]))
"""
COLUMNS = """\
def columns(file, names):
    if file.lower().endswith(".csv"):
        found = csv.DictReader(io.StringIO(read(file), newline=""))
    else:
        found = [json.loads(line) for line in read(file).split("\\n") if line.strip()]
    return sides_of([row[name] for name in names] for row in found)
"""


def tools(vectors: list[Vector], run: str) -> str:
    """What these vectors, all read from texts, need; empty for none. run: what gives logits and cache of a text."""
    parts = [AT.replace("RUN", run)] if vectors else []
    parts += [READ] if any(vector.files for vector in vectors) else []
    parts += [LINES] if any(vector.files and not vector.columns for vector in vectors) else []
    parts += [COLUMNS] if any(vector.columns for vector in vectors) else []
    return "\n\n".join(parts)


def reading(names: str, vector: Vector) -> str:
    """Lines after which the names hold the activations [text, d_model] of each side of a vector's texts."""
    if vector.columns:
        texts = f"columns({quoted(vector.files[0])}, {[*vector.columns]!r})"
    elif vector.files:
        texts = f"lines({[*vector.files]!r})"
    else:
        sides = zip(*vector.rows, strict=True)
        texts = "[\n" + "".join(f"    [{', '.join(map(quoted, side))}],\n" for side in sides) + "]"
    which = ".mean(0)" if vector.position is None else f"[{vector.position}]"
    hook = quoted(sites.hook(vector.layer, vector.part))
    return (
        f"texts = {texts}\n"
        f"{names} = [torch.stack([activations({hook}, text){which} for text in side]) for side in texts]"
    )
