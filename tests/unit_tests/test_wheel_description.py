"""The description of a wheel keeps the words of the README, and leaves out what leads into the repository."""

from __future__ import annotations

import pytest

from hatch_build import description


@pytest.mark.parametrize(
    ("readme", "expected"),
    [
        pytest.param("See [the docs](docs/a.md#b).", "See the docs.", id="a relative link becomes its text"),
        pytest.param("[`tune`](docs/a.md)", "`tune`", id="the text of a link may be code"),
        pytest.param("See [above](#use).", "See above.", id="a link within the page becomes its text"),
        pytest.param("[a\nb](docs/a.md)", "a\nb", id="the text of a link may span lines"),
        pytest.param("[x](https://a.org/b)", "[x](https://a.org/b)", id="an absolute link stays"),
        pytest.param("A\n\n![Two lanes.](docs/a.svg)\n\nB", "A\n\nB", id="a picture is left out"),
        pytest.param("A\n\n[![x](a.svg)](a.svg)\n\nB", "A\n\nB", id="so is a linked one"),
        pytest.param("![x](https://a.org/b.svg)", "![x](https://a.org/b.svg)", id="an absolute picture stays"),
        pytest.param(
            "`a[0](b)` and\n```python\nf[0](b)\n```", "`a[0](b)` and\n```python\nf[0](b)\n```", id="code stays"
        ),
    ],
)
def test_the_description_of_a_readme(readme: str, expected: str) -> None:
    assert description(readme) == expected
