# Purpose: the emulator's command line for every script that boots an image. Sourced, by bash.
#
# Reads MACHINE, MEM and ACCEL; machine_configure fills the array `machine` (arguments of QEMU, but
# for the image, its command line, the network and the console) and `accelerator` (kvm or tcg),
# with the reason for the choice in `accelerator_why`.
# shellcheck shell=bash disable=SC2034,SC2054,SC2100 # read by others; QEMU's commas

qemu=qemu-system-x86_64

die() {
    echo "error: $*" >&2
    exit 2
}

# /dev/kvm alone proves nothing: where the processor does not offer virtualization to this machine
# it may still exist, emulated at another level, hundreds of times slower than TCG.
machine_probe_kvm() {
    if ! grep -qwE '^flags.*(svm|vmx)' /proc/cpuinfo; then
        accelerator_why='the processor offers this machine no virtualization'
        return 1
    fi
    if ! { : <>/dev/kvm; } 2>/dev/null; then
        accelerator_why='/dev/kvm cannot be opened'
        return 1
    fi
    accelerator_why='/dev/kvm opens'
}

machine_configure() {
    MACHINE=${MACHINE:-microvm} # its firmware is done in half the time of the others'
    MEM=${MEM:-128M}
    ACCEL=${ACCEL:-auto}

    [[ $MEM =~ ^[1-9][0-9]*[MG]?$ ]] ||
        die "MEM=$MEM: write a number of MiB, or one followed by M or G"
    [[ $MEM = *[MG] ]] || MEM=${MEM}M
    local number=${MEM%[MG]} unit=1 host
    [[ $MEM = *M ]] || unit=1024
    read -r _ host _ </proc/meminfo # its first line: MemTotal, in KiB
    host=$((host / 1024))
    # With more digits the product might not fit the shell's numbers.
    [ ${#number} -le 10 ] && ((number * unit <= host)) ||
        die "MEM=$MEM: more than the memory of this host, ${host}M"
    [ "$MEM" != 1M ] ||
        die "MEM=$MEM: the image lies above the first MiB; 16M are enough for the challenge"
    case $ACCEL in
    auto) if machine_probe_kvm; then accelerator=kvm; else accelerator=tcg; fi ;;
    kvm)
        machine_probe_kvm || die "ACCEL=kvm: $accelerator_why"
        accelerator=kvm
        ;;
    tcg) accelerator=tcg accelerator_why="ACCEL=tcg" ;;
    *) die "ACCEL=$ACCEL: auto, kvm or tcg" ;;
    esac

    machine=(-nodefaults -no-user-config -display none -no-reboot -m "$MEM" -accel "$accelerator"
        -device isa-debug-exit,iobase=0xf4,iosize=0x04)
    if [ "$accelerator" = kvm ]; then machine+=(-cpu host); else machine+=(-cpu max); fi
    case $MACHINE in
    pc | q35) machine+=(-M "$MACHINE") ;;
    # Without ACPI it tells where its devices are on the kernel's command line.
    microvm) machine+=(-M microvm,acpi=off,rtc=on -global virtio-mmio.force-legacy=false) ;;
    *) die "MACHINE=$MACHINE: pc, q35 or microvm" ;;
    esac
}

# machine_network NETDEV: a virtio-net device on that backend, whose id must be n0.
machine_network() {
    local device=virtio-net-pci
    [ "$MACHINE" != microvm ] || device=virtio-net-device
    machine+=(-netdev "$1" -device "$device,netdev=n0,mac=52:54:00:12:00:02")
}

# The guest's own status from QEMU's: isa-debug-exit makes 33 of "good", 35 of "failed" (see
# kernel/power.h). With 0 QEMU ended without a word from the guest: it was told to, or the guest
# reset itself. Whatever else is QEMU's own trouble.
machine_status() {
    case $1 in
    33) echo 0 ;;
    0 | 35) echo 1 ;;
    *) echo "$1" ;;
    esac
}
