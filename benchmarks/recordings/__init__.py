"""A model of public parts that hears recordings: Whisper tiny and SmolLM2; an experiment, not in the wheel."""
