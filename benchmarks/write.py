"""Write BENCHMARKS.md from results/*.json, so that no number in it is typed by hand; `--check` fails when the page is stale.

python benchmarks/write.py [--check]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cost_tables
import peers_table
from data_tables import burnt_in_text, frontal_gate, gate_targets, loader_speed, loader_targets, mimic_rows
from drawn_reader_tables import drawn_reader, drawn_reader_targets
from evaluation_targets import evaluation_targets
from gpu_tables import gpu
from grounding_tables import grounding_trained
from hints_tables import hint_forms, hints
from large_model_tables import large_model, large_model_targets
from sections import load, made_by, met, plain_table, section, short
from serving_tables import serving

from cyclicxr.checkpoint import write_atomically
from cyclicxr.evaluate.tables import markdown_table
from cyclicxr.evaluate.verdicts import shortcomings

HERE = Path(__file__).parent
PAGE = HERE.parent / "BENCHMARKS.md"

INTRODUCTION = """# Benchmarks

Written by `python benchmarks/write.py` from `benchmarks/results/*.json`; each table says which command made it. Commands need the studies
table of OpenI, which is not part of the repository (`cyclicxr data openi` makes one). Numbers are of one run and one seed unless a table
says otherwise.
"""

TITLES = {
    "report": "CXR to report (Table 1)",
    "report, without marks": "CXR to report, marks of removed words taken from both sides",
    "report by finding": "What the reports name, finding by finding (F1 against the film's labels)",
    "draw": "Report to CXR (Table 3)",
    "draw by finding": "What the drawn films show, finding by finding (AUC of the film classifier)",
    "report, paired": "The model's reports less those of each other system",
    "report by label": "CheXpert's labels of the reports, label by label (F1 against those of the true reports)",
    "draw, paired": "The model's films less those of each other system",
    "draw, nearest training film": "Are drawn films copies of training films?",
    "retrieval": "Retrieval (Table 4), the whole split, identical reports one text",
    "retrieval, exact pair": "Retrieval, each film's own report alone",
    "retrieval, paired": "The matcher less each other system",
}


def tables(metrics: dict[str, Any]) -> Iterator[str]:
    """A table for each task that was evaluated."""
    for task, rows in metrics.items():
        if task != "about" and rows:
            yield f"### {TITLES.get(task, task.capitalize())}\n\n{markdown_table(rows)}"


@section("What the shipped model cannot do", "evaluate", "`python benchmarks/evaluate_openi.py STUDIES`")
def cannot(found: dict[str, Any]) -> Iterator[str]:
    """The sentences that follow from the evaluation's own numbers."""
    yield "".join(f"- {line}\n" for line in shortcomings(found["metrics"])) or "Nothing that its numbers show.\n"


def evaluation(results: Path) -> Iterator[str]:
    """The tables of `cyclicxr evaluate`, with their protocol."""
    found = load("evaluate", results)
    if found is None:
        yield "## Evaluation on the test split\n\nNot measured yet: `python benchmarks/evaluate_openi.py STUDIES`\n"
        return
    metrics = found["metrics"]
    about = metrics["about"]
    model = " ".join(str(part) for part in about["model"].values())
    seconds = ", ".join(f"{task} {short(round(taken))} s" for task, taken in about["seconds"].items())
    yield f"## Evaluation on the {about['split']} split\n\n{made_by(found)}\nModel: {model}; {about['n']} films; {seconds}.\n"
    yield "\n".join(f"- {line}" for line in about["protocol"]) + "\n"
    yield from tables(metrics)


@section("What composing a report brings", "consensus", "`python benchmarks/consensus.py STUDIES`")
def consensus(found: dict[str, Any]) -> Iterator[str]:
    """What a report gains by each part of composing it of samples."""
    yield f"{made_by(found)}\n{found['films']} films of the {found['split']} split; decision 24.\n"
    rows = found["rows"]
    yield plain_table(list(rows[0]), [[value if isinstance(value, str) else short(value) for value in row.values()] for row in rows])


def training(results: Path) -> Iterator[str]:
    """What each stage learned on the validation split."""
    found = load("training", results)
    if found is None:
        yield "## What each stage learned\n\nNot measured yet: `python benchmarks/training_record.py RUN`\n"
        return
    yield f"## What each stage learned, on the validation split\n\n{made_by(found)}"
    for stage, numbers in found["stages"].items():
        yield f"### {stage}\n\n" + plain_table(["number", "value"], [[name, short(value)] for name, value in numbers.items()])
    if found["seconds"]:
        rows = [[stage, f"{taken / 60:.0f}"] for stage, taken in found["seconds"].items()]
        yield "### Minutes of each training loop\n\n" + plain_table(
            ["stage", "minutes"], [*rows, ["all", f"{sum(found['seconds'].values()) / 60:.0f}"]]
        )


@section("Speed", "report_speed", "`python benchmarks/report_speed.py`")
def speed(found: dict[str, Any]) -> Iterator[str]:
    """Warm seconds on one film, and the ratio to a yardstick of the same run."""
    ratio, seconds = found["ratio"], found["seconds"]
    rows = [[name, f"{taken['median']:.2f}", f"{taken['slowest']:.2f}", f"{ratio[name]:.1f}"] for name, taken in seconds.items()]
    yield (
        f"{made_by(found)}\nOne film, warm; the yardstick is twenty products of 1,024 x 1,024 matrices, "
        f"{found['yardstick_seconds']:.2f} s in the same run. Loading the model takes {found['load_seconds']:.1f} s.\n"
    )
    yield plain_table(["command", "median, s", "slowest, s", "median / yardstick"], rows)
    prompt = found["prompt"]
    yield (
        f"{prompt['texts']} texts behind one prompt of {prompt['prompt tokens']} tokens: {prompt['once']:.2f} s where it is kept once, "
        f"{prompt['a copy each']:.2f} s where each row holds a copy, {prompt['times as fast']:.1f} times as long.\n"
    )


@section("Generation", "generation", "`python benchmarks/generation.py`")
def generation(found: dict[str, Any]) -> Iterator[str]:
    """Tokens a second beside Hugging Face's generation, films a second of a batch, and one film there and back."""
    seconds = ", ".join(f"{name} {taken:.2f} s" for name, taken in found["seconds"].items())
    yield (
        f"{made_by(found)}\n256 image tokens a row behind one prompt, sampled alike from the image ids alone, without guidance; 'generate' "
        "is that of `transformers` with a logits processor for the ids. Sides run in turn, medians.\n"
    )
    yield plain_table(list(found["tokens"][0]), [[short(value) for value in row.values()] for row in found["tokens"]])
    yield f"Warm, with guidance: {seconds}. Drawing 16 reports together gives {found['batch times']} times the films a second of one.\n"


def _generation_targets(found: dict[str, Any] | None) -> Iterator[list[str]]:
    if found:
        yield [
            "report and redraw of one film, warm: 3 s at most",
            f"{found['seconds']['cycle']:.2f} s",
            met(found["seconds"]["cycle"] <= 3),
        ]
        yield ["drawing 16 together: at least 4 x the films a second of one", f"{found['batch times']} x", met(found["batch times"] >= 4)]
        for row in found["tokens"]:
            asked = f"image tokens a second, {row['batch']} a batch: at least 1.3 x `transformers.generate`"
            yield [asked, f"{row['times']} x", met(row["times"] >= 1.3)]


def targets(results: Path) -> Iterator[str]:
    """What was asked for, what was reached; rows without a measurement are left out."""
    rows = [
        *evaluation_targets(load("evaluate", results)),
        *_speed_targets(load("report_speed", results)),
        *drawn_reader_targets(results),
        *_generation_targets(load("generation", results)),
        *gate_targets(load("frontal_gate", results)),
        *loader_targets(load("loader_speed", results)),
        *_cost_targets(results),
        *large_model_targets(results),
        *([asked, reached, met(holds)] for asked, reached, holds in peers_table.targets(load("peers", results))),
    ]
    text = (HERE / "shortfalls.md").read_text(encoding="utf-8")
    table = plain_table(["asked for", "reached", "met"], rows) if rows else ""
    yield f"## Targets and shortfalls\n\n{table}\n{text}"


def _speed_targets(found: dict[str, Any] | None) -> Iterator[list[str]]:
    if found:
        seconds = found["seconds"]["report"]["median"]
        yield ["report on one film, warm: 5 s at most", f"{seconds:.2f} s", met(seconds <= 5)]


@section("Distances between film sets", "image_metrics", "`python benchmarks/image_metrics.py`")
def image_metrics(found: dict[str, Any]) -> Iterator[str]:
    """Memory of FID and KID for few and for many pairs, and FID and MS-SSIM beside torchmetrics'."""
    memory, likeness = found["memory"], found["likeness"]
    yield (
        f"{made_by(found)}\nFID and KID by our classifier, of drawn chests of 256 x 256 pixels in a mapped file. Memory is the process's "
        f"own, beside model and file: {memory['MB times']:.1f} times as much for the larger set, whose films as floats would take "
        f"{memory['MB of the films as floats']:,.0f} MB.\n"
    )
    yield plain_table(["pairs", "MB"], [[count, f"{of['MB']:.0f}"] for count, of in memory["pairs"].items()])
    yield (
        f"FID beside torchmetrics', of random features. MS-SSIM of {likeness['pairs']} pairs is {likeness['times as fast']:.1f} times as "
        f"fast as torchmetrics', largest difference {short(likeness['largest difference'])}.\n"
    )
    columns = ("films", "features", "times as fast", "relative difference", "identical films, ours", "identical films, torchmetrics")
    yield plain_table(list(columns), [[short(of[column]) for column in columns] for of in found["fid"]])


@section("Words and places", "grounding", "`python benchmarks/grounding.py`")
def grounding(found: dict[str, Any]) -> Iterator[str]:
    """Whether the words of a finding point at it, beside what looks at no film."""
    yield f"{made_by(found)}\n{found['films'].capitalize()}; drawn chests are not what the model was trained on; decision 32.\n"
    yield from tables(found["tables"])


@section("Is consistency a detector of false sentences?", "consistency", "`python benchmarks/consistency.py STUDIES`")
def consistency(found: dict[str, Any]) -> Iterator[str]:
    """AUC of consistency and of what looks less, what the flag catches, and both ways round the cycle."""
    model = " ".join(str(part) for part in found["model"].values())
    yield f"{made_by(found)}\nModel: {model}; {found['n']} films of the {found['split']} split, seed {found['seed']}; decision 32.\n"
    yield from tables(found["tables"])
    rows = [[kind, *(short(share) for share in shares.values())] for kind, shares in found["flagged"].items()]
    yield f"### What is flagged (consistency below {found['limit']})\n"
    yield plain_table(["kind of change", *next(iter(found["flagged"].values()))], rows)


@section("Report metrics beside the field's", "report_metrics", "`python benchmarks/report_metrics.py STUDIES`")
def report_metrics(found: dict[str, Any]) -> Iterator[str]:
    """Equality with pycocoevalcap, what the stand-in for Java changes, and how long all of it takes."""
    sides, timed = ("pycocoevalcap", "with Java", "without Java"), found["timing"]
    yield f"{made_by(found)}\n400 pairs of real reports (train and val). Without Java there is no METEOR 1.5: nltk's is another.\n"
    rows = [[name, *(f"{of[side]:.5f}" if side in of else "–" for side in sides)] for name, of in found["equality"].items()]
    yield plain_table(["", *sides], rows)
    seconds, wall = timed["processor seconds"], timed["wall seconds"]
    yield (
        f"{timed['pairs']:,} pairs (MIMIC-CXR's test split has as many), {timed['metrics']} metrics without Java, "
        f"{timed['distinct sentences']:,} distinct sentences; the yardstick's {timed['yardstick_seconds']} s "
        f"go {timed['ratio']} times into the wall seconds:\n"
    )
    yield plain_table(["", "processor, s", "wall, s"], [[part, short(seconds[part]), short(wall[part])] for part in seconds])


@section("The rule labeler beside OpenI's annotations", "labeler", "`python benchmarks/labeler.py STUDIES`")
def labeler(found: dict[str, Any]) -> Iterator[str]:
    """Precision, recall, F1 and kappa of each of the 14 labels."""
    columns = {"n": "cases", "precision": "precision", "recall": "recall", "F1": "f1", "kappa": "kappa", "kappa, sure only": "kappa, sure"}
    yield (
        f"{made_by(found)}\nA label counts when it is positive or uncertain (last column: positive alone); annotations name few of the "
        f"findings that a report only suspects. The phrases were chosen on these splits; decision 30.\n"
    )
    for split, of in found["splits"].items():
        rows = [[name, *("–" if row[key] is None else short(row[key]) for key in columns.values())] for name, row in of["labels"].items()]
        yield f"{of['reports']:,} reports of {split}:\n\n{plain_table(['', *columns], rows)}"


@section("AdaMatch beside its peers (Tables 4 to 6)", "peers", "`make peers`")
def peers(found: dict[str, Any]) -> Iterator[str]:
    """R@K of every row by one training, mean and spread over seeds, and what one changed number does."""
    yield f"{made_by(found)}\n{peers_table.about(found)}\n"
    for table in peers_table.shown(found):
        yield f"### {table.title}\n\n{plain_table(table.header, table.rows)}"


@section("One machine to many, on paper", "scaling", "`python benchmarks/scaling.py`")
def scaling(found: dict[str, Any]) -> Iterator[str]:
    """Memory and seconds of a step of each trained part of `paper` on larger machines, and what they are computed from."""
    assumed = ", ".join(f"{name} {value:,}" for name, value in found["assumed"].items())
    yield (
        f"{made_by(found)}\nComputed, not measured: each operation of a step was counted on tensors without contents (operations, bytes, "
        "most bytes alive), and takes the longest of its arithmetic, its bytes and a launch on the machine below. What is sent hides "
        f"behind the rest, as far as it is no longer. Assumed: {assumed}. What it means: [docs/scaling.md](docs/scaling.md).\n"
    )
    numbers = {"GiB if copied": 1, "compute s": 2, "sent s": 3, "step s": 2, "hours": 1}
    rows = [
        [row["part"], row["machine"], row["way"], f"{row['batch']:,}", f"{row['GiB']:.1f}", met(row["fits"])]
        + [f"{row[name]:.{digits}f}" for name, digits in numbers.items()]
        for row in found["rows"]
    ]
    header = ["part", "machine", "way", "joint batch", "GiB a GPU", "fits", "GiB copied whole", "compute, s", "sent, s", "step, s", "hours"]
    yield plain_table(header, rows)
    parts = [
        [part, str(of["batch"]), f"{of['weights'] / 1e6:,.0f}", f"{of['TFLOP']:.1f}", f"{of['GB moved']:,.0f}", f"{of['activations']:.1f}"]
        for part, of in found["parts"].items()
    ]
    yield "One GPU's batch, forward and backward:\n"
    yield plain_table(["part", "batch", "million weights", "TFLOP", "GB read and written", "activations, GiB"], parts)
    first, *_ = found["machines"]
    names = [name for name in first if name != "name"]
    yield "The machines (TFLOP/s of bf16 and of float32, GB/s of memory and of links one way, shares of them that are reached):\n"
    yield plain_table(["machine", *names], [[machine["name"], *(f"{machine[name]:g}" for name in names)] for machine in found["machines"]])


@section("Patch-word similarity", "maxsim", "`OMP_NUM_THREADS=2 python benchmarks/maxsim.py`")
def maxsim(found: dict[str, Any]) -> Iterator[str]:
    """Seconds and memory of MaxSim beside the plain einsum, and how near it is to what its one product needs."""
    yield f"{made_by(found)}\n{cost_tables.maxsim_text(found)}\n"
    yield plain_table(*cost_tables.maxsim_table(found))


@section("What adaptive patches cost", "encoder_cost", "`OMP_NUM_THREADS=2 python benchmarks/encoder_cost.py`")
def encoder_cost(found: dict[str, Any]) -> Iterator[str]:
    """Time and memory of the image encoder beside the same on fixed patches."""
    yield f"{made_by(found)}\n{cost_tables.encoder_text(found)}\n"
    yield plain_table(*cost_tables.encoder_table(found))


@section("Where a training step of the matcher goes", "match_step", "`OMP_NUM_THREADS=2 python benchmarks/match_step.py`")
def match_step(found: dict[str, Any]) -> Iterator[str]:
    """Shares of a step, and how near each part's products come to the machine's speed."""
    yield f"{made_by(found)}\n{cost_tables.step_text(found)}\n"
    yield plain_table(*cost_tables.step_table(found))


def _cost_targets(results: Path) -> Iterator[list[str]]:
    for asked, reached, holds in cost_tables.goals(load("maxsim", results), load("encoder_cost", results)):
        yield [asked, reached, met(holds)]


SECTIONS: tuple[Callable[[Path], Iterator[str]], ...] = (
    cannot,
    targets,
    evaluation,
    drawn_reader,
    peers,
    consensus,
    hints,
    hint_forms,
    training,
    scaling,
    speed,
    maxsim,
    encoder_cost,
    match_step,
    generation,
    serving,
    gpu,
    large_model,
    loader_speed,
    mimic_rows,
    frontal_gate,
    burnt_in_text,
    image_metrics,
    grounding,
    grounding_trained,
    consistency,
    report_metrics,
    labeler,
)


def page(results: Path) -> str:
    """The whole of BENCHMARKS.md."""
    return "\n".join([INTRODUCTION, *(part for section in SECTIONS for part in section(results))]).rstrip() + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where the page is stale")
    written = page(HERE / "results")
    if parser.parse_args().check:
        stale = not PAGE.exists() or PAGE.read_text(encoding="utf-8") != written
        print("BENCHMARKS.md is stale: python benchmarks/write.py" if stale else "BENCHMARKS.md is up to date", file=sys.stderr)
        return int(stale)
    with write_atomically(PAGE) as temporary:
        temporary.write_text(written, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
