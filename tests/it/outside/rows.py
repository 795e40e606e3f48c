"""Prints a Parquet file's key-value metadata, and then its rows, each as a line of JSON."""

import datetime
import json
import sys

import pyarrow.parquet


def shown(value):
    """A value as an answer of the server has it."""
    if isinstance(value, datetime.datetime):
        return value.isoformat(timespec="microseconds") + "Z"
    return value


def main(path):
    # By its own schema alone: a path such as `users=1/` would add columns elsewhere.
    file = pyarrow.parquet.ParquetFile(path)
    metadata = file.metadata.metadata or {}
    print(json.dumps({name.decode(): value.decode() for name, value in metadata.items()}))
    for batch in file.iter_batches():
        for row in batch.to_pylist():
            print(json.dumps({name: shown(value) for name, value in row.items()}))


main(sys.argv[1])
