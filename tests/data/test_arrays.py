"""Archives whose directory lost parts are refused, as zipfile itself does not."""

import struct

import numpy as np
import pytest
import torch

from equinet.data.arrays import check_archive, read_arrays
from equinet.errors import DataError


@pytest.fixture
def arrays():
    return {"a": np.arange(3.0), "b": np.arange(4.0), "c": np.arange(5.0)}


def shortened(content: bytes, kept: int) -> bytes:
    """Let the end record of an archive announce the first entries of its directory alone."""
    end = content.rindex(b"PK\5\6")
    size, start = struct.unpack_from("<LL", content, end + 12)
    places = [start]
    while places[-1] < start + size:
        lengths = struct.unpack_from("<HHH", content, places[-1] + 28)
        places.append(places[-1] + 46 + sum(lengths))
    directory = content[start : places[kept]]
    record = bytearray(content[end:])
    struct.pack_into("<HHLL", record, 8, kept, kept, len(directory), start)
    return content[:start] + directory + bytes(record)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_whole_archives_are_read(arrays, tmp_path, save):
    path = tmp_path / "a.npz"
    save(path, **arrays)
    found = read_arrays(path, "arrays")
    assert all(np.array_equal(found[name], array) for name, array in arrays.items())
    torch.save({"a": torch.ones(3), "b": [torch.ones(2)]}, tmp_path / "a.pt")
    check_archive(tmp_path / "a.pt", "tensors")


@pytest.mark.parametrize("kept", [0, 2])
def test_a_directory_that_lost_entries_is_refused(arrays, tmp_path, kept):
    path = tmp_path / "a.npz"
    np.savez(path, **arrays)
    path.write_bytes(shortened(path.read_bytes(), kept))
    with pytest.raises(DataError, match=r"a\.npz cannot be read as arrays: .*its directory"):
        read_arrays(path, "arrays")
    with pytest.raises(DataError, match="its directory"):
        check_archive(path, "an archive")


def test_a_part_marked_as_a_folder_is_refused(tmp_path):
    """Of such a part torch returns what happens to be in memory."""
    path = tmp_path / "a.pt"
    torch.save([torch.rand(20), torch.rand(20)], path)
    content = bytearray(path.read_bytes())
    name = content.rindex(b"data/1")  # in the directory at the end of the file
    entry = content.rindex(b"PK\x01\x02", 0, name)
    content[entry + 38] |= 0x10
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.pt cannot be read as tensors.*marked as a folder"):
        check_archive(path, "tensors")
