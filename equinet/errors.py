"""The exceptions that equinet raises for mistakes a user can mend.

Each derives from :class:`EquinetError` and from the built-in it specializes, so that both
``except EquinetError`` and ``except ValueError`` catch it.
"""


class EquinetError(Exception):
    """Base of every error that equinet raises on purpose."""


class ConfigError(EquinetError, ValueError):
    """A configuration names an unknown target or option, or contradicts itself."""


class DataError(EquinetError, ValueError):
    """A file or frame cannot be used as it is; the message names file, frame and reason."""


class BackendError(EquinetError, RuntimeError):
    """A computational backend was asked for by name and cannot run here."""


class WriteError(EquinetError, OSError):
    """A file cannot be written: the disk or a quota is full, or the place is read-only.

    Args:
        number: Error number of the operating system; `None` where it gave none.
        reason: Reason in words, as the operating system gives it.
        path: Path of the file.
    """

    def __init__(self, number: int | None, reason: str, path: str) -> None:
        super().__init__(number, reason, path)

    def __str__(self) -> str:
        return (
            f"{self.filename} cannot be written ({self.strerror}); what was there before is whole: "
            "make room, or give a folder that can be written, and repeat the command"
        )
