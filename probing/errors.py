"""The one kind of error a user can mend: what was found, what was expected, what to do."""


class InputError(ValueError):
    """Raised for any input the user can change: a name, a file, a checkpoint, an option.

    The message is one line that says what was found, what was expected and what to do. The command
    line prints it without a traceback and exits with code 2.
    """
