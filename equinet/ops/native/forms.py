"""The text of forms on the sphere, and its derivative: an einsum of functions.

Letters a-z, A-Z name functions in order. A term is a product such as "aab", or a Poisson bracket
"[ab]", with an integer in front where it is not 1; terms are added by "+" to outputs, which commas
separate: "ab+2cc,[ab]". Every form is multilinear or a power, so the derivative of a form is again
one: autograd closes over a single op.
"""

import re
import string
from collections import Counter
from functools import cache
from typing import NamedTuple

_TERM = re.compile(r"(-?)(\d*)(\[?)([a-zA-Z]+)\]?")


class Term(NamedTuple):
    """A multiple of a product of functions, or of the bracket of two.

    Attributes:
        coefficient: Factor in front of the term.
        is_bracket: Whether the term is a bracket.
        functions: Numbers of the functions in the term.
    """

    coefficient: int
    is_bracket: bool
    functions: tuple[int, ...]


class Gradient(NamedTuple):
    """The derivative of forms as forms.

    Attributes:
        forms: Text, one output for each entry of ``wanted``.
        operands: Numbers of the functions that the gradient takes, followed by those of the
            outputs' gradients.
        wanted: Numbers of the functions by which the forms are differentiated; the gradients by
            all others vanish.
    """

    forms: str
    operands: tuple[int, ...]
    wanted: tuple[int, ...]


@cache
def parse(forms: str) -> tuple[tuple[Term, ...], ...]:
    """Read the terms of each output."""
    return tuple(
        tuple(_parse_term(text) for text in output.split("+")) for output in forms.split(",")
    )


@cache
def differentiate(
    forms: str, functions: int, wanted: tuple[int, ...], outputs: tuple[int, ...]
) -> Gradient:
    """Differentiate the sum over outputs of ``integral of output * its gradient``.

    Args:
        forms: Text of the forms, see the module.
        functions: Number of functions that the forms take.
        wanted: Numbers of the functions by which to differentiate.
        outputs: Numbers of the outputs that have a gradient. The gradient of an output is the
            function of number ``functions + output``.

    Example:
        >>> differentiate("ab", 2, (0, 1), (0,))
        Gradient(forms='ab,cb', operands=(1, 2, 0), wanted=(0, 1))
    """
    parsed = parse(forms)
    gradients: dict[int, list[Term]] = {}
    for function in wanted:
        terms = [
            gradient
            for output in outputs
            for term in parsed[output]
            for gradient in _differentiate_term(term, function, functions + output)
        ]
        if terms:
            gradients[function] = terms
    used = [f for terms in gradients.values() for term in terms for f in term.functions]
    operands = tuple(dict.fromkeys(used))
    letter = {function: string.ascii_letters[i] for i, function in enumerate(operands)}
    text = ",".join(
        "+".join(_write_term(term, letter) for term in terms) for terms in gradients.values()
    )
    return Gradient(text, operands, tuple(gradients))


def _differentiate_term(term: Term, function: int, gradient: int) -> list[Term]:
    """Differentiate by one function: the integral of {f, g} h is cyclic in f, g, h."""
    if function not in term.functions:
        return []
    if term.is_bracket:
        left, right = term.functions
        turned = []
        if left == function:
            turned.append(Term(term.coefficient, is_bracket=True, functions=(right, gradient)))
        if right == function:
            turned.append(Term(term.coefficient, is_bracket=True, functions=(gradient, left)))
        return turned
    powers = Counter(term.functions)
    coefficient = term.coefficient * powers[function]
    powers[function] -= 1
    return [Term(coefficient, is_bracket=False, functions=(*powers.elements(), gradient))]


def _parse_term(text: str) -> Term:
    match = _TERM.fullmatch(text)
    if match is None:
        raise ValueError(f"forms hold terms such as 'ab', '2aab' or '[ab]', found {text!r}")
    sign, number, bracket, letters = match.groups()
    coefficient = int(number or 1) * (-1 if sign else 1)
    functions = tuple(string.ascii_letters.index(letter) for letter in letters)
    return Term(coefficient, bool(bracket), functions)


def _write_term(term: Term, letter: dict[int, str]) -> str:
    number = {1: "", -1: "-"}.get(term.coefficient, str(term.coefficient))
    letters = "".join(letter[function] for function in term.functions)
    return f"{number}[{letters}]" if term.is_bracket else f"{number}{letters}"
