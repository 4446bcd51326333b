"""What the embedded worlds have in common: what a world is, and all that measures a model on one."""
