"""The Python of the READMEs runs."""
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize("path", ["README.md", "python/README.md"])
def test_readme(path):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / path).read_text(encoding="utf-8"), re.S)
    assert blocks
    names = {}
    exec("\n".join(blocks), names)  # pylint: disable=exec-used
    assert names["out"].shape[-1] == 64 and names["lse"].shape == names["out"].shape[:2]
