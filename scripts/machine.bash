# Purpose: the emulator's command line for every script that boots an image. Sourced, by bash.
#
# Reads MACHINE, MEM and ACCEL; machine_configure IMAGE fills the array `machine` (QEMU's arguments,
# but for the image, its command line, the network and the console) and `accelerator` (kvm or tcg),
# with the reason for the choice in `accelerator_why`.
# shellcheck shell=bash disable=SC2034,SC2054,SC2100 # read by others; QEMU's commas

qemu=qemu-system-x86_64

die() {
    echo "error: $*" >&2
    exit 2
}

# split_words NAME: the words of that variable, if it is set, go to the array `words`. Quotes and
# backslashes are as in a shell; nothing else is special.
split_words() {
    words=()
    [ -n "${!1:-}" ] || return 0
    local fd
    exec {fd}< <(exec python3 -c 'import shlex, sys
try:
    words = shlex.split(sys.argv[1])
except ValueError as error:
    sys.exit(str(error).lower())
sys.stdout.write("".join(word + "\0" for word in words))' "${!1}" 2>&1)
    readarray -d '' -t -u "$fd" words
    exec {fd}<&-
    wait $! || die "$1=${!1}: ${words[*]%$'\n'}"
}

# Where runs keep what they know: for root a directory that ends with the host's uptime.
machine_state() {
    if [ "$(id -u)" = 0 ]; then
        state=/run/tally
    else
        state=/tmp/tally-$(id -u)
    fi
    mkdir -m 700 "$state" 2>/dev/null || true
    [ -O "$state" ] && [ ! -L "$state" ] || die "$state: not a directory of this user's"
}

# machine_use ACCELERATOR: into `machine`.
machine_use() {
    # QEMU 7.2 cannot set what kvm_pvm says of MSR_IA32_ARCH_CAPABILITIES; nobody here reads it.
    local cpu=max
    [ "$1" != kvm ] || cpu=host,arch-capabilities=off
    machine=(-nodefaults -no-user-config -display none -no-reboot -m "$MEM" -accel "$1" -cpu "$cpu"
        -device isa-debug-exit,iobase=0xf4,iosize=0x04)
    case $MACHINE in
    pc | q35) machine+=(-M "$MACHINE") ;;
    # Without ACPI it tells where its devices are on the kernel's command line.
    microvm) machine+=(-M microvm,acpi=off,rtc=on -global virtio-mmio.force-legacy=false) ;;
    esac
}

# What the answer depends on, but for what changes only when the host boots.
machine_fingerprint() {
    { cat "$1" scripts/machine.bash && echo "$MACHINE" && uname -a && "$qemu" --version &&
        stat -L -c '%Y' "$(command -v "$qemu")" && cat /proc/sys/kernel/random/boot_id; } 2>&1 |
        sha256sum | cut -c 1-16
}

# machine_probe IMAGE FILE: what QEMU says while it boots the image under KVM goes to the file. The
# image ends itself before it serves. In the background, so that a signal ends the wait; the kernel
# ends QEMU if this shell is killed.
machine_probe() {
    local pid

    machine_use kvm
    machine_network hubport,id=n0,hubid=0
    timeout --foreground --kill-after=1 "$probe_seconds" setpriv --pdeathsig KILL -- \
        "$qemu" "${machine[@]}" -m 64M -kernel "$1" -append 'ip=198.18.0.2/24 after-boot=stop' \
        -serial stdio >"$2" 2>&1 </dev/null &
    pid=$!
    trap 'kill -KILL $pid; exit 130' INT TERM HUP
    wait $pid
}

# machine_boots_under_kvm IMAGE: neither /dev/kvm nor the processor's flags prove that it works. So
# the image is booted. The answer is remembered for this image and host; that it took too long, for
# which other work may be the reason, for some minutes only. Sets accelerator_why.
machine_boots_under_kvm() {
    local image=$1 status=0 said known
    local probe_seconds=60 forget_minutes=10

    accelerator_why='this host has no /dev/kvm'
    [ -e /dev/kvm ] || return 1 # before <>, by which root would make a file of that name
    accelerator_why='/dev/kvm cannot be opened'
    { : <>/dev/kvm; } 2>/dev/null || return 1
    machine_state
    known=$state/kvm.$(machine_fingerprint "$image")
    find "$state" -maxdepth 1 -name 'kvm.*.slow' -mmin +$forget_minutes -delete
    if [ -e "$known.slow" ]; then
        accelerator_why=$(cat "$known.slow")
        return 1
    fi
    if [ ! -e "$known" ]; then
        find "$state" -maxdepth 1 -name 'kvm.*' -mtime +1 -delete # of other images
        said=$(mktemp "$state/probe.XXXXXX")
        (machine_probe "$image" "$said") || status=$?
        [ $status != 130 ] || { rm -f "$said"; exit 130; }
        if [ "$(machine_status $status)" = 0 ]; then
            echo 'yes' >"$said.answer"
        elif [ $status = 124 ] || [ $status = 137 ]; then
            echo "under KVM the image did not boot within $probe_seconds s" >"$said.answer"
            known=$known.slow
        else
            { tr -d '\r' <"$said" | grep -am 1 -iE 'error|panic|trap|fail|denied' ||
                echo "QEMU ended with status $status"; } |
                sed 's/^/under KVM the image does not boot: /; s/\(.\{130\}\).*/\1.../' \
                    >"$said.answer"
        fi
        mv "$said.answer" "$known"
        rm -f "$said"
    fi
    accelerator_why=$(cat "$known")
    [ "$accelerator_why" = yes ] || return 1
    accelerator_why='the image boots under it'
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
    case $MACHINE in pc | q35 | microvm) ;; *) die "MACHINE=$MACHINE: pc, q35 or microvm" ;; esac
    case $ACCEL in
    auto) if machine_boots_under_kvm "$1"; then accelerator=kvm; else accelerator=tcg; fi ;;
    kvm)
        machine_boots_under_kvm "$1" || die "ACCEL=kvm: $accelerator_why"
        accelerator=kvm
        ;;
    tcg) accelerator=tcg accelerator_why="ACCEL=tcg" ;;
    *) die "ACCEL=$ACCEL: auto, kvm or tcg" ;;
    esac
    machine_use "$accelerator"
}

# machine_network NETDEV: a virtio-net device on that backend, whose id must be n0.
machine_network() {
    local device=virtio-net-pci
    [ "$MACHINE" != microvm ] || device=virtio-net-device
    machine+=(-netdev "$1" -device "$device,netdev=n0,mac=52:54:00:12:00:02")
}

# machine_disk FILE [SIZE]: a virtio-blk device on that file or block device; what is not there, or
# empty, is made, sparse. QEMU's own answer to an error would be to stop the machine until somebody
# looks: `report` hands it to the appliance, which knows what to do. Writes are cached by the host
# until the appliance flushes them.
machine_disk() {
    local file=$1 size=${2:-1G} driver=file device=virtio-blk-pci why
    [[ $size =~ ^[1-9][0-9]{0,9}[MGT]$ ]] ||
        die "DISK_SIZE=$size: write a number followed by M, G or T"
    file=$(realpath -m -- "$file")
    if [ ! -e "$file" ] || { [ -f "$file" ] && [ ! -s "$file" ]; }; then
        why=$(truncate -s "$size" "$file" 2>&1) || {
            [ -s "$file" ] || rm -f "$file"
            die "DISK=$file cannot be made: ${why#truncate: }"
        }
    fi
    [ ! -b "$file" ] || driver=host_device
    [ -f "$file" ] || [ -b "$file" ] || die "DISK=$file: neither a file nor a block device"
    [ -r "$file" ] && [ -w "$file" ] || die "DISK=$file: cannot be read and written by this user"
    [ "$MACHINE" != microvm ] || device=virtio-blk-device
    machine+=(-blockdev "$(python3 -c 'import json, os, sys
print(json.dumps({"driver": "raw", "node-name": "d0", "file": {
    "driver": sys.argv[1], "filename": sys.argv[2]}}))' $driver "$file")"
        -device "$device,drive=d0,werror=report,rerror=report")
}

# The guest's own status from QEMU's: isa-debug-exit makes 33 of "good", 35 of "failed" (see
# kernel/plat/power.h). With 0 QEMU ended without a word from the guest: it was told to, or the
# guest reset itself. Whatever else is QEMU's own trouble.
machine_status() {
    case $1 in
    33) echo 0 ;;
    0 | 35) echo 1 ;;
    *) echo "$1" ;;
    esac
}
