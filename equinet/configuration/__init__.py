"""Configuration of a command, and the record that the command leaves.

Hydra composes the files of ``configs/`` with the command line, the signatures of the constructors
check and complete them, and a run directory keeps the outcome.
"""

from equinet.configuration.config import (
    CONFIG_DIR,
    check,
    check_options,
    complete,
    instantiate,
    is_open_ended,
    load_choice,
    load_yaml,
    locate,
    options,
    plain,
    save_yaml,
    taken,
    told_by_data,
)
from equinet.configuration.duration import duration
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
from equinet.configuration.table_of_options import OPEN, OPTION_TABLE, mistake, option_table
from equinet.configuration.targets import SET_BY_PROGRAM, all_targets

__all__ = [
    "CONFIG_DIR",
    "OPEN",
    "OPTION_TABLE",
    "SET_BY_PROGRAM",
    "RunDirectory",
    "all_targets",
    "check",
    "check_options",
    "close_log",
    "command",
    "complete",
    "compose",
    "device_named",
    "duration",
    "find_run",
    "hardware",
    "instantiate",
    "is_open_ended",
    "load_choice",
    "load_yaml",
    "locate",
    "make_stamp",
    "mistake",
    "open_log",
    "option_table",
    "options",
    "plain",
    "process_rank",
    "relative",
    "save_yaml",
    "taken",
    "told_by_data",
    "write_json",
]
