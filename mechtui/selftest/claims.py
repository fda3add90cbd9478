"""What papers say of GPT-2 small: claim, source, published number, and a session that shows it. No model is needed."""

from __future__ import annotations

from dataclasses import dataclass

from mechtui.session.document import Session
from mechtui.session.grammar.edits import parse_edit

IOI = "arXiv 2211.00593"  # Wang et al. 2022, interpretability in the wild
INDUCTION = "arXiv 2209.11895"  # Olsson et al. 2022, in-context learning and induction heads
SUPPRESSION = "arXiv 2310.04625"  # McDougall et al. 2023, copy suppression
GREATER = "arXiv 2305.00586"  # Hanna et al. 2023, greater-than
DEMO = "TransformerLens, Exploratory Analysis Demo"
PROMPT = "When Mary and John went to the store, John gave a drink to"
SOURCE = "When Mary and John went to the store, Mary gave a drink to"
REPEAT = " table blue seven river glass honest paper lion" * 2
LOVE = "All's fair in love and"
YEARS = "The war lasted from the year 1732 to the year 17"
FOX = "The quick brown fox jumps over the lazy dog"


@dataclass(frozen=True)
class Claim:
    """key: the measure's name. published: the number as it was published, and what is accepted here."""

    key: str
    what: str
    source: str
    published: str
    session: Session


def _ioi(*views: str, edits: tuple[str, ...] = (), prompt: str = PROMPT, source: str = "") -> Session:
    return Session(
        model="gpt2",
        prompt=prompt,
        source=source,
        answer=" Mary",
        foil=" John",
        edits=tuple(parse_edit(line) for line in edits),
        views=views,
    )


def _text(prompt: str, *views: str, edits: tuple[str, ...] = (), **more: str) -> Session:
    return Session(model="gpt2", prompt=prompt, edits=tuple(parse_edit(line) for line in edits), views=views, **more)  # type: ignore[arg-type]


CLAIMS: tuple[Claim, ...] = (
    Claim(
        "difference", "IOI: mean logit difference, IO over S, P(IO)", f"{IOI}, section 3", "3.56 ± 1, 99.3% > 95%, 49%",
        _ioi("next_tokens", "attribution"),
    ),
    Claim(
        "movers", "name movers 9.9, 9.6, 10.0 write most of the difference themselves", f"{IOI}, section 3.1",
        "the three largest of 144", _ioi("attribution", "attention L9H9"),
    ),
    Claim(
        "movers look", "name movers' attention from END to IO", f"{IOI}, section 3.1", "0.59 on average, >= 0.45",
        _ioi("attention L9H9", "attention L9H6", "attention L10H0"),
    ),
    Claim(
        "correlation", "name movers: attention to a name against what is written along its unembedding",
        f"{IOI}, section 3.1", "correlation > 0.81, >= 0.75", _ioi("attention L9H9", "attribution"),
    ),
    Claim(
        "copying", "name movers copy: the name is in the 5 likeliest through OV", f"{IOI}, section 3.1",
        "> 95%, >= 90%; average head < 20%, <= 25%", _ioi("heads", "attention L9H9"),
    ),
    Claim(
        "negative", "negative name movers 10.7, 11.10: through minus OV, and below 0 directly",
        f"{IOI}, section 3.1 and appendix", "98%, >= 90%; average head 12%", _ioi("attribution", "attention L10H7"),
    ),
    Claim(
        "inhibition", "S-inhibition heads 7.3, 7.9, 8.6, 8.10: attention from END to S2", f"{IOI}, section 3.2",
        "0.51 on average, >= 0.4", _ioi("attention L8H6", "attention L7H9"),
    ),
    Claim(
        "kinds", "induction 5.5, 6.9; duplicate-token 0.1, 3.0; previous-token 4.11, 2.2", f"{IOI}, section 3.3",
        "each among the 8 highest of its kind", _text(REPEAT, "heads", "attention L5H5", "attention L4H11"),
    ),
    Claim(
        "knock-out", "the three name movers knocked out by their mean: others stand in", f"{IOI}, section 3.4",
        "the difference falls by 5%, < 15%", _ioi("attribution", edits=("mean L9H9 @-1", "mean L9H6 @-1",
        "mean L10H0 @-1")),
    ),
    Claim(
        "circuit", "the circuit of 26 heads alone, all others at their means", f"{IOI}, section 4",
        "87% of the difference, 75 to 100%", _ioi("attribution", "heads"),
    ),
    Claim(
        "IO twice", "IO named once more: the difference falls", f"{IOI}, section 4 and appendix",
        "1.23 ± 1 of 3.56; S preferred 23.4%",
        _ioi("next_tokens", prompt="Then, Mary and John went to the store. Mary had a good day. John gave a drink to"),
    ),
    Claim(
        "S thrice", "S named once more: the difference stays", f"{IOI}, section 4 and appendix",
        "3.64 ± 1 of 3.56; S preferred 0.4%",
        _ioi("next_tokens", prompt="Then, Mary and John went to the store. John had a good day. John gave a drink to"),
    ),
    Claim(
        "layers", "attention of layer 9 writes most of it; layers 0 to 6 nearly nothing; 10 and 11 take some away",
        DEMO, "signs and order", _ioi("lens", "attribution"),
    ),
    Claim(
        "patterns", "patching a head's pattern: 5.5, 6.9, 3.0 and 9.9, 10.7, 11.10 matter", DEMO,
        "4 of them among the 10 largest", _ioi("sweep patch L*H*.pattern", prompt=PROMPT, source=SOURCE),
    ),
    Claim(
        "values", "patching a head's values: 8.6, 8.10, 7.9, 7.3 matter", DEMO, "3 of them among the 6 largest",
        _ioi("sweep patch L*H*.v", prompt=PROMPT, source=SOURCE),
    ),
    Claim(
        "induction", "induction scores of 5.5, 6.9, 7.10, 5.1, 7.2 on random repeats", f"{INDUCTION}, definition",
        "0.93, 0.91, 0.91, 0.91, 0.83, each ± 0.1", _text(REPEAT, "heads", "attention L5H5"),
    ),
    Claim(
        "previous", "4.11 looks one token back, BOS left out", "TransformerLens, head detector demo", "> 0.9, > 0.8",
        _text(FOX, "attention L4H11", "heads", bos="no"),
    ),
    Claim(
        "suppression", f'copy suppression: without 10.7, "{LOVE}" goes on with " love"', f"{SUPPRESSION}, section 1",
        "its logit rises, and it becomes the likeliest",
        _text(LOVE, "next_tokens", "attention L10H7", edits=("zero L10H7",), answer=" love"),
    ),
    Claim(
        "greater", "greater-than: P(a later year) - P(an earlier one)", f"{GREATER}, section 2.2", "81.7% ± 5",
        _text(YEARS, "next_tokens top20"),
    ),
    Claim(
        "years", "greater-than: 5.5, 6.1, 6.9, 7.10, 8.11, 9.1 look from the end at YY", f"{GREATER}, section 3.2",
        "more than at any other token but the first", _text(YEARS, "attention L9H1", "attention L8H11"),
    ),
    Claim(
        "sink", "a massive activation at the first position: dimension 447 of L6.post",
        "LessWrong 2025, on attention sinks", "about 3,000, 1,000 to 5,000", _text(FOX, "residual"),
    ),
    Claim(
        "centring", "centring W_U moves the logits of a position together: probabilities stay",
        "TransformerLens, issue 693", "equal, within 0.00001", _text(FOX, "next_tokens"),
    ),
)  # fmt: skip
