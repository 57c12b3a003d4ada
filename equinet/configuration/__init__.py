"""Configuration of a command, and the record that the command leaves.

Hydra composes the files of ``configs/`` with the command line, the signatures of the constructors
check and complete them, and a run directory keeps the outcome.
"""

from equinet.configuration.config import (
    CONFIG_DIR,
    check,
    check_kind,
    complete,
    instantiate,
    load_choice,
    load_yaml,
    locate,
    options,
    plain,
    save_yaml,
    taken,
    told_by_data,
)
from equinet.configuration.hardware import device_named, hardware
from equinet.configuration.hydra_command import command, compose, process_rank
from equinet.configuration.run_directory import (
    RunDirectory,
    close_log,
    find_run,
    open_log,
    relative,
    write_json,
)
from equinet.configuration.stamp import make_stamp
from equinet.configuration.targets import SET_BY_PROGRAM

__all__ = [
    "CONFIG_DIR",
    "SET_BY_PROGRAM",
    "RunDirectory",
    "check",
    "check_kind",
    "close_log",
    "command",
    "complete",
    "compose",
    "device_named",
    "find_run",
    "hardware",
    "instantiate",
    "load_choice",
    "load_yaml",
    "locate",
    "make_stamp",
    "open_log",
    "options",
    "plain",
    "process_rank",
    "relative",
    "save_yaml",
    "taken",
    "told_by_data",
    "write_json",
]
