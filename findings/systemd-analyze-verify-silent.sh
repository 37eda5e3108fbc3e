#!/usr/bin/env bash
# systemd-analyze verify (252) says nothing about a misspelled capability or condition, and exits with 0 on most mistakes.
#
# A service has one mistake in each run: an unknown value or unit of measure, or a misspelled name.
#
# Expected: a message and a non-zero exit code in each run, so that a build can use the exit code.
# Actual: systemd ignores MemoryMax=1GiB, MemoryMax=512M with a comment behind it, ProtectSystem=Strict, Restrat=always and
# Type=notfy. The service then runs without that limit or protection. verify prints a message about each, but exits with
# 0. It exits with 1 if the option --recursive-errors is there, even as --recursive-errors=no. With or without that
# option, it is silent and exits with 0 on unknown names of capabilities, secure bits, architectures and virtualization,
# on malformed conditions, and on an EnvironmentFile that does not exist. By systemd-analyze security, a
# CapabilityBoundingSet=CAP_NET_BIND_SERVCE counts exactly as an empty set, so the score even improves by the mistake.
#
# Such a service cannot bind its port, or does not start, with no hint in any check. A build must pass --recursive-errors=yes
# or look at the output, and start the service once.
#
# Requires Debian 12's packages by apt-get download; no root. Fails if this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
apt-get download systemd libsystemd-shared >log 2>&1 || { cat log; exit 1; }
for package in *.deb; do dpkg -x "$package" root; done
analyze() {
    LD_LIBRARY_PATH=root/usr/lib/x86_64-linux-gnu/systemd root/usr/bin/systemd-analyze "$@"
}
analyze --version | head -1
analyze --version | grep -q "^systemd 252" || { echo "not version 252" >&2; exit 1; }

# verify UNIT-LINE SERVICE-LINE [OPTION] prints the exit code, and whether systemd-analyze writes a message.
verify() {
    printf '[Unit]\nDescription=x\n%s\n[Service]\nExecStart=/bin/true\n%s\n' "$1" "$2" >app.service
    code=0
    analyze verify --man=no ${3:+"$3"} ./app.service >message 2>&1 || code=$?
    echo "$code $([ -s message ] && echo message || echo silent)"
}
check() {
    echo "$2$3 ${4:-}: $1"
    [ "$(verify "$2" "$3" "${4:-}")" = "$1" ] || { cat message; echo "expected $1" >&2; exit 1; }
}
check "0 silent" "" "MemoryMax=1G"
for line in MemoryMax=1GiB "MemoryMax=512M # half" ProtectSystem=Strict Restrat=always Type=notfy; do
    check "0 message" "" "$line"
    check "1 message" "" "$line" --recursive-errors=yes
    check "1 message" "" "$line" --recursive-errors=no
done
for line in CapabilityBoundingSet=CAP_NET_BIND_SERVCE AmbientCapabilities=CAP_NET_BIND_SERVCE SecureBits=noroots EnvironmentFile=/none; do
    check "0 silent" "" "$line" --recursive-errors=yes
done
for line in ConditionArchitecture=x86-46 ConditionVirtualization=kvmm ConditionCPUs=many "ConditionMemory=>1Gx"; do
    check "0 silent" "$line" "" --recursive-errors=yes
done

exposure() {
    verify "" "$1" >log
    analyze security --offline=yes --no-pager ./app.service 2>&1 | grep -o "Overall exposure level.*: [0-9.]*" | grep -o "[0-9.]*$"
}
none=$(exposure CapabilityBoundingSet=)
right=$(exposure CapabilityBoundingSet=CAP_NET_BIND_SERVICE)
wrong=$(exposure CapabilityBoundingSet=CAP_NET_BIND_SERVCE)
default=$(exposure "")
echo "exposure with all capabilities: $default, with CAP_NET_BIND_SERVICE: $right, with its misspelled name: $wrong, with none: $none"
[ "$wrong" = "$none" ] && [ "$right" != "$none" ] && [ "$right" != "$default" ]
