"""A session, and what was on the screen -> a program that computes it again with TransformerLens and proves it.

The program needs torch, transformers and transformer-lens, not mechtui. Positions are written as numbers, so that it
says exactly what was done.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from mechtui.export import linear, paths, texts
from mechtui.export.loading import BRIDGE, imports, is_native, loading
from mechtui.export.section import Section
from mechtui.export.wanted import COMPARING, TOLERANCES, written
from mechtui.link.messages import Ready
from mechtui.session import sites
from mechtui.session.dictionaries import About
from mechtui.session.document import OF_TEXTS, Session, Vector
from mechtui.session.grammar.edits import format_edit
from mechtui.session.grammar.vectors import format_vector
from mechtui.session.hook_edits import HookEdit
from mechtui.session.ops import ops
from mechtui.views import dictionary_script
from mechtui.views.edit_script import change
from mechtui.views.script import Around, NoHookError, ScriptError, ViewLines, quoted, scripts
from mechtui.views.tokens import TokensAnswer
from mechtui.visible import seen

# Clean and edited, as `mechtui run` prints them; None where there is none.
Shown = tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]

MID_HOOK = sites.LAYER["mid"].hook

# Modules that a program may need.
OWN = ("csv", "importlib.util", "io", "json", "math", "pathlib", "re", "types")

SETUP = r"""
torch.set_grad_enabled(False)
np.set_printoptions(precision=3, suppress=True, linewidth=160)
answers = {}  # (run, question) -> what the run says to it


def show(line):
    for run in ("clean", "edited"):
        for name, value in answers.get((run, line), {}).items():
            print(f"\n{line}, {run} run: {name}")
            rows = value if isinstance(value, list) and isinstance([*value, 0][0], (list, dict)) else [value]
            print(*(row.numpy() if isinstance(row, torch.Tensor) else repr(row) for row in rows), sep="\n")
"""

ENCODE = """\
def encode(text):
    return torch.tensor([BOS*tokenizer.encode(text, add_special_tokens=False)])


def text(id):
    \"\"\"A token's text; of a character that is split over several tokens, nothing.\"\"\"
    said = tokenizer.decode([id], clean_up_tokenization_spaces=False)
    dropped = str(tokenizer.convert_ids_to_tokens(id)).startswith("\\u2581") and not said.startswith(" ")
    return (" " + said if dropped else said).replace("\\ufffd", "")


"""

CLEAN = """\
clean_logits, clean = bridge.run_with_cache(tokens)
"""
IS_THE_MODELS = """\
if not torch.allclose(clean_logits, model_logits, atol=1e-3, rtol=1e-3):
    raise SystemExit(f"TransformerLens computes other logits for {MODEL} than transformers: no program edits it")
"""

# A model may clip what its projections give; the bridge's hooks lie before that.
CLIPPED = """\
if getattr(plain.config, "clip_qkv", None):
    raise SystemExit(f"{MODEL} clips q, k and v, which TransformerLens shows unclipped: no program edits them")
"""

# What an edit of resid_mid changes has to reach the residual stream too, and before any edit of resid_post.
MID = '''\
def at_mid(layer, edit):
    """The bridge's hook_resid_mid lies on the way into the second norm; the residual stream goes around it."""
    added = []

    def change(x, hook):
        changed = edit(x, hook)
        added[:] = [changed - x]
        return changed

    def beyond(x, hook):
        return x + added.pop() if added else x

    return (f"blocks.{layer}.hook_resid_mid", change), (f"blocks.{layer}.hook_resid_post", beyond)
'''

# What a query does not see has a score, too, the least there is: nothing may act on that.
TABLE = '''\
def seen(hook):
    """[query, key]: whether the query sees the key."""
    scores = clean[hook.name.replace("hook_pattern", "hook_attn_scores")][0, 0]
    return scores > torch.finfo(scores.dtype).min / 2


blank = [("blocks.0.attn.hook_pattern", lambda x, hook: torch.zeros_like(x))]
if torch.equal(bridge.run_with_hooks(tokens, fwd_hooks=blank), clean_logits):
    raise SystemExit(f"TransformerLens drops edits at pattern and scores and cuts of {MODEL}, so no program makes them")
'''

SEES_ALL = '''\
def seen(hook):
    """[query, key]: whether the query sees the key."""
    return torch.ones(len(tokens), len(tokens), dtype=torch.bool).tril()
'''

# A hook sees what those before it made; what is added when the point is reached stands behind all of them.
NOTED = '''\
noted = {}  # what last passed these hooks, edits done


def note(name):
    """Note what passes a hook, in every run from here on."""

    def begin(point, inputs):
        def keep(point, inputs, output):
            noted[name] = output
            handle.remove()

        handle = point.register_forward_hook(keep)

    bridge.hook_dict[name].register_forward_pre_hook(begin)


for name in HOOKS:
    note(name)
'''

EDITED = """\
hooks = [HOOKS]
with bridge.hooks(fwd_hooks=hooks):
    edited_logits, edited = bridge.run_with_cache(tokens)
"""
NEXT = """\
for name, logits in (NAMES):
    best = logits[0, -1].softmax(-1).topk(5)
    print(name, [(text(id), round(prob, 3)) for prob, id in zip(best.values.tolist(), best.indices.tolist())])
"""

PROOF = """\
wrong = [each for (run, line), of in wanted.items() for each in differences(run, line, of, answers[run, line])]
assert not wrong, "\\n".join(wrong)
print(f"All {sum(len(cells) for of in wanted.values() for cells in of.values())} cells are as they were on the screen.")
"""


class ExportError(ValueError):
    """Why there is no program: one sentence."""


@dataclass(frozen=True)
class Exported:
    """What is exported.

    ready: of the model that the session runs on. tokens: the prompt's and the source's. shown: question line -> its
    answers; None for one whose answers are not known, which the program computes and compares with nothing. left_out:
    edits that cannot be made, by their index in the session, and why. dictionaries: of features, those that its lines
    and questions name.
    """

    session: Session
    ready: Ready
    tokens: TokensAnswer
    shown: Mapping[str, Shown | None] = field(default_factory=dict)
    left_out: Mapping[int, str] = field(default_factory=dict)
    dictionaries: Sequence[About] = ()

    @property
    def around(self) -> Around:
        return Around(
            self.session,
            self.ready.shape,
            self.tokens.tokens,
            self.tokens.source,
            self.tokens.alignment,
            begins=self.ready.bos_auto,
            folded=self.ready.weights == "folded",
            native=is_native(self.ready),
            name=self.ready.name,
            left_out=self.left_out,
            dictionaries={about.name: about for about in self.dictionaries},
        )


def program(exported: Exported) -> list[Section]:
    """The program's sections, in the order in which they are read and run. Raises ExportError."""
    return list(Program(exported).sections())


class Program:
    """One program in the making. TOOL: what it is for. WITH_CACHE: the function of ids that gives logits and cache.
    AROUND: whether the residual stream goes around edits of resid_mid, which then need a second hook. NOTED: the code
    after which `noted` has what passes HOOKS; empty where it has all."""

    TOOL: ClassVar[str] = "TransformerLens"
    WITH_CACHE: ClassVar[str] = "bridge.run_with_cache"
    AROUND: ClassVar[bool] = True
    NOTED: ClassVar[str] = NOTED

    def __init__(self, exported: Exported) -> None:
        if not exported.ready.place:
            raise ExportError(f"{exported.ready.name} is no model that a program can load")
        self.exported = exported
        self.session, self.ready = exported.session, exported.ready
        self.around = self._around(exported)
        self.views = self._views(scripts(exported.shown, self.around))
        self.half = self.ready.dtype != "float32"
        bodies = "\n".join(line for view in self.views.values() for line in view.body)
        self.bodies = bodies
        # By their places in the session; those that are off, where a view asks for them.
        self.made: dict[int, Sequence[HookEdit]] = {}
        for number, (edit, made) in enumerate(zip(self.session.edits, self.around.made, strict=True), 1):
            if not isinstance(made, ScriptError) and (edit.on or self._named(f"hooks_{number}")):
                self.made[number] = made
        # Why there is no edited run, where a program cannot make it.
        pairs = zip(self.session.edits, self.around.made, strict=True)
        self.beyond = next((str(made) for edit, made in pairs if edit.on and isinstance(made, NoHookError)), "")
        self.hook_edits = [each for made in self.made.values() for each in made]
        self.acting = [] if self.beyond else [n for n in self.made if self.session.edits[n - 1].on]
        self.names = {vector: f"vector_{number}" for number, vector in enumerate(self.session.vectors)}
        self.used = {vector for vector, name in self.names.items() if self._named(name)}
        self.used |= {each.vector.vector for each in self.hook_edits if each.vector is not None}

    # What a program for another tool says otherwise

    @property
    def clips(self) -> bool:
        """Whether the model may clip what its projections give."""
        return not is_native(self.ready)

    def _around(self, exported: Exported) -> Around:
        return exported.around

    def _views(self, views: dict[str, ViewLines]) -> dict[str, ViewLines]:
        if not self.session.linear:
            return views
        return {line: replace(view, body=[*map(linear.linearly, view.body)]) for line, view in views.items()}

    def _imports(self) -> list[str]:
        return imports(self.ready)

    def _clean(self) -> Section:
        if is_native(self.ready):
            return Section("The clean run", "The logits, and every activation by its name.", CLEAN)
        prose = "TransformerLens's bridge names every activation. It has to give the model's own logits."
        return Section("The clean run", prose, BRIDGE + CLEAN + IS_THE_MODELS)

    def _edited(self, acting: str) -> str:
        return (linear.EDITED if self.session.linear else EDITED).replace("HOOKS", f"*around{acting}")

    def _weights(self, name: str, vector: Vector) -> str:
        """The lines that make a vector of weights, a neuron's or a token's."""
        return _of_weights(name, vector, self.ready.weights == "folded")

    # Its sections

    def _named(self, name: str) -> bool:
        """Whether a view's lines name it."""
        return re.search(rf"\b{name}\b", self.bodies) is not None

    def sections(self) -> Iterator[Section]:
        rest = list(self._rest())
        yield self._head("\n".join(section.code for section in rest))
        yield from rest

    def _rest(self) -> Iterator[Section]:
        yield loading(self.ready)
        yield self._prompt()
        yield self._clean()
        yield from self._other_texts()
        yield from self._dictionaries()
        yield from self._vectors()
        yield from self._edits()
        yield self._runs()
        for number, (line, view) in enumerate(self.views.items(), 1):
            yield self._view(number, line, view)
        yield from self._wanted()

    def _head(self, code: str) -> Section:
        """code: what follows, which says what is imported."""
        session, ready = self.session, self.ready
        said = [f"model: {ready.name}", f"prompt: {session.prompt}"]
        said += [f"source: {session.source}"] * bool(session.source)
        said += [f"answer: {session.answer}"] * bool(session.answer) + [f"foil: {session.foil}"] * bool(session.foil)
        said += [f"vector: {format_vector(vector)}" for vector in session.vectors]
        said += [f"edit: {format_edit(edit)}" for edit in session.edits]
        said += ["linear: edits act on the linear model around the clean run"] * session.linear
        said += [f"view: {line}" for line in self.views]
        begins = "begins with BOS" if self.exported.tokens.bos else "has no BOS in front"
        folded = " (the screen's were folded, which changes no number)" if ready.weights == "folded" else ""
        prose = (
            f"What a mechtui session showed, computed again with {self.TOOL} and compared at the end. "
            f"float32 on the CPU, raw weights{folded}; every text {begins}. The session:\n\n"
            + "\n".join(f"- {seen(line)}" for line in said)
        )
        own = [f"import {name}" for name in OWN if any(f"{before}{name}." in code for before in " ([")]
        third = ["import numpy as np", "import torch", *self._imports()]
        third += ["from safetensors.torch import load_file"] * ("load_file(" in code)
        return Section(
            seen(f"mechtui: {session.prompt}"),
            prose,
            "\n".join([*own, "", *sorted(third, key=lambda line: line.split()[1])])
            + f"\n\nTOLERANCE = {TOLERANCES[ready.dtype]}{SETUP}",
        )

    def _prompt(self) -> Section:
        bos = "tokenizer.bos_token_id, " if self.exported.tokens.bos else ""
        ids = [token.id for token in self.exported.tokens.tokens]
        code = [
            ENCODE.replace("BOS", bos),
            f"tokens = encode({quoted(self.session.prompt)})\n",
            textwrap.fill(f"assert tokens.tolist() == {ids}", 116, subsequent_indent="    ") + "\n",
        ]
        return Section("The prompt", "Its tokens are those that were on the screen.", "".join(code))

    def _other_texts(self) -> Iterator[Section]:
        if any(ops()[each.op].takes == "source" for each in self.hook_edits):
            yield Section(
                "The source",
                "The second prompt, that patching takes its values from.",
                f"_, source = {self.WITH_CACHE}(encode({quoted(self.session.source)}))\n",
            )
        if any(each.references for each in self.hook_edits):
            yield Section(
                "The reference prompts",
                "Means are taken over all their positions.",
                f"references = [{self.WITH_CACHE}(encode(each))[1] for each in {[*self.session.references]!r}]\n",
            )

    def _dictionaries(self) -> Iterator[Section]:
        used = {each.features.of.sae.name for each in self.hook_edits if each.features is not None}
        used |= {vector.sae for vector in self.used if vector.source == "feature"}
        for number, name in enumerate(self.around.dictionaries):
            called = f"dictionary_{number}"
            if name in used or self._named(called):
                about = self.around.about(name)
                writes = "writes there" if about.reads == about.writes else f"writes {about.writes}"
                prose = f"{about.format}, {about.kind}: it reads {about.reads} and {writes}."
                code = dictionary_script.reading(called, about, self.ready.name)
                yield Section(seen(f"Dictionary {name}"), seen(prose), code)

    def _vectors(self) -> Iterator[Section]:
        filters = ", names_filter=[hook]" if self.WITH_CACHE == Program.WITH_CACHE else ""
        run = f"{self.WITH_CACHE}(encode(text){filters})"
        if code := texts.tools([vector for vector in self.used if vector.source in OF_TEXTS], run):
            yield Section(
                "Tools for vectors", "What a clean run of a text leaves at a hook, and where texts stand.", code
            )
        for vector in self.session.vectors:
            if vector in self.used:
                yield Section(
                    seen(f"Vector {format_vector(vector)}"),
                    VECTORS[vector.source],
                    self._vector(self.names[vector], vector),
                )

    def _vector(self, name: str, vector: Vector) -> str:
        """The lines that make a steering vector."""
        of_weights = vector.source in ("neuron", "token")
        if vector.source == "feature":
            body = f"{name} = {self.around.dictionary(vector.sae)}.D[{vector.index}]"
        else:
            body = self._weights(name, vector) if of_weights else _of_activations(name, vector)
        unit = f"\n{name} = {name} / {name}.norm()" if vector.unit else ""
        return f"{body}{unit}\n"

    def _edits(self) -> Iterator[Section]:
        at = [each.hook for each in self.hook_edits]
        mid = any(hook.endswith(MID_HOOK) for hook in at) or self._named("at_mid")
        tools = [linear.MID if self.session.linear else MID] if mid and self.AROUND else []
        if self.clips and any(hook.endswith(("hook_q", "hook_k", "hook_v")) for hook in at):
            tools.append(CLIPPED)
        if any(each.is_pattern for each in self.hook_edits) or self._named("seen"):
            tools.append(SEES_ALL if is_native(self.ready) else TABLE)
        read = {each.reads for each in self.hook_edits if each.reads != each.hook}
        read |= set(re.findall(r'noted\["([^"]+)"\]', self.bodies))
        if read and self.NOTED:
            tools.append(self.NOTED.replace("HOOKS", repr(sorted(read)).replace("'", '"')))
        if self.session.linear:
            tools.append(linear.linear_tools(self.ready.shape.has_neurons))
        if tools:
            yield Section("Tools for edits", "What edits of some places need.", "\n\n".join(tools))
        if any(each.sender is not None for each in self.hook_edits):
            yield paths.tools(self.hook_edits)
        for number, edit in enumerate(self.session.edits, 1):
            made, line = self.around.made[number - 1], seen(format_edit(edit))
            if number in self.made:
                what, where = ops()[edit.op].said_of(edit.site), sites.place(edit.site).note
                prose = f"{where[0].upper()}{where[1:]}: {what}." + ("" if edit.on else " It is off.")
                make = paths.hooks if edit.sender is not None else self._function
                code = make(number, self.made[number]) if made else f"hooks_{number} = []"
                yield Section(f"Edit {line.removeprefix('# ')}", prose, f"{code}\n")
            elif isinstance(made, NoHookError):
                yield Section(f"Edit {line.removeprefix('# ')}", seen(f"Not made: {made}."))
            elif isinstance(made, ScriptError):
                yield Section(f"Edit {line.removeprefix('# ')}", seen(f"Left out, here as on the screen: {made}."))

    def _function(self, number: int, hook_edits: Sequence[HookEdit]) -> str:
        """A function that makes an edit, and where it is hooked. hook_edits: those of one edit, which differ in their
        layer only."""
        one = hook_edits[0]
        vector = self.names[one.vector.vector] if one.vector is not None else ""
        body = textwrap.indent("\n".join(change(one, self.around, vector)), "    ")
        name, layers = f"edit_{number}", [each.layer for each in hook_edits]
        hook = one.hook.replace(f".{one.layer}.", ".{layer}.", 1)
        if one.hook.endswith(MID_HOOK) and self.AROUND:
            hooked = f"hooks_{number}, beyond_{number} = map(list, zip(*[at_mid(layer, {name}) for layer in {layers}]))"
        elif one.layer >= 0:
            hooked = f"hooks_{number} = [(f{quoted(hook)}, {name}) for layer in {layers}]"
        else:
            hooked = f"hooks_{number} = [({quoted(hook)}, {name})]"
        return f"def {name}(x, hook):\n{body}\n\n\n{hooked}"

    def _runs(self) -> Section:
        mid = [number for number, made in self.made.items() if made and made[0].hook.endswith(MID_HOOK)]
        first = [f"*beyond_{number}" for number in mid if self.AROUND] + paths.before(self.hook_edits)
        code = f"around = [{', '.join(first)}]\n"
        runs, names = "(clean_logits[0], clean, [])", '("clean", clean_logits),'
        if self.acting:
            # Before an MLP, paths come after edits of the stream.
            order = sorted(self.acting, key=lambda number: self.session.edits[number - 1].sender is not None)
            acting = "".join(f", *hooks_{number}" for number in order)
            code += self._edited(acting)
            runs += ", (edited_logits[0], edited, hooks)"
            names += ' ("edited", edited_logits)'
        code += f"runs = [{runs}]\n\n" + NEXT.replace("NAMES", names)
        if self.acting:
            return Section("The edited run", "All edits that are on, in their order, and what comes next.", code)
        why = f"There is no edited run: {self.beyond}." if self.beyond else "No edit is on."
        return Section("What comes next", seen(f"{why} The clean run is all that is looked at."), code)

    def _view(self, number: int, line: str, view: ViewLines) -> Section:
        title = seen(line)
        if view.problem:
            return Section(title, seen(f"Not computed: {view.problem}."))
        body = textwrap.indent("\n".join(view.body), "    ")
        code = [f"def view_{number}(logits, cache, fwd_hooks):\n{body}\n\n\n"]
        for run, of in (("clean", 0), ("edited", 1)) if self.acting and view.each_run else (("clean", 0),):
            code.append(f"answers[{quoted(run)}, {quoted(line)}] = view_{number}(*runs[{of}])\n")
        code.append(f"show({quoted(line)})\n")
        says = view.says
        if self.exported.shown[line] is None:
            says += " Its numbers were not on the screen, so that they are compared with nothing."
        return Section(title, says, "".join(code))

    def _wanted(self) -> list[Section]:
        parts: list[str] = []
        looser: dict[tuple[str, str], float] = {}
        for line, view in self.views.items():
            shown = self.exported.shown[line]
            if view.problem or shown is None:
                continue
            for run, answer in zip(("clean", "edited"), shown, strict=True):
                if answer is None or (run == "edited" and not (self.acting and view.each_run)):
                    continue
                parts.append(f"wanted[{quoted(run)}, {quoted(line)}] = {written(answer, view, self.half)}\n")
                if (times := view.looser(answer)) != 1:
                    looser[run, line] = float(f"{times:.3g}")
        if not parts:
            return []
        tolerance = TOLERANCES[self.ready.dtype]
        prose = (
            f"What was on the screen was computed in {self.ready.dtype}, which rounds otherwise on another processor "
            f"or in another order: a number may be off by {tolerance} and by {tolerance:.1%} of itself. "
            + ("Words and ranks are not compared: logits tie." if self.half else "Words have to be the same.")
        )
        return [
            Section("How numbers are compared", prose, f"LOOSER = {looser!r}\nHALF = {self.half}\n\n\n{COMPARING}"),
            Section(
                "What was on the screen",
                "To four digits. A name such as pattern[][] is a table, its rows one in a line; nan is no number.",
                "wanted = {}\n" + "".join(parts),
            ),
            Section("The proof", "Whatever differs is named, with its place, what it should be and what it is.", PROOF),
        ]


VECTORS = {
    "diff": "The mean difference of two texts' activations.",
    "mean": "The mean of the texts' activations.",
    "pca": "A principal direction of the texts' activations, its largest component positive.",
    "neuron": "What the neuron writes to the residual stream.",
    "feature": "What the feature writes to the residual stream, per unit of its activation.",
    "token": "The unembedding's column of the token.",
    "file": "From a file of safetensors.",
}


def _of_activations(name: str, vector: Vector) -> str:
    """The lines that make a steering vector of texts' activations, or read it from a file."""
    match vector.source:
        case "diff":
            sides = name.replace("vector", "sides")
            body = f"{texts.reading(sides, vector)}\n{name} = ({sides}[0] - {sides}[1]).mean(0)"
        case "mean":
            body = f"{texts.reading('rows,', vector)}\n{name} = rows.mean(0)"
        case "pca":
            body = (
                f"{texts.reading('rows,', vector)}\n"
                f"{name} = torch.linalg.svd(rows - rows.mean(0), full_matrices=False)[2][{vector.component - 1}]\n"
                f"{name} = {name} * torch.sign({name}[{name}.abs().argmax()])"
            )
        case "file":
            body = f"{name} = load_file(pathlib.Path({vector.path!r}).expanduser())[{vector.key!r}].float()"
    return body


def _of_weights(name: str, vector: Vector, folded: bool) -> str:
    """The lines that make a vector of weights. folded: of those with the final norm's in the unembedding."""
    if vector.source == "neuron":
        return (
            f"W_out = bridge.blocks[{vector.layer}].mlp.W_out\n"
            "W_out = W_out if W_out.shape == (bridge.cfg.d_mlp, bridge.cfg.d_model) else W_out.T\n"
            f"{name} = W_out[{vector.index}].float()"
        )
    body = (
        "W_U = bridge.unembed.W_U\n"
        "W_U = W_U if W_U.shape[0] == bridge.cfg.d_model else W_U.T\n"
        f"{name} = W_U[:, tokenizer.encode({quoted(vector.texts[0])}, add_special_tokens=False)[0]].float()"
    )
    if folded:
        body += (
            "\n# The screen's weights were folded: what the final norm does is in the unembedding.\n"
            "weight = bridge.ln_final.weight.float()\n"
            f"{name} = {name} * (weight + 1 if bridge.cfg.rmsnorm_uses_offset else weight)\n"
            'if bridge.cfg.normalization_type.startswith("LN"):\n'
            f"    {name} = {name} - {name}.mean()"
        )
    return body
