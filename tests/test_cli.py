"""The command line with a model that pretends: exit codes, files, what is said where; and the real program where a process matters."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from PIL import Image

import cyclicxr
from cyclicxr import cli
from cyclicxr.checkpoint import sha256_of
from cyclicxr.cli import console
from cyclicxr.config import Preset
from cyclicxr.types import NOTICE, ImageRecord, InputError, Result, SyntheticRecord

COMMANDS = ("demo", "report", "draw", "cycle", "explain", "train", "evaluate", "score", "paper", "data check", "data openi", "data mimic")
SCHEMA = json.loads((Path(cyclicxr.__file__).parent / "result.schema.json").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Extras:
    chexbert: Path | None
    radgraph: Path | None
    commands: dict[str, str]


@dataclass(frozen=True)
class Told:
    result: Result
    film: Image.Image | None
    drawn: Image.Image | None


class PretendModel:
    """Answers as `cycle.Model` does, without a weight; a file named bad… is no film, one named bug… is our bug."""

    info = {"name": "pretend", "revision": "1"}  # noqa: RUF012
    matcher = "a matcher"

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    def told(self, image: Any, report: str, seed: int | None, force: bool) -> Told:
        path = Path(image)
        if path.name.startswith("lateral") and not force:
            raise InputError(f"{path}: looks lateral; give the frontal film of the study, or go on with --force")
        if not path.is_file():
            raise InputError(f"{path}: no such file; check the name")
        if path.name.startswith("bad"):
            raise InputError(f"{path}: truncated PNG; copy the file again")
        if path.name.startswith("bug"):
            raise IndexError("list index out of range")
        if path.name.startswith("stop"):
            raise KeyboardInterrupt
        record = ImageRecord(str(path), sha256_of(path), 20, 30, "PA")
        film, drawn = Image.new("L", (20, 30), 80), Image.new("L", (256, 256), 60)
        if seed is None:
            return Told(Result(record, self.info, report), film, None)
        return Told(Result(record, self.info, report, synthetic=SyntheticRecord("", (seed,))), film, drawn)

    def outcome_report(self, image: Any, *, force: bool = False) -> Told:
        return self.told(image, f"Report of {Path(image).name}.", None, force)

    def outcome_cycle(self, image: Any, seed: int = 0, *, force: bool = False) -> Told:
        return self.told(image, f"Report of {Path(image).name}.", seed, force)

    def outcome_explain(self, image: Any, text: str, *, force: bool = False) -> Told:
        return self.told(image, text, None, force)

    def outcome_draw(self, text: str, seed: int = 0) -> Told:
        return Told(Result(None, self.info, text, synthetic=SyntheticRecord("", (seed,))), None, Image.new("L", (256, 256), 60))


@pytest.fixture(autouse=True)
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The names by which models were loaded."""
    asked: list[Any] = []

    def load(name: Any = None) -> PretendModel:
        asked.append(name)
        return PretendModel()

    monkeypatch.setattr(cyclicxr, "load", load)
    return asked


@pytest.fixture
def films(tmp_path: Path) -> Callable[..., list[str]]:
    def make(*names: str) -> list[str]:
        for name in names:
            Image.new("L", (20, 30), len(name)).save(tmp_path / name)
        return [str(tmp_path / name) for name in names]

    return make


def stand_in(monkeypatch: pytest.MonkeyPatch, module: str, **functions: Any) -> None:
    """Put a module in the place of a heavy one."""
    made = ModuleType(module)
    made.__dict__.update(functions)
    monkeypatch.setitem(sys.modules, module, made)


def run_program(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "cyclicxr", *arguments], capture_output=True, text=True, check=False, **options)


# ---- help


def test_help_names_every_command_and_the_notice(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["--help"])
    assert stop.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "{" + ",".join(dict.fromkeys(command.split()[0] for command in COMMANDS)) + "}" in said
    assert NOTICE in said


@pytest.mark.parametrize("command", COMMANDS)
def test_each_help_has_an_example_that_parses_and_the_notice(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    import shlex

    with pytest.raises(SystemExit) as stop:
        cli.main([*command.split(), "--help"])
    assert stop.value.code == 0
    said = capsys.readouterr().out
    assert NOTICE in " ".join(said.split())
    examples = re.findall(r"^  (cyclicxr .*)$", said, re.MULTILINE)
    assert examples
    for example in examples:
        arguments = shlex.split(example)
        assert arguments[1 : 1 + len(command.split())] == command.split()
        cli._parser().parse_args(arguments[1:])


def test_help_is_quick_and_loads_no_torch() -> None:
    program = (
        "import sys, time\n"
        "from cyclicxr.cli import main\n"
        "try: main(['report', '--help'])\n"
        "except SystemExit: pass\n"
        "print(time.process_time(), sorted({'torch', 'PIL', 'rich', 'jinja2', 'transformers'} & set(sys.modules)), file=sys.stderr)"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    seconds, loaded = found.stderr.split(maxsplit=1)
    assert loaded.strip() == "[]"
    assert float(seconds) < 1  # of computing, 0.1 where it was measured


@pytest.mark.parametrize(
    "arguments",
    [[], ["nonsense"], ["report"], ["explain", "film.png"], ["train", "s.csv"], ["train", "s.csv", "--out", "o", "--stage", "first"],
     ["train", "s.csv", "--out", "o", "--set", "epochs"], ["evaluate", "s.csv", "--tasks", "report,cook"],
     ["score", "s.csv"], ["score", "s.csv", "--system", "r.csv"], ["paper", "table7", "s.csv"], ["report", "f.png", "--res"]],
    ids=" ".join,
)  # fmt: skip
def test_wrong_arguments_exit_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"cyclicxr {cyclicxr.__version__}\n"


# ---- one film


def test_a_report_is_written_and_its_page_named(films: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], loaded: list[Any]) -> None:
    out = tmp_path / "out"
    assert cli.main(["report", *films("film.png"), "--out", str(out), "--model", "mine"]) == 0
    said = capsys.readouterr()
    assert said.out == f"{out / 'film.html'}\n"
    assert said.err == ""  # no progress where there is no terminal
    stored = json.loads((out / "film.json").read_text())
    Draft202012Validator(SCHEMA).validate(stored)
    assert stored["report"] == "Report of film.png."
    assert loaded == ["mine"]
    assert not (out / "index.html").exists()


def test_a_cycle_takes_its_seed_and_writes_the_drawn_film(films: Any, tmp_path: Path) -> None:
    assert cli.main(["cycle", *films("film.png"), "--out", str(tmp_path / "out"), "--seed", "7"]) == 0
    assert json.loads((tmp_path / "out" / "film.json").read_text())["synthetic"] == {"path": "film.drawn.png", "tokens": [7]}
    assert (tmp_path / "out" / "film.drawn.png").exists()


def test_a_drawing_has_the_name_that_was_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["draw", "Small left effusion.", "--out", str(tmp_path / "new" / "x.png"), "--seed", "3", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said == {name: str(tmp_path / "new" / f"x.{end}") for name, end in (("drawn", "png"), ("result", "json"), ("page", "html"))}
    assert json.loads(Path(said["result"]).read_text())["synthetic"]["tokens"] == [3]


def test_a_text_comes_from_standard_input_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    monkeypatch.setattr(sys, "stdin", io.StringIO("Heart enlarged.\n"))
    assert cli.main(["draw", "-", "--out", str(tmp_path / "x.png")]) == 0
    assert json.loads((tmp_path / "x.json").read_text())["report"] == "Heart enlarged.\n"


@pytest.mark.parametrize("text", ["", "  \n", "12 ... !"])
def test_a_text_without_words_is_refused(text: str, films: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["draw", text, "--out", str(tmp_path / "x.png")]) == 2
    assert cli.main(["explain", *films("film.png"), "--text", text]) == 2
    assert capsys.readouterr().err.count("cyclicxr: error: the text has no words; write what the film shows") == 2


def test_a_text_that_is_not_utf8_is_one_clear_line(
    films: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import io

    for text in (os.fsdecode(b"effusion \xff"), "-"):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"effusion \xff"), encoding="utf-8"))
        assert cli.main(["draw", text, "--out", str(tmp_path / "x.png")]) == 2
        assert cli.main(["explain", *films("film.png"), "--text", os.fsdecode(b"effusion \xff")]) == 2
    assert capsys.readouterr().err == "cyclicxr: error: the text is not in UTF-8; save it as UTF-8\n" * 4


def test_a_drawing_is_a_png(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["draw", "Clear.", "--out", str(tmp_path / "x.jpg")]) == 2
    assert "ends in .png" in capsys.readouterr().err


def test_any_text_is_explained(films: Any, tmp_path: Path) -> None:
    assert cli.main(["explain", *films("film.png"), "--text", "The heart is enlarged.", "--out", str(tmp_path / "why")]) == 0
    assert json.loads((tmp_path / "why" / "film.json").read_text())["report"] == "The heart is enlarged."


def test_the_demo_says_where_the_page_is(films: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["demo", *films("mine.png"), "--out", str(tmp_path / "demo")]) == 0
    said = capsys.readouterr().out
    assert str((tmp_path / "demo" / "mine.html").resolve()) in said
    assert "Report of mine.png." in said
    assert NOTICE in said


def test_the_demo_takes_the_sample_of_the_package(
    films: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "SAMPLE", Path(films("sample.png")[0]))
    assert cli.main(["demo", "--out", str(tmp_path / "demo")]) == 0
    assert "sample.html" in capsys.readouterr().out


# ---- mistakes


def test_a_missing_file_is_one_line_and_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "missing.png"
    for command in (["report", str(missing)], ["explain", str(missing), "--text", "Clear heart."], ["demo", str(missing)]):
        assert cli.main([*command, "--out", str(tmp_path / "out")]) == 2
        said = capsys.readouterr()
        assert said.err == f"cyclicxr: error: {missing}: no such file; check the name\n"
        assert said.out == ""


def test_an_out_that_is_a_file_is_the_callers_mistake(films: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (film,) = films("film.png")
    assert cli.main(["report", film, "--out", film]) == 2
    assert f"--out {film}: cannot be made a folder" in capsys.readouterr().err


def test_in_a_batch_the_others_are_done_and_the_failures_listed_in_one_file(
    films: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad, one, two = films("bad.png", "one.png", "two.png")
    out = tmp_path / "out"
    assert cli.main(["report", bad, one, str(tmp_path / "none*.png"), two, "--out", str(out)]) == 2
    said = capsys.readouterr()
    assert said.out.split() == [str(out / "one.html"), str(out / "two.html")]
    *failed, summary = said.err.splitlines()
    assert failed == [
        f"cyclicxr: error: {tmp_path}/none*.png: no file matches; check the pattern (quoted, the program expands it itself)",
        f"cyclicxr: error: {bad}: truncated PNG; copy the file again",
    ]
    assert re.fullmatch(rf"cyclicxr: 2 failed, 2 written to {out}, in \d+ s; {out}/failures.jsonl names what failed", summary)
    listed = [json.loads(line) for line in (out / "failures.jsonl").read_text().splitlines()]
    assert [f"cyclicxr: error: {line['error']}" for line in listed] == failed
    assert [line["image"] for line in listed] == [f"{tmp_path}/none*.png", bad]
    results = ["index.html", "one.html", "one.json", "thumbnails", "two.html", "two.json"]
    assert sorted(path.name for path in out.iterdir()) == ["failures.jsonl", *results]
    assert cli.main(["report", one, two, "--out", str(out), "--resume"]) == 0
    assert sorted(path.name for path in out.iterdir()) == results  # nothing failed this time
    assert re.fullmatch(rf"cyclicxr: 0 failed, 0 written to {out}, 2 done before, in \d+ s\n", capsys.readouterr().err)


def test_our_own_error_exits_with_1_and_the_others_are_done(films: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", *films("bad.png", "bug.png", "fine.png"), "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr()
    assert "bug.png: IndexError: list index out of range (our error" in said.err
    assert "Traceback" not in said.err
    assert (tmp_path / "out" / "fine.json").exists()


def test_without_any_film_no_model_is_loaded(tmp_path: Path, loaded: list[Any]) -> None:
    assert cli.main(["report", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert loaded == []


def test_machines_get_one_object_a_line(films: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, bad = films("one.png", "bad.png")
    assert cli.main(["report", one, bad, "--out", str(tmp_path / "out"), "--json"]) == 2
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["report"] == "Report of one.png."
    assert Path(first["result"]).exists()
    assert second == {"image": bad, "error": f"{bad}: truncated PNG; copy the file again"}


def test_an_interrupted_batch_goes_on_with_resume(films: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, stop, two = films("one.png", "stop.png", "two.png")
    out = str(tmp_path / "out")
    assert cli.main(["report", one, stop, two, "--out", out]) == 130
    summary, last = capsys.readouterr().err.splitlines()
    assert summary.startswith(f"cyclicxr: 0 failed, 1 written to {out}, 2 not done, in ") and "interrupted" in last
    before = (tmp_path / "out" / "one.json").stat().st_mtime_ns
    assert cli.main(["report", one, two, "--out", out, "--resume"]) == 0
    assert [line.endswith("(done before)") for line in capsys.readouterr().out.splitlines()] == [True, False]
    assert (tmp_path / "out" / "one.json").stat().st_mtime_ns == before


# ---- training, evaluation, data


def test_train_hands_on_its_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    stand_in(monkeypatch, "cyclicxr.training.pipeline", train=lambda *arguments: asked.append(arguments))
    settings = ["--set", "match.epochs=2", "--set", "seed=4", "--set", "encoder.widths=[8,16,24,32]", "--set", "words.pretrained=here"]
    assert cli.main(["train", "s.csv", "--out", str(tmp_path / "run"), "--stage", "match", "--resume", *settings]) == 0
    ((studies, chosen, out, stage, resume),) = asked
    assert isinstance(chosen, Preset)
    assert (studies, out, stage, resume) == (Path("s.csv"), tmp_path / "run", "match", True)
    assert (chosen.match.epochs, chosen.seed, chosen.encoder.widths, chosen.words.pretrained) == (2, 4, (8, 16, 24, 32), "here")


def test_a_setting_that_does_not_exist_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in(monkeypatch, "cyclicxr.training.pipeline", train=None)
    assert cli.main(["train", "s.csv", "--out", str(tmp_path), "--set", "match.epoch=2"]) == 2
    assert "setting 'match.epoch' does not exist" in capsys.readouterr().err


def test_training_that_comes_to_no_number_is_one_line_and_ends_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def diverge(*arguments: Any) -> None:
        raise FloatingPointError("match: loss is nan at step 6 (examples CXR1); last whole state: match.safetensors")

    stand_in(monkeypatch, "cyclicxr.training.pipeline", train=diverge)
    assert cli.main(["train", "s.csv", "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("cyclicxr: error: match: loss is nan at step 6")


def test_evaluate_hands_on_what_it_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked: dict[str, Any] = {}
    stand_in(
        monkeypatch, "cyclicxr.evaluate", Extras=Extras, evaluate=lambda model, studies, **others: asked.update(others, studies=studies)
    )
    out = tmp_path / "e"
    assert cli.main(["evaluate", "s.csv", "--out", str(out), "--tasks", "report, draw", "--compare", "fixed=runs/fixed"]) == 0
    assert (asked["studies"], asked["split"], asked["tasks"], asked["seed"], asked["out"]) == (
        Path("s.csv"),
        "test",
        ("report", "draw"),
        0,
        out,
    )
    assert asked["compare"] == {"fixed": "a matcher"}
    asked["progress"]("reports", 1, 2)
    assert capsys.readouterr().out == f"{out / 'metrics.md'}\n"
    assert asked["command"] == f"cyclicxr evaluate s.csv --out {out} --tasks 'report, draw' --compare fixed=runs/fixed"
    assert (asked["cases"], asked["systems"], asked["backbones"], asked["boxes"]) == (None, {}, {}, None)
    assert (asked["files"] / "config.json").is_file()


def test_score_and_paper_hand_on_what_they_are_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    asked: dict[str, Any] = {}
    stand_in(
        monkeypatch,
        "cyclicxr.evaluate",
        Extras=Extras,
        score=lambda studies, **others: asked.update(others, studies=studies),
        reproduce=lambda item, model, studies, **others: asked.update(others, item=item) or [Path("table2.md"), Path("table2.tex")],
    )
    out = str(tmp_path / "e")
    given = ["--system", "R2Gen=r.csv", "--system", "GPT-4V=a=b.csv", "--metric", "GREEN=green -x", "--cases", "50", "--seed", "3"]
    assert cli.main(["score", "s.csv", "--out", out, *given, "--backbone", "Inception=i.safetensors"]) == 0
    assert asked["systems"] == {"R2Gen": Path("r.csv"), "GPT-4V": Path("a=b.csv")}
    assert (asked["extras"].commands, asked["cases"], asked["seed"]) == ({"GREEN": "green -x"}, 50, 3)
    assert asked["backbones"] == {"Inception": Path("i.safetensors")}
    capsys.readouterr()
    assert cli.main(["paper", "table2", "s.csv", "--out", out, *given, "--boxes", "b.csv"]) == 0
    assert (asked["item"], asked["boxes"]) == ("table2", Path("b.csv"))
    assert capsys.readouterr().out == "table2.md\ntable2.tex\n"
    assert cli.main(["score", "s.csv", "--out", out, "--system", "a=1.csv", "--system", "a=2.csv"]) == 2
    assert "--system a=...: given twice" in capsys.readouterr().err


def test_data_check_lists_every_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "studies.csv"
    table.write_text("id,patient,image,report\n1,p,none.png,The heart is normal.\n1,q,none.png,\n")
    assert cli.main(["data", "check", str(table)]) == 2
    said = capsys.readouterr()
    assert said.err == "" and said.out.endswith(f"{table}: 2 films, 3 errors, 1 warnings\n")
    assert cli.main(["data", "check", str(table), "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["counts"] == {"repeated id": 1, "missing film": 2, "short report": 1}


def test_data_check_of_a_good_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("L", (40, 40)).save(tmp_path / "a.png")
    table = tmp_path / "studies.csv"
    table.write_text("id,patient,image,report\n1,p,a.png,The heart is normal.\n")
    assert cli.main(["data", "check", str(table)]) == 0
    assert capsys.readouterr().out == f"{table}: 1 films, no problem found\n"


def test_data_openi_and_mimic_hand_on_their_folders_and_tell_the_tally(monkeypatch: Any, capsys: pytest.CaptureFixture[str]) -> None:
    from cyclicxr.data.tally import Tally

    asked: list[Any] = []
    tally = Tally({"train": 2})
    tally.keep("train")
    stand_in(monkeypatch, "cyclicxr.data.openi", build_openi=lambda *arguments: asked.append(arguments) or tally)
    stand_in(monkeypatch, "cyclicxr.data.mimic", build_mimic=lambda *arguments: asked.append(arguments[:3]) or tally)
    assert cli.main(["data", "openi", "r.tgz", "png", "--out", "s.csv"]) == 0
    assert capsys.readouterr().out == f"{tally.to_text()}\ns.csv: 1 films\n"
    assert cli.main(["data", "mimic", "root", "--reports", "r.zip", "--out", "s.parquet", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"table": "s.parquet", **tally.to_json()}
    assert asked == [(Path("r.tgz"), Path("png"), Path("s.csv")), (Path("root"), Path("s.parquet"), Path("r.zip"))]


def test_the_lists_of_the_help_are_those_of_the_program() -> None:
    from cyclicxr.cli import evaluate as cli_evaluate
    from cyclicxr.evaluate import ITEMS, TASKS
    from cyclicxr.training.pipeline import STAGES

    assert cli_evaluate.TASKS == TASKS
    assert tuple(ITEMS) == cli_evaluate.ITEMS
    assert tuple(STAGES) == cli.STAGES


# ---- a real process


def test_a_wrong_table_ends_the_real_program_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "studies.csv").write_text("id,image\n1,a.png\n")
    found = run_program("data", "check", "studies.csv", cwd=tmp_path)
    assert found.returncode == 2
    assert "patient" in found.stdout
    assert "Traceback" not in found.stderr


PRETEND = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import cyclicxr, test_cli
cyclicxr.load = lambda name: test_cli.PretendModel()
from cyclicxr.cli import main
"""


HEARING = """
import os, signal, sys
signal.signal(int(sys.argv[1]), signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, "-c", sys.argv[2]])
"""  # tests that run in the background, or under nohup, pass on that a signal is ignored
SLOWLY = """
import time
cycle = test_cli.PretendModel.outcome_cycle
test_cli.PretendModel.outcome_cycle = lambda *asked, **options: (time.sleep(0.02), cycle(*asked, **options))[1]
"""  # so that the films are not all done before a busy machine has sent its signal


def test_a_reader_that_goes_away_is_no_error(films: Any, tmp_path: Path) -> None:
    images = films(*(f"film{i}.png" for i in range(6)))
    program = PRETEND + f"sys.exit(main(['report', *{images!r}, '--out', {str(tmp_path / 'out')!r}]))"
    running = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert running.stdout is not None
    assert running.stderr is not None
    running.stdout.close()
    said = running.stderr.read()
    running.stderr.close()
    assert running.wait(60) == 141
    assert said == ""


def test_on_a_terminal_a_bar_is_drawn_on_standard_error_alone(films: Any, tmp_path: Path) -> None:
    program = PRETEND + f"sys.exit(main(['report', *{films('a.png', 'b.png')!r}, '--out', {str(tmp_path / 'out')!r}]))"
    ours, theirs = pty.openpty()
    found = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=theirs, check=True, env={**os.environ, "TERM": "xterm"}
    )
    os.close(theirs)
    drawn = os.read(ours, 100_000).decode()
    os.close(ours)
    assert "/2" in drawn
    assert found.stdout.decode().split() == [str(tmp_path / "out" / name) for name in ("a.html", "b.html")]


@pytest.mark.parametrize(("seconds", "said"), [(0.4, "0 s"), (59.6, "1 min 0 s"), (200.0, "3 min 20 s"), (18_720.0, "5 h 12 min")])
def test_durations_as_people_say_them(seconds: float, said: str) -> None:
    assert console.duration(seconds) == said


def test_a_log_has_a_line_of_progress_each_minute(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 30.0, 60.0, 60.0, 90.0, 120.0, 120.0])
    monkeypatch.setattr(console.time, "monotonic", lambda: next(now))
    with console.counter() as progress:
        for done in (10, 30, 50, 150):
            progress("films", done, 1000)
    assert capsys.readouterr().err.splitlines() == [
        "cyclicxr: films: 30 of 1000, 0.5/s, about 32 min 20 s left",  # 970 / (30 / 60)
        "cyclicxr: films: 150 of 1000, 2/s, about 7 min 5 s left",  # 850 / (120 / 60)
    ]


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "soon"])
def test_a_time_is_a_number_of_seconds(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["report", "film.png", "--timeout", text])
    assert stop.value.code == 2
    assert "--timeout" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda stop: stop.name)
def test_a_run_that_is_stopped_at_any_moment_leaves_whole_results_alone(stop: signal.Signals, films: Any, tmp_path: Path) -> None:
    images, out = films(*(f"film{i:03}.png" for i in range(400))), tmp_path / "out"
    program = PRETEND + SLOWLY + f"sys.exit(main(['cycle', {str(tmp_path)!r}, '--out', {str(out)!r}, '--resume']))"
    had = 0
    for moment in range(3):
        running = subprocess.Popen(
            [sys.executable, "-c", HEARING, str(int(stop)), program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert running.stdout is not None
        told = [running.stdout.readline() for _ in range(had + 3)]
        time.sleep(0.0023 * moment)  # anywhere between two lines
        running.send_signal(stop)
        rest, said = running.communicate(timeout=60)
        told += rest.splitlines()
        assert len(said.splitlines()) == 2, said
        summary, last = said.splitlines()
        assert running.returncode == 128 + stop
        assert "interrupted" in last
        written = sum("(done before)" not in line for line in told)
        assert summary.startswith(f"cyclicxr: 0 failed, {written} written to {out}")
        assert f", {len(images) - had - written} not done, in " in summary
        files = {path.name for path in out.rglob("*") if path.is_file()}
        assert [name for name in files if name.startswith(".")] == []
        done = {name.removesuffix(".json") for name in files if name.endswith(".json")}
        assert had + written <= len(done) <= had + written + 1  # the last may be whole and not yet told
        for name in done:
            assert json.loads((out / f"{name}.json").read_text())["synthetic"]["path"] == f"{name}.drawn.png"
        whole = {f"{name}{suffix}" for name in done for suffix in (".json", ".html", ".drawn.png", ".jpg")}
        assert files - {"index.html"} == whole
        had = len(done)
    assert had < len(images)


# ---- what is no frontal chest film


def test_a_refused_film_does_not_stop_the_others(films: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "out"
    assert cli.main(["report", *films("a.png", "lateral.png", "z.png"), "--out", str(out)]) == 2
    said = capsys.readouterr().err.splitlines()
    assert "looks lateral" in said[0] and said[-1].startswith("cyclicxr: 1 failed, 2 written")
    assert sorted(path.name for path in out.glob("*.json")) == ["a.json", "z.json"]


@pytest.mark.parametrize("command", ["report", "cycle", "explain", "demo"])
def test_force_goes_on(command: str, films: Callable[..., list[str]], tmp_path: Path):
    text = ["--text", "Clear lungs."] if command == "explain" else []
    arguments = [command, *films("lateral.png"), "--out", str(tmp_path / "out"), *text]
    assert cli.main(arguments) == 2 and not list((tmp_path / "out").glob("*.json"))
    assert cli.main([*arguments, "--force"]) == 0
