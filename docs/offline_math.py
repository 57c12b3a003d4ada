"""Sphinx extension that writes formulas as MathML, which browsers show without scripts or fonts.

The usual way, MathJax, is fetched from the web whenever a page is read.
"""

import re
import unicodedata
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert

_BAR = re.compile(r"<mo[^>]*>&#x0007C;</mo>")
_DOUBLE = re.compile(r'<mi mathvariant="double-struck">(\w)</mi>')


def formula(latex: str, *, display: str) -> str:
    """Write a formula as MathML.

    Args:
        latex: Formula in LaTeX.
        display: ``inline`` in a line of text, ``block`` in a line of its own.

    Example:
        >>> formula(r"\\mathbb R", display="inline").count("ℝ")
        1
    """
    # Browsers know letters with double strokes by their own codes alone, and set bars apart.
    text = _DOUBLE.sub(
        lambda found: f"<mi>{_double_struck(found[1])}</mi>", convert(latex, display=display)
    )
    return _BAR.sub('<mo stretchy="false" lspace="0" rspace="0">|</mo>', text)


def _double_struck(letter: str) -> str:
    return unicodedata.lookup(f"DOUBLE-STRUCK CAPITAL {letter}")


def _visit_inline(translator: Any, node: nodes.math) -> None:
    translator.body.append(formula(node.astext(), display="inline"))
    raise nodes.SkipNode


def _visit_block(translator: Any, node: nodes.math_block) -> None:
    translator.body.append(f'<div class="math">{formula(node.astext(), display="block")}</div>\n')
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, bool]:
    """Register the way in which HTML pages show formulas."""
    app.add_html_math_renderer("mathml", (_visit_inline, None), (_visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
