#!/bin/sh
# The tests want a real Mosquitto, and a C compiler for MicroPython. Root on a Debian gets them; others are told.
set -u
PATH="$PATH:/usr/sbin:/sbin"
export DEBIAN_FRONTEND=noninteractive

makes_32_bit() {
    printf '#include <stdio.h>\nint main(void) { return 0; }\n' | cc -m32 -xc -o /dev/null - 2>/dev/null
}

install() {
    echo "installing $*"
    # A container has no package lists yet.
    { apt-get -qq update && apt-get -qq install -y --no-install-recommends "$@"; } >/dev/null
}

root=no
[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 && root=yes

missing=""
command -v mosquitto >/dev/null 2>&1 || missing="$missing mosquitto"
command -v cc >/dev/null 2>&1 || missing="$missing gcc libc6-dev"
if [ -n "$missing" ]; then
    # shellcheck disable=SC2086
    [ $root = yes ] && install $missing || {
        echo "make test needs$missing: install them with your package manager, then call make test again" >&2
        exit 1
    }
fi

# Chips have 32-bit words, and a compiler for a PC can make such a MicroPython too; without it those tests are skipped.
if [ $root = yes ] && [ "$(uname -m)" = x86_64 ] && ! makes_32_bit; then
    install gcc-multilib || echo "no gcc-multilib: the tests under a 32-bit MicroPython will be skipped"
fi

# The emulated board: its compiler and its emulator; without them those tests are skipped.
missing=""
command -v arm-none-eabi-gcc >/dev/null 2>&1 || missing="$missing gcc-arm-none-eabi libnewlib-arm-none-eabi"
command -v qemu-system-arm >/dev/null 2>&1 || missing="$missing qemu-system-arm"
if [ -n "$missing" ]; then
    # shellcheck disable=SC2086
    [ $root = yes ] && install $missing || echo "no$missing: the tests on the emulated board will be skipped"
fi

# The kernels in C are built for the RISC-V chips too; without the compiler that one build is skipped.
if ! command -v riscv64-unknown-elf-gcc >/dev/null 2>&1; then
    [ $root = yes ] && install gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf ||
        echo "no gcc-riscv64-unknown-elf: the kernels in C will not be built for rv32imc"
fi

# Key feeds go to real consumers; without them, or without root, those tests are skipped and say what is missing.
missing=""
command -v ip >/dev/null 2>&1 || missing="$missing iproute2"
command -v ping >/dev/null 2>&1 || missing="$missing iputils-ping"
command -v wg >/dev/null 2>&1 || missing="$missing wireguard-tools"
command -v wireguard-go >/dev/null 2>&1 || missing="$missing wireguard-go"
command -v softhsm2-util >/dev/null 2>&1 || missing="$missing softhsm2"
command -v charon-systemd >/dev/null 2>&1 ||
    missing="$missing charon-systemd strongswan-swanctl libcharon-extra-plugins libstrongswan-extra-plugins"
if [ -n "$missing" ]; then
    # shellcheck disable=SC2086
    [ $root = yes ] && install $missing || echo "no$missing: tests of key feeds will be skipped"
fi

# Our BFD talks to a routing daemon's; without it those tests are skipped.
if ! command -v bird >/dev/null 2>&1; then
    [ $root = yes ] && install bird2 || echo "no bird2: BFD will not be tested against BIRD"
fi
