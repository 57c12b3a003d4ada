"""Sphinx extension that writes formulas as MathML, which browsers show without scripts or fonts.

The usual way, MathJax, is fetched from the web whenever a page is read.
"""

from typing import Any

from docutils import nodes
from latex2mathml.converter import convert


def formula(latex: str, *, display: str) -> str:
    """Write a formula as MathML.

    Args:
        latex: Formula in LaTeX.
        display: ``inline`` in a line of text, ``block`` in a line of its own.

    Example:
        >>> formula("x^2", display="inline").startswith("<math")
        True
    """
    return convert(latex, display=display)


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
