"""A network that remembers how it was built."""

from typing import Any

from torch import nn

from equinet.arguments import check_arguments


class Model(nn.Module):
    """Base of whole networks: keyword-only constructors whose arguments are remembered.

    ``arguments`` holds the keywords as they were given, so that a saved model can be rebuilt from
    its class, its arguments and its tensors alone. Choices and ranges in the annotations of the
    constructor are checked before it runs.

    Raises:
        ValueError: An argument is none of its choices, or out of its range.
    """

    arguments: dict[str, Any]

    def __new__(cls, *_: Any, **arguments: Any) -> "Model":  # noqa: PYI034
        """Create the instance and note the keywords before the constructor runs."""
        check_arguments(cls, arguments)
        self = super().__new__(cls)
        object.__setattr__(self, "arguments", dict(arguments))
        return self
