# What this board does, written by handfast flash; put your own readings here, it is not overwritten.
import asyncio
import gc

from handfast_micropython import main


def read():
    return b"%d bytes of memory are free" % gc.mem_free()


asyncio.run(main.run(read))
