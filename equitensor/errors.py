"""The one error that a user can mend: wrong input, a missing file, a key that does not exist."""


class InputError(ValueError):
    """Bad input. The message names the file, record, key or value and says what to do; the CLI exits with 2."""
