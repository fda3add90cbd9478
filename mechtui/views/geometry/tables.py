"""Where the words lie along each component, and how much each explains."""

from __future__ import annotations

from mechtui.paint.tokens import visible_text
from mechtui.views.geometry import Geometry, GeometryAnswer
from mechtui.views.tables import Around, Block, Column, Listing, Matrix, fact, numbered


def tables(question: Geometry, answer: GeometryAnswer, around: Around) -> list[Block]:
    words = tuple(map(visible_text, answer.words))
    components = numbered("pc", len(answer.explained) + 1)[1:]
    where = f"L{answer.layer}.{answer.part}"
    of = ("word", "component")
    blocks: list[Block] = [
        fact("layer", answer.layer, f"of the {answer.part} that is read", places=0),
        Listing(
            f"explained at {where}",
            "component",
            components,
            (Column("explained", [float(each) for each in answer.explained], "of the variance", places=3),),
        ),
        Matrix(f"words at {where}", "along the axis", of, words, components, answer.coordinates, signs=True),
        Matrix(
            f"words at {where}, along the clean run's axes",
            "along the axis",
            of,
            words,
            components,
            answer.in_clean,
            signs=True,
            extra=True,
        ),
    ]
    if answer.left_out:
        names = tuple(str(at + 1) for at in range(len(answer.left_out)))
        blocks.append(Listing("edits left out", "edit", names, (Column("edit", list(answer.left_out)),)))
    return blocks
