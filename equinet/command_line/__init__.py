"""The verbs of ``python -m equinet``.

A verb is a module with ``add_parser(verbs)``, which sets ``run`` as the parser's default, and
``run(arguments)``, which yields the lines to print. Whatever is slow to import, it imports there.
"""

__all__ = ["bench", "data", "doctor", "oc20", "zoo"]
