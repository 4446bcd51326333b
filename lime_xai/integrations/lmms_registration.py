"""What lmms-eval finds through the entry point ``lmms_eval.models``; it imports neither torch nor the model's class."""

from typing import Any


def manifests() -> Any:
    """Return the model that ``lmms_eval --model lime_llava`` names."""
    from lmms_eval.models.registry_v2 import ModelManifest

    return ModelManifest(
        model_id="lime_llava", simple_class_path="lime_xai.integrations.lmms_model.LimeLlava", aliases=("lime_xai",)
    )
