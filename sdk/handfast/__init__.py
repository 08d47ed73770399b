"""handfast: quantum-safe onboarding of devices with their hub."""
