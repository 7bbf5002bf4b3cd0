"""What every self-contained page needs: its templates, its style sheets and scripts, and bytes as data URIs; knows no page."""

from __future__ import annotations

import base64
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup


def data_uri(data: bytes, kind: str = "image/png") -> str:
    """Bytes of a media type as a data URI."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


@cache
def asset(path: Path) -> Markup:
    """A style sheet or script of ours, as it is."""
    return Markup(path.read_text(encoding="utf-8"))


@cache
def environment(folder: Path) -> Environment:
    """The templates of a folder; whatever they are given is escaped."""
    return Environment(loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
