"""Import of models that mace-torch has trained; nothing in their files is run."""

from equinet.zoo.mace.importing import import_mace

__all__ = ["import_mace"]
