"""The model is a plain Qwen2-Audio whose encoder is Whisper's; it is saved, loaded, explained and steered."""

import struct

import pytest
import torch
from transformers import (
    AutoProcessor,
    LlamaForCausalLM,
    Qwen2AudioEncoder,
    Qwen2AudioForConditionalGeneration,
    WhisperConfig,
)
from transformers.models.whisper.modeling_whisper import WhisperEncoder

import lime_xai
from benchmarks.photographs.adapters import Adapters, read, write
from benchmarks.photographs.model import save
from benchmarks.photographs.packages import OF_HEARING
from benchmarks.photographs.world import PhotoChat
from benchmarks.recordings.__main__ import main
from benchmarks.recordings.assemble import FROZEN, TRAINED
from benchmarks.recordings.catalogue import RATE
from benchmarks.recordings.clips import clips_of
from benchmarks.recordings.model import MARK, tiny
from benchmarks.recordings.whisper import encoder_weights, read_ctranslate2, tower, tower_config
from lime_xai.storage.store import DamagedFileError

WIDTH, LAYERS = 32, 2
LINEARS = {"self_attention/linear_1": "self_attn.out_proj", "ffn/linear_0": "fc1", "ffn/linear_1": "fc2"}
NORMS = {"self_attention/layer_norm": "self_attn_layer_norm", "ffn/layer_norm": "final_layer_norm"}


@pytest.fixture(scope="module")
def whisper():
    """Whisper's encoder with random weights."""
    sizes = {"encoder_layers": LAYERS, "encoder_attention_heads": 4, "encoder_ffn_dim": 64, "num_mel_bins": 16}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return WhisperEncoder(WhisperConfig(d_model=WIDTH, max_source_positions=50, **sizes)).eval()


def as_variables(encoder):
    """Return an encoder's weights as CTranslate2 holds them."""
    state, found = encoder.state_dict(), {}

    def put(theirs, mine, names="weight bias"):
        for name, side in zip(names.split(), ("weight", "bias"), strict=True):
            found[f"encoder/{theirs}/{name}"] = state[f"{mine}.{side}"]

    found["encoder/position_encodings/encodings"] = state["embed_positions.weight"]
    put("conv1", "conv1")
    put("conv2", "conv2")
    put("layer_norm", "layer_norm", "gamma beta")
    for index in range(LAYERS):
        mine = f"layers.{index}.self_attn"
        packed = [state[f"{mine}.{part}_proj.weight"] for part in "qkv"]
        biases = [state[f"{mine}.q_proj.bias"], torch.zeros(WIDTH), state[f"{mine}.v_proj.bias"]]
        found[f"encoder/layer_{index}/self_attention/linear_0/weight"] = torch.cat(packed)
        found[f"encoder/layer_{index}/self_attention/linear_0/bias"] = torch.cat(biases)
        for theirs, own in LINEARS.items():
            put(f"layer_{index}/{theirs}", f"layers.{index}.{own}")
        for theirs, own in NORMS.items():
            put(f"layer_{index}/{theirs}", f"layers.{index}.{own}", "gamma beta")
    return {name: value.numpy() for name, value in found.items()}


def write_ctranslate2(path, variables, version=6, behind=b""):
    def text(word):
        return struct.pack("<H", len(word) + 1) + word.encode() + b"\0"

    content = struct.pack("<I", version) + text("WhisperSpec") + struct.pack("<II", 3, len(variables))
    for name, value in variables.items():
        content += text(name) + struct.pack("<B", value.ndim) + struct.pack(f"<{value.ndim}I", *value.shape)
        content += struct.pack("<BI", 0, value.nbytes) + value.astype("<f4").tobytes()
    path.write_bytes(content + struct.pack("<I", 1) + text("a") + text("b") + behind)
    return path


def before_norm(encoder, mel):
    """Return what the last layer of an encoder gives."""
    found = []
    hook = encoder.layers[-1].register_forward_hook(lambda _, __, out: found.append(out))
    with torch.no_grad():
        last = encoder(mel).last_hidden_state
    hook.remove()
    return (found[0][0] if isinstance(found[0], tuple) else found[0]), last


def test_the_encoder_of_a_file_computes_what_whispers_does(whisper, tmp_path):
    file = write_ctranslate2(tmp_path / "model.bin", as_variables(whisper))
    mine = Qwen2AudioEncoder(tower_config(1, LAYERS, WIDTH, 4, 64, 16)).eval()
    mine.load_state_dict(encoder_weights(read_ctranslate2(file), LAYERS))
    mel = torch.randn(1, 16, 100, generator=torch.Generator().manual_seed(1))
    (expected, _), (found, last) = before_norm(whisper, mel), before_norm(mine, mel)
    torch.testing.assert_close(found, expected)
    pooled = expected.reshape(1, 25, 2, WIDTH).mean(2)
    torch.testing.assert_close(last, torch.nn.functional.layer_norm(pooled, (WIDTH,), *whisper.layer_norm.parameters()))


@pytest.mark.parametrize("wrong", ["version", "short", "behind", "other"])
def test_a_damaged_file_of_weights_is_named(whisper, tmp_path, wrong):
    path = tmp_path / "model.bin"
    write_ctranslate2(
        path, as_variables(whisper), 7 if wrong == "version" else 6, b"more" if wrong == "behind" else b""
    )
    if wrong == "short":
        path.write_bytes(path.read_bytes()[:1000])
    if wrong == "other":
        path.write_bytes(b"\6\0\0\0GGUF")
    with pytest.raises(DamagedFileError, match=r"model\.bin"):
        read_ctranslate2(path)


def test_a_bias_of_keys_is_refused(whisper):
    values = as_variables(whisper)
    values["encoder/layer_0/self_attention/linear_0/bias"] += 1
    with pytest.raises(ValueError, match="bias of keys"):
        encoder_weights(values, LAYERS)


@pytest.mark.parametrize(("seconds", "layers"), [(0, 4), (31, 4), (3, 0), (3, 5)])
def test_a_window_that_whisper_lacks_is_refused(seconds, layers):
    with pytest.raises(ValueError, match="expected 1 to 30"):
        tower(None, seconds, layers)


def inputs_of(processor, samples, question="What is in the sound?"):
    turns = [{"role": "user", "content": [{"type": "audio"}, {"type": "text", "text": question}]}]
    text = processor.apply_chat_template(turns, add_generation_prompt=True)
    return dict(processor(audio=[samples], text=[text], sampling_rate=RATE, return_tensors="pt"))


def test_the_chat_template_is_what_the_world_writes(encoder):
    asked = [{"role": "user", "content": [{"type": "audio"}, {"type": "text", "text": "Is it?"}]}]
    text = encoder[1].apply_chat_template(asked, add_generation_prompt=True)
    assert text == PhotoChat("audio", MARK).prompt("Is it?")


def test_the_head_is_that_of_the_language_model():
    """Qwen2-Audio's class ties no head to the embeddings, as this language model does: it must be copied."""
    model, _ = tiny(0)
    config = model.config.text_config
    assert config.tie_word_embeddings
    plain = LlamaForCausalLM(config).eval()
    plain.model.load_state_dict(model.model.language_model.state_dict())
    ids = torch.arange(20, 40)[None]
    with torch.no_grad():
        torch.testing.assert_close(model(input_ids=ids).logits, plain(input_ids=ids).logits)


def test_a_shorter_sound_has_fewer_tokens(encoder, recorded):
    _, samples = clips_of((1, 0), recorded)
    counts = [
        int((inputs_of(encoder[1], samples[: seconds * RATE])["input_ids"] == encoder[1].audio_token_id).sum())
        for seconds in (1, 2, 3)
    ]
    assert counts == [25, 50, 75]


def test_the_folder_is_loaded_by_from_pretrained(encoder, recorded, tmp_path):
    model, processor = encoder
    inputs = inputs_of(processor, clips_of((1, 0), recorded)[1])
    save(model, processor, tmp_path / "new", recipe={"seed": 0})
    loaded = Qwen2AudioForConditionalGeneration.from_pretrained(tmp_path / "new").eval()
    again = inputs_of(AutoProcessor.from_pretrained(tmp_path / "new"), clips_of((1, 0), recorded)[1])
    assert inputs.keys() == again.keys()
    with torch.no_grad():
        torch.testing.assert_close(loaded(**again).logits, model(**inputs).logits)
    assert loaded.config.text_config.model_type == "llama"


def test_trained_weights_name_the_parts_of_this_model(encoder, recorded, tmp_path):
    model, processor = encoder
    added = Adapters(model, 4, 1)
    with torch.no_grad():
        for parameter in added.parameters():
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)))
    path = tmp_path / "weights.safetensors"
    write(path, model, added, {"seed": 1}, OF_HEARING)
    inputs = inputs_of(processor, clips_of((1, 0), recorded)[1])
    with torch.no_grad():
        expected = model(**inputs).logits
    other, _ = tiny(0, 3)
    other.resize_token_embeddings(len(processor.tokenizer), mean_resizing=False)
    other.get_input_embeddings().weight.data.copy_(model.get_input_embeddings().weight.data)
    other.lm_head.weight.data.copy_(model.lm_head.weight.data)
    read(path, OF_HEARING).put_into(other)
    with torch.no_grad():
        torch.testing.assert_close(other(**inputs).logits, expected, rtol=1e-2, atol=1e-2)
    with pytest.raises(DamagedFileError, match="trained with parts"):
        read(path)


def test_it_is_attributed_and_steered(encoder, recorded):
    model, processor = encoder
    inputs = inputs_of(processor, clips_of((1, 0), recorded)[1])
    found = lime_xai.attribute(model, inputs, processor=processor)
    assert found.shares["audio"].isfinite().all()
    assert [layout.modality for layout in found.layouts[0]] == ["audio"]
    for policy in (lime_xai.Edit(), lime_xai.Contrast("slot"), lime_xai.UniformGain(0.4)):
        steered = lime_xai.steer(model, inputs, policy, max_new_tokens=2, do_sample=False)
        assert steered.sequences.shape == (1, inputs["input_ids"].shape[1] + 2)


def test_weights_in_the_repository_have_a_hash_and_are_of_these_parts():
    held = {path.stem: path for path in TRAINED.glob("*.safetensors")}
    assert held.keys() == FROZEN.keys()
    for path in held.values():
        found = read(path, OF_HEARING)
        assert found.projector["linear.weight"].shape == (576, 384)
        assert len(found.adapters) == 30 * 3 * 2


def test_weights_that_are_not_there_are_named(tmp_path, capsys):
    assert main(["assemble", "nothing", "--folder", str(tmp_path)]) == 1
    assert "nothing.safetensors" in capsys.readouterr().err.replace("\n", "")


@pytest.mark.real
def test_whispers_encoder_hears_a_recording_alike(parts_heard):
    """Oracle: transformers' own ``WhisperEncoder`` with its whole window, on a real sound."""
    weights = encoder_weights(read_ctranslate2(parts_heard.whisper))
    config = WhisperConfig(d_model=384, encoder_layers=4, encoder_attention_heads=6, encoder_ffn_dim=1536)
    theirs = WhisperEncoder(config).eval()
    theirs.load_state_dict(weights)
    sound = lime_xai.read_sound(parts_heard.stamps / "animals/mammals/dogs/dog.ogg", RATE)
    from transformers import WhisperFeatureExtractor

    mel = WhisperFeatureExtractor(feature_size=80)(sound, sampling_rate=RATE, return_tensors="pt").input_features
    (expected, _), (found, _) = before_norm(theirs, mel), before_norm(tower(parts_heard.whisper, 30), mel)
    torch.testing.assert_close(found, expected)
