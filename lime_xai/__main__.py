"""``python -m lime_xai``."""

from .cli import main

if __name__ == "__main__":
    main()
