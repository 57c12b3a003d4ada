"""Base class of whole networks, which keep the arguments of their constructors."""

from typing import Any

from torch import nn

from equinet.arguments import check_arguments


class Model(nn.Module):
    """Base of whole networks, which keep the keyword arguments of their constructors.

    ``arguments`` holds the keywords as they were given, so that a saved model can be rebuilt from
    its class, its arguments and its tensors. Choices and ranges in the annotations of the
    constructor are checked before it runs.

    Raises:
        ValueError: An argument is not among its choices, or out of range.

    Example:
        >>> from equinet.models import GroupResNet
        >>> GroupResNet(classes=3, channels=4, blocks=1, rotations=4).arguments["channels"]
        4
    """

    arguments: dict[str, Any]

    def __new__(cls, *_: Any, **arguments: Any) -> "Model":  # noqa: PYI034 - subclasses are made by it
        """Create the instance and keep the keywords before the constructor runs."""
        check_arguments(cls, arguments)
        self = super().__new__(cls)
        object.__setattr__(self, "arguments", dict(arguments))
        return self
