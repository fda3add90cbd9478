"""What larger models cost: `python -m tests.benchmarks.large [gpt2-xl] [llama-3.2-1b] [--tokens 1024] [--keep FOLDER]`.

The shapes of GPT-2 XL and Llama-3.2-1B with random weights in bfloat16, written to a folder that goes again, one after
the other; a byte is a token. Beside each figure stands its floor: the bytes of the weights over the memory's measured
bandwidth, or the operations over the measured speed of a product of that type, whichever is more. All is processor time
of one thread, so that what else the machine does counts little; two take a little more than half as long.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from mechtui.bench.subject import Subject, ask, subject
from mechtui.session.document import Session
from mechtui.session.grammar.edits import parse_edit
from mechtui.views import parse_question
from mechtui.worker.process import resident_bytes
from tests import tiny

DTYPE = torch.bfloat16
REPEATS = 3
XL = {"n_layer": 48, "n_head": 25, "n_embd": 1600, "n_positions": 1024, "vocab_size": 50257}
LLAMA = {
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
}
ROPE = {
    "rope_type": "llama3",
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


def gpt2_xl(folder: Path) -> None:
    d = XL["n_embd"]
    sizes = {"wte.weight": (XL["vocab_size"], d), "wpe.weight": (XL["n_positions"], d), **_norm("ln_f", d)}
    for layer in range(XL["n_layer"]):
        at = f"h.{layer}."
        sizes |= _norm(f"{at}ln_1", d) | _norm(f"{at}ln_2", d)
        products = {"attn.c_attn": (d, 3 * d), "attn.c_proj": (d, d), "mlp.c_fc": (d, 4 * d), "mlp.c_proj": (4 * d, d)}
        for name, size in products.items():
            sizes |= {f"{at}{name}.weight": size, f"{at}{name}.bias": size[1:]}
    config = {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", **XL, "bos_token_id": 0, "eos_token_id": 0}
    _write(folder, config, sizes)


def llama_1b(folder: Path) -> None:
    d, m, head = LLAMA["hidden_size"], LLAMA["intermediate_size"], LLAMA["head_dim"]
    queries, groups = LLAMA["num_attention_heads"] * head, LLAMA["num_key_value_heads"] * head
    sizes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (LLAMA["vocab_size"], d)}
    sizes["model.norm.weight"] = (d,)
    for layer in range(LLAMA["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        sizes |= {f"{at}{name}.weight": (d,) for name in ("input_layernorm", "post_attention_layernorm")}
        for name, size in {
            "self_attn.q_proj": (queries, d),
            "self_attn.k_proj": (groups, d),
            "self_attn.v_proj": (groups, d),
            "self_attn.o_proj": (d, queries),
            "mlp.gate_proj": (m, d),
            "mlp.up_proj": (m, d),
            "mlp.down_proj": (d, m),
        }.items():
            sizes[f"{at}{name}.weight"] = size
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        **LLAMA,
        "rms_norm_eps": 1e-5,
        "rope_theta": 500000.0,
        "rope_scaling": ROPE,
        "tie_word_embeddings": True,
        "hidden_act": "silu",
        "bos_token_id": 0,
        "eos_token_id": 0,
    }
    _write(folder, config, sizes)


SHAPES = {"gpt2-xl": gpt2_xl, "llama-3.2-1b": llama_1b}


def _norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _write(folder: Path, config: dict[str, Any], sizes: dict[str, tuple[int, ...]]) -> None:
    """Weights as a fresh model has them: norms of one, biases of zero, the others small."""
    draw = torch.Generator().manual_seed(0)
    tensors: dict[str, Tensor] = {}
    for name, size in sizes.items():
        if len(size) == 1:
            tensors[name] = torch.zeros(size, dtype=DTYPE) if name.endswith("bias") else torch.ones(size, dtype=DTYPE)
        else:
            tensors[name] = torch.empty(size, dtype=DTYPE).normal_(0, 0.02, generator=draw)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps({**config, "torch_dtype": "bfloat16"}))


def bandwidth(megabytes: int = 256) -> float:
    """Bytes a second that a sum over a large tensor reads."""
    tensor = torch.ones(megabytes << 18)
    return (megabytes << 20) / timed(lambda _: tensor.sum(), repeats=9)


def peak(size: int = 2048) -> float:
    """Operations a second of a product [size, size] by [size, size] in this type."""
    one, two = (torch.randn(size, size).to(DTYPE) for _ in range(2))
    return 2 * size**3 / timed(lambda _: one @ two, repeats=9)


def timed(
    work: Callable[[int], object], before: Callable[[int], object] = lambda repeat: None, repeats: int = REPEATS
) -> float:
    """Seconds on the processor, the median of a few after one that does not count."""
    taken = []
    for repeat in range(repeats + 1):
        before(repeat)
        began = time.process_time()
        work(repeat)
        taken.append(time.process_time() - began)
    return statistics.median(taken[1:])


def start(folder: Path) -> tuple[float, float, float]:
    """`mechtui run` of one question in a fresh process: seconds, of them on the processor, and bytes held at most."""
    command = [sys.executable, "-m", "mechtui", "run", "--model", str(folder), "--prompt", "a few words"]
    began = time.perf_counter()
    process = subprocess.Popen([*command, "--dtype", "bfloat16", "--view", "next_tokens"], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"mechtui run ended with status {process.returncode}")
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024.0


class Costs:
    """Of one model. weights: bytes; reads: bytes a second; makes: operations a second."""

    def __init__(self, chosen: Subject, tokens: int, reads: float, makes: float) -> None:
        self.chosen, self.tokens, self.reads, self.makes = chosen, tokens, reads, makes
        sizes = {p.data_ptr(): (p.numel(), p.element_size()) for p in chosen.model.bridge.parameters()}
        self.weights = float(sum(count * size for count, size in sizes.values()))
        shape = chosen.model.shape
        self.block = float(sum(p.numel() for p in chosen.model.bridge.blocks[0].parameters()))
        self.unembedding = float(shape.d_model * shape.d_vocab)
        self.rows: list[tuple[str, float, float]] = []

    def floor(self, layers: int, tokens: int, unembedded: int = 1) -> float:
        """Seconds that so many blocks of so many tokens take at least, with the logits of so many positions. Attention
        reads and makes little beside the products, and is left out."""
        read = 2 * (layers * self.block + self.unembedding * bool(unembedded)) / self.reads
        made = 2 * (layers * self.block * tokens + self.unembedding * unembedded) / self.makes
        return max(read, made)

    def add(self, name: str, seconds: float, floor: float) -> None:
        self.rows.append((name, seconds, floor))
        print(f"| {name} | {_time(seconds)} | {_time(floor)} | {seconds / floor:.1f}x |", flush=True)

    def measure(self) -> None:
        chosen, engine, count = self.chosen, self.chosen.engine, self.tokens
        layers = chosen.model.shape.n_layers
        text, words = self.text(count), ("a", "b", "c", "d", "e")

        def forget(_: int) -> None:
            engine.forget()

        def edited(layer: int) -> Callable[[int], object]:
            edit = f"scale L{layer}H1 x"
            return lambda repeat: ask(engine, Session(prompt=text, edits=(parse_edit(f"{edit}0.{repeat + 1}"),)))

        few = "next_tokens", "tokens"
        run = timed(lambda _: ask(engine, Session(prompt=text), few), forget)
        self.add(f"a run of {count} tokens, next tokens", run, self.floor(layers, count))
        run = timed(lambda _: ask(engine, Session(prompt=text)), forget)
        self.add("the same with the four panes of the first workspace", run, self.floor(layers, count))
        ask(engine, Session(prompt=text))
        for layer in (0, layers // 2, layers - 1):
            self.add(f"a head toggled, layer {layer}", timed(edited(layer)), self.floor(layers - layer, count))
        line = "attention L{}H1"
        other = timed(lambda repeat: ask(engine, Session(prompt=text), (line.format(layers // 2 + repeat),)))
        self.add("another head's attention", other, self.floor(1, count, 0))
        ask(engine, Session(prompt=text))

        def appended(repeat: int) -> object:
            return ask(engine, Session(prompt=text[:-1] + words[repeat % 5]))

        self.add("the last token changed", timed(appended), self.floor(layers, 1))
        engine.forget()
        ask(engine, Session(prompt=text), few)
        began = time.process_time()
        ask(engine, Session(prompt=text), ("lens",))
        self.add("lens, every layer and position", time.process_time() - began, self.floor(0, count, layers * count))
        session = Session(prompt=text, answer=words[0], foil=words[1])
        began = time.process_time()
        ask(engine, session, ("sweep zero L*H* estimate",))
        taken = time.process_time() - began
        self.add("estimates of zero at every head", taken, 3 * self.floor(layers, count))
        question = parse_question("sweep zero L*H* plan")
        *_, (answer, _, _) = engine.open(session, questions=(question,)).answer(question)
        left = answer.left  # type: ignore[union-attr]
        halves = sum(self.floor(layers - layer, count) for layer in range(layers)) * chosen.model.shape.n_heads
        self.add(f"zero at every head, {left.runs} runs, as a few were timed", left.seconds, halves)

    def text(self, count: int) -> str:
        """Of so many tokens, with BOS."""
        lead = len(self.chosen.model.encode("", "auto"))
        return ("A passage of plain words, and then some more of them; " * (1 + count // 40))[: count - lead]


def _time(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms" if seconds < 10 else f"{seconds:,.0f} s"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.large", description="What larger models cost.")
    parser.add_argument("shapes", nargs="*", choices=[*SHAPES, []], help="which; by default both")
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--folder", type=Path, help="where the weights are written; by default a temporary folder")
    given = parser.parse_args()
    torch.set_num_threads(1)
    reads, makes = bandwidth(), peak()
    print(f"one thread, memory read at {reads / 1e9:.1f} GB/s, products in bfloat16 at", end=" ")
    print(f"{makes / 1e9:,.0f} GFLOP/s, torch {torch.__version__}")
    for name in given.shapes or SHAPES:
        folder = Path(tempfile.mkdtemp(prefix=f"mechtui-{name}-", dir=given.folder))
        try:
            tiny.make(folder)  # its tokenizer, of one token a byte
            SHAPES[name](folder)
            seconds, processor, held = start(folder)
            second, again, _ = start(folder)
            began = time.process_time()
            chosen = subject(str(folder), "cpu", directly=True, dtype="bfloat16")
            loaded = time.process_time() - began
            costs = Costs(chosen, given.tokens, reads, makes)
            print(f"\n{name}, weights {costs.weights / 1e9:.2f} GB; loaded in {loaded:.1f} s. `mechtui run`:", end=" ")
            print(f"{seconds:.0f} s ({processor:.0f} s on the processor), at most {held / 1e9:.2f} GB;", end=" ")
            print(f"again {second:.0f} s ({again:.0f} s)\n")
            print("| what | mechtui | floor | over it |\n|---|---:|---:|---:|")
            costs.measure()
            held, traces = resident_bytes() / 1e9, chosen.engine.trace_bytes / 1e9
            print(f"\nHeld at the end: {held:.2f} GB, of which traces {traces:.2f} GB")
            del chosen, costs
        finally:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
