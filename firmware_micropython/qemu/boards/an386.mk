QEMU_MACHINE = mps2-an386
MCU_NAME = Cortex-M4
CPU = -mthumb -mcpu=cortex-m4 -mfloat-abi=soft
MPY_CROSS_FLAGS += -march=armv7m
