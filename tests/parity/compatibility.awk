#!/usr/bin/awk -f
# compatibility.awk - write docs/compatibility.md from what run_parity.sh found
# usage: compatibility.awk KNOWN ABOUTS JUDGED

BEGIN {
	title["par_io"] = "Calls that move bytes"
	title["par_opt"] = "Options, ioctl, fcntl, urgent data"
	title["par_dup"] = "Numbers: dup, close_range, reuse"
	title["par_close"] = "The end of a connection"
	title["par_proc"] = "Processes: fork, vfork, exec, spawn, system, daemon"
	title["par_rights"] = "Connections handed over: SCM_RIGHTS, pidfd_getfd"
	title["par_poll"] = "select and poll"
	title["par_epoll"] = "epoll: one connection"
	title["par_epoll_many"] = "epoll: nested, several sets, threads, other fds"
	title["par_sig"] = "Signals"
	title["par_thread"] = "Threads"
	title["par_xfer"] = "sendfile, splice, zero copy, stdio, io_uring"
	title["par_fortify"] = "Fortified entry points"
	title["par_sys"] = "syscall(3)"
	title["par_net"] = "Making connections"
	order = "par_io par_opt par_dup par_close par_proc par_rights par_poll par_epoll par_epoll_many par_sig par_thread par_xfer par_fortify par_sys par_net"
	modes = "default lift0 chaos kernel"
}

FNR == 1 { file++; FS = file == 2 ? "\t" : " "; $0 = $0 }

file == 1 {
	if (!/^#/ && NF >= 4) {
		why[FNR] = $0
		sub(/^[^ \t]+[ \t]+[^ \t]+[ \t]+[^ \t]+[ \t]+/, "", why[FNR])
	}
	next
}

file == 2 {
	split($2, n, ".")
	about[$1, n[1]] = $4
	next
}

$4 != "native" {
	split($2, n, ".")
	key = $1 SUBSEP n[1]
	if (!(key in rank)) {
		rank[key] = ++cases[$1]
		name[$1, cases[$1]] = n[1]
	}
	if (!((key, n[2]) in flavour)) {
		flavour[key, n[2]] = 1
		flavours[key] = flavours[key] (flavours[key] ? " " : "") n[2]
	}
	if ($7 && $5 != "same" && $5 != "skipped") {
		known[key, $4] = $7
		$5 = "known"
	}
	runs[key, $4]++
	count[key, $4, $5]++
	total[$4]++
	sum[$4, $5]++
	if ($6 == "yes")
		lifts[$4]++
}

function differ(key, mode) {
	return count[key, mode, "differs"] + count[key, mode, "hangs"] + count[key, mode, "slow"]
}

function cell(key, mode,    n) {
	n = runs[key, mode]
	if (!n)
		return "not run"
	if (count[key, mode, "skipped"] == n)
		return "skipped"
	if (differ(key, mode))
		return "**" differ(key, mode) " of " n " differ**"
	if (known[key, mode]) {
		reason = why[known[key, mode]]
		if (!(reason in note)) {
			note[reason] = ++notes
			text_of[notes] = reason
		}
		return "known: " note[reason]
	}
	return "same"
}

END {
	"uname -sr" | getline kernel
	"getconf GNU_LIBC_VERSION" | getline libc
	print "# Compatibility\n"
	print "Written by `tests/parity/run_parity.sh --table`; do not edit. Taken on " kernel ", " libc ".\n"
	print "Each case is a plain C program that runs natively and under `ztcp_run`. *same*: output, errno,"
	print "events and exit status were the same. Modes: default; lift0 (every connection lifted as soon as"
	print "possible, `ZTCP_LIFT=0`); chaos (lifted and lowered at random, `ZTCP_CHAOS`); kernel (`ZTCP_PATH=kernel`)."
	print "Flavours: self (both ends in one process), pair (the peer connects), dial (the peer accepts), self6 and"
	print "pair6 (IPv6), mapped (IPv4 to an IPv6 listener), half (the peer is not under `ztcp_run`), plain (the case"
	print "makes its own connections). *known* refers to the list at the end.\n"
	print "| mode | runs | same | known | skipped | differ | hang or lose time | runs with a lifted connection |"
	print "| --- | --- | --- | --- | --- | --- | --- | --- |"
	m = split(modes, mode, " ")
	for (i = 1; i <= m; i++)
		printf "| %s | %d | %d | %d | %d | %d | %d | %d |\n", mode[i], total[mode[i]], sum[mode[i], "same"], sum[mode[i], "known"],
			sum[mode[i], "skipped"], sum[mode[i], "differs"], sum[mode[i], "hangs"] + sum[mode[i], "slow"], lifts[mode[i]]
	p = split(order, program, " ")
	for (i = 1; i <= p; i++) {
		if (!cases[program[i]])
			continue
		print "\n## " title[program[i]] "\n"
		print "| case | flavours | default | lift0 | chaos | kernel |"
		print "| --- | --- | --- | --- | --- | --- |"
		for (j = 1; j <= cases[program[i]]; j++) {
			c = name[program[i], j]
			key = program[i] SUBSEP c
			text = about[key]
			gsub(/\|/, "\\|", text)
			printf "| `%s`: %s | %s | %s | %s | %s | %s |\n", c, text, flavours[key],
				cell(key, "default"), cell(key, "lift0"), cell(key, "chaos"), cell(key, "kernel")
		}
	}
	if (notes)
		print "\n## Known differences\n"
	for (i = 1; i <= notes; i++)
		print i ". " text_of[i]
}
