"""Loading what others trained: from a directory, or from a hub at a pinned revision, or one clear line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cyclicxr.pretrained import load_pretrained
from cyclicxr.types import InputError


def asked(name: str, **options: Any) -> tuple[str, dict[str, Any]]:
    return name, options


def test_a_directory_has_no_revision_and_a_hub_id_has_its_own(tmp_path: Path):
    assert load_pretrained(asked, "part.pretrained", tmp_path, "ab12", more=1) == (str(tmp_path), {"revision": None, "more": 1})
    assert load_pretrained(asked, "part.pretrained", "some/model", "ab12") == ("some/model", {"revision": "ab12"})


def test_a_hub_id_without_a_revision_is_refused():
    with pytest.raises(InputError, match=r"part\.pretrained: 'some/model' is no directory.*local directory.*commit") as caught:
        load_pretrained(asked, "part.pretrained", "some/model", "")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("error", [OSError("no such file\nand more"), ValueError("no such file\nand more"), RuntimeError("no such file")])
def test_what_cannot_be_loaded_is_one_clear_line(tmp_path: Path, error: Exception):
    def fail(name: str, **options: Any) -> None:
        raise error

    with pytest.raises(
        InputError, match=r"part\.pretrained: '.*' can't be loaded \(no such file\); give a whole local directory"
    ) as caught:
        load_pretrained(fail, "part.pretrained", tmp_path, "")
    assert "\n" not in str(caught.value)


def test_an_error_that_says_nothing_is_named(tmp_path: Path):
    def fail(name: str, **options: Any) -> None:
        raise OSError

    with pytest.raises(InputError, match=r"\(OSError\)"):
        load_pretrained(fail, "part.pretrained", tmp_path, "")
