"""The native engine: compiled kernels, loaded at first use.

``torch.ops.equinet`` holds its ops once :func:`unavailable` has returned "".
"""

from functools import cache
from pathlib import Path

import torch

_FOLDER = Path(__file__).parent


@cache
def unavailable() -> str:
    """Load the compiled kernels, once.

    Returns:
        "" where they are ready for use, else the reason why not, with what to do about it.
    """
    library = _FOLDER / "libequinet.so"
    if not library.is_file():
        return "the native engine is not built; run 'make native', or install with a C++ compiler"
    try:
        torch.ops.load_library(library)
    except OSError as error:
        return f"{library} does not load: {error}"
    return ""
