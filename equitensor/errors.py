"""The one error that a user can mend: wrong input, a missing file, a key that does not exist."""


class InputError(ValueError):
    """Bad input. The message names the file, record, key or value and says what to do; the CLI exits with 2."""


class WriteError(InputError):
    """A file could not be written: the disk is full, or the folder is read-only."""


class NoLabelsError(InputError):
    """Structures that were read, but none of them with energy, forces or stress: good for predictions only."""
