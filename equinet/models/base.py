"""A network that remembers how it was built."""

from typing import Any

from torch import nn


class Model(nn.Module):
    """Base of whole networks: keyword-only constructors whose arguments are remembered.

    ``arguments`` holds the keywords as they were given, so that a saved model can be rebuilt from
    its class, its arguments and its tensors alone.
    """

    arguments: dict[str, Any]

    def __new__(cls, *_: Any, **arguments: Any) -> "Model":  # noqa: PYI034
        """Create the instance and note the keywords before the constructor runs."""
        self = super().__new__(cls)
        object.__setattr__(self, "arguments", dict(arguments))
        return self
