"""The paper's tables: `evaluate` runs a model, `score` takes other systems' outputs, `reproduce` makes one table or figure of the paper."""

from cyclicxr.evaluate.items import ITEMS, reproduce
from cyclicxr.evaluate.report_tables import Extras
from cyclicxr.evaluate.run import TASKS, evaluate
from cyclicxr.evaluate.score import score

__all__ = ["ITEMS", "TASKS", "Extras", "evaluate", "reproduce", "score"]
