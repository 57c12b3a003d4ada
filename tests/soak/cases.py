"""Number of cases of every part of the soak: the one place to change it."""

CASES = {
    "kills": {
        "train": 60,
        "train with two loading processes": 24,
        "train on two processes": 24,
        "convert": 20,
        "convert with two processes": 20,
        "evaluate": 16,
        "save a model": 40,
        "make a cache with two processes": 24,
    },
    "fuzz": {"mutants": 10_500},
    "disk": {"train": 24, "convert": 24, "evaluate": 8, "save a model": 24, "make a cache": 12},
    "load": {"training steps": 10_000, "calculator calls": 10_000, "calls in threads": 400},
    "ranks": {"deaths": 6},
}


def scaled(part: str, fraction: float) -> dict[str, int]:
    """Cases of a part, of which a quick run takes a fraction, and at least one of each kind."""
    return {name: max(1, round(count * fraction)) for name, count in CASES[part].items()}
