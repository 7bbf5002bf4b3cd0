"""The paper's tables with their baselines: one call, `evaluate`, runs a model over a split and writes numbers, Markdown and HTML."""

from cyclicxr.evaluate.run import TASKS, evaluate

__all__ = ["TASKS", "evaluate"]
