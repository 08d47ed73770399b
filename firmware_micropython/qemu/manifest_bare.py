# A board before handfast comes to it: asyncio, which is Python in every port, and the start.
include("$(MPY_DIR)/extmod/asyncio")
freeze("frozen")
