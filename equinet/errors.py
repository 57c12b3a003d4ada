"""Exceptions that equinet raises for mistakes that a user can mend.

Each derives from :class:`EquinetError` and from the built-in it specializes, so that both
``except EquinetError`` and ``except ValueError`` catch it.
"""


class EquinetError(Exception):
    """Base of every error that equinet raises on purpose.

    Example:
        >>> issubclass(ConfigError, EquinetError) and issubclass(ConfigError, ValueError)
        True
    """


class ConfigError(EquinetError, ValueError):
    """A configuration names an unknown target or option, or contradicts itself.

    Example:
        >>> from equinet.configuration import locate
        >>> locate("os.system")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        equinet.errors.ConfigError: _target_: 'os.system' is not allowed; ...
    """


class DataError(EquinetError, ValueError):
    """A file or frame cannot be used; the message names the file, the frame and the reason.

    Example:
        >>> str(DataError("water.xyz, frame 3: an energy is not finite"))
        'water.xyz, frame 3: an energy is not finite'
    """


class BackendError(EquinetError, RuntimeError):
    """A computational backend was asked for by name and cannot run here.

    Example:
        >>> issubclass(BackendError, RuntimeError)
        True
    """


class WriteError(EquinetError, OSError):
    """A file cannot be written: the disk or a quota is full, or the place is read-only.

    Args:
        number: Error number of the operating system; `None` where it gave none.
        reason: Reason in words, as the operating system gives it.
        path: Path of the file.

    Example:
        >>> error = WriteError(28, "No space left on device", "model.safetensors")
        >>> str(error).split(";")[0]
        'model.safetensors cannot be written (No space left on device)'
    """

    def __init__(self, number: int | None, reason: str, path: str) -> None:
        super().__init__(number, reason, path)

    def __str__(self) -> str:
        return (
            f"{self.filename} cannot be written ({self.strerror}); what was there before is whole: "
            "make room, or give a folder that can be written, and repeat the command"
        )
