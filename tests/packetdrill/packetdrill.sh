#!/bin/bash
# packetdrill.sh - plays all packet scripts of this folder against an instance in virtual time
#
# usage: packetdrill.sh PD_PLAY [TOPIC...]
set -u
play=${1:?usage: packetdrill.sh PD_PLAY [TOPIC...]}
scripts=$(readlink -f "$(dirname "$0")")/scripts
shift
cd "$scripts" || exit 1
mapfile -t files < <(find "${@:-.}" -name '*.pkt' | sort)
[ ${#files[@]} -gt 0 ] || { echo "no script in $scripts ${*:-}"; exit 1; }
"$play" "${files[@]}"
