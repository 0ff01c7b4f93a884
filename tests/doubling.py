"""Work for other processes, which find it by its import."""

import os

from loquor.errors import InputError

DEADLY = 99


def doubler():
    made_in = os.getpid()

    def double(number):
        if number < 0:
            raise InputError("it is negative")
        if number == DEADLY:
            os._exit(1)  # as if it were killed
        return made_in, 2 * number

    return double
