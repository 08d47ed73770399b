QEMU_MACHINE = mps2-an385
MCU_NAME = Cortex-M3
CPU = -mthumb -mcpu=cortex-m3 -mfloat-abi=soft
MPY_CROSS_FLAGS += -march=armv7m
