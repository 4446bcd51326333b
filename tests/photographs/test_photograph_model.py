"""The model is one of transformers, and shows pictures and text as it should."""

import json

import pytest
import torch
from support.layout_families import localise
from support.photographs import asked_about
from torch.nn.functional import interpolate
from transformers import AutoModelForImageTextToText, AutoProcessor, Dinov2Config, Dinov2Model
from typer.testing import CliRunner

import lime_xai
from benchmarks.photographs.model import END, MARKS, START, draw_projector, save, tiny
from benchmarks.photographs.weights import language_model, read_dino, resized_positions, tower
from lime_xai.command.app import app
from lime_xai.storage.weights import weights_hash

SIDE, TOKENS = 112, 16


def test_the_chat_is_smollm2s_with_a_picture_and_without_a_system_prompt(small, photo):
    _, processor = small
    turns = [
        {"role": "user", "content": [{"type": "image", "image": photo}, {"type": "text", "text": "A cup?"}]},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": [{"type": "text", "text": "And?"}]},
    ]
    text = processor.apply_chat_template(turns, add_generation_prompt=True)
    shown = "<jupyter_start>" + "<empty_output>" * TOKENS + "<jupyter_output>"
    expected = (
        "<|im_start|>user\n<empty_output>A cup?<|im_end|>\n<|im_start|>assistant\nYes.<|im_end|>\n"
        "<|im_start|>user\nAnd?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert text == expected
    ids = processor(images=[photo], text=text, return_tensors="pt")["input_ids"][0]
    assert processor.decode(ids) == expected.replace("<empty_output>", shown)


def test_a_part_of_another_type_is_refused(small):
    with pytest.raises(Exception, match="found audio"):
        small[1].apply_chat_template([{"role": "user", "content": [{"type": "audio"}]}])


def test_rows_are_padded_on_the_left(small, photo):
    _, processor = small
    texts = [f"{START}user\n<empty_output>{words}" for words in ("Is there a dog?", "?")]
    found = processor(images=[photo, photo], text=texts, padding=True, return_tensors="pt")
    assert found["pixel_values"].shape == (2, 3, SIDE, SIDE)
    assert found["attention_mask"][0].all()
    padded = int((found["attention_mask"][1] == 0).sum())
    assert padded > 0
    assert not found["attention_mask"][1, :padded].any()


@pytest.mark.parametrize("size", [(112, 112), (600, 100), (20, 300)])
def test_a_picture_of_any_shape_is_one_tile(small, photo, size):
    found = asked_about(small[1], photo.resize(size))
    assert found["pixel_values"].shape == (1, 3, SIDE, SIDE)
    assert int((found["input_ids"] == small[0].config.image_token_id).sum()) == TOKENS


def test_a_token_is_a_block_of_two_by_two_patches_row_by_row(small):
    model, _ = small
    localise(model.model)
    blank = torch.zeros(1, 3, SIDE, SIDE)
    with torch.no_grad():
        before = model.get_image_features(pixel_values=blank).pooler_output
        for row, column in ((0, 3), (2, 1)):
            dotted = blank.clone()
            dotted[..., 28 * row + 5, 28 * column + 20] = 3
            after = model.get_image_features(pixel_values=dotted).pooler_output
            changed = (after != before).any(-1).flatten().nonzero().flatten().tolist()
            assert changed == [4 * row + column]


def test_the_projector_gives_vectors_as_long_as_words(small):
    projector = small[0].model.multi_modal_projector
    draw_projector(projector, 3.0, 5)
    features = torch.randn(64, projector.linear_1.in_features, generator=torch.Generator().manual_seed(6))
    with torch.no_grad():
        assert float(projector(features).norm(dim=-1).mean()) == pytest.approx(3.0, rel=0.05)


def test_a_seed_makes_one_model_and_leaves_the_generator():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, again, other = (tiny(seed)[0] for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert weights_hash(first) == weights_hash(again) != weights_hash(other)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_transformers_loads_the_folder(small, asked, photo, tmp_path, dtype):
    model, processor = small
    model.generation_config.max_new_tokens = 3
    save(model, processor, tmp_path / "model", dtype)
    assert model.dtype == torch.float32
    loaded, report = AutoModelForImageTextToText.from_pretrained(tmp_path / "model", output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert type(loaded) is type(model)
    assert loaded.dtype == dtype
    expected = {name: one.to(dtype) for name, one in model.state_dict().items()}
    assert all(torch.equal(one, expected[name]) for name, one in loaded.state_dict().items())
    again = asked_about(AutoProcessor.from_pretrained(tmp_path / "model"), photo)
    assert all(torch.equal(value, asked[name]) for name, value in again.items())
    assert loaded.generation_config.eos_token_id == processor.tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert loaded.lm_head.weight is loaded.get_input_embeddings().weight


def test_a_folder_is_written_whole_or_not_at_all(small, tmp_path, monkeypatch):
    model, processor = small
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "file").touch()
    with pytest.raises(FileExistsError, match="taken"):
        save(model, processor, taken)
    with pytest.raises(TypeError):  # the recipe is the last that is written
        save(model, processor, tmp_path / "new", recipe={"seed": object()})
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
    monkeypatch.setattr(type(processor), "save_pretrained", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save(model, processor, tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_attribution_sees_a_grid_and_steering_runs(small, asked):
    model, processor = small
    found = lime_xai.attribute(model, asked, processor=processor)
    (layout,) = found.layouts[0]
    assert [(one.rows, one.columns, one.box) for one in layout.parts] == [(4, 4, (0.0, 0.0, 1.0, 1.0))]
    pixels = lime_xai.attribute_pixels(model, asked, processor=processor)
    assert pixels.relevance["pixel_values"].shape == (1, 3, SIDE, SIDE)
    for policy in (lime_xai.Edit(), lime_xai.Contrast("slot"), lime_xai.Contrast(), lime_xai.Reweight()):
        steered = lime_xai.steer(model, asked, policy, max_new_tokens=2, do_sample=False)
        assert steered.sequences.shape == (1, asked["input_ids"].shape[1] + 2)


@pytest.mark.parametrize("command", ["attribute", "steer", "explain"])
def test_the_command_line_takes_the_folder(small, photo, tmp_path, command):
    save(*small, tmp_path / "model")
    photo.save(tmp_path / "photo.png")
    arguments = ["--image", str(tmp_path / "photo.png"), "--prompt", "What is in the picture?"]
    arguments += [] if command == "attribute" else ["--max-new-tokens", "2"]
    page = tmp_path / "answer.html"
    arguments += ["--html", str(page)] if command == "explain" else []
    result = CliRunner().invoke(app, [command, str(tmp_path / "model"), *arguments])
    assert result.exit_code == 0, result.output
    said = {"attribute": f"image: {TOKENS} tokens", "steer": "steered:", "explain": ""}[command]
    assert said in result.stdout
    assert page.exists() is (command == "explain")


def test_positions_of_the_same_grid_are_kept_and_those_of_another_are_bicubic():
    positions = torch.randn(1, 1 + 81, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(resized_positions(positions, 9), positions)
    resized = resized_positions(positions, 4)
    assert resized.shape == (1, 17, 3)
    assert torch.equal(resized[:, 0], positions[:, 0])
    for channel in range(3):
        plane = positions[0, 1:, channel].reshape(1, 1, 9, 9)
        expected = interpolate(plane, size=(4, 4), mode="bicubic", align_corners=False).flatten()
        torch.testing.assert_close(resized[0, 1:, channel], expected)


@pytest.mark.parametrize(
    ("given", "word"), [({"layers": 0}, "layers is 0"), ({"layers": 13}, "13"), ({"side": 100}, "side is 100")]
)
def test_a_tower_that_cannot_be_is_refused(given, word):
    with pytest.raises(ValueError, match=word):
        tower(None, **given)


@pytest.mark.real
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("layers", "side"), [(6, 224), (12, 518), (3, 112)])
def test_the_tower_computes_what_dinov2_does(parts, layers, side):
    """The oracle is the whole encoder of transformers, which interpolates its position embeddings in every call."""
    config = Dinov2Config(
        hidden_size=384, num_attention_heads=6, image_size=518, patch_size=14, layer_norm_eps=1e-6, use_mask_token=False
    )
    whole, report = Dinov2Model.from_pretrained(
        None, config=config, state_dict=read_dino(parts.dino), output_loading_info=True
    )
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    pixels = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = whole.eval()(pixel_values=pixels, output_hidden_states=True).hidden_states[layers]
        found = tower(parts, layers, side)(pixel_values=pixels)
    torch.testing.assert_close(found.last_hidden_state, expected, rtol=0, atol=1e-5)


@pytest.mark.real
@pytest.mark.timeout(1200)
def test_the_tower_computes_what_the_onnx_file_does(parts, tmp_path):
    """The oracle runs the exported graph, up to the output of the sixth layer, in NumPy."""
    onnx = pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    graph = onnx.load(parts.dino).graph
    (output,) = {node.input[0] for node in graph.node if node.name == "/backbone/encoder/layer.6/norm1/ReduceMean"} or {
        node.input[0] for node in graph.node if node.name == "/backbone/encoder/layer.6/norm1/LayerNormalization"
    }
    six = str(tmp_path / "six.onnx")
    onnx.utils.extract_model(str(parts.dino), six, ["input_image"], [output])
    pixels = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    (expected,) = ReferenceEvaluator(six).run(None, {"input_image": pixels.numpy()})
    with torch.no_grad():
        found = tower(parts)(pixel_values=pixels).last_hidden_state
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=0, atol=2e-4)


@pytest.mark.real
@pytest.mark.timeout(1200)
def test_the_language_model_is_plain_and_its_marks_were_never_trained(parts, tmp_path):
    model, tokenizer = language_model(parts)
    model.save_pretrained(tmp_path)
    described = json.loads((tmp_path / "config.json").read_text())
    assert "quantization_config" not in described
    names = [*MARKS.values(), END, "<filename>"]
    rows = model.get_input_embeddings().weight.detach()[tokenizer.convert_tokens_to_ids(names)]
    alike = torch.cosine_similarity(rows, rows[:1])
    assert float(alike[:-2].min()) > 0.9999
    assert float(alike[-2:].max()) < 0.999
    ids = tokenizer("The capital of France is", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        assert tokenizer.decode(model(ids).logits[0, -1].argmax()) == " Paris"
