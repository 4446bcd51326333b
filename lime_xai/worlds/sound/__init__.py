"""The sound world: events in clips of four seconds, and a tiny Qwen2-Audio that hallucinates because of its text."""
