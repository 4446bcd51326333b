"""Everything textual: vocabulary, tokenizer, processor with chat template, questions and prompts."""

from collections.abc import Mapping
from typing import Any, Final

from transformers import CLIPImageProcessor, LlavaProcessor, PreTrainedTokenizerFast

from lime_xai.worlds.shared.chat import Chat, word_tokenizer
from lime_xai.worlds.shared.language import BOS, EOS, PAD, UNKNOWN, Attribute, Language

from .objects import (
    CLASSES,
    COLOURS,
    HABITUAL_COLOUR,
    HABITUAL_SIDE,
    IMAGE_SIZE,
    NUMBERS,
    PATCH_SIZE,
    POPULARITY,
    SIDES,
)

IMAGE = "<image>"
SPECIAL: Final = (PAD, BOS, EOS, UNKNOWN, IMAGE)
_WORDS: Final = (
    "user: assistant: yes no is there a an in the image ? . , what colour describe how many objects are "
    "one two three four and it shows i see you can can't not nothing picture of photo please do does contain "
    "has have this that with color only left right where on sentences"
)
VOCABULARY: Final[Mapping[str, int]] = {
    word: index for index, word in enumerate((*SPECIAL, *_WORDS.split(), *CLASSES, *COLOURS))
}
"""Word to token id; 77 entries."""

CAPTION_REQUEST: Final = "describe the image ."
DETAIL_REQUEST: Final = "describe the image in two sentences ."
"""Asks for a caption and a second sentence on the colour or the place of something that it names."""
INVENTORY_REQUEST: Final = "describe the objects with colour ."
"""Asks for every object with its colour and its side."""
COUNT_QUESTION: Final = "how many objects are in the image ?"

LANGUAGE: Final = Language(
    classes=CLASSES,
    popularity=POPULARITY,
    attributes=(
        Attribute(
            "colour",
            COLOURS,
            tuple(COLOURS.index(name) for name in HABITUAL_COLOUR),
            "what colour is the {name} ?",
            "the {name} is {word} .",
            "colours",
        ),
        Attribute("side", SIDES, HABITUAL_SIDE, "where is the {name} ?", "the {name} is on the {word} .", "sides"),
    ),
    numbers=NUMBERS,
    exists="is there {name} in the image ?",
    count_question=COUNT_QUESTION,
    caption_request=CAPTION_REQUEST,
    detail_request=DETAIL_REQUEST,
    inventory_request=INVENTORY_REQUEST,
    vocabulary=VOCABULARY,
)
"""The words of the scene world."""

CHAT: Final = Chat("image", IMAGE)
"""How conversations about a picture are written."""
messages, prompt = CHAT.messages, CHAT.prompt


def exists_question(obj: int) -> str:
    """Return the yes/no question about an object."""
    return LANGUAGE.exists_question(obj)


def colour_question(obj: int) -> str:
    """Return the question about the colour of an object."""
    return LANGUAGE.attribute_question(LANGUAGE.attributes[0], obj)


def side_question(obj: int) -> str:
    """Return the question about the half of the image in which an object is."""
    return LANGUAGE.attribute_question(LANGUAGE.attributes[1], obj)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Return the word-level tokenizer."""
    return word_tokenizer(VOCABULARY, [IMAGE])


def build_processor() -> LlavaProcessor:
    """Return the LLaVA processor: images to 72x72 in [-1, 1], one ``<image>`` mark to 36 image tokens."""
    side = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    pictures = CLIPImageProcessor(
        size=side,
        crop_size=side,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
        do_center_crop=False,
        resample=2,
    )
    kind: Any = LlavaProcessor
    processor: LlavaProcessor = kind(
        image_processor=pictures,
        tokenizer=build_tokenizer(),
        patch_size=PATCH_SIZE,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT.template,
    )
    return processor
