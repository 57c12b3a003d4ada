"""Benchmarks of the ops: random problems, other libraries to compare with, and figures."""

from equinet.bench.contest import STAGES, Result, compete, implementations
from equinet.bench.differentiation import derivatives, draw_probes
from equinet.bench.figure import draw
from equinet.bench.growth import Growth, fit_growth
from equinet.bench.limits import MEANING
from equinet.bench.problems import Form, Problem, make_problem
from equinet.bench.published import PUBLISHED, Series

__all__ = [
    "MEANING",
    "PUBLISHED",
    "STAGES",
    "Form",
    "Growth",
    "Problem",
    "Result",
    "Series",
    "compete",
    "derivatives",
    "draw",
    "draw_probes",
    "fit_growth",
    "implementations",
    "make_problem",
]
