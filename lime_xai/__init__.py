"""Steer multimodal language models by relevance.

LIME (Learning Inference-time Modality Enhancement, arXiv 2605.01766) as an explainability toolkit; not Ribeiro
et al.'s LIME.

The public names are listed in ``__init__.pyi``, with the module of each. A module is imported when one of its names is
first used, so that the command line answers ``--help`` without importing torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = "0.1.0"
