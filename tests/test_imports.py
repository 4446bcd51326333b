"""What `import lime_xai` imports, in a process of its own: starting one takes seconds, so one looks for everything."""

import subprocess
import sys

LATER = {"captum", "sklearn", "matplotlib", "scipy.stats", "lime_xai.worlds"}
"""Imported when they are needed, by methods, figures, comparisons and commands."""


def test_importing_the_library_draws_in_no_captum_no_plotting_and_no_world():
    # some releases of transformers import scikit-learn themselves
    code = "import sys; from transformers import GenerationMixin; there = set(sys.modules); import lime_xai; "
    code += f"print({LATER} & (set(sys.modules) - there))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
