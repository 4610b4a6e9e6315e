#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# What vm.sh is told wrongly, or cannot do, is one line and a status that no command is mistaken for.
set -u
here=$(cd "$(dirname "$0")" && pwd)
vm=$here/vm.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# expect STATUS LINE ARGUMENT...
expect() {
    local status=$1 line=$2 got
    shift 2
    bash "$vm" "$@" >"$work/out" 2>"$work/err"
    got=$?
    if [ "$got" -ne "$status" ] || ! grep -Eq -- "$line" "$work/err" || [ "$(wc -l <"$work/err")" -ne 1 ] ||
        [ -s "$work/out" ]; then
        failed=$((failed + 1))
        echo "FAILED (status $got, wanted $status and /$line/): vm.sh $*"
        sed 's/^/  | /' "$work/out" "$work/err"
    fi
}

export DSM_VM_DIR=$work/cache
expect 2 'no action; allowed are run, pair and fetch'
expect 2 "unknown action 'walk'; allowed are run, pair and fetch" walk
expect 2 "unknown option '--frob'" run --frob true
expect 2 'run needs a command' run
expect 2 'pair needs a command' pair --timeout 5
expect 2 "'two' is one argument too many" run one two
expect 2 "'true' is one argument too many" fetch true
expect 2 "--kernel '5.4': allowed are 6.12 6.1" run --kernel 5.4 true
expect 2 '--kernel needs a value' run --kernel
expect 2 "--memory '12x': allowed is a number from 256 to 65536" run --memory 12x true
expect 2 "--memory '100': allowed is a number" run --memory 100 true
expect 2 "--processors '0': allowed is a number from 1 to 64" run --processors 0 true
expect 2 "--timeout '-1': allowed is a number" run --timeout -1 true
expect 2 "--netdev 'wlan0': allowed are eth0, dummy0 and none" run --netdev wlan0 true
expect 2 "--share '$work/none': no directory to write to" run --share "$work/none" true
# A machine with bash and coreutils, and nothing of what a virtual machine needs.
mkdir "$work/bin"
for tool in bash dirname mkdir cat; do
    ln -s "$(command -v "$tool")" "$work/bin/$tool"
done
sed 's|^PATH=.*|PATH='"$work/bin"'|' "$vm" >"$work/vm.sh"
vm=$work/vm.sh
expect 125 'no qemu-system-x86_64 here; on Debian: apt-get install qemu-system-x86' run true
printf '#!/bin/sh\n' >"$work/bin/tool"
chmod 755 "$work/bin/tool"
for tool in qemu-system-x86_64 busybox cpio modprobe zstd xz flock; do
    ln -s tool "$work/bin/$tool"
done
touch "$work/file"
DSM_VM_DIR=$work/file/cache expect 125 "cannot write to $work/file/cache: point DSM_VM_DIR elsewhere" run true

# A QEMU that does as told by $work/plan, a word for each start: falls over, says nothing after the
# command has begun, or ends with a status.
mkdir -p "$work/fake" "$work/cache/6.12"
cp "$here/init" "$work/cache/6.12/made-with"
for tool in busybox cpio modprobe zstd xz; do
    ln -s "$work/bin/tool" "$work/fake/$tool"
done
cat >"$work/fake/qemu-system-x86_64" <<END
#!/bin/bash
dir=\$(printf '%s\n' "\$@" | sed -n 's/^local,path=\(.*\),mount_tag=vm,.*/\1/p')
read -r word rest <"$work/plan"
echo "\$rest" >"$work/plan"
case \$word in
falls) exit 0 ;;
silent) touch "\$dir/started"; exit 3 ;;
*) echo "\$word" >"\$dir/status" ;;
esac
END
chmod 755 "$work/fake/qemu-system-x86_64"

# starts PLAN STATUS LINE LEFT: what the starts do, vm.sh's exit status, a line of it, the plan's rest.
starts() {
    local got
    echo "$1" >"$work/plan"
    PATH="$work/fake:$PATH" DSM_VM_ACCEL=tcg bash "$here/vm.sh" run true >"$work/out" 2>&1
    got=$?
    if [ "$got" -ne "$2" ] || { [ -n "$3" ] && ! grep -Eq "$3" "$work/out"; } ||
        [ "$(cat "$work/plan")" != "$4" ]; then
        failed=$((failed + 1))
        echo "FAILED (status $got, wanted $2 and /$3/): a guest that $1"
        sed 's/^/  | /' "$work/out"
    fi
}

starts '0' 0 '' ''
starts '7 0' 7 '' '0'
starts 'falls falls 7' 7 'once more' ''
starts 'falls falls falls 0' 125 'gave no result' '0'
starts 'silent 0' 125 "QEMU's exit status is 3" '0'
[ "$failed" -eq 0 ] && echo "every bad input was told"
exit $((failed > 0))
