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
