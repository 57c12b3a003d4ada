"""Times as they are typed, such as ``30m`` or ``02:00:00``."""

import math
import re
from datetime import timedelta

from equinet.errors import ConfigError

_UNITS = {"d": 86400, "h": 3600, "min": 60, "m": 60, "s": 1}
_LONGEST = 86400 * 36500  # seconds
_TIMES = r"(?:(\d+(?:\.\d+)?)(d|h|min|m|s))"


def duration(value: object) -> timedelta | None:
    """Read the time that a training may take.

    Args:
        value: Number of seconds; or a text such as ``90s``, ``30m``, ``30min``, ``2h``, ``1h30m``,
            ``HH:MM:SS`` or ``DD:HH:MM:SS``; None for no limit.

    Returns:
        The time; None for no limit.

    Raises:
        ConfigError: The value is none of these, or is not above zero.

    Example:
        >>> str(duration("30m")), str(duration(1800)), str(duration("02:00:00"))
        ('0:30:00', '0:30:00', '2:00:00')
    """
    if value is None:
        return None
    text = str(value).strip()
    seconds = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    elif re.fullmatch(r"\d+(?:\.\d+)?", text):
        seconds = float(text)
    elif re.fullmatch(f"{_TIMES}+", text):
        seconds = sum(float(number) * _UNITS[unit] for number, unit in re.findall(_TIMES, text))
    elif re.fullmatch(r"(?:\d+:)?\d+:\d+:\d+", text):
        places = zip(reversed(text.split(":")), (1, 60, 3600, 86400), strict=False)
        seconds = sum(int(number) * size for number, size in places)
    if not 0 < seconds < _LONGEST:
        raise ConfigError(
            f"trainer.max_time: {value!r} is no time; write 90s, 30m, 2h, HH:MM:SS or DD:HH:MM:SS"
        )
    return timedelta(seconds=seconds)
