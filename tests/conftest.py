"""How the suite runs everywhere: the same examples each time, and no clock in the verdict.

`pytest --hypothesis-profile=explore` looks at new examples instead, and at more of them.
"""

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("explore", max_examples=1000, deadline=None, print_blob=True)
settings.load_profile("repeatable")
