"""Do the words of a finding point at it? The matcher's maps on drawn chests with known boxes, or on MS-CXR's, beside what looks at no film.

python benchmarks/grounding.py
python benchmarks/grounding.py --boxes MS_CXR_Local_Alignment_v1.1.0.csv   # films of MIMIC-CXR-JPG beside it
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from machine import save_result

import cyclicxr
from cyclicxr.evaluate.grounding import PHANTOMS, score_grounding
from cyclicxr.evaluate.run import plain
from cyclicxr.evaluate.system import Case
from cyclicxr.training.corpus import Corpus

SEED = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=None, help="name or directory; the shipped model without it")
    parser.add_argument("--boxes", type=Path, default=None, help="MS-CXR's table or JSON; drawn chests without it")
    asked = parser.parse_args()
    model = cyclicxr.load(asked.model)
    size = model.preset.encoder.size
    nothing = Case(Corpus([], torch.empty(0, size, size, dtype=torch.uint8)), {}, "", SEED, lambda what, done, total: None)
    tables = {name: plain(table) for name, table in score_grounding(model, nothing, asked.boxes, Path()).items()}
    films = "films of MS-CXR" if asked.boxes else f"{PHANTOMS} drawn chests with a finding"
    print(save_result("grounding" if asked.boxes is None else "grounding_mscxr", {"model": model.info, "films": films, "tables": tables}))


if __name__ == "__main__":
    main()
