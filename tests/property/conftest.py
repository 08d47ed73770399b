"""Properties are judged by what comes out, not by how busy the machine is, and in CI always alike.

`make soak` and `--hypothesis-seed` ask for new inputs.
"""

import os
import sys

from hypothesis import HealthCheck, settings

SEEDED = any(word.startswith("--hypothesis-seed") for word in sys.argv)

settings.register_profile(
    "handfast",
    deadline=None,
    derandomize="CI" in os.environ and not SEEDED,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("handfast")
