#!/usr/bin/awk -f
# compatibility.awk - write docs/compatibility.md from what run_parity.sh found
# usage: compatibility.awk KNOWN ABOUTS JUDGED

BEGIN {
	title["par_io"] = "Calls that move bytes"
	title["par_opt"] = "Options, ioctl, fcntl, urgent data"
	title["par_dup"] = "Numbers: dup, close_range, reuse"
	title["par_close"] = "The end of a connection"
	title["par_stop"] = "Writing to a peer that has shut down both ways"
	title["par_seq"] = "Sequences that random calls have found"
	title["par_proc"] = "Processes: fork, vfork, exec, spawn, system, daemon"
	title["par_rights"] = "Connections handed over: SCM_RIGHTS, pidfd_getfd"
	title["par_poll"] = "select and poll"
	title["par_epoll"] = "epoll: one connection"
	title["par_epoll_many"] = "epoll: nested, several sets, threads, other fds"
	title["par_sig"] = "Signals"
	title["par_thread"] = "Threads"
	title["par_xfer"] = "sendfile, splice, zero copy, stdio, io_uring, asynchronous I/O"
	title["par_fortify"] = "Fortified entry points"
	title["par_sys"] = "syscall(3)"
	title["par_net"] = "Making connections"
	title["par_odd"] = "Odd orders and mixtures"
	order = "par_io par_opt par_dup par_close par_stop par_seq par_proc par_rights par_poll par_epoll par_epoll_many par_sig par_thread par_xfer par_fortify par_sys par_net par_odd"
	modes = "default lift0 chaos kernel stack"
}

FNR == 1 { file++; FS = file == 2 ? "\t" : " "; $0 = $0 }

file == 1 {
	if (!/^#/ && NF >= 4) {
		why[FNR] = $0
		program_of[FNR] = "^(" $1 ")$"
		case_of[FNR] = "^(" $2 ")$"
		mode_of[FNR] = $3
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
	if ($5 == "skipped")
		for (line in mode_of)
			if (mode_of[line] == "no-" $4 && $1 ~ program_of[line] && $2 ~ case_of[line])
				known[key, $4] = line
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

function note_of(line,    reason) {
	reason = why[line]
	if (!(reason in note)) {
		note[reason] = ++notes
		text_of[notes] = reason
	}
	return note[reason]
}

function cell(key, mode,    n) {
	n = runs[key, mode]
	if (!n)
		return "not run"
	if (count[key, mode, "skipped"] == n)
		return known[key, mode] ? "no: " note_of(known[key, mode]) : "skipped"
	if (differ(key, mode))
		return "**" differ(key, mode) " of " n " differ**"
	if (known[key, mode])
		return "known: " note_of(known[key, mode])
	return "same"
}

END {
	"uname -sr" | getline kernel
	"getconf GNU_LIBC_VERSION" | getline libc
	print "# Compatibility\n"
	print "Written by `tests/parity/run_parity.sh --table`; do not edit. Taken on " kernel ", " libc ".\n"
	print "Each case is a plain C program that runs natively and under `ztcp_run`. *same*: output, errno,"
	print "events and exit status were the same. Modes: default; lift0 (every connection lifted as soon as"
	print "possible, `ZTCP_LIFT=0`); chaos (lifted and lowered at random, `ZTCP_CHAOS`); kernel (`ZTCP_PATH=kernel`);"
	print "stack (`ZTCP_PATH=stack` over a TAP in a network namespace, the kernel at its other end)."
	print "Flavours: self (both ends in one process), pair (the peer connects), dial (the peer accepts), self6 and"
	print "pair6 (IPv6), mapped (IPv4 to an IPv6 listener), half (the peer is not under `ztcp_run`), plain (the case"
	print "makes its own connections). *known*, and *no* where a case says nothing of a mode, refer to the list at the end.\n"
	print "| mode | runs | same | known | skipped | differ | hang or lose time | runs with an accelerated connection |"
	print "| --- | --- | --- | --- | --- | --- | --- | --- |"
	m = split(modes, mode, " ")
	for (i = 1; i <= m; i++)
		printf "| %s | %d | %d | %d | %d | %d | %d | %d |\n", mode[i], total[mode[i]], sum[mode[i], "same"], sum[mode[i], "known"],
			sum[mode[i], "skipped"], sum[mode[i], "differs"], sum[mode[i], "hangs"] + sum[mode[i], "slow"], lifts[mode[i]]
	p = split(order, program, " ")
	for (k = 1; k <= p; k++) {
		if (!cases[program[k]])
			continue
		print "\n## " title[program[k]] "\n"
		print "| case | flavours | default | lift0 | chaos | kernel | stack |"
		print "| --- | --- | --- | --- | --- | --- | --- |"
		for (j = 1; j <= cases[program[k]]; j++) {
			c = name[program[k], j]
			key = program[k] SUBSEP c
			text = about[key]
			gsub(/\|/, "\\|", text)
			printf "| `%s`: %s | %s |", c, text, flavours[key]
			for (i = 1; i <= m; i++)
				printf " %s |", cell(key, mode[i])
			print ""
		}
	}
	if (notes)
		print "\n## Known differences\n"
	for (i = 1; i <= notes; i++)
		print i ". " text_of[i]
}
