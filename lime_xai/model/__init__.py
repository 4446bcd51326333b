"""Run, record and replay a transformers model; no code here depends on a family, an attribution or a policy."""
