"""A session as a program for nnsight, which traces the model's own modules.

The program is the one for TransformerLens but for one piece: `run`, a trace that hands on every activation under
TransformerLens's name. What reaches for anything else of TransformerLens is refused, one sentence each.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from mechtui.export.program import CLEAN, IS_THE_MODELS, Exported, ExportError, Program
from mechtui.export.section import Section
from mechtui.session.document import Vector
from mechtui.views.script import Around, ViewLines, quoted


@dataclass(frozen=True)
class Modules:
    """Where an architecture's modules lie. qkv: the three projections, or the fused one. The rest within a block, but
    for the first four."""

    embed: str
    pos: str
    blocks: str
    norm: str
    qkv: tuple[str, ...]
    attn: str
    o: str
    mid: str
    down: str


GPT2 = Modules(
    "transformer.wte", "transformer.wpe", "transformer.h", "transformer.ln_f", ("attn.c_attn",), "attn", "attn.c_proj",
    "ln_2", "mlp.c_proj",
)  # fmt: skip
LLAMA = Modules(
    "model.embed_tokens", "", "model.layers", "model.norm",
    ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"), "self_attn", "self_attn.o_proj",
    "post_attention_layernorm", "mlp.down_proj",
)  # fmt: skip
# By the class of transformers that loads them. Nothing stands behind their unembedding, and their blocks have no norms
# but the two.
KNOWN = {
    "GPT2LMHeadModel": GPT2,
    "LlamaForCausalLM": LLAMA,
    "MistralForCausalLM": LLAMA,
    "Qwen2ForCausalLM": LLAMA,
    "Qwen3ForCausalLM": LLAMA,
}

# What lines of views say of TransformerLens, and the same here.
TRANSLATED = (
    ("bridge.run_with_hooks(tokens, fwd_hooks=", "run_with_hooks(tokens, "),
    ("bridge.run_with_hooks(ids, fwd_hooks=", "run_with_hooks(ids, "),
    ("bridge.run_with_cache(", "run("),
    ("bridge.unembed(bridge.ln_final(stream))", "plain.lm_head(final_norm(stream))"),
    ('getattr(getattr(bridge, "adapter", None), "apply_output_logits_transform", None)', "None  # nothing, here"),
    ("bridge.original_model", "plain"),
)
# Activations that no module gives, and names that a program here does not have.
NO_MODULES = re.compile(r"hook_attn_scores|hook_scale")
BEYOND = re.compile(rf"\b(?:bridge|seen|at_mid|names_filter)\b|{NO_MODULES.pattern}")

RUN = '''\
model = NNsight(plain)
final_norm = plain.NORM
noted = {}  # what last passed each hook, edits done


def run(ids, fwd_hooks=()):
    """Logits [1, pos, d_vocab] and every activation by TransformerLens's name, from one trace. fwd_hooks: (name,
    function of the activation) for what is to go on in its place."""
    changes, cache = {}, {}
    for name, change in fwd_hooks:
        changes.setdefault(name, []).append(change)

    def act(name, x):
        for change in changes.get(name, ()):
            x = change(x, types.SimpleNamespace(name=name))
        cache[name] = noted[name] = x
        return x

    def by_head(name, x, count):
        return act(name, x.unflatten(-1, (count, D_HEAD))).flatten(-2)

    with model.trace(input_ids=ids[None], use_cache=False):
TRACE
        logits = model.lm_head.output.save()
    return logits, cache


def run_with_hooks(ids, fwd_hooks=()):
    return run(ids, fwd_hooks)[0]


'''


def program(exported: Exported) -> list[Section]:
    """The program's sections, in the order in which they are read and run. Raises ExportError."""
    return list(NnsightProgram(exported).sections())


class NnsightProgram(Program):
    """One program for nnsight in the making."""

    TOOL = "nnsight"
    WITH_CACHE = "run"
    AROUND = False
    NOTED = ""
    clips = False

    def __init__(self, exported: Exported) -> None:
        ready = exported.ready
        known = KNOWN.get(ready.architecture)
        if known is None:
            names = ", ".join(sorted(name.removesuffix("ForCausalLM").removesuffix("LMHeadModel") for name in KNOWN))
            raise ExportError(
                f"{ready.name} is {ready.architecture}, and programs for nnsight know {names}: "
                "without --for there is one for transformer-lens"
            )
        if exported.session.linear:
            raise ExportError(
                "programs for nnsight know no linear mode: without --for there is one for transformer-lens"
            )
        self.modules = known
        super().__init__(exported)

    def _around(self, exported: Exported) -> Around:
        return replace(exported.around, traced=True)

    def _views(self, views: Mapping[str, ViewLines]) -> dict[str, ViewLines]:
        return {line: _translated(view) for line, view in views.items()}

    def _imports(self) -> list[str]:
        return [
            "from nnsight import NNsight",
            "from transformers import AutoModelForCausalLM, AutoTokenizer",
        ]

    def _clean(self) -> Section:
        where, shape = self.modules, self.ready.shape
        code = RUN.replace("NORM", where.norm).replace("D_HEAD", str(shape.d_head))
        code = code.replace("TRACE", "\n".join(f"        {line}".rstrip() for line in self._trace()))
        models = "model_logits = plain(tokens[None]).logits\n"
        prose = (
            "nnsight traces the modules of the model itself, in the order in which they run: each activation is read, "
            "and set, where its module takes it in or gives it out. It has to give the model's own logits."
        )
        return Section("The clean run", prose, code + models + CLEAN.replace("bridge.run_with_cache", "run") + PROVED)

    def _trace(self) -> Iterator[str]:
        """The lines within the trace, in the order in which the modules run."""
        where, shape = self.modules, self.ready.shape
        yield f'model.{where.embed}.output = act("hook_embed", model.{where.embed}.output)'
        if where.pos:
            yield f"pos = model.{where.pos}.output"
            yield f'model.{where.pos}.output = act("hook_pos_embed", pos.view(1, *pos.shape[-2:])).view_as(pos)'
        yield f"for layer, block in enumerate(model.{where.blocks}):"
        counts = (shape.n_heads, shape.n_kv_heads, shape.n_kv_heads)
        inside = ['at = f"blocks.{layer}."', 'block.input = act(at + "hook_resid_pre", block.input)']
        if len(where.qkv) == 1:
            inside.append(f"q, k, v = block.{where.qkv[0]}.output.chunk(3, dim=-1)")
            for each, count in zip("qkv", counts, strict=True):
                inside.append(f'{each} = by_head(at + "attn.hook_{each}", {each}, {count})')
            inside.append(f"block.{where.qkv[0]}.output = torch.cat([q, k, v], dim=-1)")
        else:
            for each, name, count in zip("qkv", where.qkv, counts, strict=True):
                inside.append(f'block.{name}.output = by_head(at + "attn.hook_{each}", block.{name}.output, {count})')
        inside += [
            f'block.{where.o}.input = by_head(at + "attn.hook_z", block.{where.o}.input, {shape.n_heads})',
            f'block.{where.o}.output = act(at + "hook_attn_out", block.{where.o}.output)',
            f'cache[at + "attn.hook_pattern"] = block.{where.attn}.output[1]',
            f"mid = block.{where.mid}.input",
            f'block.{where.mid}.input = changed = act(at + "hook_resid_mid", mid)',
            f'block.{where.mid}.output = act(at + "mlp.hook_in", block.{where.mid}.output)',
            f'block.{where.down}.input = act(at + "mlp.hook_post", block.{where.down}.input)',
            f'block.{where.down}.output = act(at + "hook_mlp_out", block.{where.down}.output)',
            "# The residual stream goes around the second norm: what was changed there is added here.",
            'block.output = act(at + "hook_resid_post", block.output + changed - mid)',
        ]
        yield from (f"    {line}" for line in inside)

    def _edited(self, acting: str) -> str:
        return f"hooks = [*around{acting}]\nedited_logits, edited = run(tokens, hooks)\n"

    def _weights(self, name: str, vector: Vector) -> str:
        if vector.source == "neuron":
            # A Conv1D of GPT-2 has it as [d_mlp, d_model], a Linear the other way round.
            which = f"[{vector.index}]" if self.modules is GPT2 else f"[:, {vector.index}]"
            return f"{name} = plain.{self.modules.blocks}[{vector.layer}].{self.modules.down}.weight{which}.float()"
        id = f"tokenizer.encode({quoted(vector.texts[0])}, add_special_tokens=False)[0]"
        body = f"{name} = plain.lm_head.weight[{id}].float()"
        if self.ready.weights == "folded":
            body += (
                "\n# The screen's weights were folded: what the final norm does is in the unembedding.\n"
                f"{name} = {name} * final_norm.weight.float()"
            )
            if self.modules is GPT2:
                body += f"\n{name} = {name} - {name}.mean()"
        return body


PROVED = IS_THE_MODELS.replace(
    'f"TransformerLens computes other logits for {MODEL} than transformers: no program edits it"',
    'f"the trace gives other logits for {MODEL} than the model: no program edits it"',
)


def _translated(view: ViewLines) -> ViewLines:
    """The lines in nnsight's terms; the reason where they reach for what it has not."""
    if view.problem:
        return view
    body = "\n".join(view.body)
    for theirs, ours in TRANSLATED:
        body = body.replace(theirs, ours)
    if found := _beyond(body):
        what = {
            "hook_attn_scores": "scores before the softmax are no module's output",
            "at_mid": "what is changed between attention and MLP has to go around a norm in every run",
            "seen": "pattern and scores are no module's output",
        }.get(found, "it is computed from parts that TransformerLens alone gives by name")
        return replace(view, body=(), problem=f"{what}, so that a program for nnsight has no such numbers")
    return replace(view, body=body.splitlines())


def _beyond(code: str) -> str:
    """What code reaches for that is not there; empty for nothing. Comments and a user's texts may say anything."""
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        if token.type == tokenize.COMMENT:
            continue
        is_text = token.type == tokenize.STRING and token.string[0] not in "fF"
        if (found := (NO_MODULES if is_text else BEYOND).search(token.string)) is not None:
            return found[0]
    return ""
