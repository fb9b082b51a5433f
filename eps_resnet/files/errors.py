"""The one exception whose message is meant for the person at the keyboard."""


class UserError(Exception):
    """Something the user can mend. The message says what was expected, what was found and what to do.

    The command line prints it as one sentence, without a traceback, and exits with 1.
    """
