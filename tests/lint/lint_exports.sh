#!/bin/bash
# lint_exports.sh LIBRARY CALLS.DEF - the library exports exactly what the list of calls names.
. "$(dirname "$(readlink -f "$0")")/lint_lib.sh"
lib=$1 def=$2
[ -f "$def" ] || skip "no $def"
[ -f "$lib" ] || die "$lib was not built"
need nm perl

# Second argument of each CALL(ret, name, ...) and CALL_*(ret, name, ...), comments and directives left out.
named=$(perl -0777 -ne 's{/\*.*?\*/}{}gs; s{^\s*#(.*\\\n)*.*$}{}gm; print "$1\n" while /\bCALL\w*\(\s*[^,()]+,\s*(\w+)/g' "$def" | sort)
[ -n "$named" ] || die "$def names no call"
twice=$(uniq -d <<<"$named")
[ -z "$twice" ] || die "$def names twice:" $twice
exported=$(nm -D --defined-only "$lib" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort -u)
more=$(comm -13 <(echo "$named") <(echo "$exported"))
less=$(comm -23 <(echo "$named") <(echo "$exported"))
[ -z "$more" ] || echo "$lib exports what $def does not name:" $more
[ -z "$less" ] || echo "$def names what $lib does not export:" $less
[ -z "$more$less" ]
