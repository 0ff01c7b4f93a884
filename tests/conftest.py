"""How the suite runs everywhere: the same examples each time, and no clock in the verdict.

`pytest --hypothesis-profile=explore` looks at new examples instead, and at more of them.
"""

import os
import tempfile

from hypothesis import settings

os.environ["LOQUOR_CACHE"] = tempfile.mkdtemp(prefix="loquor-cache-")  # no test meets a user's optimised models

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("explore", max_examples=1000, deadline=None, print_blob=True)
settings.load_profile("repeatable")
