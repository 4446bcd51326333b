"""Maps of pixels, against the processors that cut pictures."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from support.families import FAMILIES
from transformers import LlavaConfig, Qwen2VLConfig, Qwen2VLImageProcessor

from lime_xai import Attribution, PixelAttribution, attribute_pixels
from lime_xai.attribution.pixels.maps import pixel_maps


def picture(height, width):
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("size", [(56, 84), (112, 56)])
def test_patches_of_qwen_are_put_back_where_they_were(size):
    config = Qwen2VLConfig()
    processor = Qwen2VLImageProcessor(
        do_resize=False, do_normalize=False, patch_size=14, merge_size=2, temporal_patch_size=2
    )
    image = picture(*size)
    found = processor(images=[image, picture(56, 56)], return_tensors="pt")
    first, second = pixel_maps("pixel_values", found["pixel_values"], dict(found), config)
    expected = torch.from_numpy(np.asarray(image)).float().sum(-1) / 255
    assert first.kind == "picture"
    torch.testing.assert_close(first.values, 2 * expected, rtol=1e-5, atol=1e-5)  # repeated in two frames
    assert second.values.shape == (56, 56)


def test_tiles_are_maps_of_their_own():
    found = pixel_maps("pixel_values", torch.ones(2, 3, 3, 8, 10), {}, LlavaConfig())
    assert [one.values.shape for one in found] == [(8, 10)] * 6
    assert float(found[0].values[0, 0]) == 3


def test_padding_of_pixtral_is_cut_off():
    model, _, _ = FAMILIES["mistral3"].build()
    sizes = torch.tensor([[28, 56], [56, 42]])
    found = pixel_maps("pixel_values", torch.ones(2, 3, 56, 56), {"image_sizes": sizes}, model.config)
    assert [tuple(one.values.shape) for one in found] == [(28, 56), (56, 42)]


@pytest.mark.parametrize("name", ["gemma4", "qwen2_vl", "qwen2_audio"])
def test_maps_sum_to_the_relevance(name):
    model, inputs, _ = FAMILIES[name].build()
    found = attribute_pixels(model, inputs, 20)
    (one,) = found.maps()
    if name == "gemma4":
        assert one.kind == "unknown"
        assert "order of pixels in pixel_values (1, 16, 48) is not known" in one.reason
        with pytest.raises(ValueError, match="order of pixels"):
            found.plot()
        return
    total = next(iter(found.relevance.values())).sum()
    torch.testing.assert_close(one.values.sum(), total, rtol=1e-4, atol=1e-5)
    figure = found.plot("$x$")
    assert "$x$" in figure.get_suptitle()
    (numbers,) = figure.numbers
    assert numbers["relevance"] == pytest.approx(float(total), rel=1e-4, abs=1e-5)
    place = tuple(int(part) for part in numbers["at"].split(", "))
    assert numbers["strongest"] == pytest.approx(float(one.values[place]))
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert len(found.seen()) == 1


def test_patches_that_do_not_fit_their_grid_are_unknown():
    grid = {"image_grid_thw": torch.tensor([[1, 4, 4]])}
    (one,) = pixel_maps("pixel_values", torch.ones(8, 1176), grid, Qwen2VLConfig())
    assert one.kind == "unknown"
    assert "does not fit" in one.reason


def test_a_sequence_of_patches_is_no_list_of_pictures():
    (one,) = pixel_maps("pixel_values", torch.ones(16, 3, 14, 14), {"image_grid_thw": torch.ones(1, 3)}, LlavaConfig())
    assert one.kind == "unknown"


@pytest.mark.parametrize("target", [20, [20, 21]], ids=["token", "answer"])
@pytest.mark.parametrize("name", ["llava", "mistral3", "qwen2_vl", "qwen2_audio", "gemma4"])
def test_what_was_saved_is_the_same_and_gives_the_same_maps(name, target, tmp_path):
    model, inputs, _ = FAMILIES[name].build()
    found = attribute_pixels(model, inputs, target)
    found.save(tmp_path / "pixels.safetensors")
    again = PixelAttribution.load(tmp_path / "pixels.safetensors")
    assert again == found
    assert again.coverage == found.coverage
    for one, other in ((found.maps(), again.maps()), (found.seen(), again.seen())):
        assert [(m.signal, m.kind, m.reason) for m in one] == [(m.signal, m.kind, m.reason) for m in other]
        assert all(a.values is None or torch.equal(a.values, b.values) for a, b in zip(one, other, strict=True))
    again.save(tmp_path / "again.safetensors")
    assert PixelAttribution.load(tmp_path / "again.safetensors") == found
    listed = replace(found, companions={"image_sizes": [[4, 4]]})
    listed.save(tmp_path / "listed.safetensors")
    assert PixelAttribution.load(tmp_path / "listed.safetensors").companions == listed.companions
    if name != "gemma4":
        assert again.plot().numbers == found.plot().numbers
    with pytest.raises(ValueError, match=r"an attribution, which Attribution\.save writes"):
        Attribution.load(tmp_path / "pixels.safetensors")
