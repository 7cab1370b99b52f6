"""Markdown extension: formulas become MathML when the site is built, so that pages need no script.

It comes after `pymdownx.arithmatex`, which finds the formulas.
"""

import re
import xml.etree.ElementTree as ET

import latex2mathml.converter
from markdown import Markdown
from markdown.extensions import Extension
from markdown.treeprocessors import Treeprocessor

_DELIMITERS = re.compile(r"\s*\\[(\[](.*)\\[)\]]\s*", re.DOTALL)


class _Formulas(Treeprocessor):
    def run(self, root: ET.Element) -> None:
        for element in root.iter():
            formula = _DELIMITERS.fullmatch(element.text or "")
            if element.get("class") == "arithmatex" and formula:
                display = "block" if element.tag == "div" else "inline"
                mathml = latex2mathml.converter.convert(formula[1].strip(), display=display)
                element.text = self.md.htmlStash.store(mathml)


class MathML(Extension):
    """Formulas as MathML."""

    def extendMarkdown(self, md: Markdown) -> None:
        """Come after the inline patterns."""
        md.treeprocessors.register(_Formulas(md), "mathml", 15)


def makeExtension(**options: object) -> MathML:
    """What Markdown calls."""
    return MathML(**options)
