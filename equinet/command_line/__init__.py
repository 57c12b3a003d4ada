"""The verbs of ``python -m equinet``.

A verb is a module with ``add_parser(verbs)``, which sets the default ``run`` of its parsers to a
function of the parsed arguments that yields the lines to print. Modules that are slow to import
are imported inside these functions, so that ``--help`` is fast.
"""

from equinet.command_line.parser import Parser

__all__ = ["Parser", "bench", "data", "doctor", "oc20", "report", "zoo"]
