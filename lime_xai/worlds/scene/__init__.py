"""The scene world: pictograms in a 2x2 grid, and a tiny LLaVA that hallucinates because of its text."""

from lime_xai.worlds.shared.ban import NoRepeatObjects
from lime_xai.worlds.shared.causes import CaptionCauses, DialogueCauses, caption_causes, dialogue_causes
from lime_xai.worlds.shared.closed import ClosedMetrics, closed_metrics, closed_values
from lime_xai.worlds.shared.details import detail_counts, detail_values, second_sentence
from lime_xai.worlds.shared.evaluation import SPLITS, EvaluationSet, Question, lone_objects
from lime_xai.worlds.shared.language import object_tokens, partner
from lime_xai.worlds.shared.measuring import (
    CAPTION_TOKENS,
    Measurement,
    answer_margins,
    first_logits,
    generate_captions,
    groundings,
    measure,
    open_answers,
    question_margins,
)
from lime_xai.worlds.shared.metrics import CaptionMetrics, caption_counts, caption_metrics, caption_values
from lime_xai.worlds.shared.probes import OpenQuestion, Probe
from lime_xai.worlds.shared.records import Records, Rows, collect, statistics

from .images import cell_tokens, erase, render, token_cells
from .masks import pixel_mask
from .objects import CLASSES, COLOURS, IMAGE_SIZE, IMAGE_TOKENS, SIDES, class_index
from .scenes import Scene, independent_scene, paired_scene, place, themed_scene
from .text import (
    CAPTION_REQUEST,
    COUNT_QUESTION,
    DETAIL_REQUEST,
    LANGUAGE,
    build_processor,
    build_tokenizer,
    colour_question,
    exists_question,
    messages,
    prompt,
    side_question,
)
from .world import DEFAULT_NOISE, WORLD

evaluation_set = WORLD.evaluation_set
load_model = WORLD.load_model

__all__ = [
    "CAPTION_REQUEST",
    "CAPTION_TOKENS",
    "CLASSES",
    "COLOURS",
    "COUNT_QUESTION",
    "DEFAULT_NOISE",
    "DETAIL_REQUEST",
    "IMAGE_SIZE",
    "IMAGE_TOKENS",
    "LANGUAGE",
    "SIDES",
    "SPLITS",
    "WORLD",
    "CaptionCauses",
    "CaptionMetrics",
    "ClosedMetrics",
    "DialogueCauses",
    "EvaluationSet",
    "Measurement",
    "NoRepeatObjects",
    "OpenQuestion",
    "Probe",
    "Question",
    "Records",
    "Rows",
    "Scene",
    "answer_margins",
    "build_processor",
    "build_tokenizer",
    "caption_causes",
    "caption_counts",
    "caption_metrics",
    "caption_values",
    "cell_tokens",
    "class_index",
    "closed_metrics",
    "closed_values",
    "collect",
    "colour_question",
    "detail_counts",
    "detail_values",
    "dialogue_causes",
    "erase",
    "evaluation_set",
    "exists_question",
    "first_logits",
    "generate_captions",
    "groundings",
    "independent_scene",
    "load_model",
    "lone_objects",
    "measure",
    "messages",
    "object_tokens",
    "open_answers",
    "paired_scene",
    "partner",
    "pixel_mask",
    "place",
    "prompt",
    "question_margins",
    "render",
    "second_sentence",
    "side_question",
    "statistics",
    "themed_scene",
    "token_cells",
]
