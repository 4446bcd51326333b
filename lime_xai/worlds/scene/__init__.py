"""The scene world: pictograms in a 2x2 grid, and a tiny LLaVA that hallucinates because of its text."""

from lime_xai.worlds.scene.causes import (
    DialogueCauses,
    PartnerProbabilities,
    dialogue_causes,
    partner_probabilities,
)
from lime_xai.worlds.scene.evaluation import (
    DEFAULT_NOISE,
    SPLITS,
    EvaluationSet,
    Question,
    evaluation_set,
    lone_objects,
)
from lime_xai.worlds.scene.images import cell_tokens, erase, render, token_cells
from lime_xai.worlds.scene.loading import MODEL_FOLDER, load_model
from lime_xai.worlds.scene.measuring import (
    CAPTION_TOKENS,
    Measurement,
    NoRepeatObjects,
    answer_margins,
    generate_captions,
    measure,
    object_tokens,
    question_margins,
)
from lime_xai.worlds.scene.metrics import (
    CaptionMetrics,
    ClosedMetrics,
    caption_metrics,
    closed_metrics,
    mentions,
)
from lime_xai.worlds.scene.objects import CLASSES, COLOURS, IMAGE_SIZE, IMAGE_TOKENS, class_index, partner
from lime_xai.worlds.scene.scenes import Scene, independent_scene, place, themed_scene
from lime_xai.worlds.scene.text import (
    CAPTION_REQUEST,
    build_processor,
    build_tokenizer,
    colour_question,
    exists_question,
    messages,
    prompt,
)

__all__ = [
    "CAPTION_REQUEST",
    "CAPTION_TOKENS",
    "CLASSES",
    "COLOURS",
    "DEFAULT_NOISE",
    "IMAGE_SIZE",
    "IMAGE_TOKENS",
    "MODEL_FOLDER",
    "SPLITS",
    "CaptionMetrics",
    "ClosedMetrics",
    "DialogueCauses",
    "EvaluationSet",
    "Measurement",
    "NoRepeatObjects",
    "PartnerProbabilities",
    "Question",
    "Scene",
    "answer_margins",
    "build_processor",
    "build_tokenizer",
    "caption_metrics",
    "cell_tokens",
    "class_index",
    "closed_metrics",
    "colour_question",
    "dialogue_causes",
    "erase",
    "evaluation_set",
    "exists_question",
    "generate_captions",
    "independent_scene",
    "load_model",
    "lone_objects",
    "measure",
    "mentions",
    "messages",
    "object_tokens",
    "partner",
    "partner_probabilities",
    "place",
    "prompt",
    "question_margins",
    "render",
    "themed_scene",
    "token_cells",
]
