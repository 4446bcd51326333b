"""``python -m lime_xai``."""

from lime_xai.command.app import main

if __name__ == "__main__":
    main()
