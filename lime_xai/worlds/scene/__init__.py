"""The scene world: pictograms in a 2x2 grid, and a tiny LLaVA that hallucinates because of its text."""

from lime_xai.worlds.shared.language import partner

from .ban import NoRepeatObjects
from .causes import CaptionCauses, DialogueCauses, caption_causes, dialogue_causes
from .closed import ClosedMetrics, closed_metrics, closed_values
from .details import detail_counts, detail_values, second_sentence
from .evaluation import DEFAULT_NOISE, SPLITS, EvaluationSet, Question, evaluation_set, lone_objects
from .images import cell_tokens, erase, render, token_cells
from .loading import MODEL_FOLDER, load_model
from .measuring import (
    CAPTION_TOKENS,
    Measurement,
    answer_margins,
    first_logits,
    generate_captions,
    groundings,
    measure,
    object_tokens,
    open_answers,
    question_margins,
)
from .metrics import CaptionMetrics, caption_counts, caption_metrics, caption_values, mentions
from .objects import CLASSES, COLOURS, IMAGE_SIZE, IMAGE_TOKENS, SIDES, class_index
from .probes import OpenQuestion, Probe
from .records import Records, Rows, collect, statistics
from .scenes import Scene, independent_scene, paired_scene, place, themed_scene
from .text import (
    CAPTION_REQUEST,
    COUNT_QUESTION,
    DETAIL_REQUEST,
    build_processor,
    build_tokenizer,
    colour_question,
    exists_question,
    messages,
    prompt,
    side_question,
)

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
    "MODEL_FOLDER",
    "SIDES",
    "SPLITS",
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
    "mentions",
    "messages",
    "object_tokens",
    "open_answers",
    "paired_scene",
    "partner",
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
