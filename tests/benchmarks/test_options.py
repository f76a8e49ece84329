"""What may be asked of `make bench`."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.__main__ import _options, _scale
from benchmarks.workloads import QUICK, WHOLE, WORKLOADS


def test_everything_by_default_and_less_when_it_is_to_be_quick():
    assert _options([]).only == list(WORKLOADS)
    assert set(WORKLOADS) - set(_options(["--quick"]).only) == {"steps", "sweep"}
    assert _options(["--quick", "--only", "sweep, mail"]).only == ["sweep", "mail"]


def test_sizes_are_put_in_order_and_replace_the_scales():
    assert _scale(_options(["--old-rows", "5000,0"])).old_rows == (0, 5000)
    assert _scale(_options([])).old_rows == WHOLE.old_rows
    assert _scale(_options(["--quick", "--rounds", "4"])).rounds == 4
    assert _scale(_options(["--quick"])) == QUICK


@pytest.mark.parametrize("text", ["", "5", "0,-1", "0,many", "7,7"])
def test_sizes_that_cannot_be_compared_are_refused(text, capsys):
    with pytest.raises(SystemExit):
        _options(["--old-rows", text])

    assert "two numbers or more" in capsys.readouterr().err


def test_files():
    options = _options(["--json", "a.json", "--chart", "b.svg", "--save"])

    assert (options.json, options.chart, options.save) == (Path("a.json"), Path("b.svg"), True)
