"""Dictionaries of features: each format's numbers against plain numpy, and what is no dictionary for a model."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from msgspec.structs import replace

from mechtui.embedded import DICTIONARIES
from mechtui.engine.api import Engine, SessionError
from mechtui.engine.dictionaries import DictionaryError
from mechtui.engine.dictionaries.kept import read
from mechtui.engine.dictionaries.labels import read as read_labels
from mechtui.engine.errors import ModelError
from mechtui.engine.model import Model
from mechtui.session.document import Point, Sae, Session
from mechtui.session.grammar.edits import parse_edit
from mechtui.session.grammar.saes import format_point, parse_sae
from mechtui.worker.models.hub import fetch
from tests.dictionaries import Made, gemma, learned, numbers, put, saelens, sparsified
from tests.engine.conftest import load_now

D = 24
Make = Callable[[Path], Made]
ROOT = "gemma-scope-2b-pt-res/layer_1/width_16k/average_l0_71"
TRANSCODER: dict[str, Any] = {"hook_out": "blocks.1.hook_mlp_out", "d_out": 16}

# What is written, and where it reads and writes.
FORMATS: list[tuple[str, Make, str]] = [
    ("standard", lambda at: saelens(at, D), "L1.pre"),
    ("half", lambda at: saelens(at, D, half=True), "L1.pre"),
    ("gated", lambda at: saelens(at, D, architecture="gated"), "L1.pre"),
    ("jumprelu", lambda at: saelens(at, D, architecture="jumprelu", more={"apply_b_dec_to_input": False}), "L1.pre"),
    ("batchtopk", lambda at: saelens(at, D, architecture="batchtopk"), "L1.pre"),
    ("topk", lambda at: saelens(at, D, architecture="topk", more={"k": 5}), "L1.pre"),
    (
        "topk by length",
        lambda at: saelens(at, D, architecture="topk", more={"k": 5, "rescale_acts_by_decoder_norm": True}),
        "L1.pre",
    ),
    ("layer_norm", lambda at: saelens(at, D, more={"normalize_activations": "layer_norm"}), "L1.pre"),
    ("constant norm", lambda at: saelens(at, D, more={"normalize_activations": "constant_norm_rescale"}), "L1.pre"),
    (
        "before 6, top-k",
        lambda at: saelens(
            at,
            D,
            "blocks.2.attn.hook_z",
            more={"activation_fn_str": "topk", "activation_fn_kwargs": {"k": 4}},
            old={"sae_lens_training_version": "3.0"},
        ),
        "L2.z",
    ),
    ("scaled", lambda at: saelens(at, D, more={"finetuning_scaling_factor": True}, old={}), "L1.pre"),
    (
        "transcoder",
        lambda at: saelens(at, D, "blocks.1.ln2.hook_normalized", architecture="transcoder", **TRANSCODER),
        "L1.in>L1.mlp",
    ),
    (
        "skip transcoder",
        lambda at: saelens(at, D, "blocks.1.mlp.hook_in", architecture="jumprelu_skip_transcoder", **TRANSCODER),
        "L1.in>L1.mlp",
    ),
    *(
        (kind, lambda at, kind=kind: learned(at, D, kind), "L0.post")  # type: ignore[misc]
        for kind in (
            "AutoEncoder",
            "AutoEncoderNew",
            "GatedAutoEncoder",
            "JumpReluAutoEncoder",
            "AutoEncoderTopK",
            "BatchTopKSAE",
            "MatryoshkaBatchTopKSAE",
        )
    ),
    ("ae.safetensors", lambda at: learned(at, D, "AutoEncoder", "ae.safetensors"), "L0.post"),
    ("gemma scope", lambda at: gemma(at / ROOT, D), "L1.post"),
    ("sparsify", lambda at: sparsified(at / "layers.3", D), "L3.post"),
    (
        "sparsify, skip",
        lambda at: sparsified(at / "layers.3.mlp", D, transcode=True, skip_connection=True),
        "L3.in>L3.mlp",
    ),
]


@pytest.mark.parametrize(("make", "where"), [each[1:] for each in FORMATS], ids=[each[0] for each in FORMATS])
def test_a_format_says_what_numpy_says(make: Make, where: str, tmp_path: Path) -> None:
    made = make(tmp_path)
    found = read(Sae("a", str(made.path)))
    reads, writes = format_point(found.reads), format_point(found.writes)
    assert where == (reads if reads == writes else f"{reads}>{writes}")
    x = numbers(20, 2, 5, D, by=2.0)
    acts = made.encode(x.reshape(-1, D))
    assert 0 < (acts != 0).mean() < 0.9
    given = torch.from_numpy(x)
    mine = found.encode(given)
    np.testing.assert_allclose(mine.reshape(10, -1), acts, atol=1e-5, rtol=1e-5)
    y = made.decode(acts, x.reshape(-1, D))
    np.testing.assert_allclose(found.decode(mine, given).reshape(10, -1), y, atol=2e-5, rtol=1e-5)
    # The same of the features that are on alone, and its parts add up to it.
    rows = given.reshape(-1, D)
    active = found.active(rows)
    np.testing.assert_allclose(found.decoded(active, rows), y, atol=2e-5, rtol=1e-5)
    parts = found.summed(active, 10) * found.scale(rows) + found.constant(rows) + found.skipped(rows)
    np.testing.assert_allclose(parts, y, atol=2e-5, rtol=1e-5)
    on = acts[3].nonzero()[0]
    features, values = active.at(3)
    assert sorted(features.tolist()) == on.tolist()
    np.testing.assert_allclose(values[features.argsort()], acts[3][on], atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(found.directions([0, 7]), made.directions[[0, 7]], atol=1e-6)
    assert (found.n_features, found.d_in, found.d_out) == (40, D, y.shape[1])


def test_bfloat16_is_read_as_it_is_and_many_features_part_by_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import load_file, save_file

    made = saelens(tmp_path, D)
    file = made.path / "sae_weights.safetensors"
    held = {name: each.bfloat16() for name, each in load_file(file).items()}
    save_file(held, file)
    monkeypatch.setattr("mechtui.engine.dictionaries.dictionary.AT_ONCE", 3 * D)
    monkeypatch.setattr("mechtui.engine.dictionaries.dictionary.ACTIVATIONS_AT_ONCE", 2 * 40)
    found = read(Sae("a", str(file)))
    assert found.W_enc.dtype == found.W_dec.dtype == torch.bfloat16
    x = torch.from_numpy(numbers(20, 5, D))
    W_enc, W_dec, b_enc, b_dec = (held[name].float() for name in ("W_enc", "W_dec", "b_enc", "b_dec"))
    acts = ((x - b_dec) @ W_enc + b_enc).relu()
    torch.testing.assert_close(found.encode(x), acts)
    parts: list[None] = []
    torch.testing.assert_close(found.decoded(found.active(x, lambda: parts.append(None)), x), acts @ W_dec + b_dec)
    assert len(parts) > 40  # whoever waits is heard between any two


def test_what_lies_in_a_file_is_mapped_and_not_read(tmp_path: Path) -> None:
    """Nothing is in memory before it is looked at: neither of safetensors nor of arrays that are not compressed."""
    made = [saelens(tmp_path / "a", 512, features=1 << 13), gemma(tmp_path / ROOT, 512, features=1 << 13)]
    read(Sae("a", str(saelens(tmp_path / "b", D).path)))  # what is imported for it is imported
    for each in made:
        before = _resident_kib()
        found = read(Sae("a", str(each.path)))
        grown = _resident_kib() - before
        assert grown < 4 << 10, each.path  # of 16 MiB in each of its two tables
        torch.testing.assert_close(found.direction(8000), torch.from_numpy(each.directions[8000]))


def _resident_kib() -> int:
    """Memory that is resident here: pages of mapped files that were looked at count."""
    import os

    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 10


def test_a_compressed_array_is_read_too(tmp_path: Path) -> None:
    made = gemma(tmp_path / ROOT, D)
    file = made.path / "params.npz"
    np.savez_compressed(file, **np.load(file))
    found, x = read(parse_sae(f"a = {file} at L0.mlp")), numbers(3, 4, D)
    assert found.reads == found.writes == Point(0, "mlp")
    np.testing.assert_allclose(found.encode(torch.from_numpy(x)), made.encode(x), atol=1e-5)


# What is wrong, how it comes about, and what is said of it.
Breaks = Callable[[Path], object]


def _config(path: Path, **changes: Any) -> None:
    file = path / "cfg.json"
    said = json.loads(file.read_text())
    for key, value in changes.items():
        (said["metadata"] if key in ("hook_name", "hook_name_out", "hook_head_index") else said)[key] = value
    file.write_text(json.dumps(said))


def _tensor(path: Path, name: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    from safetensors.numpy import load_file, save_file

    file = path / "sae_weights.safetensors"
    held = load_file(file)
    held[name] = np.ascontiguousarray(change(held[name]))
    save_file(held, file)


def _nan(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    x.flat[5] = np.nan
    return x


BROKEN: list[tuple[str, Breaks, str]] = [
    ("truncated", lambda at: (at / "sae_weights.safetensors").write_bytes(b"\x10" * 99), "no whole safetensors file"),
    ("no weights", lambda at: (at / "sae_weights.safetensors").unlink(), "holds no dictionary: none of sae_weights"),
    ("no config", lambda at: (at / "cfg.json").unlink(), "there is no cfg.json beside its weights"),
    ("no JSON", lambda at: (at / "cfg.json").write_text("{"), "cfg.json is not JSON"),
    ("a list", lambda at: (at / "cfg.json").write_text("[]"), "cfg.json should be an object"),
    ("a tensor less", lambda at: put(at, {"W_enc": numbers(1, D, 40)}, "sae_weights.safetensors"), "but no W_dec"),
    ("another's", lambda at: put(at, {"w": numbers(1, 3)}, "sae_weights.safetensors"), "it holds w, and no dictionary"),
    ("wrong shape", lambda at: _tensor(at, "W_dec", lambda x: x[:-1]), "W_dec is 39x24 and should be 40x24"),
    ("a row", lambda at: _tensor(at, "b_enc", lambda x: x[None]), "b_enc is 1x40 and should be 40"),
    ("whole numbers", lambda at: _tensor(at, "W_enc", lambda x: x.astype(np.int32)), "W_enc holds no numbers that"),
    ("NaN in a bias", lambda at: _tensor(at, "b_dec", _nan), "b_dec holds numbers that are not finite"),
    ("NaN in the encoder", lambda at: _tensor(at, "W_enc", _nan), "its encoder holds numbers that are not finite"),
    (
        "NaN in the decoder",
        lambda at: _tensor(at, "W_dec", lambda x: x * np.nan),
        "its decoder holds numbers that are not finite",
    ),
    ("d_in", lambda at: _config(at, d_in=25), "its config says d_in 25, and its weights have 24"),
    ("d_sae", lambda at: _config(at, d_sae="40"), 'd_sae in its config is "40" and should be a whole number'),
    ("architecture", lambda at: _config(at, architecture="temporal"), "its architecture is temporal"),
    ("function", lambda at: _config(at, activation_fn="tanh-relu"), "its activation function is tanh-relu"),
    ("k", lambda at: _config(at, architecture="topk"), "its config says no k"),
    ("hook", lambda at: _config(at, hook_name="blocks.1.hook_q"), "its config names blocks.1.hook_q, and places"),
    ("no hook", lambda at: _config(at, hook_name=None), "its config names no place"),
    ("layers", lambda at: _config(at, hook_name_out=["a", "b"]), "it writes to several layers at once"),
    ("a head", lambda at: _config(at, hook_head_index=3), "it is of one head's activations (hook_head_index)"),
    ("scaled", lambda at: _config(at, normalize_activations="expected_average_only_in"), "fold them into its weights"),
    ("transcoder", lambda at: _config(at, architecture="transcoder"), "names no hook_name_out to which it writes"),
]


@pytest.mark.parametrize(("breaks", "sentence"), [each[1:] for each in BROKEN], ids=[each[0] for each in BROKEN])
def test_what_is_no_dictionary_is_refused_in_a_sentence(breaks: Breaks, sentence: str, tmp_path: Path) -> None:
    made = saelens(tmp_path / "a", D)
    breaks(made.path)
    with pytest.raises(DictionaryError) as raised:
        _used(made.path)
    said = str(raised.value)
    assert said.startswith("a: ")
    assert sentence in said
    assert "\n" not in said


def _used(path: Path) -> None:
    found = read(Sae("a", str(path)))
    found.decode(found.encode(torch.ones(1, D)), torch.ones(1, D))


def _pickled(file: Path) -> str:
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(pickle.dumps({"W_enc": Path("x")}))
    (file.parent / "config.json").write_text('{"trainer": {"dict_class": "AutoEncoder"}}')
    return str(file)


def _objects(file: Path) -> str:
    np.savez(file, W_enc=np.array([{}], dtype=object))
    return str(file)


def _short(folder: Path) -> str:
    file = gemma(folder, D).path / "params.npz"
    file.write_bytes(file.read_bytes()[:-2000])
    return str(file)


def _text(file: Path) -> str:
    file.write_text("x")
    return str(file)


OTHERS: list[tuple[str, Callable[[Path], str], str]] = [
    ("nothing there", lambda at: str(at / "none"), "there is no file or folder"),
    ("no name of a hub", lambda at: "a b/c?d", "is no file, no folder and no hub id"),
    ("not in the cache", lambda at: "owner/name/layer_3@main", "fetch it with mechtui fetch --sae owner/name/layer_3"),
    ("a pickle", lambda at: _pickled(at / "sae.pkl"), "sae.pkl is a pickle, which may hold code"),
    ("a pickle as weights", lambda at: _pickled(at / "a" / "ae.pt"), "cannot be read as weights alone"),
    ("objects in an array", lambda at: _objects(at / "params.npz"), "W_enc is pickled, which may hold code"),
    ("a truncated array", _short, "is no whole file of arrays"),
    ("a place that is not said", lambda at: str(gemma(at, D).path), "as in at L20.post"),
    ("another class", lambda at: str(learned(at, D, "IdentityDict").path), "its dict_class is IdentityDict"),
    ("no module", lambda at: str(learned(at, D, "AutoEncoder", submodule_name=None).path), "names no module"),
    ("signed", lambda at: str(sparsified(at / "layers.1", D, signed=True).path), "its activations are signed"),
    ("no layer", lambda at: str(sparsified(at / "b", D).path), "its folder b is no module that is known here"),
    ("several", lambda at: str(saelens(at / "b" / "c", D).path.parent), "holds several dictionaries: name one"),
    ("another file", lambda at: _text(at / "a.txt"), "is no dictionary: one is a folder"),
]


@pytest.mark.parametrize(("make", "sentence"), [each[1:] for each in OTHERS], ids=[each[0] for each in OTHERS])
def test_a_path_that_leads_to_none_is_refused(make: Callable[[Path], str], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(DictionaryError) as raised:
        read(Sae("a", make(tmp_path)))
    assert sentence in str(raised.value)


# A model of width 32 with 2 layers of 4 heads.
UNFIT: list[tuple[str, Callable[[Path], Made], str]] = [
    ("width", lambda at: saelens(at, 40), "a reads 40 numbers at L1.pre, and"),
    ("layer", lambda at: saelens(at, 32, "blocks.7.hook_resid_pre"), "has no L7.pre: its layers are 0 to 1"),
    (
        "order",
        lambda at: saelens(
            at, 32, "blocks.1.hook_resid_pre", architecture="transcoder", hook_out="blocks.0.hook_mlp_out"
        ),
        "a reads L1.pre and writes L0.mlp, which comes before it",
    ),
    (
        "folded",
        lambda at: saelens(
            at, 32, "blocks.1.ln2.hook_normalized", said={"model_from_pretrained_kwargs": {"fold_ln": True}}
        ),
        "load the model with --fold-ln",
    ),
    ("BOS", lambda at: saelens(at, 32, said={"prepend_bos": True}), 'begins without it: bos = "yes" is what it wants'),
]


@pytest.mark.parametrize(("make", "sentence"), [each[1:] for each in UNFIT], ids=[each[0] for each in UNFIT])
def test_another_models_is_refused(
    make: Callable[[Path], Made], sentence: str, tmp_path: Path, gpt2_model: Model
) -> None:
    made = make(tmp_path)
    session = Session(prompt="When Mary", bos="no", saes=(Sae("a", str(made.path)),))
    with pytest.raises(SessionError) as raised:
        Engine(gpt2_model).open(session).dictionary("a")
    assert sentence in str(raised.value)


def test_z_without_the_values_bias_is_not_that_of_a_model_that_has_one(tmp_path: Path) -> None:
    model = load_now("demo", directly=True)
    said = {"model_from_pretrained_kwargs": {"fold_value_biases": True}}
    shape = model.shape
    made = saelens(tmp_path, shape.n_heads * shape.d_head, "blocks.1.attn.hook_z", said=said)
    with pytest.raises(SessionError, match=r"a reads L1\.z without the values' bias, .* and demo has one"):
        Engine(model).open(Session(prompt="When", saes=(Sae("a", str(made.path)),))).dictionary("a")


def test_a_name_that_is_none_has_its_nearest_and_files_are_read_once_more_when_they_change(
    tmp_path: Path, gpt2_model: Model
) -> None:
    made = saelens(tmp_path / "a", 32)
    engine, session = Engine(gpt2_model), Session(prompt="When", saes=(Sae("res8", str(made.path)),))
    opened = engine.open(session)
    with pytest.raises(SessionError, match=r"there is no dictionary rse8; did you mean res8\? there is res8"):
        opened.dictionary("rse8")
    first = opened.dictionary("res8")
    assert engine.open(session).dictionary("res8") is first
    made = saelens(tmp_path / "a", 32, features=50)
    assert engine.open(session).dictionary("res8").n_features == 50
    assert opened.labels("res8") == {}
    (made.path / "labels.json").write_text('{"49": "two  words"}')
    assert opened.labels("res8") == {49: "two words"}
    other = replace(session, saes=(Sae("res8", str(made.path), labels="none.csv"),))
    with pytest.raises(SessionError, match=r"there is no file none\.csv"):
        engine.open(other).labels("res8")


def test_one_made_on_centred_weights_reads_the_stream_without_its_mean(
    tmp_path: Path, gpt2_model: Model, llama_model: Model
) -> None:
    """Which only a model has whose norms take the mean away."""
    said = {"model_from_pretrained_kwargs": {"center_writing_weights": True}}
    for model, centred in ((gpt2_model, True), (llama_model, False)):
        made = saelens(tmp_path / model.ready.architecture, model.shape.d_model, said=said)
        found = Engine(model).open(Session(prompt="When", saes=(Sae("a", str(made.path)),))).dictionary("a")
        row = torch.arange(float(model.shape.d_model))[None] + 3
        assert bool(found.rows(row).mean().abs() < 1e-4) == centred


JUNK: tuple[Any, ...] = (None, [], {}, "x", -1, True, 1e30, {"k": []}, ["blocks.1.hook_resid_pre"])


@pytest.mark.parametrize("make", [FORMATS[0][1], FORMATS[5][1], FORMATS[12][1], FORMATS[17][1], FORMATS[-2][1]])
def test_whatever_a_config_says_is_read_or_refused_in_a_sentence(make: Make, tmp_path: Path) -> None:
    made = make(tmp_path)
    [file] = made.path.glob("*.json")
    said = json.loads(file.read_text())
    refused = 0
    for table in (said, *(each for each in said.values() if isinstance(each, dict))):
        for key, value in [*table.items()]:
            for junk in JUNK:
                table[key] = junk
                file.write_text(json.dumps(said))
                try:
                    read(Sae("a", str(made.path)))
                except DictionaryError as error:
                    refused += str(error).startswith("a: ")
            table[key] = value
    assert refused > 10


LABELS = [
    ("a.json", '{"3": "names", "12": "a\\tb"}', {3: "names", 12: "a b"}),
    ("a.json", '[{"modelId": "gpt2-small", "index": "3", "description": "names"}]', {3: "names"}),
    ("a.json", '{"explanations": [{"feature": 3, "description": "x"}, {"feature": 3, "description": "y"}]}', {3: "x"}),
    ("a.jsonl", '{"index": "3", "description": "names"}\n\n{"index": 4, "label": "x"}\n', {3: "names", 4: "x"}),
    ("a.csv", "index,description\n3,names\n", {3: "names"}),
    ("a.csv", 'label,feature\n"a, b",3\n', {3: "a, b"}),
    ("a.json", "[3]", "should be an object from a feature's number"),
    ("a.json", "{", "is not JSON"),
    ("a.json", '{"99": "x"}', "there is no feature 99: there are 0 to 39"),
    ("a.csv", "a,b\n1,2\n", "entry 1 should have index and description"),
    ("a.json", '[{"index": true, "label": "x"}]', "entry 1 should have"),
]


@pytest.mark.parametrize(("name", "text", "wanted"), LABELS)
def test_labels(name: str, text: str, wanted: dict[int, str] | str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_text(text)
    if isinstance(wanted, dict):
        assert read_labels(str(file), 40) == wanted
        return
    with pytest.raises(DictionaryError) as raised:
        read_labels(str(file), 40)
    assert wanted in str(raised.value)


def test_a_hub_id_is_looked_for_in_the_local_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = tmp_path / "models--owner--saes" / "snapshots" / ("a" * 40)
    made = saelens(snapshot / "blocks.1.hook_resid_pre", D)
    (tmp_path / "models--owner--saes" / "refs").mkdir()
    for name in ("main", "v2"):
        (tmp_path / "models--owner--saes" / "refs" / name).write_text("a" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    for path in ("owner/saes/blocks.1.hook_resid_pre", "owner/saes/blocks.1.hook_resid_pre@v2"):
        assert read(Sae("a", path)).file == str(made.path / "sae_weights.safetensors")
    with pytest.raises(DictionaryError, match="not in the hub's local cache"):
        read(Sae("a", "owner/saes/blocks.2.hook_resid_pre"))
    with pytest.raises(DictionaryError, match="not in the hub's local cache"):
        read(Sae("a", "owner/saes/blocks.1.hook_resid_pre@v3"))


def test_those_that_travel_with_a_model_need_no_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_now("demo", directly=True)
    made = saelens(tmp_path / "one", model.shape.d_model, said={"model_name": "demo"})
    monkeypatch.setitem(DICTIONARIES, "demo", {"mine": made.path, "gone": tmp_path / "none"})
    engine = Engine(model)
    opened = engine.open(Session(model="demo", prompt="When"))
    assert [sae.name for sae in opened.saes] == ["mine"]
    assert opened.dictionary("mine").file == str(made.path / "sae_weights.safetensors")
    edited = engine.open(Session(model="demo", prompt="When", edits=(parse_edit("zero mineF0"),)))
    assert not edited.problems
    other = saelens(tmp_path / "two", model.shape.d_model, features=50)
    opened = engine.open(Session(model="demo", prompt="When", saes=(Sae("mine", str(other.path)),)))
    assert [sae.path for sae in opened.saes] == [str(other.path)]
    assert opened.dictionary("mine").n_features == 50
    assert opened.labels("mine") == {}
    with pytest.raises(SessionError, match="there is no dictionary gone; did you mean mine"):
        opened.dictionary("gone")
    # One that says another model's name is another model's, though it is as wide.
    alien = saelens(tmp_path / "three", model.shape.d_model, said={"model_name": "gpt2-small"})
    with pytest.raises(SessionError, match="a was made on gpt2-small, and this model is demo"):
        engine.open(Session(prompt="When", saes=(Sae("a", str(alien.path)),))).dictionary("a")


def test_a_dictionary_is_fetched_without_the_rest_of_its_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    files = (
        "README.md",
        "big/model.safetensors",
        "L1/cfg.json",
        "L1/sae_weights.safetensors",
        "L1/x.bin",
        "L10/cfg.json",
    )
    asked: list[tuple[Any, ...]] = []

    class Hub:
        def model_info(self, id: str, revision: str | None, files_metadata: bool) -> Any:
            return SimpleNamespace(siblings=[SimpleNamespace(rfilename=name, size=3) for name in files])

    def download(id: str, revision: str | None, allow_patterns: list[str], tqdm_class: type) -> None:
        asked.append((id, revision, [name for name in files if any(Path(name).match(each) for each in allow_patterns)]))

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    fetch("owner/saes/L1@v2", lambda *_: None, lambda: False, dictionary=True)
    assert asked == [("owner/saes", "v2", ["L1/cfg.json", "L1/sae_weights.safetensors"])]
    with pytest.raises(ModelError, match="holds no dictionary of features: name its folder, as in owner/saes/FOLDER"):
        fetch("owner/saes", lambda *_: None, lambda: False, dictionary=True)
