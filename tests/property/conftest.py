"""Properties are judged by what comes out, not by how busy the machine is."""

from hypothesis import HealthCheck, settings

settings.register_profile("handfast", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("handfast")
