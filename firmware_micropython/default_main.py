# What this board does, written by handfast flash; put your own readings here, it is not overwritten.
import asyncio
import gc
import time

from handfast_micropython import main


def read():
    return b"up %d s, %d bytes free" % (time.ticks_ms() // 1000, gc.mem_free())


asyncio.run(main.run(read))
