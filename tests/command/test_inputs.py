"""Files and prompts: what a model is given is what a person sees, or it is refused by name before computing."""

import json
import struct

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from support.families import FAMILIES
from transformers import Qwen2AudioForConditionalGeneration

from benchmarks.worlds.sound import build_config
from lime_xai.command import loading
from lime_xai.model.chat import Request, check_modalities, make_inputs, render, with_markers
from lime_xai.model.images import read_image
from lime_xai.worlds import bundled_model, sound

ASK = ["--prompt", "describe this picture"]
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<image>{% else %}{{ c['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
AS_STRING = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}assistant:"


@pytest.fixture(scope="module")
def bundled():
    return bundled_model()


def saved(tmp_path, image, name="a.png", **settings):
    path = tmp_path / name
    image.save(path, **settings)
    return path


def read(path):
    notes = []
    return np.asarray(read_image(path, notes.append)).astype(int), notes


# Images --------------------------------------------------------------------------------------------------------------

HALVES = np.zeros((4, 6, 3), np.uint8)
HALVES[:, :3, 0] = 200
HALVES[0, 0] = (0, 90, 0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_as_their_exif_orientation_says(tmp_path, orientation):
    """The tag says where row 0 and column 0 of the file are to be seen, counted clockwise and mirrored."""
    turned = {
        1: lambda x: x,
        2: np.fliplr,
        3: lambda x: np.rot90(x, 2),
        4: np.flipud,
        5: lambda x: x.transpose(1, 0, 2),
        6: lambda x: np.rot90(x, -1),
        7: lambda x: np.rot90(x, 2).transpose(1, 0, 2),
        8: np.rot90,
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    found, notes = read(saved(tmp_path, Image.fromarray(HALVES), exif=exif))
    assert np.array_equal(found, turned(HALVES))
    assert notes == []


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bit_grey_is_scaled_and_not_clipped(tmp_path, name):
    levels = np.array([[0, 257, 1000, 32768, 65278, 65535]], np.uint16)
    found, notes = read(saved(tmp_path, Image.fromarray(levels), name))
    assert found[0, :, 0].tolist() == [round(int(level) / 257) for level in levels[0]]
    assert (found[..., 0] == found[..., 1]).all()
    assert notes == []


def grey_tiff(path, content, width, bits, photometric, sign=1):
    """Write one row of deep grey, which Pillow itself saves with black as 0 only."""
    short, long, start = 3, 4, 8
    fields = [(256, short, width), (257, short, 1), (258, short, bits), (259, short, 1), (262, short, photometric)]
    fields += [(273, long, start), (277, short, 1), (278, short, 1), (279, long, len(content)), (339, short, sign)]
    table = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in fields)
    header = b"II*\0" + struct.pack("<I", start + len(content))
    path.write_bytes(header + content + struct.pack("<H", len(fields)) + table + bytes(4))
    return path


def test_tiff_whose_zero_is_white_is_inverted(tmp_path):
    levels = np.array([0, 257 * 64, 257 * 128, 65535], "<u2").tobytes()
    black, white = (grey_tiff(tmp_path / f"{zero}.tif", levels, 4, 16, zero) for zero in (1, 0))
    assert read(black)[0][0, :, 1].tolist() == [0, 64, 128, 255]
    assert read(white)[0][0, :, 1].tolist() == [255, 191, 127, 0]


def test_twelve_bits_have_their_own_white(tmp_path):
    packed = bytes([0x00, 0x0F, 0xFF, 0x80, 0x08, 0x00])  # 0, 4095, 2048, 2048
    assert read(grey_tiff(tmp_path / "a.tif", packed, 4, 12, 1))[0][0, :, 0].tolist() == [0, 255, 128, 128]


@pytest.mark.parametrize("largest", [65535, 1023, 256])
@pytest.mark.parametrize("plain", [False, True])
def test_deep_pgm_is_scaled_by_the_largest_value_that_it_names(tmp_path, largest, plain):
    levels, path = [0, largest // 4, largest // 2, largest], tmp_path / "a.pgm"
    content = " ".join(map(str, levels)).encode() if plain else np.array(levels, ">u2").tobytes()
    path.write_bytes(f"P{2 if plain else 5} 4 1 {largest}\n".encode() + content)
    assert read(path)[0][0, :, 2].tolist() == [round(255 * level / largest) for level in levels]


def test_signed_pixels_are_refused(tmp_path):
    path = grey_tiff(tmp_path / "a.tif", np.array([-5, 5], "<i2").tobytes(), 2, 16, 1, sign=2)
    with pytest.raises(ValueError, match=r"a\.tif has 32-bit or signed pixels \(mode 'I'\), whose range is not known"):
        read(path)


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_pixels_of_unknown_range_are_refused(tmp_path, kind):
    path = saved(tmp_path, Image.fromarray(np.full((2, 2), 70000, kind)), "a.tif")
    with pytest.raises(ValueError, match=r"a\.tif has 32-bit or signed pixels .* not known"):
        read(path)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pixels_are_laid_on_white_and_that_is_said(tmp_path, mode):
    pixels = np.zeros((1, 3, 4), np.uint8)
    pixels[0, :, 3] = (0, 128, 255)
    image = Image.fromarray(pixels)
    if mode == "P":
        image = Image.fromarray(np.array([[0, 1, 1]], np.uint8)).convert("P")
        image.putpalette([0, 0, 0] * 2)
        found, notes = read(saved(tmp_path, image, transparency=0))
        assert found[0, :, 0].tolist() == [255, 0, 0]
    else:
        found, notes = read(saved(tmp_path, image.convert(mode)))
        assert found[0, :, 0].tolist() == [255, 127, 0]
    assert len(notes) == 1
    assert "transparent pixels; they are laid on a white background" in notes[0]


def test_an_opaque_alpha_channel_is_no_notice(tmp_path):
    found, notes = read(saved(tmp_path, Image.fromarray(HALVES).convert("RGBA")))
    assert np.array_equal(found, HALVES)
    assert notes == []


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.tif", "a.png"])
def test_only_the_first_frame_is_used_and_that_is_said(tmp_path, name):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "green")]
    found, notes = read(saved(tmp_path, frames[0], name, save_all=True, append_images=frames[1:]))
    assert found[0, 0, 0] > 200 > 60 > found[0, 0, 2]
    assert [note.split(" has ")[1] for note in notes] == ["3 frames; only the first is used."]


def damaged(tmp_path, kind):
    path = saved(tmp_path, Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)))
    data = path.read_bytes()
    if kind == "header":
        data = data[:16] + struct.pack(">II", 0, 0) + data[24:]
    path.write_bytes({"text": b"no picture", "empty": b"", "truncated": data[: len(data) // 2], "header": data}[kind])
    return path


@pytest.mark.parametrize("kind", ["text", "empty", "truncated", "header"])
def test_damaged_images_are_named(refused, tmp_path, kind):
    path = damaged(tmp_path, kind)
    for command in ("steer", "attribute"):
        refused(command, "scene", *ASK, "--image", path, says=[f"{path} cannot be read as an image"])


def test_a_picture_of_many_pixels_is_refused_or_announced_and_named(tmp_path, monkeypatch):
    path = saved(tmp_path, Image.new("L", (5000, 4000)))
    _, notes = read(path)
    assert [note.split(";")[0] for note in notes] == [f"{path} has 5000 x 4000 pixels"]
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000_000)
    with pytest.raises(ValueError, match=r"a\.png cannot be read as an image \(DecompressionBombError"):
        read(path)


def test_notices_go_to_stderr_and_the_model_gets_the_upright_picture(lime, tmp_path, evaluation):
    exif = Image.Exif()
    exif[0x0112] = 6
    saved(tmp_path, evaluation.images[0], "plain.png")
    saved(tmp_path, evaluation.images[0].rotate(90).convert("RGBA"), "turned.png", exif=exif)
    first, second = (lime("attribute", "scene", *ASK, "--image", name) for name in ("plain.png", "turned.png"))
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert first.stdout == second.stdout
    frames = [evaluation.images[0], evaluation.images[0].rotate(90)]
    saved(tmp_path, frames[0], "two.tif", save_all=True, append_images=frames[1:])
    result = lime("attribute", "scene", *ASK, "--image", "two.tif")
    assert result.stderr == "notice: two.tif has 2 frames; only the first is used.\n"
    assert result.stdout == first.stdout


# What a model takes --------------------------------------------------------------------------------------------------


class Words:
    """A processor of a tiny model: its tokenizer gives names to tokens."""

    class tokenizer:  # noqa: N801
        @staticmethod
        def convert_ids_to_tokens(token):
            return f"<token {token}>"


@pytest.mark.parametrize("name", FAMILIES)
def test_files_of_a_modality_that_a_model_does_not_take_are_refused(name):
    from lime_xai.model.modalities import placeholder_ids

    model, _ = FAMILIES[name].make()
    known = placeholder_ids(model.config)
    for modality in ("image", "audio"):
        request = Request("hello", **{"images" if modality == "image" else "sounds": [object()]})
        if modality in known:
            check_modalities(model, Words(), request)
            with pytest.raises(ValueError, match=f"stands for one {modality} token of this model"):
                check_modalities(model, Words(), Request(f"what is <token {known[modality]}> ?"))
            with pytest.raises(ValueError, match=f"marker {{{modality}}} and no --{modality} file"):
                check_modalities(model, Words(), Request(f"{{{modality}}}"))
        else:
            takes = " and ".join(["text", *(m for m in ("image", "video", "audio") if m in known)])
            with pytest.raises(ValueError, match=f"takes {takes}; .* no placeholder for {modality}"):
                check_modalities(model, Words(), request)


def test_a_sound_for_a_model_that_cannot_hear_is_refused(refused, tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(800, np.float32), 16000)
    for command in ("steer", "attribute"):
        refused(command, "scene", *ASK, "--audio", "a.wav", says=["takes text and image", "--audio cannot be used"])


@pytest.mark.parametrize("option", ["--prompt", "--system"])
def test_a_placeholder_without_a_file_is_refused(refused, picture, option):
    options = {"--prompt": "describe", option: "what is <image> ?"}
    for files in ([], ["--image", picture]):
        asked = [part for pair in options.items() for part in pair]
        for command in ("steer", "attribute"):
            refused(command, "scene", *asked, *files, says=["'<image>'", "--image", "{image}"])


@pytest.mark.parametrize(
    ("prompt", "count"), [("a {image} b {image}", 1), ("a {image}", 2), ("{image}", 0), ("{audio} {image}", 1)]
)
def test_markers_and_files_must_agree(refused, picture, prompt, count):
    refused("attribute", "scene", "--prompt", prompt, *["--image", picture] * count, says=["marker"])


# Chat templates ------------------------------------------------------------------------------------------------------


def other_template(bundled, template):
    model, processor = bundled

    class Copy:
        tokenizer = processor.tokenizer
        chat_template = template
        image_token = "<image>"

        def apply_chat_template(self, messages, **kwargs):
            return processor.apply_chat_template(messages, chat_template=template, **kwargs)

        def __call__(self, **kwargs):
            return processor(**kwargs)

    return model, Copy()


def test_files_stand_where_markers_are(bundled, evaluation):
    model, processor = other_template(bundled, CHATML)
    first, second = Image.new("RGB", (72, 72)), evaluation.images[0]
    request = Request("is {image} a cup or {image} a cup ?", "be a table", [first, second])
    assert render(model, processor, request) == (
        "<|im_start|>system\nbe a table<|im_end|>\n"
        "<|im_start|>user\nis <image> a cup or <image> a cup ?<|im_end|>\n<|im_start|>assistant\n"
    )
    inputs = make_inputs(model, processor, request)
    assert int((inputs["input_ids"] == 4).sum()) == 72
    assert inputs["pixel_values"].shape[0] == 2
    swapped = make_inputs(model, processor, Request(request.prompt, "be a table", [second, first]))
    assert torch.equal(inputs["pixel_values"], swapped["pixel_values"].flip(0))
    plain = Request("is it a cup ?", None, [first, second])
    assert "user\n<image><image>is it a cup ?" in render(model, processor, plain)


def test_a_template_that_moves_images_is_refused_only_with_markers(bundled):
    model, processor = bundled
    image = Image.new("RGB", (72, 72))
    with pytest.raises(ValueError, match="does not keep the order of text and files"):
        render(model, processor, Request("is {image} a cup ?", images=[image]))
    assert "<image> is a cup ?" in render(model, processor, Request("is a cup ?", images=[image]))
    assert "<image>  is a cup ?" in render(model, processor, Request("{image} is a cup ?", images=[image]))


def test_a_template_that_takes_strings_gets_strings(bundled):
    model, processor = other_template(bundled, AS_STRING)
    request = Request("is there a cup ?", "be brief", [Image.new("RGB", (72, 72))])
    assert render(model, processor, request) == "system: be brief\nuser: <image>\nis there a cup ?\nassistant:"
    assert int((make_inputs(model, processor, request)["input_ids"] == 4).sum()) == 36


def test_a_system_prompt_is_written_as_one_or_refused(refused, picture, bundled):
    refused(
        *("attribute", "scene", *ASK, "--image", picture, "--system", "be brief"),
        says=["system prompt as words of the"],
    )
    model, processor = other_template(
        bundled, CHATML.replace("{% for m in messages %}", "{% for m in messages[-1:] %}")
    )
    with pytest.raises(ValueError, match="leaves the system prompt out"):
        render(model, processor, Request("is there a cup ?", "be brief"))
    raising = "{{ raise_exception('no system here') if messages[0]['role'] == 'system' }}" + CHATML
    model, processor = other_template(bundled, raising)
    with pytest.raises(ValueError, match="no system here"):
        render(model, processor, Request("is there a cup ?", "be brief"))


def test_a_model_without_a_template_is_refused(bundled):
    with pytest.raises(ValueError, match="no chat template"):
        render(*other_template(bundled, None), Request("hello"))


@pytest.fixture
def text_model(tmp_path):
    """A text-only chat model whose template takes a string, saved as users save them."""
    from transformers import LlamaConfig, LlamaForCausalLM

    _, processor = bundled_model()
    torch.manual_seed(0)
    size = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(processor.tokenizer), **size)).eval()
    processor.tokenizer.chat_template = AS_STRING
    model.save_pretrained(tmp_path / "text")
    processor.tokenizer.save_pretrained(tmp_path / "text")
    return "text"


def test_text_only_chat_models_are_attributed(lime, refused, text_model, picture, tmp_path):
    asked = ["attribute", text_model, "--prompt", "is there a cup ?", "--json", "r.json"]
    result = lime(*asked)
    assert result.exit_code == 0, result.output
    assert "shares: text 1.000" in result.stdout
    tokens = json.loads((tmp_path / "r.json").read_text())["targets"][0]["tokens"]
    assert tokens == ["user:", " is", " there", " a", " cup", " ?", " assistant:"]
    refused(*asked, "--image", picture, says=["LlamaForCausalLM takes text;"])
    refused("steer", text_model, "--prompt", "is there a cup ?", says=["No perceptual tokens"])


# Models that are not there -------------------------------------------------------------------------------------------


@pytest.fixture
def no_network(monkeypatch):
    """Fail as an unreachable hub does, and count how often it is asked."""
    asked = []

    def unreachable(self, name, **settings):
        asked.append((name, settings["timeout"]))
        raise OSError("cannot be reached")

    monkeypatch.setattr(loading.huggingface_hub.HfApi, "model_info", unreachable)
    monkeypatch.setattr(loading.AutoConfig, "from_pretrained", lambda *a, **k: pytest.fail("the hub was asked again"))
    return asked


@pytest.mark.parametrize("command", [["audit"], ["steer", *ASK], ["attribute", *ASK]])
def test_models_that_are_not_there_are_refused_at_once(refused, no_network, command, tmp_path):
    name, *rest = command
    refused(name, "./nowhere", *rest, says=["There is no folder './nowhere'", "'scene'"])
    refused(name, "/a/b/c", *rest, says=["There is no folder '/a/b/c'"])
    assert no_network == []
    refused(name, "scne", *rest, says=["Did you mean 'scene'", "cannot be reached"])
    refused(name, "someone/model", *rest, says=["'someone/model'", "bundled model is called 'scene'"])
    assert no_network == [("scne", loading.PATIENCE), ("someone/model", loading.PATIENCE)]
    (tmp_path / "empty").mkdir()
    refused(name, "empty", *rest, says=["empty holds no model: neither config.json nor a .gguf file"])
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    refused(name, "adapter", *rest, says=["holds an adapter and no model"])
    (tmp_path / "a.bin").write_text("")
    refused(name, "a.bin", *rest, says=["a.bin is a file"])


def test_gguf_folders(refused, tmp_path, monkeypatch):
    folder = tmp_path / "g"
    folder.mkdir()
    (folder / "a.gguf").write_bytes(b"")
    monkeypatch.setattr(loading, "find_spec", lambda name: None)
    for name in ("g", "g/a.gguf"):
        refused("audit", name, says=["a.gguf is a GGUF file", "pip install gguf accelerate"])
    monkeypatch.setattr(loading, "find_spec", lambda name: object())
    assert loading.find_checkpoint("g") == loading.find_checkpoint("g/a.gguf") == loading.Checkpoint("g", "a.gguf")
    (folder / "b.gguf").write_bytes(b"")
    refused("audit", "g", says=["several GGUF files (a.gguf, b.gguf)"])
    assert loading.find_checkpoint("g/b.gguf").kwargs == {"gguf_file": "b.gguf"}


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer.json"])
def test_damaged_checkpoints_are_named(refused, changed_model, picture, file):
    folder = changed_model()
    (folder / file).write_bytes(b"{")
    refused("attribute", folder, *ASK, "--image", picture, says=[f"{folder} cannot be loaded"])


@pytest.mark.parametrize("device", ["cuda", "cuda:3", "mps", "meta", "nonsense", "xpu"])
@pytest.mark.parametrize("command", ["attribute", "steer"])
def test_a_device_that_is_not_there_is_one_line(refused, command, device):
    if device.startswith("cuda") and torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    refused(command, "scene", *ASK, "--device", device, says=[f"--device {device}".replace("nonsense", "'nonsense'")])


def test_dtypes_are_those_asked_for(lime, refused, picture):
    asked = ["attribute", "scene", *ASK, "--image", picture, "--json"]
    found = {}
    for dtype in ("auto", "float32", "bfloat16", "float64"):
        result = lime(*asked, f"{dtype}.json", "--dtype", dtype)
        assert result.exit_code == 0, result.output
        with open(f"{dtype}.json") as file:
            found[dtype] = json.load(file)["targets"][0]["value"]
    assert found["auto"] == found["float32"]
    assert found["float64"] == pytest.approx(found["float32"], rel=1e-4)
    assert found["bfloat16"] != found["float32"]
    refused(*asked, "x.json", "--dtype", "int8", says=["--dtype", "int8"])


# Long sounds ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def listener(tmp_path_factory):
    """A folder with a random model of the sound world, which hears four seconds."""
    folder = tmp_path_factory.mktemp("listener")
    torch.manual_seed(0)
    Qwen2AudioForConditionalGeneration(build_config()).save_pretrained(folder)
    sound.build_processor().save_pretrained(folder)
    return str(folder)


def test_a_long_sound_is_refused_or_split_and_never_cut(listener, lime, refused, tmp_path):
    clip = np.random.default_rng(0).normal(0, 0.05, 44100 * 6).astype(np.float32)
    soundfile.write(tmp_path / "long.wav", clip, 44100)
    soundfile.write(tmp_path / "short.ogg", clip[:44100], 44100)
    ask = ["attribute", listener, "--prompt", "is there a dog in the sound ?"]
    files = ["--audio", "short.ogg", "--audio", "long.wav"]
    refused(*ask, *files, says=["long.wav is 6 s long", "hears the first 4 s", "as 2 sounds: --split-audio"])
    result = lime(*ask, *files, "--split-audio", "--json", "a.json")
    assert result.exit_code == 0, result.output
    assert result.stderr == "notice: long.wav is given as 2 sounds of 3 s; times count from the beginning of each.\n"
    for name in ("audio 1", "audio 2", "audio 3"):
        assert name in result.stdout
    assert json.loads((tmp_path / "a.json").read_text())["split_audio"] is True


def test_markers_stand_for_every_part_of_a_sound():
    prompt = "{image} first {audio} then {audio} ?"
    assert with_markers(prompt, [1, 3]) == "{image} first {audio} then {audio}{audio}{audio} ?"
    for counts in ([3], []):
        assert with_markers("hear ?", counts) == "hear ?"
        assert with_markers(prompt, counts) == prompt


def test_events_are_checked_before_computing_and_drawn(listener, lime, refused, tmp_path):
    soundfile.write(tmp_path / "a.ogg", np.random.default_rng(0).normal(0, 0.05, 64000).astype(np.float32), 16000)
    ask = ["explain", listener, "--prompt", "describe the sound .", "--audio", "a.ogg", "--max-new-tokens", 2]
    refused(*ask, "--html", "a.html", "--events", "{", says=["--events is no valid JSON"])
    refused(*ask, "--html", "a.html", "--events", '{"dog": [500, 900]}', says=["'dog' lasts from 500 to 900"])
    refused(*ask, "--html", "a.html", "--events", "[null, null]", says=["entries for 2 sound(s), the prompt has 1"])
    refused(*ask, "--folder", ".", "--html", "a.html", "--events", "{}", says=["--folder and --events are given"])
    assert lime(*ask, "--events", "{}").exit_code == 2
    events = ["--events", '{"dog": [0.5, 1.2], "bell": [[0.9, 1.5], [2.0, 2.4]]}']
    assert lime(*ask, "--html", "a.html", "--save", "a.safetensors", *events).exit_code == 0
    assert '"name":"bell"' in (tmp_path / "a.html").read_text()
    result = lime("plot", "a.safetensors", "--kind", "sound", "--out", "a.png", "--html", "b.html", *events)
    assert result.exit_code == 0, result.output
    assert ",dog," in (tmp_path / "a.csv").read_text()
    assert '"name":"bell"' in (tmp_path / "b.html").read_text()
    refused("plot", "a.safetensors", "--html", "c.html", "--events", '{"dog": [9, 10]}', says=["lasts from 9 to 10"])
    assert lime("plot", "a.safetensors", "--out", "c.png", *events).exit_code == 2
