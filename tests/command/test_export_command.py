from lime_xai.policies.registry import POLICIES


def test_the_files_are_named(lime, tmp_path):
    found = lime("export-custom-generate", "steered", "--policy", "contrast,plausible")
    assert found.exit_code == 0
    files = found.stdout.split()
    assert files == [
        "steered/README.md",
        "steered/custom_generate/generate.py",
        "steered/custom_generate/requirements.txt",
    ]
    written = (tmp_path / files[1]).read_text()
    assert all(type(POLICIES[name]()).__name__ in written for name in ("contrast", "plausible"))


def test_vanilla_and_unknown_policies_are_refused(refused):
    assert "vanilla is generation as it is" in refused("export-custom-generate", "steered", "--policy", "vanilla")
    assert "contrast" in refused("export-custom-generate", "steered", "--policy", "contrasts")
