# The image with everything in it, as a product would ship it.
include("manifest_bare.py")
include("../manifest.py")
freeze("frozen_device")
