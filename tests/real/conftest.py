import pytest

from benchmarks.real_models import load_smollm2


@pytest.fixture(scope="session")
def smollm2():
    """SmolLM2-135M-Instruct in float32 and its tokenizer; without the package an error that says what to install."""
    return load_smollm2()
