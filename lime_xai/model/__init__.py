"""Run, record and replay a transformers model; nothing here knows a family, an attribution or a policy."""
