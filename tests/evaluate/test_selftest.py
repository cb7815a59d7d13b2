"""The evaluator proves itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from polydub.evaluate import selftest


@pytest.mark.slow
def test_every_figure_is_found_as_it_was_made(shared_data: Path) -> None:
    isometric = shared_data / "media" / "isometric-mt"
    checks = selftest.run(isometric if isometric.is_dir() else None)
    assert [f"{c.name}: {c.found}, wanted {c.wanted}" for c in checks if not c.passed] == []
    assert len(checks) >= 21


@pytest.mark.parametrize(("name", "steps", "wanted"), selftest.LOUD_CASES)
def test_the_loudness_cases_of_the_ebu(name: str, steps: tuple[tuple[float, float], ...], wanted: float) -> None:
    from polydub.evaluate.sound import measured

    assert measured([selftest.tone(steps)]).integrated == pytest.approx(wanted, abs=0.1), name


def test_a_wrong_figure_is_told(tmp_path: Path) -> None:
    for pair in selftest.ISOMETRIC:
        (tmp_path / pair).mkdir()
        for tag in pair.split("-"):
            (tmp_path / pair / f"test.{tag}").write_text("one line of text that is long enough\n")
    checks = list(selftest.human_lengths(tmp_path))
    assert len(checks) == 4
    assert not any(c.passed for c in checks)
