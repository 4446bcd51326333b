import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.photographs.catalogue import (
    CLASSES,
    DIGEST,
    FILES,
    OTHER_WORDS,
    Catalogue,
    catalogue,
    cropped,
    read_cutout,
)
from benchmarks.photographs.tints import TINTS


@pytest.fixture
def stamps(tmp_path):
    """A folder like the package's, with a drawn rectangle for each file."""
    for name, files in FILES.items():
        for index, file in enumerate(files):
            path = tmp_path / file
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.zeros((64, 70, 4), np.uint8)
            pixels[5:50, 10:60] = (len(name), index, 80, 255)
            Image.fromarray(pixels).save(path)
            path.with_suffix(".txt").write_text(f"A {name}.\nfr=quelque chose\n", encoding="utf-8")
    return tmp_path


def test_all_classes_are_read_and_cropped(stamps):
    found = catalogue(stamps)
    assert found.names == CLASSES
    assert [len(cutouts) for cutouts in found.cutouts] == [len(files) for files in FILES.values()]
    assert set(found.files) == {file for files in FILES.values() for file in files}
    for cutouts in found.cutouts:
        for cutout in cutouts:
            assert cutout.pixels.shape == (45, 50, 4)
            assert cutout.aspect == pytest.approx(50 / 45)
            np.testing.assert_array_equal(cutout.alpha, cutout.pixels[..., 3])


def test_the_digest_depends_on_every_file(stamps):
    first = catalogue(stamps).digest
    assert catalogue(stamps).digest == first
    with (stamps / FILES["zebra"][-1]).open("ab") as file:
        file.write(b"more")
    assert catalogue(stamps).digest != first


def test_missing_files_are_named(stamps):
    (stamps / FILES["dog"][0]).unlink()
    (stamps / FILES["owl"][0]).with_suffix(".txt").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"lacks 2 of .*dogs/dog\.png, .*owl\.txt.*benchmarks\.photographs parts"
    ):
        catalogue(stamps)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        catalogue(tmp_path / "nowhere")


def changed(stamps, size=(70, 64), mode="RGBA", box=(10, 5, 60, 50)):
    picture = Image.new(mode, size)
    picture.paste(Image.new(mode, (box[2] - box[0], box[3] - box[1]), "white"), box)
    picture.save(stamps / FILES["dog"][0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "RGB"}, "mode RGB"),
        ({"mode": "LA"}, "mode LA"),
        ({"size": (59, 200)}, "60 on the shorter side"),
        ({"box": (0, 0, 70, 64)}, "transparent in 0%"),
        ({"box": (0, 0, 3, 3)}, "opaque in 0%"),
    ],
)
def test_a_stamp_that_is_no_cutout_is_named(stamps, arguments, message):
    changed(stamps, **arguments)
    with pytest.raises(ValueError, match=rf"dogs/dog\.png.*{message}"):
        catalogue(stamps)


def test_a_damaged_stamp_is_named(stamps):
    path = stamps / FILES["dog"][0]
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(ValueError, match=r"dogs/dog\.png is no picture, or damaged"):
        catalogue(stamps)


def test_a_caption_of_something_else_is_refused(stamps):
    file = FILES["dog"][0]
    (stamps / file).with_suffix(".txt").write_text("A fox.\nde=Ein dog.\n", encoding="utf-8")
    with pytest.raises(ValueError, match="names no dog"):
        read_cutout(stamps, "dog", file)
    (stamps / file).with_suffix(".txt").write_text("A Caribou!\n", encoding="utf-8")
    assert read_cutout(stamps, "deer", file).file == file


def test_the_list_of_classes():
    assert len(CLASSES) % 2 == 0
    assert 40 <= len(CLASSES) <= 56
    assert len(set(CLASSES)) == len(CLASSES)
    files = [file for group in FILES.values() for file in group]
    assert len(set(files)) == len(files)
    assert not [file for file in files if "cartoon" in file or "mirror" in file]
    assert set(OTHER_WORDS) <= set(CLASSES)
    assert not {word for words in OTHER_WORDS.values() for word in words} & set(CLASSES)


def test_cropping_leaves_only_rows_and_columns_of_the_object():
    pixels = np.zeros((20, 30, 4), np.uint8)
    pixels[4, 7], pixels[11, 20] = 255, 30
    assert cropped(pixels).shape == (8, 14, 4)


def test_a_class_without_a_cutout_is_refused():
    with pytest.raises(ValueError, match="'dog' has no cut-out"):
        Catalogue(("dog",), ((),))
    with pytest.raises(ValueError, match="2 names"):
        Catalogue(("dog", "fox"), ((),))


def parts():
    """The downloaded packages, or a skip with the reason."""
    from benchmarks.photographs.packages import found

    folder = os.environ.get("LIME_PHOTOGRAPHS")
    if folder is None:
        pytest.skip("set LIME_PHOTOGRAPHS to the folder of python -m benchmarks.photographs parts")
    return found(Path(folder))


@pytest.mark.real
def test_the_package_gives_the_catalogue_that_results_are_of():
    assert catalogue(parts().stamps).digest == DIGEST


@pytest.mark.real
def test_names_of_classes_and_tints_are_single_tokens():
    from transformers import AutoTokenizer

    file = parts().smollm2
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    long = [name for name in (*CLASSES, *TINTS) if len(tokenizer(f" {name}", add_special_tokens=False).input_ids) != 1]
    assert not long
