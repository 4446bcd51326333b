"""Public entries that take a model and inputs, called by name."""

import lime_xai


def call_entry(name, model, inputs, policy="plausible", perceptual=None, **settings):
    """Run ``attribute``, ``routes``, ``read_prompt``, ``calibrate``, ``steer``, or ``generate`` inside ``steering``."""
    settings = {"max_new_tokens": 2, **settings}
    if name == "steering":
        with lime_xai.steering(model, policy, perceptual=perceptual):
            return model.generate(**inputs, **settings)
    if name == "steer":
        return lime_xai.steer(model, inputs, policy, perceptual=perceptual, **settings)
    if name == "calibrate":
        return lime_xai.calibrate(model, [inputs], progress=False)
    return getattr(lime_xai, name)(model, inputs)
