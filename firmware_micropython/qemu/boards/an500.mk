QEMU_MACHINE = mps2-an500
MCU_NAME = Cortex-M7
CPU = -mthumb -mcpu=cortex-m7 -mfloat-abi=soft
MPY_CROSS_FLAGS += -march=armv7m
