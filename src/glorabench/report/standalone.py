"""A figure of the page as a file of its own: SVG that brings its colours, for light and dark, and asks for nothing."""

from __future__ import annotations

import re
from pathlib import Path

_SCALE = 2  # units of a figure are made for a phone
_FONT = 'system-ui, "Segoe UI", Roboto, "Liberation Sans", "DejaVu Sans", sans-serif'


def standalone(image: str) -> str:
    """The text of the file.

    Args:
        image: `<svg viewBox="0 0 WIDTH HEIGHT" ...>`, drawn with the classes of report.css.
    """
    wide, high = (_SCALE * float(x) for x in re.findall(r'viewBox="0 0 (\S+) (\S+)"', image)[0])
    style = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    own = f"svg {{ width: {wide:g}px; height: {high:g}px; font-family: {_FONT}; background: var(--paper); }}"
    head, _, body = image.partition(">")
    head = head.replace("<svg", f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide:g}" height="{high:g}"', 1)
    return f"{head}><style><![CDATA[\n{style}{own}\n]]></style>{body}\n"
