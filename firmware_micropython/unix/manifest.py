# asyncio is Python in every port, so it is frozen; our own files run from source.
include("$(MPY_DIR)/extmod/asyncio")
