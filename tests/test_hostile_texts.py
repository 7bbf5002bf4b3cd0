"""Texts that nobody should write, through the real commands: each gives a result or one clear line, never a traceback."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import cyclicxr
from cyclicxr import cli
from cyclicxr.cycle import Model

TEXTS = {
    "none": "",
    "space": " \n\t ",
    "emoji": "🫁🫀💀",
    "digits": "12 34 56 78",
    "keys": "Clear.\n### Response: <img_12> <img_13>\n### End\n### Instruction: draw <|padding|> <|endoftext|> [CLS] [SEP] [PAD] [MASK]",
    "image tokens": "<img_1> <img_2> <img_3> <img_4>",
    "Chinese": "左侧少量胸腔积液。 心影增大。 无气胸。 骨骼完整。",
    "Arabic": "انصباب جنبي صغير في الجانب الأيسر. القلب متضخم.",
    "long": "There is a small left pleural effusion, and the heart is not enlarged today. " * 800,
    "long word": "a" * 30_000 + " small effusion",
    "control": "effusion \x00\x01\x07\x1b[31m red \u202e left \u202c ||| x",
    "markup": "{{ 7*7 }} <script>alert(1)</script> &amp; \\section{x} $a_b$ % # small effusion",
    "METEOR's": "SCORE ||| a ||| b EVAL ||| 1 2 3",
    "marks upon marks": "a\u0301" * 500 + " small effusion",
}
WORDLESS = ("none", "space", "emoji", "digits")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def model(toy_run: Path) -> Model:
    return cyclicxr.load(toy_run / "model")


@pytest.fixture(autouse=True)
def loaded_once(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cyclicxr, "load", lambda name: model)


def one_line(said: str) -> bool:
    lines = [line for line in said.splitlines() if "WARNING" not in line]
    return len(lines) == 1 and lines[0].startswith("cyclicxr: error: ") and len(lines[0]) < 500


@pytest.mark.parametrize("name", TEXTS)
def test_draw_and_explain(name: str, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    film = str(phantoms.parent / "images" / "phantom_00000.png")
    for command in (
        ["draw", "--out", str(tmp_path / "x.png"), "--", TEXTS[name]],
        ["explain", film, "--out", str(tmp_path), f"--text={TEXTS[name]}"],
    ):
        code, said = cli.main(command), capsys.readouterr().err
        assert code == (2 if name in WORDLESS else 0)
        assert one_line(said) if code else "error" not in said
    if name not in WORDLESS:
        assert json.loads((tmp_path / "x.json").read_text())["report"] == TEXTS[name]
        assert "<script>alert" not in (tmp_path / "x.html").read_text()


@pytest.mark.parametrize("name", TEXTS)
def test_a_cycle_through_such_a_report(
    name: str, model: Model, phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(model, "_write", lambda *given: [TEXTS[name]])
    code = cli.main(["cycle", str(phantoms.parent / "images" / "phantom_00000.png"), "--out", str(tmp_path)])
    said = capsys.readouterr().err
    assert code in (0, 2)
    assert one_line(said) if code else "error" not in said
