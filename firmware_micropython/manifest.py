# Freezes handfast into an image: make ... FROZEN_MANIFEST=/path/to/firmware_micropython/manifest.py
package("handfast", base_path="../sdk")
package("handfast_micropython")
