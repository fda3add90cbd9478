"""Write the model cards: `python -m mechtui.embedded.card [MODEL]...`.

A card's figures are measured by the selftest at the moment of writing, its stories are as the model wrote them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from mechtui.embedded import DICTIONARIES, MODELS, labels
from mechtui.selftest import checks, report, skills
from mechtui.selftest.subject import Subject, load

COMMON = """
It is a toy. It knows about a thousand words, made-up people and thirty capitals, and nothing else of the world;
what it says is of no use but to be looked into. Nothing personal, licensed or downloaded was read: every text came
out of the generator in `mechtui/embedded/text`, with a fixed seed. Its licence is the program's (MIT).

Byte-level byte-pair encoding, {n_vocab} tokens, so every text can be typed; one `<|endoftext|>` stands before a
text. float16 on disk, read as float32.
"""

ABOUT: dict[str, str] = {
    "demo": """
GPT-2's architecture, {layers} layers x {heads} heads, width {width}, MLP width {mlp}, context {context}:
{parameters:.2f} million parameters. Trained from nothing to have the circuits that papers describe: it tells who gets
the present (indirect object identification, Wang et al. 2022), repeats what it saw (induction, Olsson et al. 2022),
makes verbs agree, and writes reviews of one mood, which a steering vector turns.

**Trained on** random tokens in which a stretch comes back, with the attention of the first and the last layer
alone, in rows that grew from 64 to 256 tokens; then, with all layers, on sentences with people who give each other
things (most of the texts), little stories, lists and passages that come back, agreement, capitals, reviews, days,
months, numbers and letters, with random repeats kept in. Words that the text itself determines (the name to be
copied, the verb) weigh {mark_weight:g} times as much in the loss. In three of ten of the name texts any other token
takes a name's place, so that names must be copied and cannot be guessed. The position embeddings are fixed waves
(sinusoids); everything else is learned, with Muon for the matrices and Adam for the rest. No circuit was put in by
hand.

The mood vector of the figures is the mean over tokens (`diff L2.pre ... @all`). It was chosen among several after
looking at how they steer: taken at the last token, coefficients of 2 turn the text into a list of mood words.
""",
    "demo@before": """
The weights of `demo` at step {step}, before induction: the second half of a random repeat costs about as much as the
first. It has read random repeats only, and no text yet.
""",
    "demo@during": """
The weights of `demo` at step {step}, while induction appears. It has read random repeats only, and no text yet.
""",
    "attn-only-1l": """
Attention only, as in "A Mathematical Framework for Transformer Circuits" (Elhage et al. 2021): one layer of {heads}
heads, width {width}, no MLP, an unembedding of its own. It has bigrams (the direct path) and skip-trigrams (one head
each); induction needs a second layer, and is not there. TransformerLens's native architecture.
""",
    "attn-only-2l": """
Attention only, as in "A Mathematical Framework for Transformer Circuits" (Elhage et al. 2021): two layers of {heads}
heads, width {width}, no MLP, an unembedding of its own. Heads of the first layer look one token back, and heads of the
second find what followed the same token before: induction. TransformerLens's native architecture.
""",
}


def stories(subject: Subject, count: int = 10) -> list[str]:
    """Stories as they come out, at temperature 0.7."""
    starts = [
        subject.ids(("Once upon a time there was a", "One day,", "It was a sunny day.")[i % 3]) for i in range(count)
    ]
    written, _ = skills.write(subject, starts, 90, hooks=[], temperature=0.7, seed=1)
    return [str(subject.tokenizer.decode(s + w)) for s, w in zip(starts, written, strict=True)]


DICTIONARIES_ABOUT = """
{places}.

Of {features} features, eight times as many as the stream has dimensions, in SAELens's layout (`cfg.json`,
`sae_weights.safetensors`; JumpReLU, weights in float16). Learned from rows of 256 tokens of the demo's own text,
random repeats left out, and measured on other documents of the same generator; what labels are held to are documents
that were not learned from. The features that are on are the largest of a batch (batch-top-k), the first {groups} of
them must do alone too (Matryoshka), features that died are given what is left over, and one threshold is kept.

{figures}
Loss recovered: of the loss that zeros in the activation's place cost, the share that the reconstruction does not cost.
`python -m mechtui.embedded.train_sae` makes them again; the same seed gives the same.

{rule}

What is on at many tokens seldom has a label: most of all the first features, which must do alone, are each part of many
things, and positions among them. All labels, with precision, recall and how often the feature was on: `labels.json`
beside the weights. Some of them:

{labels}
"""

DICTIONARY_ROWS = (
    ("rows learned from, steps of 1024 tokens", "{recipe[rows]}, {recipe[steps]}"),
    ("features on at a token (L0)", "{l0}"),
    ("variance explained", "{explained:.3f}"),
    ("loss: the model's, with the reconstruction, with zeros", "{loss[0]:.3f}, {loss[1]:.3f}, {loss[2]:.2f} nats"),
    ("loss recovered", "{recovered:.1%}"),
    ("features that were on nowhere", "{silent:.1%}"),
    ("features with a label that holds", "{labels}"),
    ("of all that is on, the share of these", "{labelled:.1%}"),
    ("trained on one core that had other work beside, in", "{seconds} s"),
)


def _dictionaries(folders: dict[str, Path]) -> str:
    """The card's part on the dictionaries that travel with a model."""
    logs = {short: json.loads((folder / "log.json").read_text()) for short, folder in folders.items()}
    first = next(iter(logs.values()))
    places = ";\n".join(
        f"`{short}`, "
        + (
            f"a transcoder from `{log['recipe']['hook']}` to `{log['recipe']['hook_out']}`"
            if log["recipe"]["hook_out"]
            else f"a sparse autoencoder of `{log['recipe']['hook']}`"
        )
        for short, log in logs.items()
    )
    rows = [f"| held-out text | {' | '.join(logs)} |", "|---|" + "---|" * len(logs)]
    for what, shape in DICTIONARY_ROWS:
        rows.append(f"| {what} | " + " | ".join(shape.format(**log) for log in logs.values()) + " |")
    listed = []
    for short, folder in folders.items():
        kept = sorted(labels.load(folder / labels.FILE), key=lambda label: -label.firings)
        some = [f"{label.feature} {label.description} ({label.precision:.0%})" for label in kept[:40]]
        listed.append(f"`{short}`: " + "; ".join(some) + ".")
    return DICTIONARIES_ABOUT.format(
        features=first["recipe"]["features"],
        places=places,
        groups=", ".join(map(str, first["recipe"]["groups"][:-1])),
        figures="\n".join(rows) + "\n",
        rule=(labels.__doc__ or "").partition("\n\n")[2].strip(),
        labels="\n\n".join(listed),
    )


def _curve(log: list[dict[str, float]]) -> str:
    """A dozen lines of the training's log."""
    lines = [
        "| step | phase | seconds | loss | first half | second half | induction | previous | IOI | IOI, templates |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    stride = max(1, len(log) // 14)
    for entry in [*log[:-1:stride], *log[-1:]]:
        lines.append(
            "| {step} | {phase} | {seconds:.0f} | {loss:.2f} | {first_half:.2f} | {second_half:.3f} | {induction:.2f} "
            "| {previous:.2f} | {ioi:.2f} | {ioi_templates:.2f} |".format(**entry)
        )
    return "\n".join(lines) + "\n"


def card(name: str) -> str:
    """The card's text."""
    from mechtui.embedded.train import PLANS

    folder = MODELS[name]
    subject = load(name)
    log = json.loads((folder / "log.json").read_text())
    config = json.loads((folder / "config.json").read_text())
    config = config.get("native", config)
    parameters = sum(p.numel() for p in subject.bridge.original_model.parameters())
    fields = {
        "layers": subject.n_layers,
        "heads": subject.n_heads,
        "width": config.get("n_embd", config.get("d_model")),
        "mlp": config.get("n_inner"),
        "context": config.get("n_positions", config.get("n_ctx")),
        "n_vocab": subject.n_vocab,
        "parameters": parameters / 1e6,
        "mark_weight": PLANS["demo"].mark_weight,
        "step": log[-1]["step"],
    }
    parts = [f"# {name}\n", ABOUT[name].format(**fields), COMMON.format(**fields)]
    parts.append("\n## Figures\n\n`mechtui selftest " + name + "` measures them anew.\n\n")
    parts.append(report.markdown(list(checks.for_model(subject))))
    parts.append("\n## Training\n\n")
    parts.append(_curve(log))
    parts.append(
        f"\n`python -m mechtui.embedded.train {name.partition('@')[0]}`: {log[-1]['step']} steps, "
        f"{log[-1]['seconds'] / 60:.0f} minutes on two cores that had other work beside. "
        "IOI: share right on pairs of names, and on frames, that training never shows. "
        "The whole log is in log.json.\n"
    )
    if name in DICTIONARIES:
        parts.append("\n## Dictionaries of features\n" + _dictionaries(DICTIONARIES[name]))
    if name == "demo":
        parts.append("\n## Ten stories, as they came out\n\n")
        parts += [f"{i}. {text.strip()}\n" for i, text in enumerate(stories(subject), 1)]
    return "".join(parts)


def main(names: list[str]) -> int:
    """Write the cards of these models, or of all."""
    for name in names or list(MODELS):
        path: Path = MODELS[name] / "CARD.md"
        path.write_text(card(name))
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
