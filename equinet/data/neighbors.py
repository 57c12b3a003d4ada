"""Neighbor lists, importable from the module that held them before the wing ``atoms``."""

from equinet.data.atoms import neighbor_list

__all__ = ["neighbor_list"]
