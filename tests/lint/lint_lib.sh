# lint_lib.sh - shared by the lint scripts; sourced. Sets $root (the tree; ZTCP_SOURCE overrides) and $name.
# A lint prints only what is wrong, one line each with file and line, and exits 1; 77 when its subject does not exist.
# shellcheck shell=bash
set -u
export LC_ALL=C
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
root=${ZTCP_SOURCE:-$(readlink -f "$here/../..")}
build=${ZTCP_BUILD:-$root/build/release}
name=$(basename "$0" .sh)
cd "$root" || exit 1

die() {
	echo "$name: $*" >&2
	exit 1
}

skip() {
	echo "$name: skipped: $*"
	exit 77
}

need() { # need TOOL...: a lint without its tool has not run
	local tool
	for tool in "$@"; do
		command -v "$tool" >/dev/null || die "$tool is missing: run cmake/deps.sh"
	done
}

# files PATTERN...: what belongs to the tree and is there, by git where there is a repository.
files() {
	if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
		git ls-files -- "$@"
	else
		local pattern
		for pattern in "$@"; do
			find . \( -path ./build -o -path ./.git \) -prune -o -type f -path "./$pattern" -printf '%P\n'
		done
	fi | while IFS= read -r f; do [ -f "$f" ] && printf '%s\n' "$f"; done
}

# shell_files: every script of the tree, by suffix or by its first line.
shell_files() {
	files '*' | while IFS= read -r f; do
		case $f in
		*.sh) echo "$f" ;;
		*) head -c 64 "$f" | head -1 | grep -qaE '^#!.*\b(ba)?sh\b' && echo "$f" ;;
		esac
	done
}
