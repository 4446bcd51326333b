"""Everything textual of the sound world: its language, tokenizer, processor with chat template, and prompts."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from transformers import PreTrainedTokenizerFast, Qwen2AudioProcessor, WhisperFeatureExtractor

from lime_xai.worlds.shared.chat import Chat, word_tokenizer
from lime_xai.worlds.shared.language import BOS, EOS, PAD, UNKNOWN, Attribute, Language, article

from .events import (
    CLASSES,
    CLIP_SECONDS,
    FRAME_SECONDS,
    HABITUAL_PITCH,
    HABITUAL_TIME,
    NUMBERS,
    PITCHES,
    POPULARITY,
    SAMPLING_RATE,
    TIMES,
)

AUDIO, AUDIO_BEGIN, AUDIO_END = "<audio>", "<audio_begin>", "<audio_end>"
SPECIAL: Final = (PAD, BOS, EOS, UNKNOWN, AUDIO, AUDIO_BEGIN, AUDIO_END)
MEL_BINS: Final = 64
_WORDS: Final = (
    "user: assistant: yes no is there a an in the sound ? . , what when which pitch describe how many events are "
    "one two three four and it i hear you can can't not nothing recording of or comes first last please do does "
    "contain has have this that with two sentences only"
)
VOCABULARY: Final[Mapping[str, int]] = {
    word: index for index, word in enumerate(dict.fromkeys((*SPECIAL, *_WORDS.split(), *CLASSES, *PITCHES, *TIMES)))
}
"""Word to token id."""

FIRST_QUESTION: Final = "what comes first ?"
LAST_QUESTION: Final = "what comes last ?"

LANGUAGE: Final = Language(
    classes=CLASSES,
    popularity=POPULARITY,
    attributes=(
        Attribute("pitch", PITCHES, HABITUAL_PITCH, "what pitch is the {name} ?", "the {name} is {word} .", "pitches"),
        Attribute("time", TIMES, HABITUAL_TIME, "when is the {name} ?", "the {name} is {word} .", "times"),
    ),
    numbers=NUMBERS,
    exists="is there {name} in the sound ?",
    count_question="how many events are in the sound ?",
    caption_request="describe the sound .",
    detail_request="describe the sound in two sentences .",
    inventory_request="describe the events with pitch .",
    vocabulary=VOCABULARY,
)
"""The words of the sound world."""

CHAT: Final = Chat("audio", f"{AUDIO_BEGIN}{AUDIO}{AUDIO_END}")
"""How conversations about a clip are written."""
messages, prompt = CHAT.messages, CHAT.prompt


def choice_question(objects: Sequence[int]) -> str:
    """Return the question which of several classes sounds; the answer is its name."""
    return f"which is in the sound , {' or '.join(article(CLASSES[o]) for o in objects)} ?"


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Return the word-level tokenizer."""
    return word_tokenizer(VOCABULARY, [AUDIO, AUDIO_BEGIN, AUDIO_END])


def build_feature_extractor() -> WhisperFeatureExtractor:
    """Return the log-mel spectrogram: 64 bands, a column per 25 ms from windows of 50 ms, clips of four seconds."""
    kind: Any = WhisperFeatureExtractor
    extractor: WhisperFeatureExtractor = kind(
        feature_size=MEL_BINS,
        sampling_rate=SAMPLING_RATE,
        hop_length=round(FRAME_SECONDS * SAMPLING_RATE),
        n_fft=2 * round(FRAME_SECONDS * SAMPLING_RATE),
        chunk_length=round(CLIP_SECONDS),
    )
    return extractor


def build_processor() -> Qwen2AudioProcessor:
    """Return the Qwen2-Audio processor: four seconds at 16 kHz to 160 columns and 40 audio tokens."""
    kind: Any = Qwen2AudioProcessor
    processor: Qwen2AudioProcessor = kind(
        feature_extractor=build_feature_extractor(),
        tokenizer=build_tokenizer(),
        chat_template=CHAT.template,
        audio_token=AUDIO,
        audio_bos_token=AUDIO_BEGIN,
        audio_eos_token=AUDIO_END,
    )
    return processor
